//! The body of a request on its way out, and what is kept of it to send it again.

mod error;
mod passage;
mod replay;

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Frame, SizeHint};

pub(crate) use self::error::BodyError;
pub(crate) use self::passage::{Observer, Passage, UploadBody};
pub(crate) use self::replay::ReplayBuffer;

use super::continue_gate::ContinueGate;
use super::copied::Copied;
use super::held::HeldBodies;
use crate::incoming::IncomingBody;
#[cfg(feature = "openpgp")]
use crate::openpgp::{Encryptor, ThreadLane, TransformError, TransformedBody};

/// The body of an [`Outgoing`](super::Outgoing).
///
/// Its length is exact where it is known, so that both protocols frame it right.
pub(crate) enum RequestBody {
    Empty,
    /// Whole in memory: a token request's form.
    Whole(Option<Bytes>),
    /// The app's, as it arrives.
    Stream(AppBody),
    /// The app's again, from memory. In a box: few are, and every request would have room for it.
    Again(Box<Copied>),
    /// The app's, whose first bytes are in memory already.
    Resumed(Box<(Copied, AppBody)>),
    /// A message that one of the others is inside.
    #[cfg(feature = "openpgp")]
    Encrypted(Box<TransformedBody<Self>>),
}

/// The app's body: passes frames on and keeps the first bytes, so that they can be sent again.
pub(crate) struct AppBody {
    record: Rc<RefCell<Record>>,
    attempt: u32,
    gate: Option<ContinueGate>,
    screen: Option<TrailerFilter>,
    observer: Option<Observer>,
}

impl UploadBody for RequestBody {
    fn moved_on(&mut self) {
        if let Some(observer) = self.arriving().and_then(|stream| stream.observer.as_ref()) {
            observer(Passage::MovedOn);
        }
    }
}

/// How much of an app's body must be in memory before the request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyNeed {
    /// All of it; the request is not sent if that is more than so many bytes.
    Whole { most: usize },
    /// All of it if that is no more than so many bytes, else nothing.
    IfShort { most: usize },
}

/// Takes out of trailers what must not go on.
pub(crate) type TrailerFilter = Rc<dyn Fn(&mut HeaderMap)>;

/// The app's body and what was taken of it.
struct Record {
    incoming: IncomingBody,
    taken: Taken,
    keep_bytes: usize,
    /// How many bytes more may come of it, of how many in all; `None`: as many as there are.
    limit: Option<(usize, usize)>,
    /// The one that may read it.
    attempt: u32,
}

enum Taken {
    /// Not a frame: the body itself is still whole.
    Nothing,
    /// All that came so far is kept.
    Part(Copied),
    /// All that there is, is kept.
    All(Copied),
    /// More than may be kept.
    TooMuch,
}

impl BodyNeed {
    /// No more than so many bytes, whatever is needed.
    fn within(self, bytes: usize) -> Self {
        match self {
            Self::Whole { most } => Self::Whole { most: most.min(bytes) },
            Self::IfShort { most } => Self::IfShort { most: most.min(bytes) },
        }
    }

    /// What suffices for both.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole { most: one }, Self::Whole { most: another }) => Self::Whole { most: one.min(another) },
            (Self::IfShort { most: one }, Self::IfShort { most: another }) => Self::IfShort { most: one.min(another) },
            (whole @ Self::Whole { .. }, Self::IfShort { .. }) | (Self::IfShort { .. }, whole @ Self::Whole { .. }) => {
                whole
            }
        }
    }
}

impl RequestBody {
    /// The app's body; keeps up to `keep_bytes` of it. Framing of the original decides between `Empty` and `Stream`.
    pub(crate) fn app(incoming: impl Into<IncomingBody>, keep_bytes: usize) -> (Self, ReplayBuffer) {
        let incoming = incoming.into();
        if incoming.is_end_stream() {
            return (Self::Empty, ReplayBuffer(None));
        }
        let known_too_long = incoming.size_hint().lower() > keep_bytes as u64;
        let taken = if known_too_long { Taken::TooMuch } else { Taken::Nothing };
        let record = Rc::new(RefCell::new(Record { incoming, taken, keep_bytes, limit: None, attempt: 0 }));
        (Self::Stream(AppBody::new(&record)), ReplayBuffer(Some(record)))
    }

    /// That of a request without one.
    #[cfg(test)]
    pub(crate) fn nothing() -> (Self, ReplayBuffer) {
        (Self::Empty, ReplayBuffer(None))
    }

    /// Holds the app's body back until `gate` opens; on HTTP/2, where no `100` is heard, it is opened at once.
    pub(crate) fn hold(&mut self, gate: ContinueGate) {
        if let Self::Stream(stream) = self {
            stream.gate = Some(gate);
        }
    }

    /// Sends the app's trailers through `screen` first.
    pub(crate) fn screened(mut self, screen: TrailerFilter) -> Self {
        if let Some(stream) = self.arriving() {
            stream.screen = Some(screen);
        }
        self
    }

    /// Lets no more than `most` bytes of the app's body go on: one more, and it breaks off.
    pub(crate) fn limited(self, most: usize) -> Self {
        if let Self::Stream(stream) = &self {
            stream.record.borrow_mut().limit = Some((most, most));
        }
        self
    }

    /// Tells `observer` how the app's body gets on.
    pub(crate) fn observed(mut self, observer: Observer) -> Self {
        if let Some(stream) = self.arriving() {
            stream.observer = Some(observer);
        }
        self
    }

    /// What is still to come from the app.
    fn arriving(&mut self) -> Option<&mut AppBody> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Resumed(resumed) => Some(&mut resumed.1),
            Self::Empty | Self::Whole(_) | Self::Again(_) => None,
            #[cfg(feature = "openpgp")]
            Self::Encrypted(message) => message.input_mut()?.arriving(),
        }
    }

    /// The same as a message, also if there is nothing in it.
    #[cfg(feature = "openpgp")]
    pub(crate) fn encrypted(self, encryptor: &Arc<Encryptor>) -> Self {
        Self::Encrypted(Box::new(TransformedBody::encrypted(self, Arc::clone(encryptor), ThreadLane::Request)))
    }

    /// Reads the app's body into memory, as far as `need` says. All of it there, it can be sent as often as it takes.
    ///
    /// # Errors
    /// When it breaks off, is too long, or `held` has no room for it: at once if its sender said how long it is.
    pub(crate) async fn gather(self, need: BodyNeed, held: &Arc<HeldBodies>) -> Result<Self, BodyError> {
        let Self::Stream(mut stream) = self else { return Ok(self) };
        // For one that is longer than all that may be held there will never be room.
        let need = need.within(held.most_bytes());
        let (BodyNeed::Whole { most } | BodyNeed::IfShort { most }) = need;
        let announced = stream.record.borrow().incoming.size_hint().lower();
        if announced > most as u64 {
            return stream.resume(need, Copied::default());
        }
        // The right to hold it comes before the first byte of it: what is refused has cost nothing. Dropped with all of
        // this, if the app leaves before its end.
        let announced = usize::try_from(announced).unwrap_or(most);
        let mut permit = held.hold(announced).map_err(|_| BodyError::NoRoom)?;
        // It is kept here, and not a second time by the record.
        stream.record.borrow_mut().taken = Taken::TooMuch;
        let mut gathered = Copied::default();
        while gathered.len() <= most {
            let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await.transpose()? else {
                gathered.hold(permit);
                return Ok(stream.keep_all(gathered));
            };
            gathered.join(&frame, announced);
            // Of one that said nothing of its length, as it comes.
            if permit.grow_to(gathered.memory()).is_err() {
                // Where nobody else's stood in its way there will not be room later either.
                let never = gathered.memory() > held.most_bytes();
                return if never { stream.resume(need, gathered) } else { Err(BodyError::NoRoom) };
            }
        }
        gathered.hold(permit);
        stream.resume(need, gathered)
    }

    /// Whether it can be looked at.
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Resumed(_) => false,
            #[cfg(feature = "openpgp")]
            Self::Encrypted(_) => false,
            Self::Empty | Self::Whole(_) | Self::Again(_) => true,
        }
    }

    /// Adds the body's bytes to `digest`. `false`: they are not all in memory.
    pub(crate) fn digest(&self, digest: &mut digest::Context) -> bool {
        match self {
            Self::Empty => {}
            Self::Whole(bytes) => digest.update(bytes.as_deref().unwrap_or_default()),
            Self::Again(copy) => copy.pieces().into_iter().for_each(|bytes| digest.update(bytes)),
            Self::Stream(_) | Self::Resumed(_) => return false,
            #[cfg(feature = "openpgp")]
            Self::Encrypted(_) => return false,
        }
        true
    }

    pub(in crate::transport) fn gate(&self) -> Option<&ContinueGate> {
        match self {
            Self::Stream(stream) => stream.gate.as_ref(),
            Self::Empty | Self::Whole(_) | Self::Again(_) | Self::Resumed(_) => None,
            #[cfg(feature = "openpgp")]
            Self::Encrypted(_) => None,
        }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data).map(Ok)),
            Self::Stream(stream) => stream.poll_frame(cx),
            Self::Again(copy) => Poll::Ready(copy.next().map(Ok)),
            Self::Resumed(resumed) => match resumed.0.next() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => resumed.1.poll_frame(cx),
            },
            #[cfg(feature = "openpgp")]
            Self::Encrypted(body) => Pin::new(&mut **body).poll_frame(cx).map_err(|error| match error {
                TransformError::Input(error) => error,
                TransformError::Message(error) => BodyError::Unencrypted(error),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(stream) => stream.record.borrow().incoming.is_end_stream(),
            Self::Again(copy) => copy.is_empty() && !copy.has_trailers(),
            // More is to come from the app.
            Self::Resumed(_) => false,
            #[cfg(feature = "openpgp")]
            Self::Encrypted(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(stream) => stream.record.borrow().incoming.size_hint(),
            // A length leaves no room for trailers on HTTP/1.1.
            Self::Again(copy) if copy.has_trailers() => SizeHint::default(),
            Self::Again(copy) => SizeHint::with_exact(copy.len() as u64),
            Self::Resumed(resumed) => {
                let (copy, rest) = &**resumed;
                let rest = rest.record.borrow().incoming.size_hint().exact();
                rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + copy.len() as u64))
            }
            #[cfg(feature = "openpgp")]
            Self::Encrypted(_) => SizeHint::default(),
        }
    }
}

impl AppBody {
    fn new(record: &Rc<RefCell<Record>>) -> Self {
        Self { record: Rc::clone(record), attempt: record.borrow().attempt, gate: None, screen: None, observer: None }
    }

    /// It was read to its end: what came of it is all of it.
    fn keep_all(&self, gathered: Copied) -> RequestBody {
        let gathered = gathered.in_one_piece();
        self.record.borrow_mut().taken = Taken::All(gathered.clone());
        RequestBody::Again(Box::new(gathered))
    }

    /// There is more than may be gathered: what was read of it is sent once, and the rest as it comes.
    fn resume(self, need: BodyNeed, gathered: Copied) -> Result<RequestBody, BodyError> {
        match need {
            BodyNeed::Whole { most } => Err(BodyError::TooLong { most }),
            BodyNeed::IfShort { .. } if gathered.is_empty() => Ok(RequestBody::Stream(self)),
            BodyNeed::IfShort { .. } => Ok(RequestBody::Resumed(Box::new((gathered, self)))),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &self.gate {
            ready!(gate.poll_open(cx));
        }
        let mut record = self.record.borrow_mut();
        if record.attempt != self.attempt {
            return Poll::Ready(Some(Err(BodyError::TakenBack)));
        }
        let polled = record.poll_frame(cx, self.screen.as_ref());
        if let Some(observer) = &self.observer {
            observer(record.passage(&polled));
        }
        polled
    }
}

impl Record {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        screen: Option<&TrailerFilter>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let arrived = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        let mut frame = arrived.map(|arrived| self.within_limit(arrived?));
        match &mut frame {
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(screen)) = (frame.trailers_mut(), screen) {
                    screen(trailers);
                }
                self.keep(frame);
            }
            // What broke off is not whole, however little of it was expected.
            Some(Err(_)) => self.taken = Taken::TooMuch,
            None => {}
        }
        if frame.is_none() || self.incoming.is_end_stream() {
            self.taken.end();
        }
        Poll::Ready(frame)
    }

    /// Counts what arrived, and what is one byte too many lets nothing of itself go on.
    fn within_limit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let Some((left, most)) = &mut self.limit else { return Ok(frame) };
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return Err(BodyError::OverLimit { most: *most });
        };
        *left = rest;
        Ok(frame)
    }

    fn passage(&self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) -> Passage {
        match polled {
            Poll::Pending => Passage::Waiting,
            Poll::Ready(Some(Err(BodyError::OverLimit { .. }))) => Passage::OverLimit,
            // Who writes a body of known length does not ask again after its last byte.
            Poll::Ready(Some(_)) if !self.incoming.is_end_stream() => Passage::Moved,
            Poll::Ready(_) => Passage::Ended,
        }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let mut copy = match std::mem::replace(&mut self.taken, Taken::TooMuch) {
            Taken::Nothing => Copied::default(),
            Taken::Part(copy) => copy,
            Taken::All(_) | Taken::TooMuch => return,
        };
        if copy.len() + frame.data_ref().map_or(0, Bytes::len) <= self.keep_bytes {
            copy.add(frame);
            self.taken = Taken::Part(copy);
        }
    }
}

impl Taken {
    fn end(&mut self) {
        *self = match std::mem::replace(self, Self::TooMuch) {
            Self::Nothing => Self::All(Copied::default()),
            Self::Part(copy) | Self::All(copy) => Self::All(copy),
            Self::TooMuch => Self::TooMuch,
        };
    }
}

/// Says how much, never what: a token request's form holds a secret.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Empty => "Empty",
            Self::Whole(_) => "Whole",
            Self::Stream(_) => "Stream",
            Self::Again(_) => "Again",
            Self::Resumed(_) => "Resumed",
            #[cfg(feature = "openpgp")]
            Self::Encrypted(_) => "Encrypted",
        };
        f.debug_tuple(kind).field(&self.size_hint()).finish()
    }
}
