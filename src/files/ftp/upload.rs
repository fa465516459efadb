//! A file that is written.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::data::Transfer;
use super::error::Error;
use super::session::{Failed, FtpSession};
use super::wire::FtpWire;

/// A file that goes. To the server the end of its data connection is the end of the file: what is dropped before
/// [`finish`](Self::finish) is reset, and half there.
pub(crate) struct FtpUpload {
    session: FtpSession,
    data: ResetOnDrop,
    written: u64,
}

/// A data connection whose end must not pass for the end of the file.
struct ResetOnDrop(Option<Transfer>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(transfer) = &self.0 {
            // A socket that can't be reset has been already.
            let _reset = transfer.data.socket().set_zero_linger();
        }
    }
}

impl FtpSession {
    /// Makes a file, or empties the one that is there.
    pub(crate) async fn create(mut self, path: &[u8]) -> Result<FtpUpload, Failed> {
        match self.begin_upload(("STOR", path), WRITE).await {
            Ok(transfer) => Ok(FtpUpload::new(self, transfer)),
            Err(error) => Err(self.after(error)),
        }
    }
}

impl FtpUpload {
    pub(super) fn new(session: FtpSession, transfer: Transfer) -> Self {
        Self { session, data: ResetOnDrop(Some(transfer)), written: 0 }
    }

    /// How much was given to be written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Goes on with these bytes. That they are taken does not say that they are written.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(transfer) = &mut self.data.0 else { return Err(Error::Ended) };
        let sent = transfer.data.write_all(bytes).await;
        self.written += bytes.len() as u64;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(error).await),
        }
    }

    /// The server may say why on the control connection.
    async fn why(&mut self, error: io::Error) -> Error {
        drop(self.data.0.take());
        match self.session.ended(None, WRITE).await {
            Err(why @ Error::Refused { .. }) => why,
            _ => error.into(),
        }
    }

    /// All of it is there, by the server's word.
    pub(crate) async fn finish(mut self) -> Result<FtpSession, Failed> {
        let Some(transfer) = &mut self.data.0 else { return Err(self.session.after(Error::Ended)) };
        let closed = close(&mut transfer.data).await;
        if closed.is_ok() {
            // Nothing is left that could be taken for the end too early.
            drop(self.data.0.take());
        }
        let ended = self.session.ended(None, WRITE).await;
        // Its word counts for more than how the connection ended, unless it is a good word for a bad end.
        match ended.and_then(|()| closed.map_err(Error::from)) {
            Ok(()) => Ok(self.session),
            Err(error) => Err(self.session.after(error)),
        }
    }
}

/// The end of the file. What the server still has to say, as tickets of TLS, is read: else the close would be a reset.
async fn close(data: &mut FtpWire) -> io::Result<()> {
    data.shutdown().await?;
    let mut rest = [0; 256];
    loop {
        match data.read(&mut rest).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It has all that it needs, and closes as it likes.
            Err(_) => return Ok(()),
        }
    }
}

const WRITE: &str = "to write it";
