//! What a server says before SSH is spoken (RFC 4253 §4.2): lines of its own, and then its version.
//!
//! The library beneath passes over such lines, and waits for a version for as long as anybody lets it. A server that is full says
//! so there and leaves, and one of another protocol waits for us in vain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::Error;
use super::{HostVerdict, legible};
use crate::files::server::says_full;

/// A connection whose beginning is listened to.
pub(super) struct GreetedSocket<S> {
    socket: S,
    /// `None` once the version has begun: what follows is SSH.
    greeting: Option<ServerGreeting>,
    verdict: HostVerdict,
}

/// What was said so far.
#[derive(Debug, Default)]
struct ServerGreeting {
    line: Vec<u8>,
    lines: usize,
    /// The last line that says something, or the one that says why nobody is served.
    said: String,
    is_full: bool,
}

impl<S> GreetedSocket<S> {
    pub(super) fn new(socket: S, verdict: HostVerdict) -> Self {
        Self { socket, greeting: Some(ServerGreeting::default()), verdict }
    }

    /// Listens to what came.
    ///
    /// # Errors
    /// When it is no SSH.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(greeting) = &mut self.greeting else { return Ok(()) };
        match greeting.take(bytes) {
            Ok(false) => {}
            Ok(true) => self.greeting = None,
            Err(error) => {
                let text = error.to_string();
                self.verdict.set(error);
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }

    /// The server has left.
    fn over(&mut self) {
        if let Some(error) = self.greeting.take().and_then(ServerGreeting::into_error) {
            self.verdict.set(error);
        }
    }
}

impl ServerGreeting {
    /// Whether the version has begun.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        for byte in bytes {
            if *byte == b'\n' {
                self.line_ended()?;
                continue;
            }
            self.line.push(*byte);
            if self.line == VERSION {
                return Ok(true);
            }
            if byte.is_ascii_control() && !matches!(byte, b'\r' | b'\t') {
                let is_tls = self.lines == 0 && matches!(self.line.first(), Some(0x15 | 0x16));
                let what = if is_tls { "it is a server of TLS" } else { "it says bytes that are no text" };
                return Err(Error::NoSsh(what.to_owned()));
            }
            if self.line.len() > LONGEST_LINE {
                return Err(Error::NoSsh("it says a line of more than 255 bytes".to_owned()));
            }
        }
        Ok(false)
    }

    fn line_ended(&mut self) -> Result<(), Error> {
        let text = legible(&String::from_utf8_lossy(&std::mem::take(&mut self.line)));
        self.lines += 1;
        if let Some(who) = other_protocol(text.as_bytes()) {
            return Err(Error::NoSsh(format!("it is {who}: `{}`", text.trim())));
        }
        if !self.is_full && !text.trim().is_empty() {
            text.trim().clone_into(&mut self.said);
            self.is_full = says_full(&self.said);
        }
        if self.lines == MOST_LINES {
            return Err(Error::NoSsh(format!("it says {MOST_LINES} lines, the last of them `{}`", self.said)));
        }
        Ok(())
    }

    /// Why the server has left, if it said so.
    fn into_error(mut self) -> Option<Error> {
        // The last line may have no end.
        if let Err(error) = self.line_ended() {
            return Some(error);
        }
        let Self { said, is_full, .. } = self;
        (!said.is_empty()).then(|| if is_full { Error::TooMany(said) } else { Error::Dismissed(said) })
    }
}

/// Who begins so, and waits for an answer of another kind than SSH's version.
fn other_protocol(line: &[u8]) -> Option<&'static str> {
    // Some answer what is no request of theirs with a page alone.
    if line.starts_with(b"HTTP/") || line.starts_with(b"<") {
        return Some("an HTTP server");
    }
    if line.starts_with(b"* OK") || line.starts_with(b"+OK") {
        return Some("a server of mail");
    }
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let is_reply = digits.iter().all(u8::is_ascii_digit) && matches!(rest.first(), Some(b' ' | b'-'));
    is_reply.then_some("a server of FTP or mail")
}

impl<S: AsyncRead + Unpin> AsyncRead for GreetedSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let greeted = self.get_mut();
        if greeted.greeting.is_none() {
            return Pin::new(&mut greeted.socket).poll_read(cx, out);
        }
        let before = out.filled().len();
        let read = ready!(Pin::new(&mut greeted.socket).poll_read(cx, out));
        let came = out.filled().get(before..).unwrap_or_default();
        if read.is_err() || came.is_empty() {
            greeted.over();
            return Poll::Ready(read);
        }
        Poll::Ready(greeted.hear(came))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GreetedSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let greeted = self.get_mut();
        let written = ready!(Pin::new(&mut greeted.socket).poll_write(cx, bytes));
        // Who has left already has perhaps said why: that is there to be read, and nobody would read it any more.
        if written.is_err() && greeted.greeting.is_some() {
            let mut last = [0; 512];
            let mut room = ReadBuf::new(&mut last);
            while let Poll::Ready(Ok(())) = Pin::new(&mut *greeted).poll_read(cx, &mut room)
                && greeted.greeting.is_some()
            {
                room.clear();
            }
            greeted.over();
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

const VERSION: &[u8] = b"SSH-";
/// As the version's own (RFC 4253 §4.2).
const LONGEST_LINE: usize = 255;
/// A banner is a screen of text.
const MOST_LINES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of it, whole and byte by byte.
    #[track_caller]
    fn check(said: &[u8], wanted: &str) {
        let heard = |pieces: &[&[u8]]| {
            let mut greeting = ServerGreeting::default();
            for piece in pieces {
                match greeting.take(piece) {
                    Ok(false) => {}
                    Ok(true) => return "SSH".to_owned(),
                    Err(error) => return error.to_string(),
                }
            }
            greeting.into_error().map_or_else(|| "nothing".to_owned(), |error| error.to_string())
        };
        let (whole, pieces) = (heard(&[said]), heard(&said.chunks(1).collect::<Vec<_>>()));
        assert!(whole.contains(wanted), "{whole}");
        assert_eq!(pieces, whole);
    }

    #[test]
    fn lines_may_come_before_the_version() {
        check(b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x01", "SSH");
        check("Nur für Befugte\r\n\tAll is logged\r\n\r\nSSH-2.0-x\r\n".as_bytes(), "SSH");
        check(b"it is no SSH-\r\n", "`it is no SSH-`");
        check(b"", "nothing");
        check(b"\r\n\n", "nothing");
    }

    #[test]
    fn what_is_said_is_bounded() {
        check(&[b'x'; 300], "255 bytes");
        check(&b"x\n".repeat(500), "128 lines");
        check(b"Exceeded MaxStartups", "too many connections: Exceeded MaxStartups");
        check(b"Too many users\r\nGood bye\r\n", "too many connections: Too many users");
    }
}
