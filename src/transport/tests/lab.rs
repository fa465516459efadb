//! Services by hand: scripted bytes over TCP or TLS, and HTTP/2 frame by frame.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::config::{HttpVersion, Scheme, Url, UrlAuthority};
use crate::tls::ClientTls;
use crate::transport::{
    AnswerBody, Connected, Connector, ContinueGate, Error, Http1Connection, Outgoing, ProtocolSwitch, RequestBody,
    Sender, SerialConnection, Spelling, Unsent,
};

/// A service that does with each connection what it is told to; counts them.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Rc<Cell<usize>>,
}

impl Service {
    /// `serve` gets each connection and its number, from 1.
    pub(crate) async fn raw<F>(serve: impl Fn(TcpStream, usize) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, accepted) = (listener.local_addr().unwrap(), Rc::new(Cell::new(0)));
        let counter = Rc::clone(&accepted);
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counter.set(counter.get() + 1);
                spawn_local(serve(tcp, counter.get()));
            }
        });
        Self { address, accepted }
    }

    /// Answers the first request of each connection with these bytes, and closes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Rc<[u8]> = answer.into().into();
        Self::raw(move |mut tcp, _| {
            let answer = Rc::clone(&answer);
            async move {
                read_head(&mut tcp).await;
                // Who asked may have seen enough before all is written.
                drop(tcp.write_all(&answer).await);
            }
        })
        .await
    }

    /// Answers each request with its path, keeping the connection alive.
    pub(crate) async fn echoing_paths() -> Self {
        Self::raw(|mut tcp, _| async move { while answer_path(&mut tcp).await {} }).await
    }

    pub(crate) fn url(&self) -> Url {
        url(Scheme::Http, self.address.port())
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(&self.url(), None, HttpVersion::Auto, None, Spelling::LowerCase)
    }

    /// A connection of HTTP/1.1.
    pub(crate) async fn connected(&self) -> Sender {
        driven(self.connector().connect().await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// A connection of HTTP/2 by prior knowledge.
    pub(crate) async fn connected_by_http2(&self) -> Sender {
        let connector = Connector::new(&self.url(), None, HttpVersion::Http2, None, Spelling::LowerCase);
        driven(connector.connect().await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// What a GET meets that is not answered.
    pub(crate) async fn failure(&self) -> Unsent {
        unanswered(self.connected().await.ask(get("/")).await)
    }
}

pub(crate) fn unanswered<T>(outcome: Result<T, Unsent>) -> Unsent {
    match outcome {
        Ok(_) => panic!("an answer came"),
        Err(unsent) => unsent,
    }
}

/// Reads a request's head and answers with its path; `false` once the connection ended.
pub(crate) async fn answer_path(tcp: &mut TcpStream) -> bool {
    let head = read_head(tcp).await;
    let Some(path) = head.split(' ').nth(1) else { return false };
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
    tcp.write_all(answer.as_bytes()).await.is_ok()
}

/// Everything up to the empty line; `""` if the connection ends before it.
pub(crate) async fn read_head(tcp: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) fn driven(connected: Connected) -> Sender {
    connected.driver.map(spawn_local);
    connected.sender
}

impl Sender {
    /// Sends a request that nobody wants back.
    pub(crate) async fn ask(&mut self, mut outgoing: Outgoing) -> Result<Response<AnswerBody>, Unsent> {
        self.send(&mut outgoing).await
    }

    /// The whole answer's body.
    pub(crate) async fn text(&mut self, response: Response<AnswerBody>) -> String {
        let body = self.read(response.into_body()).collect().await.unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    /// The answer to a request, and all of its body.
    pub(crate) async fn fetch(&mut self, outgoing: Outgoing) -> (StatusCode, String) {
        let response = self.ask(outgoing).await.unwrap_or_else(|unsent| panic!("{}", unsent.error));
        (response.status(), self.text(response).await)
    }

    pub(crate) fn http1(&mut self) -> &mut Http1Connection {
        match self {
            Self::Serial(SerialConnection::Http1(http1)) => http1,
            #[cfg(feature = "files")]
            Self::Serial(SerialConnection::File(_)) => panic!("it is no HTTP"),
            Self::Http2(_) => panic!("it speaks HTTP/2"),
        }
    }
}

pub(crate) fn url(scheme: Scheme, port: u16) -> Url {
    let authority = UrlAuthority { host: "127.0.0.1".to_owned(), port, default_port: false };
    Url { scheme, authority, path: String::new(), query: None }
}

impl RequestBody {
    /// Held back by this gate.
    pub(crate) fn held(mut self, gate: ContinueGate) -> Self {
        self.hold(gate);
        self
    }
}

pub(crate) fn get(target: &str) -> Outgoing {
    outgoing(Method::GET, target, RequestBody::Empty)
}

pub(crate) fn outgoing(method: Method, target: &str, body: RequestBody) -> Outgoing {
    Outgoing {
        method,
        scheme: Scheme::Http,
        authority: "service.example:8443".parse().unwrap(),
        target: PathAndQuery::try_from(target).unwrap(),
        fields: HeaderMap::new(),
        body,
        switch: ProtocolSwitch::NotAsked,
    }
}

/// An app's body, and the app's end of its connection, where the rest of the body is written.
pub(crate) async fn app_body(head: &str, begun: &[u8]) -> (Incoming, DuplexStream) {
    let (mut app, ours) = tokio::io::duplex(256 * 1024);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, http_body_util::Empty<Bytes>>(TokioIo::new(ours)).await.unwrap();
    spawn_local(connection);
    let message = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), begun].concat();
    // A message's body is the same thing on its way to a client as to a server.
    let (response, ()) = tokio::join!(sender.send_request(http::Request::new(http_body_util::Empty::new())), async {
        read_head(&mut app).await;
        app.write_all(&message).await.unwrap();
    });
    let response = response.unwrap();
    // The connection would end with its sender.
    std::mem::forget(sender);
    (response.into_body(), app)
}

/// A CA, and what it signed for a service at 127.0.0.1.
pub(crate) struct Authorities {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authorities {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A service's TLS; `client` says whether it asks for a client certificate, which nobody here has.
    pub(crate) fn server(&self, name: &str, alpn: &[&[u8]], client: AsksForCertificate) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match client {
            AsksForCertificate::No => builder.with_no_client_auth(),
            AsksForCertificate::Yes => builder.with_client_cert_verifier(
                rustls::server::WebPkiClientVerifier::builder_with_provider(self.roots(), provider()).build().unwrap(),
            ),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// The CA's certificate.
    pub(crate) fn pem(&self) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(self.issuer.der());
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    /// Our side's TLS, which trusts this CA.
    pub(crate) fn client(&self, alpn: &[&[u8]]) -> ClientTls {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(self.roots()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let server_name = ServerName::try_from("127.0.0.1").unwrap();
        ClientTls::made_of(config, server_name)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }
}

#[derive(Clone, Copy)]
pub(crate) enum AsksForCertificate {
    No,
    Yes,
}

/// Connects over TLS.
pub(crate) async fn over_tls(port: u16, tls: ClientTls, version: HttpVersion) -> Result<Connected, Error> {
    Connector::new(&url(Scheme::Https, port), Some(tls), version, None, Spelling::LowerCase).connect().await
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
