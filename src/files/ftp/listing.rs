//! A folder that is listed, line by line.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::data::Transfer;
use super::error::Error;
use super::lines::{LineReader, LineTooLong, UnreadLine};
use super::session::{Failed, FtpSession};
use super::{FtpEntry, facts, list};
use crate::legible::legible;

/// A listing that comes. Dropped before its end, it takes the session with it.
pub(crate) struct FtpListing {
    session: FtpSession,
    /// Until it has come to its end.
    transfer: Option<Transfer>,
    lines: LineReader,
    data_ended: bool,
    ended: bool,
}

impl FtpSession {
    pub(crate) async fn open_folder(mut self, path: &[u8]) -> Result<FtpListing, Failed> {
        match self.list(path).await {
            Ok(transfer) => Ok(FtpListing::new(self, transfer)),
            Err(error) => Err(self.after(error)),
        }
    }

    /// In the folder itself: with its name as an argument, one that is missing looks empty at some servers.
    async fn list(&mut self, path: &[u8]) -> Result<Transfer, Error> {
        self.control.ask_for(2, ("CWD", path), "to list it").await?;
        let verb = if self.tells_facts { "MLSD" } else { "LIST" };
        self.begin((verb, b""), 0, "to list it").await
    }
}

impl FtpListing {
    pub(super) fn new(session: FtpSession, transfer: Transfer) -> Self {
        Self {
            session,
            transfer: Some(transfer),
            lines: LineReader::new(LONGEST_LINE, AT_A_TIME),
            data_ended: false,
            ended: false,
        }
    }

    /// The next entry, in the server's order; neither the folder itself nor the one above. `None` at the end: there the
    /// server has said that this was all. A line that nobody understands ends it: what it tells of would be missing.
    pub(crate) async fn next(&mut self) -> Result<Option<(Vec<u8>, FtpEntry)>, Error> {
        while let Some(line) = self.line().await? {
            match entry(&line, self.session.tells_facts) {
                Ok(Some((name, entry))) => return Ok(Some((name.to_vec(), entry))),
                Ok(None) => {}
                Err(UnreadLine) => return Err(Error::Unread(beginning(&line))),
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<BytesMut>, Error> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Ok(Some(line)),
                Ok(None) => {}
                Err(LineTooLong) => return Err(Error::Protocol("a line of a listing is longer than 16 KiB")),
            }
            if self.data_ended {
                return self.last_line().await;
            }
            let Some(transfer) = &mut self.transfer else { return Err(Error::Ended) };
            self.data_ended = match transfer.data.read_buf(self.lines.room()).await {
                Ok(read) => read == 0,
                // Many servers end TLS without a word; that it was all is said on the control connection.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
                Err(error) => return Err(error.into()),
            };
        }
    }

    async fn last_line(&mut self) -> Result<Option<BytesMut>, Error> {
        if !self.ended {
            self.session.received(self.transfer.take(), "to list it").await?;
            self.ended = true;
        }
        Ok(self.lines.rest())
    }

    /// The session, if the folder was listed to its end.
    pub(crate) fn finish(self) -> Option<FtpSession> {
        self.ended.then_some(self.session)
    }
}

/// What a line of `MLSD`, or of `LIST`, says; `None` for one that is known to be no entry.
pub(super) fn entry(line: &[u8], tells_facts: bool) -> Result<Option<(&[u8], FtpEntry)>, UnreadLine> {
    if tells_facts { facts::entry(line) } else { list::entry(line) }
}

/// As much of a line as tells which one it is.
fn beginning(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(TOLD_CHARACTERS).flat_map(legible).collect()
}

const TOLD_CHARACTERS: usize = 100;
pub(super) const LONGEST_LINE: usize = 16 * 1024;
const AT_A_TIME: usize = 16 * 1024;
