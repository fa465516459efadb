//! HTTP proxies on the way out: one by hand that reaches whatever name at this machine, and tinyproxy.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::fault::acceptor;
use super::{Lab, free_port, until_listening};

/// A proxy that opens a tunnel to the port of this machine that it is asked for, whatever the name of the host: names of a
/// test need no resolver. Ends, with its tunnels, when it is dropped.
pub struct ForwardProxy {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// What it does instead of opening a tunnel; `None`: it opens one.
type Refusal = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

impl ForwardProxy {
    /// One that opens every tunnel.
    pub async fn start() -> Self {
        Self::refusing(|_| None).await
    }

    /// `refusal` has what it answers to this head with.
    pub async fn refusing(refusal: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> Self {
        Self::serving(None, refusal).await
    }

    /// One that is itself reached over TLS, with the lab's server certificate.
    pub async fn over_tls(lab: &Lab) -> Self {
        Self::serving(Some(acceptor(lab)), |_| None).await
    }

    async fn serving(
        tls: Option<tokio_rustls::TlsAcceptor>,
        refusal: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, heads) = (listener.local_addr().unwrap().port(), Arc::default());
        let (noted, refusal) = (Arc::clone(&heads), Arc::new(refusal));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (noted, refusal, tls) = (Arc::clone(&noted), Arc::clone(&refusal), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(tcp, &noted, &*refusal).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, &noted, &*refusal).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, heads, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The head of each request so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Where tunnels were asked for to, in turn.
    pub fn targets(&self) -> Vec<String> {
        let target = |head: &String| head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
        self.heads().iter().map(target).collect()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut near: impl AsyncRead + AsyncWrite + Unpin, noted: &Mutex<Vec<String>>, refusal: &Refusal) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = near.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    noted.lock().unwrap().push(head.clone());
    if let Some(answer) = refusal(&head) {
        let _gone = near.write_all(answer.as_bytes()).await;
        return;
    }
    let port: u16 = head.split(' ').nth(1).unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
        let _gone = near.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        return;
    };
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    near.flush().await.unwrap();
    let _gone = copy_bidirectional(&mut near, &mut far).await;
}

/// A running tinyproxy that asks for a user and a password, and lets no one through to `forbidden.example`; ends when it is
/// dropped.
pub struct Tinyproxy {
    process: Child,
    pub port: u16,
}

impl Tinyproxy {
    pub async fn start(lab: &Lab, user: &str, password: &str) -> Self {
        let port = free_port();
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nBasicAuth {user} {password}\n\
             LogFile \"{log}\"\nFilter \"{filter}\"\nDisableViaHeader Yes\n",
            log = lab.path("tinyproxy.log").display(),
            filter = lab.path("tinyproxy.filter").display(),
        );
        fs::write(lab.path("tinyproxy.conf"), settings).unwrap();
        fs::write(lab.path("tinyproxy.filter"), "forbidden.example\n").unwrap();
        let process = Command::new("tinyproxy")
            .args(["-d", "-c", "tinyproxy.conf"])
            .current_dir(lab.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tinyproxy is installed: ./test does it");
        let tinyproxy = Self { process, port };
        until_listening(port).await;
        tinyproxy
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
