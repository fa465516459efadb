//! Bodies that are encrypted on their way to the service, or decrypted on their way back; and the services that do nothing
//! else with them.
//!
//! What can be wrong with a message before anything of it went on is answered; afterwards the answer breaks off. The end
//! comes only after the check, so that an app which sees the end has seen a good message.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body, Frame};

use super::error::MessageOrigin;
use super::exchange::ExchangeRecord;
use super::relay::{DerivedBody, Relayed, ResponseBody};
use super::timing::ExchangePhase;
use super::upload::UploadWatch;
use super::view::ServiceHalf;
use super::{Error, date};
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::openpgp::{Hold, MessageError, ThreadLane, TransformError, TransformedBody};
use crate::transport::{BodyError, HeldBodies, RequestBody};

/// A body that comes out of another.
pub(super) struct TransformedAnswer {
    body: Source,
    deadline: Rc<ExchangeDeadline>,
    idle: Option<Duration>,
}

enum Source {
    App(TransformedBody<RequestBody>),
    Service(TransformedBody<Relayed>),
}

/// Answers a request to an `openpgp:` service: its body comes back.
///
/// # Errors
/// When there is nothing to answer with.
pub(super) async fn serve(
    incoming: IncomingBody,
    half: &ServiceHalf,
    exchange: &mut ExchangeRecord,
) -> Result<Response<ResponseBody>, Error> {
    if exchange.head.method != Method::POST {
        return Err(Error::OnlyPost { method: exchange.head.method.clone() });
    }
    let Some(transforms) = &half.service.transforms else {
        let reason = half.service.identities.first().credential.unavailable().unwrap_or("its keys are not there");
        return Err(Error::NoKeys { reason: reason.to_owned() });
    };
    let upload = exchange.upload(half);
    if let Some(upload) = &upload {
        upload.gathering();
    }
    let body = of_app(incoming, upload.as_ref(), half);
    let (body, kind) = match (&transforms.encryptor, &transforms.decryptor) {
        (Some(encryptor), _) => {
            (TransformedBody::encrypted(body, Arc::clone(encryptor), ThreadLane::Request), ENCRYPTED)
        }
        (None, Some(decryptor)) => {
            let hold = hold(&exchange.view.worker.held_bodies);
            (TransformedBody::decrypted(body, Arc::clone(decryptor), hold, ThreadLane::Request), OCTETS)
        }
        (None, None) => return Err(Error::NoKeys { reason: "it has none".to_owned() }),
    };
    let begun = pin!(TransformedAnswer::new(Source::App(body), half, exchange).begin());
    let answer = exchange.wait_for(ExchangePhase::App, begun).await?;
    let mut response = Response::new(ResponseBody::transformed(answer));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(DATE, date::now());
    Ok(response)
}

/// What the app sends, followed and bounded as on its way to a service. It is read once: nothing is kept of it.
fn of_app(incoming: IncomingBody, upload: Option<&Rc<UploadWatch>>, half: &ServiceHalf) -> RequestBody {
    let (body, _) = RequestBody::app(incoming, 0);
    let body = match half.body_limit() {
        Some(most) => body.limited(most),
        None => body,
    };
    match upload {
        Some(upload) => body.observed(upload.observer()),
        None => body,
    }
}

/// Room for what is held to be checked, beside what others hold.
fn hold(held: &Arc<HeldBodies>) -> Hold {
    let held = Arc::clone(held);
    let mut permit = None;
    Box::new(move |bytes| match &mut permit {
        None => held.hold(bytes).map(|first| permit = Some(first)).is_ok(),
        Some(permit) => permit.grow_to(bytes).is_ok(),
    })
}

/// Encrypts what is sent, if the service wants that. Whatever is sent again is encrypted anew, from what is kept.
///
/// A request without a body stays one, but for a file: that it is empty is nobody's business either, and whoever reads it
/// expects a message.
pub(super) fn sealed(body: RequestBody, method: &Method, half: &ServiceHalf) -> RequestBody {
    let encryptor = half.service.transforms.as_ref().and_then(|transforms| transforms.encryptor.as_ref());
    let Some(encryptor) = encryptor else { return body };
    let is_file = half.service.scheme.is_of_files() && *method == Method::PUT;
    if is_file || !matches!(body, RequestBody::Empty) { body.encrypted(encryptor) } else { body }
}

/// Whether what is sent has another length than what the app sends.
pub(super) fn seals(half: &ServiceHalf) -> bool {
    half.service.transforms.as_ref().is_some_and(|transforms| transforms.encryptor.is_some())
}

/// Takes off a request what speaks of other bytes than those that are sent, or that come back.
///
/// # Errors
/// When it may not be encrypted with these keys any more.
pub(super) fn adapt_request(fields: &mut HeaderMap, half: &ServiceHalf) -> Result<(), Error> {
    let Some(transforms) = &half.service.transforms else { return Ok(()) };
    if let Some(encryptor) = &transforms.encryptor {
        encryptor.check().map_err(|error| Error::Message { error, origin: MessageOrigin::App })?;
        DIGESTS.iter().for_each(|name| drop(fields.remove(name)));
    }
    if transforms.decryptor.is_some() {
        // A part of a message opens nothing, and no message begins in what is compressed around it.
        fields.remove(RANGE);
        fields.remove(IF_RANGE);
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(())
}

/// Decrypts what the service answered, where that is a message: what is no success is for people to read, and passes.
///
/// # Errors
/// When it is none, or its first piece is not good.
pub(super) async fn opened(
    response: Response<ResponseBody>,
    half: &ServiceHalf,
    exchange: &mut ExchangeRecord,
) -> Result<Response<ResponseBody>, Error> {
    let decryptor = half.service.transforms.as_ref().and_then(|transforms| transforms.decryptor.as_ref());
    // The listing of a folder is ours, and no message.
    let is_listing = half.service.scheme.is_of_files() && exchange.head.uri.path().ends_with('/');
    let Some(decryptor) = decryptor.filter(|_| !is_listing) else { return Ok(response) };
    let (mut head, body) = response.into_parts();
    if !head.status.is_success() {
        // That says of what the app has what its own answer would say.
        if head.status == StatusCode::NOT_MODIFIED {
            adapt_answer(&mut head.headers);
        }
        return Ok(Response::from_parts(head, body));
    }
    if head.status == StatusCode::PARTIAL_CONTENT {
        return Err(Error::NotWhole { what: "a part of it (206)" });
    }
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Error::NotWhole { what: "something compressed (`Content-Encoding`)" });
    }
    adapt_answer(&mut head.headers);
    if exchange.head.method == Method::HEAD || body.is_end_stream() {
        return Ok(Response::from_parts(head, body));
    }
    let relayed = match body.into_relayed() {
        Ok(relayed) => relayed,
        Err(body) => return Ok(Response::from_parts(head, body)),
    };
    let hold = hold(&exchange.view.worker.held_bodies);
    let body = TransformedBody::decrypted(relayed, Arc::clone(decryptor), hold, ThreadLane::Answer);
    let begun = pin!(TransformedAnswer::new(Source::Service(body), half, exchange).begin());
    let answer = exchange.wait_for(ExchangePhase::Service, begun).await?;
    Ok(Response::from_parts(head, ResponseBody::transformed(answer)))
}

/// What is said of the message is not true of what is inside.
fn adapt_answer(fields: &mut HeaderMap) {
    for name in [&CONTENT_LENGTH, &ACCEPT_RANGES, &CONTENT_RANGE].into_iter().chain(&DIGESTS) {
        fields.remove(name);
    }
    if fields.get(CONTENT_TYPE).is_some_and(|kind| memchr::memmem::find(kind.as_bytes(), b"pgp").is_some()) {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    }
    // It stands for the same content, and no longer for the same bytes (RFC 9110 §8.8.1).
    let weak = fields.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        fields.insert(ETAG, weak);
    }
}

const OCTETS: &str = "application/octet-stream";
const ENCRYPTED: &str = "application/pgp-encrypted";

/// Over the bytes of a body.
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

impl Source {
    /// Whose silence it is, when the time is up.
    fn expired(&self) -> fn() -> Error {
        match self {
            Self::App(_) => || Error::BodyStalled,
            Self::Service(_) => || Error::ResponseTimeout,
        }
    }
}

impl TransformedAnswer {
    fn new(body: Source, half: &ServiceHalf, exchange: &ExchangeRecord) -> Self {
        Self { body, deadline: Rc::clone(&exchange.deadline), idle: half.service.timeouts.idle }
    }

    /// Waits for the first piece, or for what is wrong before it.
    async fn begin(mut self) -> Result<Self, Error> {
        self.deadline.arm(self.idle);
        let (deadline, expired) = (Rc::clone(&self.deadline), self.body.expired());
        {
            let mut begun = pin!(async {
                match &mut self.body {
                    Source::App(body) => body.begin().await.map_err(of_app_error),
                    Source::Service(body) => body.begin().await.map_err(of_service_error),
                }
            });
            poll_fn(|cx| match begun.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => deadline.poll_expired(cx).map(|_| Err(expired())),
            })
            .await?;
        }
        Ok(self)
    }
}

impl DerivedBody for TransformedAnswer {
    /// How long the exchange may be silent.
    fn idle(&self) -> Option<Duration> {
        self.idle
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let expired = self.body.expired();
        let polled = match &mut self.body {
            Source::App(body) => {
                Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(of_app_error)))
            }
            Source::Service(body) => {
                Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(of_service_error)))
            }
        };
        match polled {
            Poll::Ready(next) => {
                self.deadline.arm(self.idle);
                Poll::Ready(next)
            }
            Poll::Pending => self.deadline.poll_expired(cx).map(|_| Some(Err(expired()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::App(body) => body.is_end_stream(),
            Source::Service(body) => body.is_end_stream(),
        }
    }
}

fn of_app_error(error: TransformError<BodyError>) -> Error {
    match error {
        TransformError::Input(error) => error.into(),
        TransformError::Message(error) => of_message(error, MessageOrigin::App),
    }
}

fn of_service_error(error: TransformError<Error>) -> Error {
    match error {
        TransformError::Input(error) => error,
        TransformError::Message(error) => of_message(error, MessageOrigin::Service),
    }
}

fn of_message(error: MessageError, origin: MessageOrigin) -> Error {
    Error::Message { error, origin }
}
