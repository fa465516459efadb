//! A file that is written: many requests under way, each of which the server has to confirm.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::super::entry::Overwrite;
use super::packet::{Opening, Request, SftpReply};
use super::session::{FOREIGN, MOST_REQUESTS, SAFE_AT_ONCE, UNDER_WAY, done, handle};
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
    /// Small pieces that wait for more, to go on together.
    gathered: BytesMut,
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
        let (unconfirmed, gathered) = (VecDeque::new(), BytesMut::new());
        Self { session, handle: Some(handle), offset: 0, unconfirmed, under_way: 0, gathered }
    }

    /// How much was given to be written.
    pub(crate) fn written(&self) -> u64 {
        self.offset + self.gathered.len() as u64
    }

    /// Goes on with these bytes. That they are taken does not say that they are written, nor that they are sent: each request
    /// costs the server as much as many bytes do, so that small ones wait for as long as others are under way.
    pub(crate) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let at_once = self.session.write_at_once.min(SAFE_AT_ONCE) as usize;
        while !bytes.is_empty() {
            if self.gathered.is_empty() && bytes.len() >= at_once {
                let (piece, rest) = bytes.split_at(bytes.len().min(self.session.write_at_once as usize));
                self.write(piece).await?;
                bytes = rest;
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(at_once - self.gathered.len()));
            self.gathered.extend_from_slice(piece);
            bytes = rest;
            if self.gathered.len() == at_once || self.unconfirmed.is_empty() {
                self.write_gathered().await?;
            }
        }
        Ok(())
    }

    async fn write_gathered(&mut self) -> Result<(), Error> {
        let gathered = self.gathered.split();
        if gathered.is_empty() { Ok(()) } else { self.write(&gathered).await }
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        while self.under_way >= UNDER_WAY || self.unconfirmed.len() >= MOST_REQUESTS {
            self.confirm().await?;
        }
        self.send(data);
        // What is said meanwhile is taken, lest each side waits for the other to read; and looked at, lest a server that says
        // what nobody asked fills the memory.
        poll_fn(|cx| {
            while self.session.poll_relieved(cx)?.is_pending() {
                ready!(self.poll_confirm(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn send(&mut self, data: &[u8]) {
        let handle = self.handle.as_deref().unwrap_or_default();
        let request = Request::Write { handle, offset: self.offset, data };
        let (id, length) = (self.session.send(&request), data.len() as u64);
        self.unconfirmed.push_back((id, length));
        self.offset += length;
        self.under_way += length;
    }

    /// Takes what the server says while nothing comes that could be written: a session that nobody reads stands still with all
    /// that belongs to it. Ready when it has refused something, or has ended.
    pub(crate) fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            if self.unconfirmed.is_empty() && !self.gathered.is_empty() {
                let gathered = self.gathered.split();
                self.send(&gathered);
            }
            match ready!(self.poll_confirm(cx)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    async fn confirm(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_confirm(cx)).await
    }

    fn poll_confirm(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (id, reply) = ready!(self.session.poll_receive(cx))?;
        Poll::Ready(self.take(id, reply))
    }

    fn take(&mut self, id: u32, reply: SftpReply) -> Result<(), Error> {
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
        self.write_gathered().await?;
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
