//! A file that is written: many requests under way, each of which the server has to confirm.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::entry::Overwrite;
use super::packet::{Opening, Request, SftpReply};
use super::session::{FOREIGN, UNDER_WAY, done, handle};
use super::{Error, SftpChannel, SftpSession};

/// A file that is open to be written. Dropped before [`finish`](Self::finish), it is half there.
pub(crate) struct SftpUpload<S> {
    session: SftpSession<S>,
    /// None once it was asked to be closed.
    handle: Option<Bytes>,
    offset: u64,
    /// What is not confirmed: the request's number, and how many bytes.
    unconfirmed: VecDeque<(u32, u64)>,
    under_way: u64,
}

impl<S: SftpChannel> SftpSession<S> {
    /// Makes a file, which must not be there yet, or empties the one that is.
    pub(crate) async fn create(mut self, path: &[u8], over: Overwrite) -> Result<SftpUpload<S>, (Error, Option<Self>)> {
        let opening = match over {
            Overwrite::Replaced => Opening::Over,
            Overwrite::Refused => Opening::New,
        };
        let reply = self.ask(&Request::Open { path, opening }).await;
        match reply.and_then(|reply| handle(reply, "to make it")) {
            Ok(handle) => Ok(SftpUpload::new(self, handle)),
            Err(error) => Err(self.after(error)),
        }
    }
}

impl<S: SftpChannel> SftpUpload<S> {
    pub(super) fn new(session: SftpSession<S>, handle: Bytes) -> Self {
        Self { session, handle: Some(handle), offset: 0, unconfirmed: VecDeque::new(), under_way: 0 }
    }

    /// How much was given to be written.
    pub(crate) fn written(&self) -> u64 {
        self.offset
    }

    /// Goes on with these bytes. That they are taken does not say that they are written.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for data in bytes.chunks(self.session.write_at_once as usize) {
            while self.under_way >= UNDER_WAY {
                self.confirm().await?;
            }
            let handle = self.handle.as_deref().unwrap_or_default();
            let request = Request::Write { handle, offset: self.offset, data };
            let (id, length) = (self.session.send(&request), data.len() as u64);
            self.unconfirmed.push_back((id, length));
            self.offset += length;
            self.under_way += length;
            self.session.relieve().await?;
        }
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), Error> {
        let (id, reply) = self.session.receive().await?;
        let at = self.unconfirmed.iter().position(|(asked, _)| *asked == id).ok_or(FOREIGN)?;
        let (_, length) = self.unconfirmed.remove(at).ok_or(FOREIGN)?;
        self.under_way -= length;
        done(reply, "to write it")
    }

    /// All of it is there, on the disk where the server can say so.
    pub(crate) async fn finish(mut self) -> Result<SftpSession<S>, (Error, Option<SftpSession<S>>)> {
        let finished = self.try_finish().await;
        match finished {
            Ok(()) => Ok(self.session),
            Err(error @ Error::Refused { .. }) => {
                let session = self.abandon().await.ok();
                Err((error, session))
            }
            Err(error) => Err((error, None)),
        }
    }

    async fn try_finish(&mut self) -> Result<(), Error> {
        while !self.unconfirmed.is_empty() {
            self.confirm().await?;
        }
        let handle = self.handle.as_deref().unwrap_or_default();
        if self.session.syncs {
            let reply = self.session.ask(&Request::Sync { handle }).await?;
            done(reply, "to put it on its disk")?;
        }
        let handle = self.handle.take().unwrap_or_default();
        // A disk that is full may be told of only here.
        self.session.close(&handle).await
    }

    /// It will not be whole: the session is given back so that what is there can be removed.
    pub(crate) async fn abandon(mut self) -> Result<SftpSession<S>, Error> {
        while !self.unconfirmed.is_empty() {
            match self.confirm().await {
                Ok(()) | Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(handle) = self.handle.take() {
            match self.session.ask(&Request::Close { handle: &handle }).await? {
                SftpReply::Status { .. } => {}
                _ => return Err(Error::Protocol("a reply is of another kind than its request")),
            }
        }
        Ok(self.session)
    }
}
