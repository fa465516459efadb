//! A control or a data connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::Error;
use super::tickets::Tickets;

/// How a server is spoken to.
#[derive(Clone)]
pub(crate) enum Security {
    /// Nothing is hidden from whoever is on the way.
    Plain,
    /// TLS from the first byte (`ftps://`).
    Implicit(TlsClient),
    /// TLS once `AUTH TLS` was agreed to, and nothing that matters before (RFC 4217 §4).
    Explicit(TlsClient),
}

/// What handshakes are made with.
#[derive(Clone)]
pub(crate) struct TlsClient {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// Handshakes of one control connection and its data connections.
pub(super) struct Handshakes {
    connector: TlsConnector,
    name: ServerName<'static>,
    tickets: Arc<Tickets>,
}

pub(super) enum FtpWire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Handshakes {
    pub(super) fn new(client: &TlsClient) -> Self {
        let tickets = Arc::new(Tickets::default());
        let mut config = ClientConfig::clone(&client.config);
        config.resumption = Resumption::store(tickets.clone());
        Self { connector: TlsConnector::from(Arc::new(config)), name: client.name.clone(), tickets }
    }

    pub(super) async fn shake(&self, socket: TcpStream) -> Result<FtpWire, Error> {
        let shaken = self.connector.connect(self.name.clone(), socket).await.map_err(Error::Tls)?;
        Ok(FtpWire::Tls(Box::new(shaken)))
    }

    /// Another data connection would be refused.
    pub(super) fn are_used_up(&self) -> bool {
        self.tickets.are_used_up()
    }
}

impl FtpWire {
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The socket, before anything has hidden what is said on it.
    pub(super) fn into_plain(self) -> Result<TcpStream, Error> {
        match self {
            Self::Plain(socket) => Ok(socket),
            Self::Tls(_) => Err(Error::Protocol("TLS is spoken already")),
        }
    }
}

impl AsyncRead for FtpWire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, out),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for FtpWire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
