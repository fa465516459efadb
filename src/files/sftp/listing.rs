//! A folder that is listed, a few entries at a time.

use bytes::Bytes;

use super::packet::{Attributes, Names, Request, SftpReply};
use super::session::{FOREIGN, handle, is_end, refused};
use super::{Error, SftpChannel, SftpSession};

/// A folder that is open.
pub(crate) struct SftpListing<S> {
    session: SftpSession<S>,
    handle: Bytes,
    names: Option<Names>,
    /// The request for the next entries, which is under way while these are read.
    asked: Option<u32>,
    ended: bool,
}

impl<S: SftpChannel> SftpSession<S> {
    pub(crate) async fn open_folder(mut self, path: &[u8]) -> Result<SftpListing<S>, (Error, Option<Self>)> {
        let reply = self.ask(&Request::OpenFolder { path }).await;
        match reply.and_then(|reply| handle(reply, "to list it")) {
            Ok(handle) => SftpListing::begin(self, handle).await,
            Err(error) => Err(self.after(error)),
        }
    }
}

impl<S: SftpChannel> SftpListing<S> {
    /// With its first entries: AsyncSSH opens what is not there, and refuses to read it.
    pub(super) async fn begin(session: SftpSession<S>, handle: Bytes) -> Result<Self, (Error, Option<SftpSession<S>>)> {
        let mut listing = Self { session, handle, names: None, asked: None, ended: false };
        match listing.read_on().await {
            Ok(()) => Ok(listing),
            Err(error @ Error::Refused { .. }) => {
                let closed = listing.session.close(&listing.handle).await;
                let goes_on = matches!(closed, Ok(()) | Err(Error::Refused { .. }));
                Err((error, goes_on.then_some(listing.session)))
            }
            Err(error) => Err((error, None)),
        }
    }

    /// The next entry, in the server's order; neither the folder itself nor the one above.
    pub(crate) async fn next(&mut self) -> Result<Option<(Bytes, Attributes)>, Error> {
        loop {
            while let Some(entry) = self.names.as_mut().and_then(Iterator::next) {
                let (name, attributes) = entry?;
                if name != "." && name != ".." {
                    return Ok(Some((name, attributes)));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.read_on().await?;
        }
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        let asked = self.asked.take().unwrap_or_else(|| self.ask());
        let (id, reply) = self.session.receive().await?;
        match reply {
            _ if id != asked => Err(FOREIGN),
            SftpReply::Names(names) => {
                self.names = Some(names);
                self.asked = Some(self.ask());
                Ok(())
            }
            reply if is_end(&reply) => {
                self.ended = true;
                Ok(())
            }
            reply => Err(refused(reply, "to list it")),
        }
    }

    fn ask(&mut self) -> u32 {
        self.session.send(&Request::ReadFolder { handle: &self.handle })
    }

    /// Closes it, once it is read to its end.
    pub(crate) async fn finish(mut self) -> Result<SftpSession<S>, Error> {
        if !self.ended {
            return Err(Error::Protocol("it was left in the middle"));
        }
        match self.session.close(&self.handle).await {
            Ok(()) | Err(Error::Refused { .. }) => Ok(self.session),
            Err(error) => Err(error),
        }
    }
}
