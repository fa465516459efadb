//! An answer on its way in.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::body::Rest;
use super::head::{self, Head};
use crate::transport::http::HEAD_BYTES;
use crate::transport::{Error, spare};

/// What was read of an answer, and how much of it was understood. Does not care in which pieces it came.
pub(super) struct Download {
    /// What came and was not taken yet.
    read: BytesMut,
    /// How much of it was found to hold no end of a head.
    looked: usize,
    interim: u32,
    state: State,
    /// Whether another request may follow, as far as this side of the connection says.
    keep: bool,
}

enum State {
    Waiting,
    /// The head was taken, and this is to come of the body. A connection is at rest like this, with nothing to come.
    Answered(Rest),
    /// There is no such answer, or it broke off.
    Broken,
}

impl Download {
    /// Of a connection that was not used yet.
    pub(super) fn none() -> Self {
        Self { read: BytesMut::new(), looked: 0, interim: 0, state: State::Answered(Rest::Over), keep: true }
    }

    /// A request is sent.
    pub(super) fn begin(&mut self) {
        (self.looked, self.interim, self.state) = (0, 0, State::Waiting);
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether the answer was taken to its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.state, State::Answered(rest) if rest.is_over())
    }

    /// Whether another request may follow on the connection now: bytes that nobody asked for forbid it.
    pub(super) fn is_reusable(&self) -> bool {
        self.keep && self.is_over() && self.is_empty()
    }

    /// Whether nothing is there that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// No other request may follow.
    pub(super) fn forbid(&mut self) {
        self.keep = false;
    }

    /// Nothing that comes will be understood.
    pub(super) fn break_off(&mut self) {
        (self.state, self.keep) = (State::Broken, false);
    }

    /// How many bytes are to come of the body, if that is certain.
    pub(super) fn exact(&self) -> Option<u64> {
        match &self.state {
            State::Answered(rest) => rest.exact(),
            State::Waiting | State::Broken => None,
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
            return Err(Error::Protocol("it switches protocols, which nobody asked for".to_owned()));
        }
        let mut rest = head.rest(method)?;
        self.keep = head.keeps_alive();
        let whole = rest.whole(&mut self.read);
        self.state = State::Answered(rest);
        self.spare_buffer();
        Ok((head, whole))
    }

    /// The next piece of the body that is here.
    ///
    /// # Errors
    ///
    /// When it breaks off.
    pub(super) fn take_frame(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let State::Answered(rest) = &mut self.state else { return Ok(None) };
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
        self.keep = false;
        let State::Answered(rest) = &mut self.state else { return Ok(()) };
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
            self.read = spare::buffer();
        }
        let (least, most) = if matches!(self.state, State::Waiting) { HEAD_ROOM } else { BODY_ROOM };
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
        if self.read.is_empty() {
            spare::keep_buffer(std::mem::take(&mut self.read));
        }
    }
}

/// More than any protocol has use for: a service that sends one after the other would hold a request for ever.
const INTERIM_ANSWERS: u32 = 32;

/// The least room for a read, and what is made if there is less. A small answer comes in one; TLS gives up to 16 KiB.
const HEAD_ROOM: (usize, usize) = (8 * 1024, 8 * 1024);
const BODY_ROOM: (usize, usize) = (16 * 1024, 64 * 1024);
