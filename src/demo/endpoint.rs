//! An HTTPS server on a free loopback port, the ground that both parts of the demo stand on.
//!
//! HTTP/1.1 only; a request is read whole before it is answered. It stops when its [`DemoServer`] is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Error;
use super::certificates::{CertificateAuthority, Issued};
use crate::tls;

/// What an endpoint says to a request, and to whom.
pub(super) trait Responder: Send + Sync + 'static {
    /// `caller` is the client's certificate, if it presented one; it was issued by the demo's CA.
    fn answer(&self, request: &Request<Bytes>, caller: Option<&CertificateDer<'static>>) -> Response<Full<Bytes>>;
}

/// Whether a client must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificatePolicy {
    Optional,
    Required,
}

/// A running server.
pub(super) struct DemoServer {
    pub(super) address: SocketAddr,
    /// Aborts the server, and with it its connections, when it is dropped.
    _running: JoinSet<()>,
}

impl DemoServer {
    /// Starts to listen, on the runtime that this runs on.
    pub(super) async fn start(config: ServerConfig, answers: impl Responder) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let mut running = JoinSet::new();
        running.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::new(answers)));
        Ok(Self { address, _running: running })
    }
}

/// TLS for an endpoint that trusts `authority` alone.
pub(super) fn server_tls(
    authority: &CertificateAuthority,
    own: &Issued,
    certificate: ClientCertificatePolicy,
) -> Result<ServerConfig, Error> {
    let roots = Arc::new(authority.roots()?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(tls::provider()));
    let verifier = match certificate {
        ClientCertificatePolicy::Optional => verifier.allow_unauthenticated(),
        ClientCertificatePolicy::Required => verifier,
    };
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(tls::provider())).with_safe_default_protocol_versions()?;
    let mut config = builder
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(vec![own.certificate.clone()], own.key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// An answer with a JSON body that must not be stored.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    // Invariant: the demo's answers are texts and numbers, which JSON can write.
    #[allow(clippy::expect_used)]
    let body = serde_json::to_string_pretty(body).expect("an answer that JSON can write");
    let mut response = Response::new(Full::from(body + "\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, answers: Arc<impl Responder>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&answers)));
                }
            }
            // Takes finished ones out of the set, which would keep them else.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One client connection; how it ends is the client's affair.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, answers: Arc<impl Responder>) -> Result<(), io::Error> {
    let stream = acceptor.accept(stream).await?;
    let caller = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let answer = service_fn(|request| respond(request, &*answers, caller.as_ref()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.map_err(io::Error::other)
}

async fn respond(
    request: Request<Incoming>,
    answers: &impl Responder,
    caller: Option<&CertificateDer<'static>>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MOST_BODY_BYTES).collect().await?.to_bytes();
    Ok(answers.answer(&Request::from_parts(head, body), caller))
}

const MOST_BODY_BYTES: usize = 1 << 20;
