//! A file that is read: many requests under way, their data in the file's order.

use std::collections::VecDeque;

use bytes::Bytes;

use super::packet::{Attributes, Opening, Request, SftpReply};
use super::session::{FOREIGN, MOST_REQUESTS, UNDER_WAY, attributes, handle, is_end, refused};
use super::{Error, SftpChannel, SftpSession};

/// A file that is open to be read.
pub(crate) struct SftpDownload<S> {
    session: SftpSession<S>,
    handle: Bytes,
    attributes: Attributes,
    /// In the file's order.
    pieces: VecDeque<RequestedPiece>,
    /// Up to where the file is given, and up to where it is asked for.
    given: u64,
    asked: u64,
    /// Where it ends, as far as is known.
    end: u64,
    /// Whether there has to be as much as that.
    is_told: bool,
}

struct RequestedPiece {
    id: u32,
    offset: u64,
    length: u32,
    data: Option<Bytes>,
}

impl<S: SftpChannel> SftpSession<S> {
    /// Opens a file, and looks at what was opened: some servers open folders, too.
    pub(crate) async fn open_file(mut self, path: &[u8]) -> Result<SftpDownload<S>, (Error, Option<Self>)> {
        match self.opened(path).await {
            Ok((handle, attributes)) => Ok(SftpDownload::new(self, handle, attributes)),
            Err(error) => Err(self.after(error)),
        }
    }

    async fn opened(&mut self, path: &[u8]) -> Result<(Bytes, Attributes), Error> {
        let reply = self.ask(&Request::Open { path, opening: Opening::Read }).await?;
        let handle = handle(reply, "to open it")?;
        let reply = self.ask(&Request::Fstat { handle: &handle }).await?;
        let attributes = attributes(reply, "to look at it");
        if attributes.is_err() {
            self.ask(&Request::Close { handle: &handle }).await?;
        }
        Ok((handle, attributes?))
    }
}

impl<S: SftpChannel> SftpDownload<S> {
    pub(super) fn new(session: SftpSession<S>, handle: Bytes, attributes: Attributes) -> Self {
        let (end, is_told) = (attributes.size.unwrap_or(u64::MAX), attributes.size.is_some());
        Self { session, handle, attributes, pieces: VecDeque::new(), given: 0, asked: 0, end, is_told }
    }

    /// What was opened.
    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// Bytes of it that came before those in front of them.
    #[cfg(any(test, feature = "bench"))]
    pub(super) fn held(&self) -> usize {
        self.pieces.iter().filter_map(|piece| piece.data.as_ref()).map(Bytes::len).sum()
    }

    /// Only this part of it; nothing may have been read before.
    pub(crate) fn limit(&mut self, from: u64, to: u64) {
        (self.given, self.asked) = (from, from);
        (self.end, self.is_told) = (to.min(self.end), true);
    }

    /// The next bytes, or `None` at the end: that is where the server said that it is.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.pieces.front_mut().map(|piece| piece.data.take()) {
                Some(Some(data)) => {
                    self.pieces.pop_front();
                    if !data.is_empty() {
                        self.given += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
                None if self.asked >= self.end => return self.ended().map(|()| None),
                Some(None) | None => {
                    self.ask();
                    let (id, reply) = self.session.receive().await?;
                    self.take(id, reply)?;
                }
            }
        }
    }

    fn ended(&self) -> Result<(), Error> {
        let is_whole = !self.is_told || self.given >= self.end;
        if is_whole { Ok(()) } else { Err(Error::Shrunk { read: self.given, size: self.end }) }
    }

    /// Asks ahead of who reads.
    fn ask(&mut self) {
        while self.asked < self.end && self.asked - self.given < UNDER_WAY && self.pieces.len() < MOST_REQUESTS {
            let left = self.end - self.asked;
            let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.session.read_at_once);
            let (id, offset) = (self.ask_for(self.asked, length), self.asked);
            self.pieces.push_back(RequestedPiece { id, offset, length, data: None });
            self.asked += u64::from(length);
        }
    }

    fn ask_for(&mut self, offset: u64, length: u32) -> u32 {
        self.session.send(&Request::Read { handle: &self.handle, offset, length })
    }

    fn take(&mut self, id: u32, reply: SftpReply) -> Result<(), Error> {
        let at = self.pieces.iter().position(|piece| piece.id == id && piece.data.is_none()).ok_or(FOREIGN)?;
        let Some(piece) = self.pieces.get_mut(at) else { return Err(FOREIGN) };
        match reply {
            SftpReply::Data(data) if data.is_empty() || data.len() > piece.length as usize => {
                Err(Error::Protocol("it sends no bytes where there are some, or more than were asked for"))
            }
            SftpReply::Data(data) => {
                // Of what is behind the end nothing is wanted.
                let (offset, got) = (piece.offset, u32::try_from(data.len()).unwrap_or(u32::MAX));
                let missing = piece.length - got;
                piece.data = Some(if offset < self.end { data } else { Bytes::new() });
                piece.length = got;
                if missing > 0 && offset < self.end {
                    self.ask_for_rest(at, offset + u64::from(got), missing)?;
                    // What it gives at once is what is asked for from now on.
                    self.session.read_at_once = got.max(LEAST).min(self.session.read_at_once);
                }
                Ok(())
            }
            reply if is_end(&reply) => {
                piece.data = Some(Bytes::new());
                if self.is_told {
                    let read = piece.offset;
                    return Err(Error::Shrunk { read, size: self.end });
                }
                self.end = self.end.min(piece.offset);
                // What has come from behind it, as the file grew meanwhile, came before this was known.
                let behind = self.pieces.iter_mut().filter(|piece| piece.offset >= self.end && piece.data.is_some());
                behind.for_each(|piece| piece.data = Some(Bytes::new()));
                Ok(())
            }
            reply => Err(refused(reply, "to read it")),
        }
    }

    /// A short answer is not the end of the file.
    fn ask_for_rest(&mut self, at: usize, offset: u64, length: u32) -> Result<(), Error> {
        if self.pieces.len() >= MOST_PIECES {
            return Err(Error::Protocol("it gives a file in crumbs"));
        }
        let id = self.ask_for(offset, length);
        self.pieces.insert(at + 1, RequestedPiece { id, offset, length, data: None });
        Ok(())
    }

    /// Closes it; only what was read to its end, or not at all, leaves a session that is at rest.
    pub(crate) async fn finish(mut self) -> Result<SftpSession<S>, Error> {
        if !self.pieces.is_empty() {
            return Err(Error::Protocol("it was left in the middle"));
        }
        match self.session.close(&self.handle).await {
            // Nothing was written that could be lost.
            Ok(()) | Err(Error::Refused { .. }) => Ok(self.session),
            Err(error) => Err(error),
        }
    }
}

/// Less at once is a file of a kernel's, and not what the server can do.
const LEAST: u32 = 4096;
/// Many times what is asked for at once in such pieces.
const MOST_PIECES: usize = 4096;
