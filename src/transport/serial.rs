//! A connection that carries one exchange after the other, whatever is spoken on it.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use hyper::body::{Frame, SizeHint};

use super::error::Unsent;
#[cfg(feature = "files")]
use super::file::{FileAtRest, FileConnection};
use super::http::AnswerBody;
use super::{AtRest, Error, Http1Connection, Outgoing, Protocol, SwitchedConnection};

/// One request's. What each of them does is said at [`Http1Connection`], which files follow.
pub(crate) enum SerialConnection {
    Http1(Box<Http1Connection>),
    #[cfg(feature = "files")]
    File(Box<FileConnection>),
}

/// Nobody's: made by [`SerialConnection::into_rest`] alone.
pub(crate) enum SerialAtRest {
    Http1(AtRest),
    #[cfg(feature = "files")]
    File(FileAtRest),
}

impl SerialConnection {
    pub(crate) fn poll_send(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<AnswerBody>, Unsent>> {
        match self {
            Self::Http1(http1) => http1.poll_send(outgoing, cx),
            #[cfg(feature = "files")]
            Self::File(file) => file.poll_send(outgoing, cx),
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self {
            Self::Http1(http1) => http1.poll_frame(cx),
            #[cfg(feature = "files")]
            Self::File(file) => file.poll_frame(cx),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_over(),
            #[cfg(feature = "files")]
            Self::File(file) => file.is_over(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(http1) => http1.size_hint(),
            #[cfg(feature = "files")]
            Self::File(file) => file.size_hint(),
        }
    }

    /// Whether the request is still on its way though it is answered: that of a file never is.
    pub(crate) fn is_uploading(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_uploading(),
            #[cfg(feature = "files")]
            Self::File(_) => false,
        }
    }

    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(http1) => http1.poll_upload(cx),
            #[cfg(feature = "files")]
            Self::File(_) => Poll::Ready(()),
        }
    }

    pub(crate) fn uploaded(&self) -> u64 {
        match self {
            Self::Http1(http1) => http1.uploaded(),
            #[cfg(feature = "files")]
            Self::File(_) => 0,
        }
    }

    pub(crate) fn into_rest(self) -> Option<SerialAtRest> {
        match self {
            Self::Http1(http1) => http1.into_rest().map(SerialAtRest::Http1),
            #[cfg(feature = "files")]
            Self::File(file) => file.into_rest().map(SerialAtRest::File),
        }
    }

    pub(crate) fn into_switched(self) -> Option<SwitchedConnection> {
        match self {
            Self::Http1(http1) => http1.into_switched(),
            #[cfg(feature = "files")]
            Self::File(_) => None,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            #[cfg(feature = "files")]
            Self::File(_) => Protocol::File,
        }
    }
}

impl SerialAtRest {
    pub(crate) fn rouse(self) -> SerialConnection {
        match self {
            Self::Http1(http1) => SerialConnection::Http1(http1.rouse()),
            #[cfg(feature = "files")]
            Self::File(file) => SerialConnection::File(file.rouse()),
        }
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_closed(),
            #[cfg(feature = "files")]
            Self::File(file) => file.is_closed(),
        }
    }

    #[cfg(test)]
    pub(crate) fn has_news(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.has_news(),
            #[cfg(feature = "files")]
            Self::File(_) => false,
        }
    }
}
