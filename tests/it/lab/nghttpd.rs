//! nghttp2's server, which speaks HTTP/2 alone.

use std::process::{Child, Command, Stdio};

use super::{Lab, free_port, until_listening};

/// A running nghttpd with the lab's folder and server certificate; it sends uploads back, and ends when it is dropped.
pub struct Nghttpd {
    process: Child,
    pub port: u16,
}

impl Nghttpd {
    /// `how`: its further flags. It asks for a client certificate where these say so (`--verify-client`).
    pub async fn start(lab: &Lab, how: &[&str]) -> Self {
        let port = free_port();
        let path = |file: &str| lab.path(file).display().to_string();
        let process = Command::new("nghttpd")
            .args(["--address=127.0.0.1", "--echo-upload"])
            .arg(format!("--htdocs={}", lab.folder().display()))
            .args(how)
            .args([port.to_string(), path("tls/server.key"), path("tls/server.pem")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nghttpd is installed: ./test does it");
        until_listening(port).await;
        Self { process, port }
    }
}

impl Drop for Nghttpd {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
