//! Why a stream, or all of its connection, came to an end before its answer did.

use std::io;
use std::rc::Rc;

use h2::Reason;

#[derive(Clone, Debug)]
pub(crate) enum StreamEnding {
    /// The service reset it.
    ResetByService(Reason),
    /// What came on it was no answer, and we reset it.
    ResetForFault(Reason),
    /// The same, in words.
    Refused(&'static str),
    /// The app's body broke off, and we reset it.
    BrokenOff,
    /// The service ended the connection, and says that it will not come to this stream.
    ClosedByService(Reason),
    /// What came was no HTTP/2, or more than is borne.
    GivenUp(Reason),
    /// More came that brings no request on than is borne.
    Flooded,
    /// What became of the socket, in words.
    Socket(Rc<str>),
    /// Nobody's fault: it takes no more requests.
    Exhausted,
    /// The same for now: it carries as many as it may, and this one was not begun.
    Full,
}

impl StreamEnding {
    pub(super) fn of_socket(error: &io::Error) -> Self {
        Self::Socket(error.to_string().into())
    }

    /// Whether it ended that stream and none beside it: nothing that became of the connection has to do with it.
    pub(super) fn is_of_stream_alone(&self) -> bool {
        matches!(self, Self::ResetByService(_) | Self::ResetForFault(_) | Self::Refused(_) | Self::BrokenOff)
    }

    /// The other side's end, where no answer of it is missing.
    pub(super) fn closed() -> Self {
        Self::Socket("it closed the connection".into())
    }
}
