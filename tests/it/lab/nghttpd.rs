//! nghttp2's server, which speaks HTTP/2 alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Lab, free_port, until_listening};

/// A running nghttpd with the lab's folder and server certificate; it sends uploads back, and ends when it is dropped.
pub struct Nghttpd {
    process: Child,
    pub port: u16,
    told: PathBuf,
}

impl Nghttpd {
    /// `how`: its further flags. It asks for a client certificate where these say so (`--verify-client`).
    pub async fn start(lab: &Lab, how: &[&str]) -> Self {
        let port = free_port();
        let path = |file: &str| lab.path(file).display().to_string();
        let told = lab.path(&format!("nghttpd-{port}.log"));
        let process = Command::new("nghttpd")
            .args(["--address=127.0.0.1", "--echo-upload"])
            .arg(format!("--htdocs={}", lab.folder().display()))
            .args(how)
            .args([port.to_string(), path("tls/server.key"), path("tls/server.pem")])
            .stdin(Stdio::null())
            .stdout(File::create(&told).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("nghttpd is installed: ./test does it");
        until_listening(port).await;
        Self { process, port, told }
    }

    /// The fields of each request that it read, in order, if it was started with `--verbose`. It runs no longer.
    pub fn seen(mut self) -> Vec<Vec<(String, String)>> {
        self.end();
        let told = fs::read_to_string(&self.told).unwrap();
        let mut requests = BTreeMap::<_, Vec<_>>::new();
        for line in told.lines() {
            // [id=1] [  0.500] recv (stream_id=1, sensitive) name: value
            let Some((connection, rest)) = line.split_once("] [") else { continue };
            let Some((_, rest)) = rest.split_once("] recv (stream_id=") else { continue };
            let Some((stream, field)) = rest.split_once(") ") else { continue };
            let stream = stream.trim_end_matches(", sensitive");
            // A pseudo-field begins with a colon.
            let at = field[1..].find(": ").expect("a field") + 1;
            let field = (field[..at].to_owned(), field[at + 2..].to_owned());
            requests.entry((connection.to_owned(), stream.to_owned())).or_default().push(field);
        }
        requests.into_values().collect()
    }

    fn end(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Drop for Nghttpd {
    fn drop(&mut self) {
        self.end();
    }
}
