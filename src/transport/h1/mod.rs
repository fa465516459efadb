//! A client of HTTP/1.1 that needs no task of its own: whoever waits for the answer moves the connection's bytes.
//!
//! Promises that a connection is used again only if the request was written to its end before its answer began, that
//! answer read to its own, and not a byte came that nobody asked for; that a body which breaks off is never taken for
//! whole; and that an idle connection holds no buffer. An answer is read strictly: where two readers could disagree on
//! where it ends, there is none.
//!
//! Reads what services send, never what an app does.
//!
//! ```text
//!            send             request written              head read               body read
//!   AtRest ───────► Http1Connection ───────────────► awaited ─────────────► answered ────────────► AtRest
//!                       │ head read                 what may not follow │
//!                       └─────────────────► answered for the last time ─┴──► closed
//! ```

mod body;
mod download;
mod head;
mod switched;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod upload;

use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response};
use hyper::body::{Frame, SizeHint};

use self::download::Download;
use self::head::{Head, Malformed};
pub(crate) use self::switched::SwitchedConnection;
use self::upload::{RequestWriter, UploadStuck};
use super::error::{PERHAPS_TLS, Unsent};
use super::http::AnswerBody;
use super::wire::{Wire, WireExperience, is_gone};
use super::{Error, Outgoing, Spelling, scratch};

/// An HTTP/1.1 connection between two requests: nothing is owed on either side. Made by [`Http1Connection::into_rest`] alone.
pub(crate) struct AtRest(Box<Http1Connection>);

/// An HTTP/1.1 connection: carries one request at a time.
pub(crate) struct Http1Connection {
    wire: Wire,
    spelling: Spelling,
    upload: RequestWriter,
    download: Download,
    /// Of the request that goes on now.
    method: Method,
    /// Whether another went before it.
    used: bool,
    /// Why nothing can be written any more; what was said before that may still be read.
    gone: Option<io::Error>,
    /// Why the answer broke off, to be told.
    fault: Option<Error>,
    /// How many bytes of the answer were given since its reader had a turn.
    ahead: usize,
    /// Who reads the answer's body, while another task writes the rest of the request.
    reader: Option<Waker>,
}

impl Http1Connection {
    pub(super) fn new(wire: Wire, spelling: Spelling) -> Self {
        Self {
            wire,
            spelling,
            upload: RequestWriter::none(),
            download: Download::none(),
            method: Method::GET,
            used: false,
            gone: None,
            fault: None,
            ahead: 0,
            reader: None,
        }
    }

    /// Sends one request; see [`Sender::send`](super::Sender::send). Not polled to the end, it leaves a connection
    /// that is good for nothing.
    pub(crate) fn poll_send(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<AnswerBody>, Unsent>> {
        if !self.download.is_awaited() {
            if self.is_closed() {
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
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let polled = self.poll_body(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            // A round later: what was given before it can be on its way to the app by then, and is not lost with it.
            self.break_off(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    /// Whether the answer was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.download.is_over()
    }

    /// What is still to come of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.download.exact().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Whether the request is still on its way.
    pub(crate) fn is_uploading(&self) -> bool {
        !self.upload.is_done() && self.gone.is_none()
    }

    /// The connection, ready for another request; `None`: it was the last one, or has not ended, and the connection is
    /// closed.
    pub(crate) fn into_rest(self: Box<Self>) -> Option<AtRest> {
        (self.is_at_rest() && self.download.is_reusable()).then(|| AtRest(self))
    }

    /// What the service has switched to; `None`: to nothing.
    pub(crate) fn into_switched(self: Box<Self>) -> Option<SwitchedConnection> {
        self.download.has_switched().then(|| SwitchedConnection::new(self))
    }

    /// How many bytes of the request were written.
    pub(crate) fn uploaded(&self) -> u64 {
        self.upload.written()
    }

    /// Writes the rest of a request whose answer came before its end; ready when that is done, or has become pointless.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.write(cx) {
            Ok(()) if self.is_uploading() => Poll::Pending,
            Ok(()) => Poll::Ready(()),
            Err(error) => {
                self.break_off(error);
                if let Some(reader) = self.reader.take() {
                    reader.wake();
                }
                Poll::Ready(())
            }
        }
    }

    /// Whether no request may be sent on it now, as far as is known.
    pub(crate) fn is_closed(&mut self) -> bool {
        !self.is_at_rest() || !self.download.is_reusable() || self.was_spoken_on()
    }

    fn is_at_rest(&self) -> bool {
        self.download.is_over() && self.upload.is_done()
    }

    /// Whether the service did what it must not do between requests: say something, or leave.
    ///
    /// Nothing but what the runtime knows of the socket is looked at as long as that is nothing new, so this costs no
    /// system call.
    fn was_spoken_on(&mut self) -> bool {
        if !self.wire.has_news() {
            return false;
        }
        // It may be a session ticket of TLS.
        let nothing = self.download.poll_fill(&mut self.wire, &mut Context::from_waker(Waker::noop())).is_pending();
        // The runtime's note is still there after a read that it put off, as this task has had its turn for now.
        let silent = nothing && !self.wire.has_news();
        if !silent {
            self.download.forbid();
        }
        !silent
    }

    fn begin(&mut self, outgoing: &mut Outgoing) {
        self.used = !self.download.is_fresh();
        self.method.clone_from(&outgoing.method);
        self.upload.begin(outgoing, scratch::lines(), self.spelling);
        self.download.begin(outgoing.switch);
        self.ahead = 0;
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<AnswerBody>, Error>> {
        loop {
            self.write(cx)?;
            if let Some(answer) = self.take_answer()? {
                return Poll::Ready(Ok(answer));
            }
            let read = ready!(self.poll_read(cx)).map_err(|error| self.failure(error))?;
            if read == 0 {
                let gone = self.gone.take().map(|error| error.to_string());
                let what = gone.unwrap_or_else(|| self.download.shortfall().to_owned());
                return Poll::Ready(Err(Error::Terminated(self.with_a_guess(what))));
            }
        }
    }

    /// A first request that ends without a word is often one whose client certificate was not liked, or one that came to a
    /// port of TLS without it.
    fn with_a_guess(&self, what: String) -> String {
        if self.experience() == WireExperience::Answered {
            return what;
        }
        match self.wire.seen().why_silent().or_else(|| self.perhaps_tls()) {
            Some(guess) => format!("{what}; {guess}"),
            None => what,
        }
    }

    /// What a read or a write failed with.
    fn failure(&self, error: io::Error) -> Error {
        let experience = self.experience();
        match (self.wire.failure(error, experience).into(), self.perhaps_tls()) {
            (Error::Terminated(what), Some(guess)) if experience == WireExperience::Unproven => {
                Error::Terminated(format!("{what}; {guess}"))
            }
            (error, _) => error,
        }
    }

    /// A port of TLS that gets plain HTTP says so in TLS, or says nothing.
    fn perhaps_tls(&self) -> Option<String> {
        let is_silent = self.wire.tls().is_none() && self.download.is_empty();
        is_silent.then(|| PERHAPS_TLS.to_owned())
    }

    fn experience(&self) -> WireExperience {
        if self.used || !self.download.is_awaited() { WireExperience::Answered } else { WireExperience::Unproven }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ahead >= TURN_BYTES {
            // Who takes all that there is writes none of it meanwhile; written, its memory serves the next read.
            self.ahead = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(frame) = self.download.take_frame()? {
                self.ahead += frame.data_ref().map_or(0, Bytes::len);
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.download.is_over() {
                return Poll::Ready(None);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => self.download.close()?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(Error::Incomplete(error.to_string())))),
                Poll::Pending => {
                    self.ahead = 0;
                    if self.is_uploading() {
                        // Who writes the request in the meantime may have bad news.
                        self.reader = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once; 0 bytes are the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.wire.poll_news(cx))?;
        self.download.poll_fill(&mut self.wire, cx)
    }

    fn break_off(&mut self, error: Error) {
        self.download.break_off();
        self.fault = Some(error);
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
            Poll::Ready(Ok(written)) => {
                self.download.asked(written);
                scratch::keep_lines(self.upload.finish());
            }
            Poll::Ready(Err(UploadStuck::Connection(error))) if is_gone(&error) => self.gone = Some(error),
            Poll::Ready(Err(UploadStuck::Connection(error))) => return Err(self.failure(error)),
            Poll::Ready(Err(UploadStuck::Body(error))) => return Err(Error::RequestBody(error.to_string())),
            Poll::Ready(Err(UploadStuck::Short)) => {
                return Err(Error::RequestBody("the app's body is shorter than it said".to_owned()));
            }
        }
        Ok(())
    }

    /// The answer, if its head is here.
    fn take_answer(&mut self) -> Result<Option<Response<AnswerBody>>, Error> {
        if self.download.is_empty() {
            return Ok(None);
        }
        let gate = self.upload.gate();
        let open = || gate.iter().for_each(|gate| gate.open());
        let mut fields = scratch::fields();
        let may_be_late = self.used && self.download.is_asked();
        let Some((head, whole)) = self.download.take_head(&self.method, &mut fields, open)? else {
            scratch::keep_fields(fields);
            return Ok(None);
        };
        if may_be_late && head.gives_up_waiting() && !self.download.was_announced() {
            // Most likely it was said before this request came: the connection was dead (RFC 9110 §15.5.9).
            return Err(Error::Terminated("it had waited for a request for too long (408)".to_owned()));
        }
        if head.announces_the_impossible() {
            fields.remove(CONTENT_LENGTH);
            fields.remove(TRANSFER_ENCODING);
        }
        // What becomes of the app's body is between the app and the service now.
        open();
        Ok(Some(response(head, whole, fields)))
    }

    fn unsent(&mut self, error: Error, outgoing: &mut Outgoing) -> Unsent {
        self.download.break_off();
        let not_processed = !self.upload.has_begun();
        let body = if self.download.is_empty() { self.upload.take_back() } else { None };
        let whole = body.is_some();
        if let Some(body) = body {
            outgoing.body = body;
        }
        Unsent { error, whole, not_processed }
    }
}

fn response(head: Head, whole: Option<Bytes>, fields: HeaderMap) -> Response<AnswerBody> {
    let mut response = Response::new(whole.map_or(AnswerBody::Coming, AnswerBody::Whole));
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = fields;
    if let Some(reason) = head.reason {
        response.extensions_mut().insert(reason);
    }
    response
}

impl AtRest {
    /// For another request.
    pub(crate) fn rouse(self) -> Box<Http1Connection> {
        self.0
    }

    /// Whether the service has left since, or said something, as far as is known.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.is_closed()
    }

    /// Whether something came that was not looked at yet.
    #[cfg(test)]
    pub(crate) fn has_news(&self) -> bool {
        self.0.wire.has_news()
    }
}

/// At rest it ends in peace, else in a reset: half a request must not look whole.
impl Drop for Http1Connection {
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

/// What is read of an answer before it is written on: as much as one buffer holds.
const TURN_BYTES: usize = 64 * 1024;
