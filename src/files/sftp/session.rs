//! A session: requests go out, and their replies are told apart by number.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::super::begun::UnfinishedFile;
use super::super::entry::Overwrite;
use super::super::replace::{NameSession, replace};
use super::error::{END, EXISTS, OK};
use super::packet::{
    self, Attributes, FSYNC, LIMITS, POSIX_RENAME, Request, SftpReply, VERSION, read_limits, read_reply, read_version,
};
use super::{Error, SftpRefusal};

/// What carries the bytes.
pub(crate) trait SftpChannel: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> SftpChannel for S {}

/// A session in which nothing is under way.
pub(crate) struct SftpSession<S> {
    stream: S,
    read: BytesMut,
    /// What waits to be sent.
    out: BytesMut,
    next: u32,
    /// It replaces a file in one step.
    pub(crate) renames_over: bool,
    pub(crate) syncs: bool,
    /// The most bytes of a file in one packet.
    pub(crate) read_at_once: u32,
    pub(crate) write_at_once: u32,
}

impl<S: SftpChannel> SftpSession<S> {
    /// The first packets of each side, and what the server can do.
    pub(crate) async fn start(stream: S) -> Result<Self, Error> {
        let mut session = Self {
            stream,
            read: BytesMut::new(),
            out: BytesMut::new(),
            next: 0,
            renames_over: false,
            syncs: false,
            read_at_once: SAFE_AT_ONCE,
            write_at_once: SAFE_AT_ONCE,
        };
        packet::write_init(&mut session.out);
        let version = read_version(session.receive_packet().await?)?;
        if version.number != VERSION {
            return Err(Error::Version(version.number));
        }
        let offers = |name: &[u8]| version.extensions.iter().any(|(offered, _)| offered == name);
        (session.renames_over, session.syncs) = (offers(POSIX_RENAME), offers(FSYNC));
        if offers(LIMITS) {
            session.ask_for_limits().await?;
        }
        Ok(session)
    }

    /// More than 32 KiB at once only where the server says so: some end the session otherwise.
    async fn ask_for_limits(&mut self) -> Result<(), Error> {
        let SftpReply::Extended(limits) = self.ask(&Request::Limits).await? else { return Ok(()) };
        let (read, write) = read_limits(limits)?;
        // Zero is no limit that the server would know of.
        let within = |limit: u64| match limit {
            0 => SAFE_AT_ONCE,
            limit => u32::try_from(limit).unwrap_or(u32::MAX).min(MOST_AT_ONCE),
        };
        (self.read_at_once, self.write_at_once) = (within(read), within(write));
        Ok(())
    }

    /// Whether it is of no use any more: the server has ended it, or says something that nobody asked for.
    pub(crate) fn has_ended(&mut self) -> bool {
        if !self.read.is_empty() {
            return true;
        }
        let asked_again = Arc::new(AskedAgain::default());
        let waker = Waker::from(Arc::clone(&asked_again));
        // A channel takes one by one what comes beside its bytes, as word of more room, and wants to be asked again then: the
        // end may be behind it. Not for ever, as a server can say such things without end.
        for _ in 0..MOST_NEWS {
            let mut byte = [0];
            let polled =
                Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(&mut byte));
            if polled.is_ready() || !asked_again.0.swap(false, Ordering::Relaxed) {
                return polled.is_ready();
            }
        }
        true
    }

    /// What is under this name; a link is followed.
    pub(crate) async fn stat(&mut self, path: &[u8]) -> Result<Attributes, Error> {
        let reply = self.ask(&Request::Stat { path }).await?;
        attributes(reply, "to look at it")
    }

    /// The same of the link itself. mod_sftp follows it here, too.
    pub(crate) async fn lstat(&mut self, path: &[u8]) -> Result<Attributes, Error> {
        let reply = self.ask(&Request::Lstat { path }).await?;
        attributes(reply, "to look at it")
    }

    pub(crate) async fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        let reply = self.ask(&Request::Remove { path }).await?;
        done(reply, "to remove it")
    }

    pub(crate) async fn remove_folder(&mut self, path: &[u8]) -> Result<(), Error> {
        let reply = self.ask(&Request::RemoveFolder { path }).await?;
        done(reply, "to remove the folder")
    }

    pub(crate) async fn make_folder(&mut self, path: &[u8]) -> Result<(), Error> {
        let reply = self.ask(&Request::MakeFolder { path }).await?;
        done(reply, "to make the folder")
    }

    /// Where a file has the new name already, and the server can't replace it in one step, that one is set aside first.
    pub(crate) async fn rename(
        &mut self,
        from: &[u8],
        to: &[u8],
        over: Overwrite,
        begun: &UnfinishedFile,
    ) -> Result<(), Error> {
        if over == Overwrite::Replaced && self.renames_over {
            let reply = self.ask(&Request::PosixRename { from, to }).await?;
            return done(reply, "to rename it");
        }
        // Version 3 leaves open what becomes of a file that is there, and some servers replace it: there this look is all
        // that keeps it.
        if over == Overwrite::Refused && self.lstat(to).await.is_ok() {
            let refusal = SftpRefusal::new(EXISTS, b"");
            return Err(Error::Refused { operation: "to rename it", refusal });
        }
        let refusal = match self.rename_once(from, to).await {
            Err(error) if over == Overwrite::Replaced && from != to && Self::is_refusal(&error) => error,
            done => return done,
        };
        // That it was refused does not tell why: perhaps there is nothing to be renamed.
        if self.lstat(from).await.is_err() {
            return Err(refusal);
        }
        replace(self, (from, to), begun, refusal).await
    }

    /// The error, and the session if that goes on after it.
    pub(super) fn after(self, error: Error) -> (Error, Option<Self>) {
        let goes_on = matches!(error, Error::Refused { .. });
        (error, goes_on.then_some(self))
    }

    /// One request and its reply, where nothing else is under way.
    pub(super) async fn ask(&mut self, request: &Request<'_>) -> Result<SftpReply, Error> {
        let asked = self.send(request);
        match self.receive().await? {
            (id, reply) if id == asked => Ok(reply),
            _ => Err(FOREIGN),
        }
    }

    /// Closes what was opened.
    pub(super) async fn close(&mut self, handle: &[u8]) -> Result<(), Error> {
        let reply = self.ask(&Request::Close { handle }).await?;
        done(reply, "to close it")
    }

    /// Puts it in line, and says its number. It leaves with the next [`receive`](Self::receive) or
    /// [`poll_relieved`](Self::poll_relieved).
    pub(super) fn send(&mut self, request: &Request<'_>) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        request.write(id, &mut self.out);
        id
    }

    /// The next reply, to whichever request.
    pub(super) async fn receive(&mut self) -> Result<(u32, SftpReply), Error> {
        Ok(read_reply(self.receive_packet().await?)?)
    }

    async fn receive_packet(&mut self) -> Result<Bytes, Error> {
        poll_fn(|cx| self.poll_packet(cx)).await
    }

    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        loop {
            if let Some(packet) = packet::split(&mut self.read)? {
                return Poll::Ready(Ok(packet));
            }
            // A socket that takes nothing now may well give something.
            let _written = self.poll_out(cx)?;
            ready!(self.poll_in(cx))?;
        }
    }

    /// As [`receive`](Self::receive), for who waits for something else as well.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(u32, SftpReply), Error>> {
        let packet = ready!(self.poll_packet(cx))?;
        Poll::Ready(Ok(read_reply(packet)?))
    }

    /// Ready when little is left to be sent.
    pub(super) fn poll_relieved(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.poll_out(cx)?.is_ready() || self.out.len() <= SPARE { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Error> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Err(Error::Ended),
                Poll::Ready(written) => self.out.advance(written),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Pin::new(&mut self.stream).poll_flush(cx)?)
    }

    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Not each time: what was read before, and is not given on yet, would hold a buffer of that size for each few bytes.
        if self.read.capacity() - self.read.len() < AT_LEAST {
            self.read.reserve(AT_A_TIME);
        }
        // It keeps nothing from one poll to the next.
        match ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))? {
            0 => Poll::Ready(Err(Error::Ended)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<S: SftpChannel> NameSession for SftpSession<S> {
    type Error = Error;

    async fn rename_once(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let reply = self.ask(&Request::Rename { from, to }).await?;
        done(reply, "to rename it")
    }

    async fn remove_file(&mut self, path: &[u8]) -> Result<(), Error> {
        self.remove(path).await
    }

    fn is_refusal(error: &Error) -> bool {
        matches!(error, Error::Refused { .. })
    }
}

/// Whether whoever was polled wants to be polled again at once.
#[derive(Default)]
struct AskedAgain(AtomicBool);

impl Wake for AskedAgain {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// It has to be OK.
pub(super) fn done(reply: SftpReply, operation: &'static str) -> Result<(), Error> {
    match reply {
        SftpReply::Status { code: OK, .. } => Ok(()),
        reply => Err(refused(reply, operation)),
    }
}

pub(super) fn handle(reply: SftpReply, operation: &'static str) -> Result<Bytes, Error> {
    match reply {
        SftpReply::Handle(handle) => Ok(handle),
        reply => Err(refused(reply, operation)),
    }
}

pub(super) fn attributes(reply: SftpReply, operation: &'static str) -> Result<Attributes, Error> {
    match reply {
        SftpReply::Attributes(attributes) => Ok(attributes),
        reply => Err(refused(reply, operation)),
    }
}

/// A reply that is not the one hoped for.
pub(super) fn refused(reply: SftpReply, operation: &'static str) -> Error {
    match reply {
        SftpReply::Status { code: OK, .. } => Error::Protocol("it says OK where something was asked for"),
        SftpReply::Status { code, text } => Error::Refused { operation, refusal: SftpRefusal::new(code, &text) },
        _ => Error::Protocol("a reply is of another kind than its request"),
    }
}

/// Whether it says that there is no more.
pub(super) fn is_end(reply: &SftpReply) -> bool {
    matches!(reply, SftpReply::Status { code: END, .. })
}

pub(super) const FOREIGN: Error = Error::Protocol("a reply is to no request");
/// What every server takes (draft §3).
pub(super) const SAFE_AT_ONCE: u32 = 32 * 1024;
/// Enough for one of a few packets under way to keep a fast disk busy.
const MOST_AT_ONCE: u32 = 256 * 1024 - 1024;
/// Bytes under way at most, of a file that is read or written.
pub(super) const UNDER_WAY: u64 = 1024 * 1024;
/// Requests under way at most: many times as many as those bytes are mostly asked for in.
pub(super) const MOST_REQUESTS: usize = 1024;
/// More than comes beside the bytes of a session at rest.
const MOST_NEWS: usize = 64;
const SPARE: usize = 256 * 1024;
const AT_A_TIME: usize = 64 * 1024;
const AT_LEAST: usize = 4 * 1024;
