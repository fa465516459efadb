//! A port by hand, and its connections over real sockets, with the clock in the test's hand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::{Response, StatusCode, request};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use crate::code::Code;
use crate::config::Limits;
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::proxy::{Arrival, DrainPhase, Peer, ResponseBody};
use crate::server::connection::{self, Port, ThreadShared};
use crate::server::refusal::ConnectionRefusal;
use crate::server::stream::ClientStream;

/// Answers each request with its method, path and body.
#[derive(Default)]
pub(super) struct Echo {
    pub(super) asked: RefCell<Vec<String>>,
    /// What `/early` has read after its answer.
    pub(super) late: RefCell<String>,
    /// What it was asked to refuse.
    pub(super) refused: RefCell<Vec<String>>,
    /// Lets `/held` be answered.
    pub(super) gate: Notify,
    pub(super) limits: Cell<Limits>,
}

impl Echo {
    async fn echo(
        self: Rc<Self>,
        head: request::Parts,
        body: IncomingBody,
        arrival: Rc<Arrival>,
    ) -> Response<ResponseBody> {
        self.asked.borrow_mut().push(head.uri.path().to_owned());
        match head.uri.path() {
            "/held" => self.gate.notified().await,
            "/panic" => panic!("a fault of ours"),
            "/large" => return Response::new(ResponseBody::whole(vec![b'x'; 32 << 20])),
            "/early" => {
                self.read_on(body);
                return Response::new(ResponseBody::whole("early"));
            }
            "/refused" => {
                self.read_on(body);
                let mut refusal = Response::new(ResponseBody::whole("refused"));
                *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return refusal;
            }
            "/unread" => return Response::new(ResponseBody::whole("unread")),
            "/close" => {
                arrival.drain.set(DrainPhase::Begun);
                return Response::new(ResponseBody::whole("closed"));
            }
            _ => {}
        }
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = format!("{} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body));
        Response::new(ResponseBody::whole(text))
    }

    /// Reads for as long as the app sends, as a service may that has answered already.
    fn read_on(self: &Rc<Self>, mut body: IncomingBody) {
        let port = Rc::clone(self);
        spawn_local(async move {
            while let Some(frame) = body.frame().await {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => return port.late.borrow_mut().push_str(&format!("broke off: {error}")),
                };
                let text = frame.data_ref().map_or_else(String::new, |data| String::from_utf8_lossy(data).into());
                port.late.borrow_mut().push_str(&text);
            }
        });
    }
}

impl Port for Echo {
    fn answer(
        self: &Rc<Self>,
        head: request::Parts,
        body: IncomingBody,
        arrival: &Rc<Arrival>,
        _: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        Rc::clone(self).echo(head, body, Rc::clone(arrival))
    }

    fn limits(&self) -> Limits {
        self.limits.get()
    }

    fn turns_away(&self, _: Peer) -> Option<(Code, String)> {
        None
    }

    fn refuse(&self, ConnectionRefusal { code, detail, .. }: &ConnectionRefusal, _: Peer) -> Response<ResponseBody> {
        self.refused.borrow_mut().push(format!("{}: {detail}", code.word()));
        let mut answer = Response::new(ResponseBody::whole(format!("{}: {detail}", code.word())));
        *answer.status_mut() = code.status();
        answer
    }
}

/// One port, and what its connections share.
#[derive(Default)]
pub(super) struct Lab {
    pub(super) port: Rc<Echo>,
    pub(super) shared: Rc<ThreadShared>,
}

impl Lab {
    /// A client that has just connected.
    pub(super) async fn client(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let (port, shared) = (Rc::clone(&self.port), Rc::clone(&self.shared));
        let served = spawn_local(connection::serve(ClientStream::Tcp(accepted), Peer::Tcp(peer), None, port, shared));
        Client { socket, served }
    }

    /// Lets so much time pass at once, and everybody see it.
    pub(super) async fn pass(&self, time: Duration) {
        // One more, as the tick in progress does not count.
        for _ in 0..=time.as_millis().div_ceil(250) {
            self.shared.sweep.tick();
        }
        settle().await;
    }

    /// Waits until so many connections were parked after an answer.
    pub(super) async fn until_parked(&self, times: u32) {
        until(|| self.shared.trims.parkings() == times).await;
    }

    /// Waits until there is a connection that has nothing to do.
    pub(super) async fn until_silent(&self) {
        until(|| {
            self.shared.sweep.tick();
            self.shared.sweep.longest_silence().is_some()
        })
        .await;
    }

    pub(super) async fn until_asked(&self, times: usize) {
        until(|| self.port.asked.borrow().len() == times).await;
    }
}

pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) served: JoinHandle<()>,
}

impl Client {
    pub(super) async fn send(&mut self, bytes: &str) {
        self.socket.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Asks and reads the answer.
    pub(super) async fn get(&mut self, path: &str) -> String {
        self.send(&get(path)).await;
        self.answer().await
    }

    /// The next answer, head and body.
    pub(super) async fn answer(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            let byte = self.socket.read_u8().await.unwrap_or_else(|error| panic!("{error} after {text:?}"));
            text.push(char::from(byte));
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.socket.read_exact(&mut body).await.unwrap();
        text + &String::from_utf8(body).unwrap()
    }

    /// Whatever comes until the end; an error if that is a reset.
    pub(super) async fn rest(&mut self) -> std::io::Result<String> {
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).await?;
        Ok(String::from_utf8(rest).unwrap())
    }
}

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[track_caller]
pub(super) fn assert_status(answer: &str, status: StatusCode) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer:?}");
}

/// Lets every task that can run do so, and the sockets tell what they have.
pub(super) async fn settle() {
    for _ in 0..8 {
        tokio::time::sleep(Duration::ZERO).await;
        tokio::task::yield_now().await;
    }
}

pub(super) async fn until(mut happened: impl FnMut() -> bool) {
    let happening = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), happening).await.expect("it happens");
}
