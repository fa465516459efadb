//! How a body gets on, for whoever's time-outs run meanwhile.

use std::rc::Rc;

use bytes::Bytes;

use super::BodyError;

/// Is told how the app's body gets on.
pub(crate) type Observer = Rc<dyn Fn(Passage)>;

/// How an app's body gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// A piece of it was taken, to go on.
    Moved,
    /// A part of the last piece went on.
    MovedOn,
    /// More could go on, but the app has not sent it yet.
    Waiting,
    /// The request's last byte went on.
    Ended,
    /// More came of it than may go on.
    OverLimit,
}

/// What is written to a service.
pub(crate) trait UploadBody: hyper::body::Body<Data = Bytes, Error = BodyError> + Unpin {
    /// More of what was taken of it went on: the service is slow, and not silent.
    fn moved_on(&mut self);
}
