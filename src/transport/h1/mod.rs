//! A client of HTTP/1.1 that needs no task of its own: whoever waits for the answer moves the connection's bytes.
//!
//! Promises that a connection is used again only if the request was written, its answer read, and not a byte came
//! that nobody asked for; that a body which breaks off is never taken for whole; and that an idle connection holds no
//! buffer. An answer is read strictly: where two readers could disagree on where it ends, there is none.
//!
//! Reads what services send, never what an app does.
//!
//! ```text
//!            send                 head read               body read, request written
//!   at rest ─────► waiting ──────────────────► answered ──────────────────────────► at rest
//! ```

mod body;
mod head;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use tokio::io::AsyncReadExt;

use self::body::{Rest, Stuck, Upload};
use self::head::{Head, Malformed};
use super::http::{Answer, HEAD_BYTES, Unsent};
use super::wire::{Wire, is_gone};
use super::{Error, Outgoing, Spelling, spare};
use crate::tls::Failure;

/// An HTTP/1.1 connection: carries one request at a time.
pub(crate) struct Exclusive {
    wire: Wire,
    spelling: Spelling,
    /// What came and was not taken yet.
    read: BytesMut,
    /// How much of it was found to hold no end of a head.
    looked: usize,
    upload: Upload,
    /// Of the request that goes on now.
    method: Method,
    state: State,
    /// Whether another request may follow.
    keep: bool,
    interim: u32,
    /// Why nothing can be written any more; what was said before that may still be read.
    gone: Option<io::Error>,
    /// Who reads the answer's body, while another task writes the rest of the request.
    reader: Option<Waker>,
}

enum State {
    Waiting,
    /// The head was read, and this is to come of the body. A connection is at rest like this, with nothing to come.
    Answered(Rest),
    /// The answer broke off, for a reason that may have to be told yet.
    Broken(Option<Error>),
}

impl Exclusive {
    pub(super) fn new(wire: Wire, spelling: Spelling) -> Self {
        Self {
            wire,
            spelling,
            read: BytesMut::new(),
            looked: 0,
            upload: Upload::none(),
            method: Method::GET,
            state: State::Answered(Rest::Over),
            keep: true,
            interim: 0,
            gone: None,
            reader: None,
        }
    }

    /// Sends one request; see [`Sender::send`](super::Sender::send). Not polled to the end, it leaves a connection
    /// that is good for nothing.
    pub(crate) fn poll_send(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Answer>, Unsent>> {
        if !matches!(self.state, State::Waiting) {
            if !self.is_ready() {
                let error = Error::Terminated("it was no longer open".to_owned());
                return Poll::Ready(Err(Unsent { error, whole: true, not_processed: true }));
            }
            self.begin(outgoing);
        }
        let outcome = ready!(self.poll_answer(cx));
        Poll::Ready(outcome.map_err(|error| self.unsent(error, outgoing)))
    }

    /// The next piece of the answer's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let rest = match &mut self.state {
                State::Answered(rest) => rest,
                State::Broken(error) => return Poll::Ready(error.take().map(Err)),
                State::Waiting => return Poll::Ready(None),
            };
            match rest.next(&mut self.read) {
                Ok(Some(frame)) => {
                    self.spare_buffer();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if rest.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(malformed) => self.break_off(Error::Incomplete(malformed.0.to_owned())),
            }
            if let Err(error) = ready!(self.poll_more(cx)) {
                self.break_off(error);
            }
        }
    }

    /// Whether the answer was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&self.state, State::Answered(rest) if rest.is_over())
    }

    /// What is still to come of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let State::Answered(rest) = &self.state else { return SizeHint::default() };
        rest.exact().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Whether the request is still on its way.
    pub(crate) fn is_uploading(&self) -> bool {
        !self.upload.is_done() && self.gone.is_none()
    }

    /// Writes the rest of a request whose answer came before its end; ready when that is done, or has become pointless.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = self.write(cx) {
            self.break_off(error);
        }
        let over = !self.is_uploading() || matches!(self.state, State::Broken(_));
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether no other request may be sent on it, as far as is known.
    pub(crate) fn is_closed(&mut self) -> bool {
        !self.keep || (self.is_at_rest() && self.was_spoken_on())
    }

    /// Whether the next request may be sent now, as far as is known.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.is_at_rest() && !self.is_closed()
    }

    fn is_at_rest(&self) -> bool {
        self.is_over() && self.upload.is_done()
    }

    /// Whether the service did what it must not do between requests: say something, or leave.
    ///
    /// What the runtime knows of the socket already is all that is looked at, so this costs no system call.
    fn was_spoken_on(&mut self) -> bool {
        if self.read.is_empty() && !self.wire.has_news() {
            return false;
        }
        // It may be nothing but a session ticket of TLS.
        let silent = self.read.is_empty() && self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending();
        self.keep = silent;
        !silent
    }

    fn begin(&mut self, outgoing: &mut Outgoing) {
        if self.method != outgoing.method {
            self.method = outgoing.method.clone();
        }
        self.upload.begin(outgoing, spare::lines(), self.spelling);
        (self.state, self.looked, self.interim) = (State::Waiting, 0, 0);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Answer>, Error>> {
        loop {
            self.write(cx)?;
            if let Some((head, fields)) = self.take_head()? {
                return Poll::Ready(self.answered(head, fields));
            }
            let read = ready!(self.poll_fill(cx)).map_err(lost)?;
            if read == 0 {
                return Poll::Ready(Err(self.ended_unanswered()));
            }
        }
    }

    /// Writes as much of the request as can be written now.
    ///
    /// That the other side is gone is no error yet: an answer, or an alert of TLS, may still be unread.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if !self.is_uploading() {
            return Ok(());
        }
        match self.upload.poll(&mut self.wire, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => spare::keep_lines(self.upload.stop()),
            Poll::Ready(Err(Stuck::Connection(error))) if is_gone(&error) => self.gone = Some(error),
            Poll::Ready(Err(Stuck::Connection(error))) => return Err(lost(error)),
            Poll::Ready(Err(Stuck::Body(error))) => return Err(Error::RequestBody(error.to_string())),
            Poll::Ready(Err(Stuck::Short)) => {
                return Err(Error::RequestBody("the app's body is shorter than it said".to_owned()));
            }
        }
        Ok(())
    }

    /// The head of the final answer, if it is there.
    fn take_head(&mut self) -> Result<Option<(Head, HeaderMap)>, Error> {
        while !self.read.is_empty() && head::may_end(&self.read, self.looked) {
            let mut fields = spare::fields();
            let Some(head) = head::parse(&mut self.read, &mut fields)? else {
                spare::keep_fields(fields);
                self.looked = self.read.len();
                return Ok(None);
            };
            if !head.is_interim() {
                return Ok(Some((head, fields)));
            }
            spare::keep_fields(fields);
            self.looked = 0;
            self.note_interim(head.status)?;
        }
        if self.read.len() > HEAD_BYTES { Err(head::TOO_LONG.into()) } else { Ok(None) }
    }

    fn note_interim(&mut self, status: StatusCode) -> Result<(), Error> {
        self.interim += 1;
        if self.interim > INTERIM_ANSWERS {
            return Err(Error::Protocol(format!("it sent more than {INTERIM_ANSWERS} interim answers")));
        }
        if status == StatusCode::CONTINUE {
            self.open_gate();
        }
        Ok(())
    }

    fn open_gate(&self) {
        if let Some(gate) = self.upload.gate() {
            gate.open();
        }
    }

    fn answered(&mut self, head: Head, fields: HeaderMap) -> Result<Response<Answer>, Error> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Protocol("it switches protocols, which nobody asked for".to_owned()));
        }
        // What becomes of the app's body is between the app and the service now.
        self.open_gate();
        let mut rest = head.rest(&self.method)?;
        self.keep = head.keeps_alive() && self.gone.is_none();
        let whole = rest.whole(&mut self.read);
        self.state = State::Answered(rest);
        self.spare_buffer();

        let mut response = Response::new(whole.map_or(Answer::Coming, Answer::Whole));
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = fields;
        if let Some(reason) = head.reason {
            response.extensions_mut().insert(reason);
        }
        Ok(response)
    }

    fn ended_unanswered(&mut self) -> Error {
        Error::Terminated(match self.gone.take() {
            Some(error) => error.to_string(),
            None if self.read.is_empty() => "it sent nothing".to_owned(),
            None => "it sent half a head".to_owned(),
        })
    }

    fn unsent(&mut self, error: Error, outgoing: &mut Outgoing) -> Unsent {
        (self.keep, self.state) = (false, State::Broken(None));
        let not_processed = !self.upload.has_begun();
        let body = if self.read.is_empty() { self.upload.take_back() } else { None };
        let whole = body.is_some();
        if let Some(body) = body {
            outgoing.body = body;
        }
        Unsent { error, whole, not_processed }
    }

    /// More of the answer's body, or its end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let filled = self.poll_fill(cx);
        if filled.is_pending() && self.is_uploading() {
            // Who writes the request in the meantime may have bad news.
            self.reader = Some(cx.waker().clone());
        }
        let read = ready!(filled).map_err(|error| Error::Incomplete(error.to_string()))?;
        match &mut self.state {
            State::Answered(rest) if read == 0 => {
                // Who says where a body ends by closing says no more.
                self.keep = false;
                Poll::Ready(rest.close().map_err(|malformed| Error::Incomplete(malformed.0.to_owned())))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn break_off(&mut self, error: Error) {
        self.state = State::Broken(Some(error));
        self.keep = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Reads once; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() == 0 {
            self.read = spare::buffer();
        }
        let (least, most) = match &self.state {
            State::Answered(rest) if rest.exact() != Some(0) => BODY_ROOM,
            _ => HEAD_ROOM,
        };
        if self.read.capacity() - self.read.len() < least {
            self.read.reserve(most);
        }
        let filled = pin!(self.wire.read_buf(&mut self.read)).poll(cx);
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

/// At rest it ends in peace, else in a reset: half a request must not look whole.
impl Drop for Exclusive {
    fn drop(&mut self) {
        if self.is_at_rest() {
            self.wire.end();
        }
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::Protocol(malformed.0.to_owned())
    }
}

/// How a connection was lost before an answer came.
fn lost(error: io::Error) -> Error {
    Failure::of(error).into()
}

/// More than any protocol has use for: a service that sends one after the other would hold a request for ever.
const INTERIM_ANSWERS: u32 = 32;

/// Room for one read, at least and when it has to be made. A small answer comes in one; TLS gives up to 16 KiB at once.
const HEAD_ROOM: (usize, usize) = (8 * 1024, 8 * 1024);
const BODY_ROOM: (usize, usize) = (16 * 1024, 64 * 1024);
