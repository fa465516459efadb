//! Services that answer early, late, twice, cut, and with bodies where none may be, as each request tells them to; and
//! the ledger of what was sent, in which they look up what they get.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{field, find};

/// What a request asks for, all of it in its target: `/p/ID?do=WHAT&n=SIZE&seed=SEED`.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: String,
    pub what: String,
    /// How often the answer's body says the id, and the request's body hides a request.
    pub size: usize,
    pub seed: u64,
}

impl Plan {
    pub fn target(&self) -> String {
        format!("/p/{}?do={}&n={}&seed={}", self.id, self.what, self.size, self.seed)
    }

    pub fn read(target: &str) -> Option<Self> {
        let (id, query) = target.strip_prefix("/p/")?.split_once("?do=")?;
        let (what, rest) = query.split_once("&n=")?;
        let (size, seed) = rest.split_once("&seed=")?;
        Some(Self { id: id.into(), what: what.into(), size: size.parse().ok()?, seed: seed.parse().ok()? })
    }

    /// The whole answer.
    pub fn answer(&self) -> String {
        format!("<{}>", self.id).repeat(self.size)
    }

    /// The request's body: requests that nobody sent.
    pub fn upload(&self) -> String {
        format!("GET /p/evil-{} HTTP/1.1\r\nHost: service\r\n\r\n", self.id).repeat(self.size)
    }

    fn random(&self, number: usize) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ number as u64)
    }
}

/// What was sent, how often a service has seen it, and what should never have happened.
#[derive(Default)]
pub struct Ledger {
    sent: Mutex<HashMap<String, (&'static str, usize)>>,
    violations: Mutex<Vec<String>>,
}

impl Ledger {
    pub fn sends(&self, plan: &Plan, method: &'static str) {
        self.sent.lock().unwrap().insert(plan.id.clone(), (method, 0));
    }

    pub fn violated(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// How often it was seen, this time included.
    fn sees(&self, method: &str, target: &str) -> Option<(Plan, usize)> {
        let plan = Plan::read(target);
        let mut sent = self.sent.lock().unwrap();
        let entry = plan.as_ref().and_then(|plan| sent.get_mut(&plan.id));
        let (Some(plan), Some((was, seen))) = (&plan, entry) else {
            self.violated(format!("nobody sent {method} {target}"));
            return None;
        };
        *seen += 1;
        // What was disclaimed may come again, whatever it is.
        let most = if *was == "POST" && plan.what != "refused" && plan.what != "goaway" { 1 } else { 2 };
        if *was != method || *seen > most {
            self.violated(format!("{method} {target} came {seen} times, and {was} was sent"));
        }
        Some((plan.clone(), *seen))
    }
}

/// Listens on a port until it is dropped.
pub struct Hostile {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Hostile {
    pub async fn http1(ledger: &Arc<Ledger>) -> Self {
        Self::start(ledger, |stream, ledger, number| Wire { stream, read: Vec::new() }.serve(ledger, number)).await
    }

    pub async fn http2(ledger: &Arc<Ledger>) -> Self {
        Self::start(ledger, |stream, ledger, _| streams::serve(stream, ledger)).await
    }

    async fn start<F>(ledger: &Arc<Ledger>, serve: impl Fn(TcpStream, Arc<Ledger>, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, ledger) = (listener.local_addr().unwrap().port(), Arc::clone(ledger));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream, Arc::clone(&ledger), number));
            }
        });
        Self { port, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection of HTTP/1.1.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What may still come on a connection.
#[derive(PartialEq)]
enum Then {
    Requests,
    /// Its last answer came too early: nothing but the rest of its request.
    Nothing,
    /// As `Nothing`; that rest is taken for requests.
    Nonsense,
}

impl Wire {
    /// `None`: the connection ended.
    async fn serve(mut self, ledger: Arc<Ledger>, number: usize) -> Option<()> {
        let (mut then, mut used) = (Then::Requests, false);
        loop {
            let head = self.until(b"\r\n\r\n").await?;
            let mut words = head.split(' ');
            let (method, target) = (words.next()?, words.next().unwrap_or_default());
            if then == Then::Nonsense && (Plan::read(target).is_none() || target.contains("evil")) {
                self.write(b"HTTP/1.1 200 OK\r\nx-id: evil\r\ncontent-length: 4\r\n\r\nevil").await?;
                continue;
            }
            let (plan, _) = ledger.sees(method, target)?;
            if then != Then::Requests {
                ledger
                    .violated(format!("{method} {target} came on a connection with a request that was answered early"));
            }
            then = self.answer(&plan, &head, used, &ledger, number).await?;
            used = true;
        }
    }

    async fn answer(&mut self, plan: &Plan, head: &str, used: bool, ledger: &Ledger, number: usize) -> Option<Then> {
        let (id, body, mut random) = (&plan.id, plan.answer(), plan.random(number));
        let length = body.len();
        let sized = |status: &str, more: &str| {
            format!("HTTP/1.1 {status}\r\nx-id: {id}\r\ncontent-length: {length}\r\n{more}\r\n{body}")
        };
        let chunked =
            format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}");
        match plan.what.as_str() {
            "early" | "careless" => {
                self.write(sized("413 Content Too Large", "").as_bytes()).await?;
                if plan.what == "careless" {
                    return Some(Then::Nonsense);
                }
                self.request_body(plan, head, ledger).await?;
                return Some(Then::Nothing);
            }
            // Only to one that may have waited for a request.
            "timeout" if used => {
                self.write(sized("408 Request Timeout", "connection: close\r\n").as_bytes()).await?;
                return None;
            }
            _ => self.request_body(plan, head, ledger).await?,
        }
        if head.starts_with("HEAD ") {
            let (head, body) = (sized("200 OK", ""), if plan.what == "twice" { length } else { 0 });
            self.write(&head.as_bytes()[..head.len() - length + body]).await?;
            return Some(Then::Requests);
        }
        match plan.what.as_str() {
            "chunked" => self.dribble(format!("{chunked}\r\n0\r\n\r\n").as_bytes(), &mut random).await?,
            "cut" => {
                let whole = if random.bool() { chunked } else { sized("200 OK", "") };
                self.dribble(&whole.as_bytes()[..whole.len() - 1 - random.usize(..length)], &mut random).await?;
                return self.end(random.bool());
            }
            "until-close" => {
                let is_cut = random.bool();
                let told = if is_cut { length / 2 } else { length };
                let whole = format!("HTTP/1.{} 200 OK\r\nx-id: {id}\r\n\r\n{}", random.u8(..2), &body[..told]);
                self.dribble(whole.as_bytes(), &mut random).await?;
                return self.end(is_cut);
            }
            // At once: what comes later nobody can tell from the next answer.
            "twice" => {
                self.write(format!("{}{}", sized("200 OK", ""), sized("200 OK", "").replace(id, "again")).as_bytes())
                    .await?
            }
            "no-content" => {
                let framing = ["content-length: 5", "transfer-encoding: chunked"][random.usize(..2)];
                let status = ["204 No Content", "205 Reset Content"][random.usize(..2)];
                self.write(format!("HTTP/1.1 {status}\r\nx-id: {id}\r\n{framing}\r\n\r\n").as_bytes()).await?;
                pause(&mut random).await;
                self.write(b"5\r\nhello\r\n0\r\n\r\n").await?;
            }
            "interim" => {
                let hints = "HTTP/1.1 103 Early Hints\r\nx-id: early\r\n\r\n".repeat(random.usize(1..40));
                self.dribble(format!("{hints}{}", sized("200 OK", "")).as_bytes(), &mut random).await?;
            }
            "gone" => return self.end(random.bool()),
            "close" => {
                self.dribble(sized("200 OK", "connection: close\r\n").as_bytes(), &mut random).await?;
                self.write(b"HTTP/1.1 200 OK\r\nx-id: evil\r\ncontent-length: 4\r\n\r\nevil").await?;
                return None;
            }
            _ => self.dribble(sized("200 OK", "").as_bytes(), &mut random).await?,
        }
        Some(Then::Requests)
    }

    /// Reads the request's body, which must be what was sent.
    async fn request_body(&mut self, plan: &Plan, head: &str, ledger: &Ledger) -> Option<()> {
        let mut body = Vec::new();
        if let Some(length) = field(head, "content-length") {
            body = self.exactly(length.parse().ok()?).await?;
        } else if field(head, "transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                body.extend(self.exactly(size).await?);
                self.until(b"\r\n").await?;
                if size == 0 {
                    break;
                }
            }
        }
        if !body.is_empty() && body != plan.upload().as_bytes() {
            ledger.violated(format!("{}: its body is {:?}", plan.id, String::from_utf8_lossy(&body)));
        }
        Some(())
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, end) {
                let taken: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&taken).into_owned());
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            self.more().await?;
        }
        Some(self.read.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.read).await.ok()? > 0).then_some(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).await.ok()
    }

    /// In pieces, with pauses between.
    async fn dribble(&mut self, mut bytes: &[u8], random: &mut fastrand::Rng) -> Option<()> {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(random.usize(1..=bytes.len()));
            self.write(piece).await?;
            bytes = rest;
            pause(random).await;
        }
        Some(())
    }

    fn end(&self, by_reset: bool) -> Option<Then> {
        if by_reset {
            self.stream.set_zero_linger().ok()?;
        }
        None
    }
}

/// Mostly none.
pub async fn pause(random: &mut fastrand::Rng) {
    if random.u8(..4) == 0 {
        sleep(Duration::from_micros(random.u64(..2_500))).await;
    }
}

mod streams {
    //! The same over HTTP/2.

    use bytes::Bytes;
    use h2::server::SendResponse;
    use h2::{Reason, RecvStream, SendStream};
    use http::{HeaderMap, Request, Response};
    use tokio::sync::mpsc;

    use super::*;

    pub(super) async fn serve(stream: TcpStream, ledger: Arc<Ledger>) -> Option<()> {
        let mut connection = h2::server::handshake(stream).await.ok()?;
        let (end, mut ends) = mpsc::unbounded_channel();
        let mut answers = JoinSet::new();
        loop {
            let (request, respond) = tokio::select! {
                accepted = connection.accept() => accepted?.ok()?,
                how = ends.recv() => match how? {
                    End::Drop => return None,
                    End::GoAway => { connection.abrupt_shutdown(Reason::NO_ERROR); continue }
                    End::Gracefully => { connection.graceful_shutdown(); continue }
                },
            };
            let target = request.uri().path_and_query().map_or("", |target| target.as_str());
            let Some((plan, seen)) = ledger.sees(request.method().as_str(), target) else { continue };
            let (end, ledger) = (end.clone(), Arc::clone(&ledger));
            answers.spawn(async move { answer(plan, seen, request, respond, end, ledger).await });
        }
    }

    enum End {
        Drop,
        GoAway,
        Gracefully,
    }

    async fn answer(
        plan: Plan,
        seen: usize,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        end: mpsc::UnboundedSender<End>,
        ledger: Arc<Ledger>,
    ) -> Option<()> {
        let mut random = plan.random(seen);
        let body = plan.answer();
        let (request, mut upload) = request.into_parts();
        if !matches!(plan.what.as_str(), "early" | "careless") {
            read_all(&plan, &mut upload, &ledger).await?;
        }
        if plan.what == "refused" && seen == 1 {
            respond.send_reset(Reason::REFUSED_STREAM);
            return None;
        }
        let mut response = Response::builder().header("x-id", &plan.id);
        match plan.what.as_str() {
            "early" | "careless" => response = response.status(413),
            "interim" => {
                for _ in 0..random.usize(1..40) {
                    respond.send_informational(Response::builder().status(103).body(()).unwrap()).ok()?;
                }
            }
            "no-content" => response = response.status([204, 205][random.usize(..2)]),
            "timeout" => response = response.header("content-length", [0, body.len() + 5][random.usize(..2)]),
            "close" => drop(end.send(End::Gracefully)),
            _ if random.bool() => response = response.header("content-length", body.len()),
            _ => {}
        }
        let is_head = request.method == "HEAD";
        let mut stream = respond.send_response(response.body(()).unwrap(), is_head).ok()?;
        if is_head {
            return None;
        }
        match plan.what.as_str() {
            "cut" | "until-close" | "gone" | "goaway" => {
                dribble(&mut stream, &body[..random.usize(..body.len())], false, &mut random).await?;
                pause(&mut random).await;
                match plan.what.as_str() {
                    "gone" => drop(end.send(End::Drop)),
                    "goaway" => drop(end.send(End::GoAway)),
                    _ => {
                        stream.send_reset([Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR][random.usize(..3)])
                    }
                }
                // Dropped now, it would be reset for a reason of h2's own.
                sleep(Duration::from_millis(20)).await;
            }
            "chunked" => {
                dribble(&mut stream, &body, false, &mut random).await?;
                stream.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())])).ok()?;
            }
            _ => dribble(&mut stream, &body, true, &mut random).await?,
        }
        if plan.what == "careless" {
            read_all(&plan, &mut upload, &ledger).await?;
        }
        // "early": what is left of the request is refused, with NO_ERROR.
        Some(())
    }

    async fn dribble(stream: &mut SendStream<Bytes>, body: &str, ends: bool, random: &mut fastrand::Rng) -> Option<()> {
        let mut bytes = Bytes::copy_from_slice(body.as_bytes());
        while !bytes.is_empty() {
            let piece = bytes.split_to(random.usize(1..=bytes.len()));
            stream.send_data(piece, ends && bytes.is_empty()).ok()?;
            pause(random).await;
        }
        Some(())
    }

    async fn read_all(plan: &Plan, upload: &mut RecvStream, ledger: &Ledger) -> Option<()> {
        let mut body = Vec::new();
        while let Some(data) = upload.data().await {
            let data = data.ok()?;
            upload.flow_control().release_capacity(data.len()).ok()?;
            body.extend_from_slice(&data);
        }
        if !body.is_empty() && body != plan.upload().as_bytes() {
            ledger.violated(format!("{}: its body is {:?}", plan.id, String::from_utf8_lossy(&body)));
        }
        Some(())
    }
}
