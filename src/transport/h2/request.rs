//! One request on a stream of its own, until the head of its answer is here.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Response;
use hyper::body::Body as _;

use super::connection::{Connection, StreamHold};
use super::ending::StreamEnding;
use super::frames::StreamEnd;
use super::inflow::Inflow;
use super::multiplexer::StreamSide;
use super::outflow::Outflow;
use crate::transport::error::{Error, Unsent, disclaims};
use crate::transport::http::AnswerBody;
use crate::transport::{Outgoing, RequestBody};

/// A request that is written, until it is answered. Dropped before that, it resets the stream.
pub(super) struct RequestStream {
    connection: Rc<RefCell<Connection>>,
    /// `None`: it was not begun, or the answer has it.
    stream: Option<StreamHold>,
    /// The request's body, until the answer's head is here, written to its end or not: what was taken of it is lost, and
    /// must not be mistaken for a body that there never was. `None`: there was none.
    outflow: Option<Box<Outflow>>,
    /// Where among all that is written the request begins.
    begins_at: u64,
    /// The answer, of which it is not certain yet that it has no body, as its head says.
    empty: Option<Response<Inflow>>,
}

/// Why there is no answer.
enum Lost {
    /// What became of the stream or the connection.
    Stream(StreamEnding),
    /// Our own verdict.
    Final(Error),
}

impl RequestStream {
    pub(super) fn new(connection: &Rc<RefCell<Connection>>) -> Self {
        Self { connection: Rc::clone(connection), stream: None, outflow: None, begins_at: 0, empty: None }
    }

    /// Writes the request, takes its body, and waits for the answer's head.
    pub(super) fn poll(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<AnswerBody>, Unsent>> {
        if self.stream.is_none() && self.empty.is_none() {
            ready!(self.poll_begin(outgoing, cx))?;
        }
        let outcome = ready!(self.poll_answer(cx));
        Poll::Ready(outcome.map_err(|lost| self.unsent(lost, outgoing)))
    }

    fn poll_begin(&mut self, outgoing: &mut Outgoing, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        let end = if outgoing.body.is_end_stream() { StreamEnd::Here } else { StreamEnd::Later };
        let mut connection = self.connection.borrow_mut();
        let (key, begins_at) = match ready!(connection.poll_begin(outgoing, end, cx)) {
            Ok(begun) => begun,
            Err(ending) => {
                let error = connection.watch.verdict_on(&ending);
                return Poll::Ready(Err(Unsent { error, whole: true, not_processed: true }));
            }
        };
        drop(connection);
        self.begins_at = begins_at;
        self.stream = Some(StreamHold::new(&self.connection, key, StreamSide::Answer));
        if end == StreamEnd::Later {
            let body = std::mem::replace(&mut outgoing.body, RequestBody::Empty);
            let hold = StreamHold::new(&self.connection, key, StreamSide::Request);
            self.outflow = Some(Box::new(Outflow::new(body, hold)));
        }
        Poll::Ready(Ok(()))
    }

    /// The answer's head, while the request's body is written.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<AnswerBody>, Lost>> {
        if let Some(outflow) = &mut self.outflow
            && let Poll::Ready(Err(error)) = outflow.poll(cx)
        {
            return Poll::Ready(Err(Lost::Final(Error::RequestBody(error.to_string()))));
        }
        if let Some(stream) = &self.stream {
            let head = ready!(self.connection.borrow_mut().poll_head(stream.key, cx)).map_err(Lost::of)?;
            self.connection.borrow_mut().note_answer();
            let Some(stream) = self.stream.take() else { return Poll::Pending };
            let declared = head.length;
            let answer = head.with_body(Inflow::new(stream, declared));
            if declared != Some(0) {
                return Poll::Ready(Ok(self.handed_on(answer, declared)));
            }
            self.empty = Some(answer);
        }
        // The app would take the head for all there is, so it has to be true.
        let Some(answer) = &mut self.empty else { return Poll::Pending };
        ready!(answer.body_mut().poll_nothing(cx)).map_err(Lost::Final)?;
        match self.empty.take() {
            Some(answer) => Poll::Ready(Ok(self.handed_on(answer, Some(0)))),
            None => Poll::Pending,
        }
    }

    /// With the rest of the request, if there is one.
    fn handed_on(&mut self, answer: Response<Inflow>, declared: Option<u64>) -> Response<AnswerBody> {
        let rest = self.outflow.take().filter(|outflow| !outflow.is_over());
        let (head, mut inflow) = answer.into_parts();
        // A short answer is all here mostly, and nobody need ask the connection for it. Of one that does not say how long it is
        // the app is not told that either.
        if rest.is_none()
            && (declared.is_some() || inflow.is_over())
            && let Some(whole) = inflow.take_whole()
        {
            return Response::from_parts(head, AnswerBody::Whole(whole));
        }
        inflow.outflow = rest;
        Response::from_parts(head, AnswerBody::Stream(inflow))
    }

    /// What is known of the request after it brought no answer; its body is given back to `outgoing` if it is whole.
    fn unsent(&mut self, lost: Lost, outgoing: &mut Outgoing) -> Unsent {
        let ending = match lost {
            Lost::Stream(ending) => ending,
            Lost::Final(error) => return Unsent::finally(error),
        };
        let connection = self.connection.borrow();
        // A connection that was dead before this came has written nothing since.
        let has_left = connection.multiplexer.outbox.written() > self.begins_at;
        let not_processed = !has_left || disclaims(&ending);
        let error = connection.watch.verdict_on(&ending);
        drop(connection);
        let body = match &mut self.outflow {
            // Over HTTP/1.1 it is another sending, and nothing of this one counts.
            _ if has_left && !matches!(error, Error::Http1Required) => None,
            Some(outflow) => outflow.untouched(),
            None => Some(RequestBody::Empty),
        };
        let whole = body.is_some();
        if let Some(body) = body {
            outgoing.body = body;
        }
        Unsent { error, whole, not_processed }
    }
}

impl Lost {
    fn of(ending: StreamEnding) -> Self {
        match ending {
            StreamEnding::Refused(why) => Self::Final(Error::Protocol(why.to_owned())),
            ending => Self::Stream(ending),
        }
    }
}
