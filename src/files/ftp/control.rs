//! The control connection: commands go out one at a time, and each has its reply.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use zeroize::Zeroizing;

use super::error::Error;
use super::lines::{LineReader, LineTooLong};
use super::reply::{FtpReply, GOODBYE, LONGEST_LINE, ReplyReader};
use super::wire::{FtpWire, Handshakes};

pub(super) struct Control {
    wire: FtpWire,
    lines: LineReader,
    reader: ReplyReader,
    /// The reply to a command is still to come, or has come in a way that leaves unknown what the next one is to.
    awaits_reply: bool,
}

impl Control {
    pub(super) fn new(wire: FtpWire) -> Self {
        let lines = LineReader::new(LONGEST_LINE, AT_A_TIME);
        Self { wire, lines, reader: ReplyReader::default(), awaits_reply: false }
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
        self.expect_silence()?;
        self.tell(verb, argument).await?;
        self.reply().await
    }

    /// Looks before a command is sent: a reply that is there already is to none, and would be taken for the one to this command,
    /// and that one for the reply to the next. Who has gone out of step says anything: nothing more is asked then.
    fn expect_silence(&mut self) -> Result<(), Error> {
        if self.awaits_reply {
            return Err(Error::Ended);
        }
        let read = pin!(self.wire.read_buf(self.lines.room())).poll(&mut Context::from_waker(Waker::noop()));
        match read {
            Poll::Ready(Ok(0)) if self.lines.is_empty() => return Err(Error::Ended),
            Poll::Ready(Err(error)) => return Err(error.into()),
            _ if self.lines.is_empty() => return Ok(()),
            _ => self.awaits_reply = true,
        }
        match self.reply_that_came() {
            // It was tired of waiting.
            Some(reply) if reply.code == GOODBYE => Err(Error::Refused { operation: "to go on", reply }),
            _ => Err(Error::Protocol("it said more than it was asked")),
        }
    }

    /// The first reply that is there already, if all of it is.
    fn reply_that_came(&mut self) -> Option<FtpReply> {
        while let Ok(Some(line)) = self.lines.next() {
            if let Some(reply) = self.reader.take(&line).ok()? {
                return Some(reply);
            }
        }
        None
    }

    /// As [`ask`](Self::ask), and the reply has to be of this class.
    pub(super) async fn ask_for(
        &mut self,
        class: u16,
        (verb, argument): (&str, &[u8]),
        operation: &'static str,
    ) -> Result<FtpReply, Error> {
        let expected = expect(self.ask(verb, argument).await?, class, operation);
        self.awaits_reply |= matches!(expected, Err(Error::Protocol(_)));
        expected
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
        // Until it is there: who gives it up in the middle leaves it to whoever comes next.
        self.awaits_reply = true;
        loop {
            let line = self.line().await?;
            if let Some(reply) = self.reader.take(&line)? {
                // Of what has begun the end is still to be told.
                self.awaits_reply = reply.class() == 1;
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
