//! The bytes of h2 on their way to the socket, with our heads in them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::encoder::HeadEncoder;
use super::pending::PendingHeads;

/// What h2 writes to. All that is ready goes in one write, when h2 flushes.
pub(in crate::transport::h2) struct SplicedWire<W> {
    wire: W,
    heads: Rc<PendingHeads>,
    encoder: HeadEncoder,
    /// How much passes as it is: the preface, and what is in most frames.
    passing: usize,
    /// The frame that begins after that, as far as it came.
    frame: Vec<u8>,
    /// The head that is written.
    block: Vec<u8>,
    /// The highest stream whose head was written.
    opened: u32,
    /// What waits for the socket, and how much of it went.
    ready: Vec<u8>,
    gone: usize,
}

/// The head of a frame (RFC 9113 §4.1).
#[derive(Clone, Copy)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl<W> SplicedWire<W> {
    pub(in crate::transport::h2) fn new(wire: W, heads: Rc<PendingHeads>) -> Self {
        Self {
            wire,
            heads,
            encoder: HeadEncoder::new(),
            passing: PREFACE_BYTES,
            frame: Vec::new(),
            block: Vec::new(),
            opened: 0,
            ready: Vec::new(),
            gone: 0,
        }
    }

    /// # Errors
    ///
    /// When h2 writes the head of a request that nobody knows.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let passing = split(&mut bytes, self.passing);
            self.ready.extend_from_slice(passing);
            self.passing -= passing.len();
            if bytes.is_empty() {
                return Ok(());
            }
            let wanted = FrameHead::of(&self.frame).map_or(FRAME_HEAD_BYTES, |head| FRAME_HEAD_BYTES + head.length);
            self.frame.extend_from_slice(split(&mut bytes, wanted - self.frame.len()));
            let Some(head) = FrameHead::of(&self.frame) else { continue };
            if head.kind != HEADERS {
                self.ready.extend_from_slice(&self.frame);
                self.frame.clear();
                self.passing = head.length;
            } else if self.frame.len() == FRAME_HEAD_BYTES + head.length {
                self.splice(head)?;
                self.frame.clear();
            }
        }
    }

    /// Writes what belongs in the place of a frame of HEADERS.
    fn splice(&mut self, frame: FrameHead) -> io::Result<()> {
        let replaced = self.frame.get(FRAME_HEAD_BYTES..).unwrap_or_default();
        // Whatever follows, the table changes here: the service was told so, or is now.
        let resized = self.encoder.resized(replaced);
        self.block.clear();
        self.block.extend_from_slice(resized);
        if self.heads.write(frame.stream, &mut self.encoder, &mut self.block) {
            self.opened = frame.stream;
            self.write_block(frame);
            return Ok(());
        }
        if frame.stream > self.opened {
            return Err(io::Error::other("a request without a head"));
        }
        // Trailers.
        self.ready.extend_from_slice(&self.frame);
        Ok(())
    }

    /// Writes the head, in as many frames as it takes (RFC 9113 §6.10).
    fn write_block(&mut self, first: FrameHead) {
        let mut left = self.block.len().div_ceil(FRAME_BYTES);
        let mut next = FrameHead { flags: first.flags & !END_HEADERS, ..first };
        for part in self.block.chunks(FRAME_BYTES) {
            left -= 1;
            let ends = if left == 0 { END_HEADERS } else { 0 };
            let head = FrameHead { length: part.len(), flags: next.flags | ends, ..next };
            self.ready.extend_from_slice(&head.bytes());
            self.ready.extend_from_slice(part);
            next = FrameHead { kind: CONTINUATION, flags: 0, ..next };
        }
        self.block.shrink_to(FRAME_BYTES);
    }
}

impl<W: AsyncWrite + Unpin> SplicedWire<W> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.ready.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.wire).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.gone += bytes,
            }
        }
        self.gone = 0;
        self.ready.clear();
        self.ready.shrink_to(2 * READY_BYTES);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for SplicedWire<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_read(cx, buffer)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for SplicedWire<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // An upload that the socket has no room for waits at h2, which knows how much of it there may be.
        if this.ready.len() >= READY_BYTES {
            ready!(this.poll_drain(cx))?;
        }
        let mut taken = 0;
        for slice in slices {
            // The service may let h2 write all of a piece in one frame.
            let part = slice.split_at(slice.len().min(READY_BYTES - taken)).0;
            this.take(part)?;
            taken += part.len();
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.wire).poll_shutdown(cx)
    }
}

impl FrameHead {
    /// `None`: not all of it is there.
    fn of(frame: &[u8]) -> Option<Self> {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0] = frame.first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([s3, s2, s1, s0]) })
    }

    fn bytes(self) -> [u8; FRAME_HEAD_BYTES] {
        let ([_, l2, l1, l0], [s3, s2, s1, s0]) = ((self.length as u32).to_be_bytes(), self.stream.to_be_bytes());
        [l2, l1, l0, self.kind, self.flags, s3, s2, s1, s0]
    }
}

/// Takes so much off the front of `bytes`, or all there is.
fn split<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    front
}

/// RFC 9113 §3.4.
const PREFACE_BYTES: usize = 24;

const FRAME_HEAD_BYTES: usize = 9;

/// RFC 9113 §6.2, §6.10.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What every service bears in one frame (RFC 9113 §4.2).
const FRAME_BYTES: usize = 16 * 1024;

/// From here on what is ready goes before more is taken, and no more is taken at a time.
const READY_BYTES: usize = 2 * FRAME_BYTES;
