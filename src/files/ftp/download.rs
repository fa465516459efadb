//! A file that is read.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::data::Transfer;
use super::error::Error;
use super::facts;
use super::session::{Failed, FtpSession};

/// A file that comes. Dropped before its end, it takes the session with it.
pub(crate) struct FtpDownload {
    session: FtpSession,
    /// Until it has come to its end.
    transfer: Option<Transfer>,
    /// How much comes, if the server told.
    size: Option<u64>,
    read: u64,
    /// The last bytes that came: they are given once more have come, or all is known to be well.
    held: Option<Bytes>,
    ended: bool,
}

impl FtpSession {
    /// Reads a file from this byte on. `known` is the size that was told to whoever reads it: it has to have that still, as
    /// another file may have taken its name since, and to come to its end there.
    pub(crate) async fn open_file(mut self, path: &[u8], from: u64, known: Option<u64>) -> Result<FtpDownload, Failed> {
        let size = match (self.size(path).await, known) {
            (Ok(Some(now)), Some(was)) if now != was => return Err(self.after(Error::Changed { was, now })),
            (Ok(size), known) => known.or(size),
            (Err(error), _) => return Err(self.after(error)),
        };
        match self.begin(("RETR", path), from, "to read it").await {
            Ok(transfer) => Ok(FtpDownload::new(self, transfer, size.map(|size| size.saturating_sub(from)))),
            Err(error) => Err(self.after(error)),
        }
    }

    /// `None` where the server does not tell.
    async fn size(&mut self, path: &[u8]) -> Result<Option<u64>, Error> {
        let reply = self.control.ask("SIZE", path).await?;
        let size = || facts::digits(reply.lines.first()?.trim_ascii());
        Ok(if reply.code == 213 { size() } else { None })
    }
}

impl FtpDownload {
    pub(super) fn new(session: FtpSession, transfer: Transfer, size: Option<u64>) -> Self {
        Self { session, transfer: Some(transfer), size, read: 0, held: None, ended: false }
    }

    /// The next bytes, or `None` at the end: there the server has said that this was all.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.ended {
            let Some(transfer) = &mut self.transfer else { return Err(Error::Ended) };
            let mut bytes = BytesMut::with_capacity(AT_A_TIME);
            let ends_well = match transfer.data.read_buf(&mut bytes).await {
                Ok(0) => true,
                Ok(_) => {
                    self.read += bytes.len() as u64;
                    // What is held back goes with it: cut where the end was to be, another file would look whole.
                    if let Some(size) = self.size.filter(|size| self.read > *size) {
                        return Err(Error::Grown(size));
                    }
                    if let Some(held) = self.held.replace(bytes.freeze()) {
                        return Ok(Some(held));
                    }
                    continue;
                }
                // Many servers end TLS without a word: then the size has to tell.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.size.is_some(),
                Err(error) => return Err(self.why(error).await),
            };
            self.session.received(self.transfer.take(), "to read it").await?;
            if !ends_well || self.size.is_some_and(|size| size != self.read) {
                return Err(Error::BrokenOff(self.read));
            }
            self.ended = true;
        }
        Ok(self.held.take())
    }

    /// The server may say why on the control connection.
    async fn why(&mut self, error: io::Error) -> Error {
        match self.session.received(self.transfer.take(), "to read it").await {
            Err(why @ Error::Refused { .. }) => why,
            _ => error.into(),
        }
    }

    /// The session, if the file was read to its end.
    pub(crate) fn finish(self) -> Option<FtpSession> {
        (self.ended && self.held.is_none()).then_some(self.session)
    }
}

const AT_A_TIME: usize = 64 * 1024;
