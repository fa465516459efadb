//! One request on a stream of its own, until the head of its answer is here.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use hyper::body::Body as _;

use super::ended::EndedStreams;
use super::heads::{PendingHeads, stand_in};
use super::inflow::Inflow;
use super::outflow::Outflow;
use super::watched::Watch;
use crate::transport::bounds::{HEAD_BYTES, HEAD_FIELDS, INTERIM_ANSWERS};
use crate::transport::error::{Error, Unsent, disclaims};
use crate::transport::http::AnswerBody;
use crate::transport::{Outgoing, RequestBody};

/// A request that was written, or is. Dropped before its end, it resets the stream.
pub(super) struct RequestStream {
    response: ResponseFuture,
    /// The request's body, until the answer's head is here, written to its end or not: what was taken of it is lost, and
    /// must not be mistaken for a body that there never was. `None`: there was none.
    outflow: Option<Outflow>,
    interim: u32,
}

/// Why there is no answer.
pub(super) enum Lost {
    /// What h2 says of the stream or the connection.
    Stream(h2::Error),
    /// Our own verdict.
    Final(Error),
}

/// What of a request its connection has written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SentSoFar {
    Nothing,
    Something,
}

impl RequestStream {
    /// Writes the head; takes the body of `outgoing` unless that fails.
    ///
    /// # Errors
    ///
    /// When the connection takes no request any more: nothing was written.
    pub(super) async fn begin(
        requests: &mut SendRequest<Bytes>,
        heads: &PendingHeads,
        outgoing: &mut Outgoing,
    ) -> Result<Self, h2::Error> {
        poll_fn(|cx| requests.poll_ready(cx)).await?;
        let is_all = outgoing.body.is_end_stream();
        let (response, stream) = requests.send_request(stand_in(&outgoing.method), is_all)?;
        // Before the driver's next turn, in which h2 may write the head.
        heads.await_frame(response.stream_id().as_u32(), outgoing);
        let body = std::mem::replace(&mut outgoing.body, RequestBody::Empty);
        let outflow = (!is_all).then(|| Outflow::new(body, stream));
        Ok(Self { response, outflow, interim: 0 })
    }

    /// The answer's head, while the request's body is written.
    pub(super) async fn answer(
        &mut self,
        watch: &Rc<Watch>,
        ended: &Rc<EndedStreams>,
    ) -> Result<Response<AnswerBody>, Lost> {
        let (head, body) = poll_fn(|cx| self.poll_head(cx)).await?.into_parts();
        let declared = vet(&head.headers).map_err(|error| Lost::Final(Error::Protocol(error)))?;
        let mut inflow = Inflow::new(body, declared, Rc::clone(watch));
        if declared == Some(0) {
            // The app would take the head for all there is, so it has to be true.
            poll_fn(|cx| {
                self.poll_outflow(cx)?;
                inflow.poll_nothing(cx).map_err(Lost::Final)
            })
            .await?;
        }
        inflow.outflow = self.outflow.take().filter(|outflow| !outflow.is_over()).map(Box::new);
        if inflow.outflow.is_none() {
            inflow.end_later(Rc::clone(ended));
        }
        Ok(Response::from_parts(head, AnswerBody::Stream(inflow)))
    }

    /// What is known of the request after it brought no answer; its body is given back to `outgoing` if it is whole.
    pub(super) fn unsent(self, lost: Lost, written: SentSoFar, watch: &Watch, outgoing: &mut Outgoing) -> Unsent {
        let error = match lost {
            Lost::Stream(error) => error,
            Lost::Final(error) => return Unsent::finally(error),
        };
        let not_processed = written == SentSoFar::Nothing || disclaims(&error);
        let error = watch.verdict_on(&error);
        let body = match self.outflow {
            // Over HTTP/1.1 it is another sending, and nothing of this one counts.
            _ if written == SentSoFar::Something && !matches!(error, Error::Http1Required) => None,
            Some(outflow) => outflow.untouched(),
            None => Some(RequestBody::Empty),
        };
        let whole = body.is_some();
        if let Some(body) = body {
            outgoing.body = body;
        }
        Unsent { error, whole, not_processed }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Lost>> {
        self.poll_outflow(cx)?;
        loop {
            match self.response.poll_informational(cx) {
                Poll::Ready(Some(Ok(_))) => self.interim += 1,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Lost::Stream(error))),
                Poll::Ready(None) => break,
                Poll::Pending => return Poll::Pending,
            }
            if self.interim > INTERIM_ANSWERS {
                let error = format!("it sent more than {INTERIM_ANSWERS} interim answers");
                return Poll::Ready(Err(Lost::Final(Error::Protocol(error))));
            }
        }
        Poll::Ready(ready!(Pin::new(&mut self.response).poll(cx)).map_err(Lost::Stream))
    }

    fn poll_outflow(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        let Some(outflow) = &mut self.outflow else { return Ok(()) };
        match outflow.poll(cx) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => Err(Lost::Final(Error::RequestBody(error.to_string()))),
        }
    }
}

/// How long the body is, if the head says so.
///
/// # Errors
///
/// When the head is one that HTTP/1.1 would not let pass either.
fn vet(fields: &HeaderMap) -> Result<Option<u64>, String> {
    if fields.len() > HEAD_FIELDS {
        return Err(format!("its head has more than {HEAD_FIELDS} fields"));
    }
    // As RFC 9113 §6.5.2 counts.
    let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
    if bytes > HEAD_BYTES {
        return Err("its head is longer than 64 KiB".to_owned());
    }
    let mut lengths = fields.get_all(CONTENT_LENGTH).into_iter();
    let length = lengths.next().and_then(|length| length.to_str().ok()?.parse().ok());
    if lengths.next().is_some() { Err("it has two `Content-Length`".to_owned()) } else { Ok(length) }
}
