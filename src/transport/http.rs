//! A connection of any protocol, and an answer on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::Response;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::dial::{ConnectTimings, Dialed, Protocol};
use super::error::Unsent;
#[cfg(feature = "files")]
use super::file::{FileAnswerBody, FileAtRest, FileConnection};
use super::h2::{self, Inflow};
use super::{AtRest, DialTarget, Error, Http1Connection, Http2Handle, Outflow, Outgoing, SwitchedConnection};

/// A new connection.
pub(crate) struct Connected {
    pub(crate) sender: Sender,
    /// Must be polled (spawned) for an HTTP/2 connection to move: it owns the socket. Ends when the connection does, or soon
    /// after the last that could use it; dropped before that it breaks off what runs.
    pub(crate) driver: Option<ConnectionDriver>,
    pub(crate) spent: ConnectTimings,
}

/// What carries the bytes of an HTTP/2 connection.
pub(crate) type ConnectionDriver = Pin<Box<dyn Future<Output = ()>>>;

/// Sends requests on one connection: one at a time (HTTP/1.1, and files), or many, each by a clone of [`Http2Handle`] (HTTP/2).
pub(crate) enum Sender {
    Serial(SerialConnection),
    Http2(Http2Handle),
}

/// An answer's body.
pub(crate) enum AnswerBody {
    /// All of it, and none of it is left on the connection.
    Whole(Bytes),
    /// To be read from the connection on which its head came, which carries nothing else.
    Coming,
    Stream(Inflow),
}

/// An answer's body and the connection that it comes on.
pub(crate) struct AnswerReading<'a> {
    sender: &'a mut Sender,
    answer: AnswerBody,
}

/// Speaks what was negotiated.
pub(super) async fn handshake(
    dialed: Dialed,
    spent: ConnectTimings,
    endpoint: &DialTarget,
) -> Result<Connected, Error> {
    let Dialed { wire, protocol } = dialed;
    match protocol {
        #[cfg(feature = "files")]
        Protocol::File => Err(Error::Protocol("files are asked for otherwise".to_owned())),
        Protocol::Http1 => {
            let http1 = Box::new(Http1Connection::new(wire, endpoint.spelling));
            let sender = Sender::Serial(SerialConnection::Http1(http1));
            Ok(Connected { sender, driver: None, spent })
        }
        Protocol::Http2 => {
            let (handle, driver) = h2::handshake(wire, endpoint);
            Ok(Connected { sender: Sender::Http2(handle), driver: Some(driver), spent })
        }
    }
}

impl Sender {
    /// Writes the request: origin-form and `Host` on HTTP/1.1, `:authority` on HTTP/2. Of `outgoing` the body is taken,
    /// and given back with a request that comes back whole. Dropping this before the answer ends the stream (HTTP/2),
    /// or leaves a connection that is good for nothing (HTTP/1.1).
    ///
    /// # Errors
    ///
    /// When no head of an answer comes; it may be sent again as far as [`Unsent`] says.
    pub(crate) async fn send(&mut self, outgoing: &mut Outgoing) -> Result<Response<AnswerBody>, Unsent> {
        match self {
            Self::Serial(connection) => poll_fn(|cx| connection.poll_send(outgoing, cx)).await,
            Self::Http2(handle) => handle.send(outgoing).await,
        }
    }

    /// The body of an answer that came on this connection.
    pub(crate) fn read(&mut self, answer: AnswerBody) -> AnswerReading<'_> {
        AnswerReading { sender: self, answer }
    }

    /// What the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Serial(connection) => connection.protocol(),
            Self::Http2(_) => Protocol::Http2,
        }
    }
}

impl AnswerBody {
    /// The rest of a request that was answered before its end on HTTP/2, for a task that sees to it. Left here, it goes on
    /// while the answer is read.
    pub(crate) fn take_outflow(&mut self) -> Option<Box<Outflow>> {
        match self {
            Self::Stream(inflow) => inflow.take_outflow(),
            Self::Whole(_) | Self::Coming => None,
        }
    }

    /// The next piece; `connection` is the one on which the head came, where that carries nothing else.
    pub(crate) fn poll_frame(
        &mut self,
        connection: Option<&mut SerialConnection>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match (self, connection) {
            (Self::Whole(bytes), _) if bytes.is_empty() => Poll::Ready(None),
            (Self::Whole(bytes), _) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            (Self::Coming, Some(connection)) => connection.poll_frame(cx),
            (Self::Coming, None) => Poll::Ready(None),
            (Self::Stream(inflow), _) => inflow.poll_frame(cx),
        }
    }

    /// Whether nothing more is to come; `connection` as for [`AnswerBody::poll_frame`].
    pub(crate) fn is_over(&self, connection: Option<&SerialConnection>) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Coming => connection.is_none_or(SerialConnection::is_over),
            Self::Stream(inflow) => inflow.is_over(),
        }
    }

    /// How much is to come; `connection` as for [`AnswerBody::poll_frame`].
    pub(crate) fn size_hint(&self, connection: Option<&SerialConnection>) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming => connection.map_or_else(|| SizeHint::with_exact(0), SerialConnection::size_hint),
            Self::Stream(inflow) => inflow.size_hint(),
        }
    }
}

impl Body for AnswerReading<'_> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let connection = match &mut this.sender {
            Sender::Serial(connection) => Some(connection),
            Sender::Http2(_) => None,
        };
        this.answer.poll_frame(connection, cx)
    }
}

/// A connection that carries one exchange after the other, whatever is spoken on it, while it is one request's. What each of them does is said at [`Http1Connection`], which files follow.
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
            Self::File(file) => file.poll_send(outgoing, cx).map_ok(|answer| {
                answer.map(|body| match body {
                    FileAnswerBody::Empty => AnswerBody::Whole(Bytes::new()),
                    FileAnswerBody::Coming => AnswerBody::Coming,
                })
            }),
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
