//! One session, and the request that goes on in it.
//!
//! ```text
//!            send              all that is asked             body read, and the session free
//!   AtRest ───────► Asked ────────────────────► AtRest ◄───────────────────────────────────── Reading
//!                     ├────────── with a body ──────────────────────────────────────────────────► │
//!                     └─ given up: the app's body breaks off for it, and what it has begun is removed
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use hyper::body::{Frame, SizeHint};
use std::rc::Rc;

use super::content::{ComingContent, Piece, ReadContent};
use super::lent::LentBody;
use crate::files::{
    FileAnswer, FileError, FileErrorKind, FileOperation, FileOutcome, FileRequest, FileServer, FileSession, Leftover,
    UnfinishedFile, answer,
};
use crate::transport::{Error, Outgoing, RequestBody, Unsent};

/// A session that carries one request at a time.
pub(crate) struct FileConnection {
    server: Arc<FileServer>,
    state: FileConnectionState,
    /// Whether another request went before this one.
    used: bool,
    method: Method,
    body: Option<LentBody>,
    begun: Rc<UnfinishedFile>,
    /// Why the answer broke off, to be told.
    fault: Option<Error>,
}

enum FileConnectionState {
    AtRest(FileSession),
    Asked(Pin<Box<dyn Future<Output = FileOutcome>>>),
    Reading(ComingContent),
    /// There is no session any more.
    Ended,
}

/// What follows the head of an answer.
pub(crate) enum FileAnswerBody {
    Empty,
    /// To be read from the connection.
    Coming,
}

/// A session between two requests.
pub(crate) struct FileAtRest(Box<FileConnection>);

impl FileConnection {
    pub(super) fn new(server: Arc<FileServer>, session: FileSession) -> Self {
        Self {
            server,
            state: FileConnectionState::AtRest(session),
            used: false,
            method: Method::GET,
            body: None,
            begun: Rc::default(),
            fault: None,
        }
    }

    /// Sends one request, and waits for what comes of it. Not polled to the end, it may have begun what
    /// [`settle`](Self::settle) sees to.
    pub(crate) fn poll_send(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<FileAnswerBody>, Unsent>> {
        if matches!(self.state, FileConnectionState::AtRest(_)) {
            // Whoever sends it has looked, so that no session is made in vain; here it becomes what is done.
            match FileOperation::read(&outgoing.method, &outgoing.target, &outgoing.fields) {
                Ok(operation) => self.begin(operation, outgoing),
                Err(error) => return Poll::Ready(Err(Unsent::finally(Error::of_file(error)))),
            }
        }
        let FileConnectionState::Asked(asked) = &mut self.state else {
            let error = Error::Terminated("it was no longer open".to_owned());
            return Poll::Ready(Err(Unsent { error, whole: true, not_processed: true }));
        };
        let FileOutcome { answer, session } = ready!(asked.as_mut().poll(cx));
        self.state = session.map_or(FileConnectionState::Ended, FileConnectionState::AtRest);
        Poll::Ready(match answer {
            Ok(answer) => Ok(self.answered(answer)),
            Err(error) => Err(self.unsent(error, outgoing)),
        })
    }

    fn begin(&mut self, operation: FileOperation, outgoing: &mut Outgoing) {
        let FileConnectionState::AtRest(session) = std::mem::replace(&mut self.state, FileConnectionState::Ended)
        else {
            return;
        };
        self.method = outgoing.method.clone();
        self.begun.begin();
        let body = LentBody::new(std::mem::replace(&mut outgoing.body, RequestBody::Empty));
        self.body = Some(body.clone());
        let (server, begun) = (Arc::clone(&self.server), Rc::clone(&self.begun));
        let (target, fields) = (outgoing.target.clone(), outgoing.fields.clone());
        self.state = FileConnectionState::Asked(Box::pin(async move {
            let request = FileRequest { operation: &operation, target: &target, fields: &fields, begun: &begun };
            answer(session, &request, &server.options, body, fastrand::u64(..)).await
        }));
    }

    fn answered(&mut self, answer: FileAnswer) -> Response<FileAnswerBody> {
        self.body = None;
        let FileAnswer { status, fields, content } = answer;
        let body = match content {
            None => FileAnswerBody::Empty,
            Some(content) => {
                let length = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                self.state = FileConnectionState::Reading(ComingContent::new(content, length));
                FileAnswerBody::Coming
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        response
    }

    /// A session that turns out to be over has been so before the request came, most likely: then another one carries it. Not
    /// if some of the body had left, as what was written may be there, nor if it would not come to the same a second time.
    fn unsent(&mut self, error: FileError, outgoing: &mut Outgoing) -> Unsent {
        let body = self.body.take();
        let is_untouched = body.as_ref().is_some_and(|body| !body.is_begun());
        if error.kind != FileErrorKind::Ended || !is_untouched {
            return Unsent::finally(Error::of_file(error));
        }
        // Nobody knows what the server did of it; what comes to the same however often it is done goes again all the same, where
        // the session was in use before, and so is likely to have been over: as if it had not been processed.
        let whole = self.used && self.method.is_idempotent();
        if let Some(body) = body.and_then(|body| body.take_back()) {
            outgoing.body = body;
        }
        Unsent { error: Error::Terminated(error.to_string()), whole, not_processed: whole }
    }

    /// The next piece of the answer's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(fault) = self.fault.take() {
            self.state = FileConnectionState::Ended;
            return Poll::Ready(Some(Err(fault)));
        }
        let FileConnectionState::Reading(content) = &mut self.state else { return Poll::Ready(None) };
        match ready!(content.poll_piece(cx)) {
            Ok(Piece::Next(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Ok(Piece::Last(ReadContent { last, session })) => {
                self.state = session.map_or(FileConnectionState::Ended, FileConnectionState::AtRest);
                Poll::Ready(last.map(|last| Ok(Frame::data(last))))
            }
            Err(error) => {
                // A round later: what was given before it can be on its way to the app by then, and is not lost with it.
                self.fault = Some(Error::Incomplete(error.to_string()));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Whether the answer was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, FileConnectionState::Reading(_))
    }

    /// What is still to come of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.state {
            FileConnectionState::Reading(content) => content.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            _ => SizeHint::with_exact(0),
        }
    }

    /// The session, ready for another request; `None`: it was the last one, or has not ended.
    pub(crate) fn into_rest(self: Box<Self>) -> Option<FileAtRest> {
        let is_fit = matches!(&self.state, FileConnectionState::AtRest(session) if session.can_transfer())
            && !self.begun.is_set();
        is_fit.then(|| FileAtRest(self))
    }

    /// Whether the request has begun something that is not to stay as it is.
    pub(crate) fn owes(&self) -> bool {
        self.begun.is_set()
    }

    /// Nobody waits for the answer any more: brings what was begun to an end, which is that of an app whose body breaks off.
    /// What is left over then, in the server's words for where it is.
    pub(crate) async fn settle(&mut self) -> Option<Leftover> {
        self.begun.give_up();
        if let Some(body) = self.body.take() {
            drop(body.take_back());
        }
        if let FileConnectionState::Asked(asked) = &mut self.state {
            let FileOutcome { session, .. } = asked.as_mut().await;
            self.state = session.map_or(FileConnectionState::Ended, FileConnectionState::AtRest);
        }
        self.begun.take()
    }

    /// What was begun and is left over.
    pub(crate) fn take_leftover(&mut self) -> Option<Leftover> {
        self.begun.take()
    }

    /// Puts in order what another session has left over.
    pub(crate) async fn clear_up(&mut self, left: &Leftover) -> Result<(), FileError> {
        let FileConnectionState::AtRest(session) = &mut self.state else { return Ok(()) };
        let cleared = session.clear_up(left).await;
        if cleared.as_ref().is_err_and(|error| error.kind == FileErrorKind::Ended) {
            self.state = FileConnectionState::Ended;
        }
        cleared
    }
}

impl FileAtRest {
    /// For another request.
    pub(crate) fn rouse(self) -> Box<FileConnection> {
        let mut connection = self.0;
        connection.used = true;
        connection
    }

    /// Whether the server has ended it since, as far as is known.
    pub(crate) fn is_closed(&mut self) -> bool {
        match &mut self.0.state {
            FileConnectionState::AtRest(session) => session.has_ended(),
            _ => true,
        }
    }
}
