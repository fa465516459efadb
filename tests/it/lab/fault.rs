//! A server that does on purpose what real parts do only on bad days, and keeps every request byte for byte.
//!
//! What it answers is a function from the request to a [`Reply`], a list of steps; all else (reading the request,
//! keeping the connection) is the server's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::client::{field, fields, find};
use super::{Lab, until};

/// A running server; ends, with all its connections, when it is dropped.
pub struct Fault {
    pub port: u16,
    scheme: &'static str,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

/// One request, as far as it has come.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counts the requests from 0.
    pub number: usize,
    /// Counts the connections from 0.
    pub connection: usize,
    /// Request line and fields.
    pub head: String,
    /// The request line as it came, byte for byte.
    pub line: Vec<u8>,
    /// The body as it came, chunks and all.
    pub body: Vec<u8>,
    /// Whether the body came to the end that its framing promised.
    pub whole: bool,
}

/// What the server does with a request.
#[derive(Clone, Default)]
pub struct Reply {
    steps: Vec<Step>,
    before_the_body: bool,
}

#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Wait(Gate),
    Pause(Duration),
    Count(Arc<AtomicUsize>),
    Hang,
    Close,
    Reset,
}

impl Fault {
    /// Listens without TLS.
    pub async fn plain(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(any_port().await, answer)
    }

    /// Listens with the lab's server certificate, and asks for a client certificate of its authority.
    pub async fn tls(lab: &Lab, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start("https", any_port().await, Some(acceptor(lab)), answer)
    }

    /// A token endpoint.
    pub async fn idp(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::plain(answer).await
    }

    /// A token endpoint that reads the form before it answers.
    pub async fn reading_idp(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::serving("http", any_port().await, None, Hears::AllOfIt, answer)
    }

    /// Serves, without TLS, on a port of the test's choice.
    pub fn on(listener: TcpListener, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start("http", listener, None, answer)
    }

    fn start(
        scheme: &'static str,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serving(scheme, listener, tls, Hears::TheHead, answer)
    }

    fn serving(
        scheme: &'static str,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        hears: Hears,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { received: received.clone(), answer: Box::new(answer), hears, tls });
        Self { port, scheme, received, task: tokio::spawn(accept(listener, shared)) }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// The one request that came.
    #[track_caller]
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.remove(0)
    }

    /// Waits until `count` requests have come.
    pub async fn until_received(&self, count: usize) {
        until(&format!("{count} requests"), async || (self.count() >= count).then_some(())).await;
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The one value of a field; two are an error.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    pub fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The one value of a form field.
    #[track_caller]
    pub fn form(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(&self.body);
        let mut values: Vec<_> = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
        assert!(values.len() < 2, "two of {name}: {}", self.text());
        values.pop()
    }
}

impl Reply {
    /// A whole answer.
    pub fn new(status: u16, fields: &[(&str, &str)], body: &str) -> Self {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        Self::raw(format!("HTTP/1.1 {status} Word\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
    }

    pub fn ok(body: &str) -> Self {
        Self::new(200, &[], body)
    }

    pub fn status(status: u16) -> Self {
        Self::new(status, &[], "")
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(200, &[("Content-Type", "application/json")], &value.to_string())
    }

    /// A token answer as it should be.
    pub fn token(token: &str, lifetime: u64) -> Self {
        Self::json(&serde_json::json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime }))
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::default().send(bytes)
    }

    /// Says nothing, and keeps the connection.
    pub fn hang() -> Self {
        Self::default().step(Step::Hang)
    }

    /// Resets the connection.
    pub fn reset() -> Self {
        Self::default().then_reset()
    }

    /// Waits for the gate, then goes on.
    pub fn after(gate: &Gate) -> Self {
        Self::default().wait(gate)
    }

    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    pub fn pause(self, pause: Duration) -> Self {
        self.step(Step::Pause(pause))
    }

    /// Counts up once the steps before are done.
    pub fn count(self, count: &Arc<AtomicUsize>) -> Self {
        self.step(Step::Count(count.clone()))
    }

    pub fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }

    pub fn then_close(self) -> Self {
        self.step(Step::Close)
    }

    pub fn then_reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Does all this while the request's body is still to come.
    pub fn before_the_body(self) -> Self {
        Self { before_the_body: true, ..self }
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// Holds answers back until the test opens it.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let mut opened = self.0.subscribe();
        // An error means that the lab is gone.
        drop(opened.wait_for(|open| *open).await);
    }
}

/// How much of a request is there when the answer is decided on.
#[derive(Clone, Copy, PartialEq)]
enum Hears {
    TheHead,
    AllOfIt,
}

struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    answer: Box<dyn Fn(&Received) -> Reply + Send + Sync>,
    hears: Hears,
    tls: Option<TlsAcceptor>,
}

async fn any_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set with this task ends the connections too.
    let mut connections = tokio::task::JoinSet::new();
    let number = AtomicUsize::new(0);
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        connections.spawn(connection(stream, number.fetch_add(1, Ordering::Relaxed), shared.clone()));
    }
}

async fn connection(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let Some(tls) = &shared.tls else { return serve(stream, number, &shared, TcpStream::set_zero_linger).await };
    if let Ok(stream) = tls.accept(stream).await {
        serve(stream, number, &shared, |stream| stream.get_ref().0.set_zero_linger()).await;
    }
}

async fn serve<S>(mut stream: S, connection: usize, shared: &Shared, reset: fn(&S) -> std::io::Result<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut unread = Vec::new();
    while let Some((number, mut reply)) = head(&mut stream, &mut unread, connection, shared).await {
        if !reply.before_the_body && !body(&mut stream, &mut unread, number, shared).await {
            return;
        }
        if shared.hears == Hears::AllOfIt {
            let request = shared.received.lock().unwrap()[number].clone();
            reply = (shared.answer)(&request);
        }
        for step in &reply.steps {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
                Step::Wait(gate) => gate.passed().await,
                Step::Pause(pause) => tokio::time::sleep(*pause).await,
                Step::Count(count) => drop(count.fetch_add(1, Ordering::Relaxed)),
                Step::Hang => std::future::pending().await,
                Step::Close => return drop(stream.shutdown().await),
                Step::Reset => return reset(&stream).unwrap(),
            }
        }
        if reply.before_the_body && !body(&mut stream, &mut unread, number, shared).await {
            return;
        }
    }
}

/// Reads a head, notes it, and asks what to do.
async fn head<S: AsyncRead + Unpin>(
    stream: &mut S,
    unread: &mut Vec<u8>,
    connection: usize,
    shared: &Shared,
) -> Option<(usize, Reply)> {
    let end = loop {
        match find(unread, b"\r\n\r\n") {
            Some(end) => break end,
            None => more(stream, unread).await?,
        }
    };
    let head: Vec<u8> = unread.drain(..end + 4).collect();
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec();
    let head = String::from_utf8_lossy(&head[..end]).into_owned();
    let request = {
        let mut received = shared.received.lock().unwrap();
        let request = Received { number: received.len(), connection, head, line, body: Vec::new(), whole: false };
        received.push(request.clone());
        request
    };
    let reply = if shared.hears == Hears::TheHead { (shared.answer)(&request) } else { Reply::default() };
    Some((request.number, reply))
}

/// Reads a body as it comes; whether it came to its end.
async fn body<S: AsyncRead + Unpin>(stream: &mut S, unread: &mut Vec<u8>, number: usize, shared: &Shared) -> bool {
    let head = shared.received.lock().unwrap()[number].head.clone();
    let chunked = field(&head, "transfer-encoding").is_some();
    let length: usize = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    loop {
        {
            let request = &mut shared.received.lock().unwrap()[number];
            let wanted = if chunked { unread.len() } else { length - request.body.len() };
            request.body.extend(unread.drain(..wanted.min(unread.len())));
            let last_chunk = request.body.starts_with(b"0\r\n") || find(&request.body, b"\r\n0\r\n").is_some();
            let done = last_chunk && request.body.ends_with(b"\r\n\r\n");
            request.whole = if chunked { done } else { request.body.len() == length };
            if request.whole {
                return true;
            }
        }
        if more(stream, unread).await.is_none() {
            return false;
        }
    }
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, unread: &mut Vec<u8>) -> Option<()> {
    unread.reserve(64 * 1024);
    matches!(stream.read_buf(unread).await, Ok(read) if read > 0).then_some(())
}

fn acceptor(lab: &Lab) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(lab.ca.pem.as_bytes()).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let clients = clients.allow_unauthenticated().build().unwrap();
    let chain = CertificateDer::pem_slice_iter(lab.server.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(lab.server.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}
