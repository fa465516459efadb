//! An answer on its way in.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::body::AnswerRest;
use super::head::{self, Head};
use super::upload::WrittenToEnd;
use crate::transport::bounds::{HEAD_BYTES, INTERIM_ANSWERS};
use crate::transport::{Error, ProtocolSwitch, scratch};

/// What was read of an answer, and how much of it was understood. Does not care in which pieces it came.
pub(super) struct Download {
    /// What came and was not taken yet.
    read: BytesMut,
    /// How much of it was found to hold no end of a head.
    looked: usize,
    interim: u32,
    /// Of the request that goes on now.
    switch: ProtocolSwitch,
    state: ReadState,
}

/// ```text
///  fresh ─► asking ─► asked ─┬► answered (may follow) ─┐ at its end, the request after it
///     ▲        │             └► switched               │
///     │        └─────────────► answered (the last)     │
///     └────────────────────────────────────────────────┘
/// ```
enum ReadState {
    /// No request was sent on this connection yet.
    Fresh,
    /// The request is being written.
    Asking,
    /// It was written to its end.
    Asked(WrittenToEnd),
    /// The head was taken, and this is to come of the body. With the proof that the request had been written to its end
    /// *before*, if the head says that another may follow. A service that answers sooner may never read the rest, and
    /// would take it for the next request (RFC 9112 §9.3): whatever becomes of that rest, the proof can't be had any more.
    Answered(AnswerRest, Option<WrittenToEnd>),
    /// The service has switched to what it was asked for: what comes from here on is no HTTP.
    Switched,
    /// There is no such answer, or it broke off.
    Broken,
}

impl Download {
    /// Of a connection that was not used yet.
    pub(super) fn none() -> Self {
        Self { read: BytesMut::new(), looked: 0, interim: 0, switch: ProtocolSwitch::NotAsked, state: ReadState::Fresh }
    }

    /// A request is sent.
    pub(super) fn begin(&mut self, switch: ProtocolSwitch) {
        (self.looked, self.interim, self.switch, self.state) = (0, 0, switch, ReadState::Asking);
    }

    /// The request was written to its end: of use only if that is before its answer.
    pub(super) fn asked(&mut self, written: WrittenToEnd) {
        if matches!(self.state, ReadState::Asking) {
            self.state = ReadState::Asked(written);
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.state, ReadState::Fresh)
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, ReadState::Asking | ReadState::Asked(_))
    }

    /// Whether there is no answer of which anything is to come.
    pub(super) fn is_over(&self) -> bool {
        match &self.state {
            ReadState::Fresh => true,
            ReadState::Answered(rest, _) => rest.is_over(),
            ReadState::Asking | ReadState::Asked(_) | ReadState::Switched | ReadState::Broken => false,
        }
    }

    /// Whether another request may follow on the connection now: bytes that nobody asked for forbid it.
    pub(super) fn is_reusable(&self) -> bool {
        let ended_well = match &self.state {
            ReadState::Fresh => true,
            ReadState::Answered(rest, Some(WrittenToEnd { .. })) => rest.is_over(),
            ReadState::Answered(_, None)
            | ReadState::Asking
            | ReadState::Asked(_)
            | ReadState::Switched
            | ReadState::Broken => false,
        };
        ended_well && self.is_empty()
    }

    /// Whether a request was written to its end, and not answered yet.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, ReadState::Asked(_))
    }

    /// Whether the answer was announced by an interim one.
    pub(super) fn was_announced(&self) -> bool {
        self.interim > 0
    }

    /// Whether nothing is there that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// No other request may follow.
    pub(super) fn forbid(&mut self) {
        match &mut self.state {
            ReadState::Fresh => self.state = ReadState::Answered(AnswerRest::Over, None),
            ReadState::Answered(_, written) => *written = None,
            ReadState::Asking | ReadState::Asked(_) | ReadState::Switched | ReadState::Broken => {}
        }
    }

    /// Nothing that comes will be understood.
    pub(super) fn break_off(&mut self) {
        self.state = ReadState::Broken;
    }

    /// How many bytes are to come of the body, if that is certain.
    pub(super) fn exact(&self) -> Option<u64> {
        match &self.state {
            ReadState::Answered(rest, _) => rest.exact(),
            ReadState::Fresh | ReadState::Asking | ReadState::Asked(_) | ReadState::Switched | ReadState::Broken => {
                None
            }
        }
    }

    /// The head of the final answer to a request of this method, and its body if all of that is here and has a length.
    /// Fields go into `fields`; `go_on` hears of a `100`.
    ///
    /// # Errors
    ///
    /// When no answer will come of it that can be passed on.
    pub(super) fn take_head(
        &mut self,
        method: &Method,
        fields: &mut HeaderMap,
        go_on: impl Fn(),
    ) -> Result<Option<(Head, Option<Bytes>)>, Error> {
        while !self.read.is_empty() && head::may_end(&self.read, self.looked) {
            let Some(head) = head::parse(&mut self.read, fields)? else {
                self.looked = self.read.len();
                break;
            };
            self.looked = 0;
            if !head.is_interim() {
                return self.answered(head, method).map(Some);
            }
            self.interim += 1;
            if self.interim > INTERIM_ANSWERS {
                return Err(Error::Protocol(format!("it sent more than {INTERIM_ANSWERS} interim answers")));
            }
            if head.status == StatusCode::CONTINUE {
                go_on();
            }
        }
        if self.read.len() > HEAD_BYTES { Err(head::TOO_LONG.into()) } else { Ok(None) }
    }

    fn answered(&mut self, head: Head, method: &Method) -> Result<(Head, Option<Bytes>), Error> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched().map(|()| (head, None));
        }
        let mut rest = head.rest(method)?;
        let written = match std::mem::replace(&mut self.state, ReadState::Broken) {
            ReadState::Asked(written) if head.keeps_alive() => Some(written),
            _ => None,
        };
        let whole = rest.whole(&mut self.read);
        self.state = ReadState::Answered(rest, written);
        self.spare_buffer();
        Ok((head, whole))
    }

    /// What follows the head, and has come with it, is no HTTP and stays where it is.
    fn switched(&mut self) -> Result<(), Error> {
        // A request that is still on its way would go on in the midst of the other protocol.
        match (self.switch, &self.state) {
            (ProtocolSwitch::Asked, ReadState::Asked(_)) => {
                self.state = ReadState::Switched;
                Ok(())
            }
            _ => Err(Error::Protocol("it switches protocols, which nobody asked for".to_owned())),
        }
    }

    /// Whether the service has switched to what it was asked for.
    pub(super) fn has_switched(&self) -> bool {
        matches!(self.state, ReadState::Switched)
    }

    /// Takes what came with the head of the answer, into `room`; whether there was something.
    pub(super) fn take_early(&mut self, room: &mut ReadBuf<'_>) -> bool {
        let taken = self.read.len().min(room.remaining());
        // Invariant: there is as much.
        room.put_slice(&self.read[..taken]);
        self.read.advance(taken);
        self.spare_buffer();
        taken > 0
    }

    /// The next piece of the body that is here.
    ///
    /// # Errors
    ///
    /// When it breaks off.
    pub(super) fn take_frame(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let ReadState::Answered(rest, _) = &mut self.state else { return Ok(None) };
        let taken = rest.next(&mut self.read);
        self.spare_buffer();
        taken.map_err(|malformed| Error::Incomplete(malformed.0.to_owned()))
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// When the body is not at its end.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        let ReadState::Answered(rest, written) = &mut self.state else { return Ok(()) };
        *written = None;
        rest.close().map_err(|malformed| Error::Incomplete(malformed.0.to_owned()))
    }

    /// What is there instead of a head.
    pub(super) fn shortfall(&self) -> &'static str {
        if self.read.is_empty() { "it sent nothing" } else { "it sent half a head" }
    }

    /// Reads once from `stream`; 0 bytes are its end.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.read.capacity() == 0 {
            self.read = scratch::buffer();
        }
        let (least, most) = if self.is_awaited() { HEAD_ROOM } else { BODY_ROOM };
        if self.read.capacity() - self.read.len() < least {
            self.read.reserve(most);
        }
        let filled = pin!(stream.read_buf(&mut self.read)).poll(cx);
        if filled.is_pending() {
            self.spare_buffer();
        }
        filled
    }

    /// Holds no memory for nothing.
    fn spare_buffer(&mut self) {
        // Of one that was kept already nothing is left that would be worth its place.
        if self.read.is_empty() && self.read.capacity() > 0 {
            scratch::keep_buffer(std::mem::take(&mut self.read));
        }
    }
}

/// The least room for a read, and what is made if there is less. A small answer comes in one; TLS gives up to 16 KiB.
const HEAD_ROOM: (usize, usize) = (8 * 1024, 8 * 1024);
const BODY_ROOM: (usize, usize) = (16 * 1024, 64 * 1024);
