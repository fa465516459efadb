//! The control connection: commands go out one at a time, and each has its reply.

use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use zeroize::Zeroizing;

use super::error::Error;
use super::lines::{LineReader, LineTooLong};
use super::reply::{FtpReply, LONGEST_LINE, ReplyReader};
use super::wire::{FtpWire, Handshakes};

pub(super) struct Control {
    wire: FtpWire,
    lines: LineReader,
    reader: ReplyReader,
}

impl Control {
    pub(super) fn new(wire: FtpWire) -> Self {
        Self { wire, lines: LineReader::new(LONGEST_LINE, AT_A_TIME), reader: ReplyReader::default() }
    }

    /// Whether something came that was not read, the end of it included. Tickets of TLS are nothing.
    pub(super) fn has_news(&mut self) -> bool {
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        let polled = Pin::new(&mut self.wire).poll_read(&mut Context::from_waker(Waker::noop()), &mut room);
        !self.lines.is_empty() || polled.is_ready()
    }

    /// Goes on within TLS. What came before that could be anybody's.
    pub(super) async fn secured(self, handshakes: &Handshakes) -> Result<Self, Error> {
        if !self.lines.is_empty() {
            return Err(Error::Protocol("it says more before TLS than was asked"));
        }
        Ok(Self::new(handshakes.shake(self.wire.into_plain()?).await?))
    }

    /// Sends a command, and waits for what the server says to it.
    pub(super) async fn ask(&mut self, verb: &str, argument: &[u8]) -> Result<FtpReply, Error> {
        self.tell(verb, argument).await?;
        self.reply().await
    }

    /// As [`ask`](Self::ask), and the reply has to be of this class.
    pub(super) async fn ask_for(
        &mut self,
        class: u16,
        (verb, argument): (&str, &[u8]),
        operation: &'static str,
    ) -> Result<FtpReply, Error> {
        let reply = self.ask(verb, argument).await?;
        expect(reply, class, operation)
    }

    async fn tell(&mut self, verb: &str, argument: &[u8]) -> Result<(), Error> {
        // 0xFF is Telnet's, and stored twice by some servers.
        if argument.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0 | 0xFF)) {
            return Err(Error::Unspeakable);
        }
        // ProFTPD says nothing to a longer one, and one waits for ever.
        if verb.len() + argument.len() > LONGEST_COMMAND {
            return Err(Error::TooLong(argument.len()));
        }
        // A password is perhaps in it: it is wiped however this ends, and never has to move to where there is more room.
        let mut line = Zeroizing::new(Vec::with_capacity(verb.len() + argument.len() + 3));
        line.extend_from_slice(verb.as_bytes());
        if !argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        line.extend_from_slice(b"\r\n");
        self.wire.write_all(&line).await?;
        Ok(self.wire.flush().await?)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<FtpReply, Error> {
        loop {
            let line = self.line().await?;
            if let Some(reply) = self.reader.take(&line)? {
                return Ok(reply);
            }
        }
    }

    async fn line(&mut self) -> Result<BytesMut, Error> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(LineTooLong) => return Err(Error::Protocol("a line of a reply is longer than 8 KiB")),
            }
            if self.wire.read_buf(self.lines.room()).await? == 0 {
                return Err(Error::Ended);
            }
        }
    }
}

pub(super) fn expect(reply: FtpReply, class: u16, operation: &'static str) -> Result<FtpReply, Error> {
    match reply.class() {
        found if found == class => Ok(reply),
        4 | 5 => Err(Error::Refused { operation, reply }),
        _ => Err(Error::Protocol("a reply is of another class than its command has")),
    }
}

/// Most replies are a line of some words.
const AT_A_TIME: usize = 512;

/// No path of Linux is longer. ProFTPD reads 4,100 bytes of a line.
const LONGEST_COMMAND: usize = 4096;
