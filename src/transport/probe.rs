//! How far a new connection to an endpoint comes, and whom it meets there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;

use super::dial::{self, ConnectTimings, DialNotes, Dialed, Protocol};
#[cfg(feature = "files")]
use super::file::FileTimings;
use super::wire::{Wire, WireExperience};
use super::{DialTarget, Error};
use crate::tls::{self, ClientCertificate, Leaf};

/// What became of it.
pub(crate) struct Probed {
    pub(crate) spent: ConnectTimings,
    /// What became of our client certificate, as far as it came.
    pub(crate) client_certificate: ClientCertificate,
    /// What is there, or the step that failed.
    pub(crate) outcome: Result<ProbeResult, (ConnectStep, Error)>,
    /// What came after the connection, where files are asked for.
    #[cfg(feature = "files")]
    pub(crate) files: Option<FileTimings>,
}

/// Who is there, and what is spoken with it.
pub(crate) struct ProbeResult {
    pub(crate) protocol: Protocol,
    /// `None` without TLS.
    pub(crate) tls_version: Option<&'static str>,
    /// The peer's own certificate; `None` without TLS, or where it is damaged and nobody minds.
    pub(crate) peer: Option<Leaf>,
}

/// A step on the way to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectStep {
    Lookup,
    Tcp,
    /// The proxy on the way.
    Proxy,
    Tls,
    /// The server has another key than is known.
    #[cfg(feature = "files")]
    HostKey,
    #[cfg(feature = "files")]
    Login,
    #[cfg(feature = "files")]
    Listing,
}

/// Makes a connection and lets go of it.
pub(super) async fn probe(endpoint: &DialTarget) -> Probed {
    // A resumed session would show neither side's certificate to the other.
    let tls = endpoint.tls.as_ref().map(tls::ClientTls::unresumed);
    let endpoint = DialTarget { tls, ..endpoint.clone() };
    let notes = DialNotes::default();
    let dialed = timeout(LONGEST, dial::dial(&endpoint, &notes)).await.unwrap_or_else(|_| Err(too_long(&endpoint)));
    let outcome = match dialed {
        Ok(dialed) => meet(dialed).await.map_err(|error| (ConnectStep::Tls, error)),
        Err(error) => Err((ConnectStep::after(notes.spent.get(), &endpoint), error)),
    };
    Probed {
        spent: notes.spent.get(),
        client_certificate: notes.client_certificate.get(),
        outcome,
        #[cfg(feature = "files")]
        files: None,
    }
}

fn too_long(endpoint: &DialTarget) -> Error {
    let reason = format!("a probe waits for {LONGEST:?}{}", endpoint.way);
    Error::Timeout { address: endpoint.address(), reason }
}

async fn meet(dialed: Dialed) -> Result<ProbeResult, Error> {
    let Dialed { mut wire, protocol } = dialed;
    if wire.tls().and_then(|tls| tls.protocol_version()) == Some(ProtocolVersion::TLSv1_3) {
        hear(&mut wire).await?;
    }
    let found = ProbeResult {
        protocol,
        tls_version: wire.tls().and_then(|tls| tls.protocol_version()).map(version),
        peer: wire.tls().and_then(|tls| Leaf::read(tls.peer_certificates()?.first()?)),
    };
    wire.end();
    Ok(found)
}

/// In TLS 1.3 our side is done before the other has looked at our certificate: waits for its first word, which is a
/// ticket if it is content, and an alert if it is not. One that says nothing is taken for content.
async fn hear(wire: &mut Wire) -> Result<(), Error> {
    timeout(FIRST_WORD, poll_fn(|cx| poll_word(wire, cx))).await.unwrap_or(Ok(()))
}

fn poll_word(wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    let mut word = [0; 64];
    let mut buffer = ReadBuf::new(&mut word);
    match Pin::new(&mut *wire).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
            let what = "it closed the connection after the handshake";
            let guess = wire.seen().why_silent().map(|guess| format!("; {guess}")).unwrap_or_default();
            Poll::Ready(Err(Error::Terminated(format!("{what}{guess}"))))
        }
        Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(wire.failure(error, WireExperience::Unproven).into())),
        Poll::Pending if wire.tls().is_some_and(|tls| tls.tls13_tickets_received() > 0) => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    }
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "1.3",
        ProtocolVersion::TLSv1_2 => "1.2",
        // Invariant: no other is offered.
        _ => "unknown",
    }
}

impl ConnectStep {
    /// The first that was not come through.
    fn after(spent: ConnectTimings, endpoint: &DialTarget) -> Self {
        match spent {
            ConnectTimings { lookup: None, .. } => Self::Lookup,
            ConnectTimings { tcp: None, .. } => Self::Tcp,
            ConnectTimings { proxy: None, .. } if endpoint.way.proxy().is_some() => Self::Proxy,
            _ if endpoint.tls.is_some() => Self::Tls,
            _ => Self::Tcp,
        }
    }
}

/// Who waits for a probe wants to hear the end of it, even where `timeouts.connect` is off.
const LONGEST: Duration = Duration::from_secs(30);

/// A round trip and a look at a certificate take less.
const FIRST_WORD: Duration = Duration::from_secs(1);
