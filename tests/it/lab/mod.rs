//! The lab: real parts around the real program, started for one test and gone after it.
//!
//! A lab is a fresh folder with certificates, and an nginx that asks for one of them. Everything else starts when a
//! test asks for it: the identity provider ([`idp`]), a cloud ([`cloud`]), a server that misbehaves ([`fault`]), Sidekey
//! ([`sidekey`]). What Sidekey signs is looked at by libraries of others ([`opinion`]).
//! In configs `$SERVICE` and the like stand for their addresses. Nothing here sleeps to wait: [`until`] looks again
//! until a condition holds.

pub mod bed;
pub mod browser;
pub mod certificates;
pub mod client;
pub mod cloud;
pub mod fault;
pub mod files;
pub mod frames;
pub mod hostile;
pub mod http2_app;
pub mod idp;
pub mod keys;
pub mod mirror;
pub mod nghttpd;
pub mod nginx;
pub mod opinion;
pub mod part;
pub mod problems;
pub mod program;
pub mod proxy;
pub mod raw_http2;
pub mod recorders;
pub mod relay;
pub mod servers;
pub mod sidekey;
pub mod sockets;
pub mod switcher;
pub mod teller;
pub mod tls_partners;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use certificates::{Authority, Pair, Validity};
use cloud::Cloud;
use idp::Idp;
use keys::Key;
use nginx::Nginx;

/// Everything that one test stands on.
pub struct Lab {
    folder: TempDir,
    pub ca: Authority,
    pub server: Pair,
    /// The client certificate that configs call `partner`.
    pub partner: Pair,
    pub nginx: Nginx,
}

impl Lab {
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("sidekey-lab-").tempdir().unwrap();
        let ca = Authority::new("lab authority");
        let server = ca.server(&["localhost", "127.0.0.1", "service.localhost", "another.localhost"]);
        let [partner, other] = ["partner", "other"].map(|name| ca.client(name, Validity::LONG));
        write(folder.path(), "tls/ca.pem", &ca.pem);
        write(folder.path(), "tls/stranger-ca.pem", &Authority::new("a stranger").pem);
        let misnamed = ca.server(&["elsewhere.example"]);
        for (name, pair) in [("server", &server), ("partner", &partner), ("other", &other), ("misnamed", &misnamed)] {
            write_pair(folder.path(), name, pair);
        }
        let nginx = Nginx::start(folder.path()).await;
        Self { folder, ca, server, partner, nginx }
    }

    /// The real identity provider; its tokens live ten minutes.
    pub async fn idp(&self) -> Idp {
        self.idp_with_lifetime(600).await
    }

    pub async fn idp_with_lifetime(&self, seconds: u64) -> Idp {
        self.idp_with(json!({ "lifetime": seconds })).await
    }

    /// The real identity provider with settings of one's own: keys of clients, a partner whose ways it has, and more
    /// that `tests/idp/server.js` tells.
    pub async fn idp_with(&self, settings: Value) -> Idp {
        Idp::start(self.folder(), settings).await
    }

    /// AWS, as far as signatures go.
    pub async fn cloud(&self) -> Cloud {
        Cloud::start(self.folder()).await
    }

    /// Makes a key for this algorithm (`ES256`, say) in the lab's folder: `keys/NAME.pem`.
    #[track_caller]
    pub fn key(&self, name: &str, algorithm: &str) -> Key {
        Key::make(self.folder(), name, algorithm)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    /// Puts a file into the lab's folder, whole at once (by a rename).
    pub fn write(&self, file: &str, contents: &str) {
        write(self.folder(), file, contents);
    }

    /// Puts `tls/NAME.pem` and `tls/NAME.key` into the lab's folder.
    pub fn write_pair(&self, name: &str, pair: &Pair) {
        write_pair(self.folder(), name, pair);
    }

    /// Replaces the certificate `name` by a new one with the same subject.
    pub fn rotate(&self, name: &str) -> Pair {
        let pair = self.ca.client(name, Validity::LONG);
        self.write_pair(name, &pair);
        pair
    }

    /// What curl gets; `arguments` are parted by spaces, and `$SERVICE` and the like stand for addresses.
    #[track_caller]
    pub fn curl(&self, arguments: &str) -> String {
        let arguments = self.fill_in(arguments);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert", "tls/ca.pem"])
            .current_dir(self.folder());
        let output = program::output(curl.args(arguments.split(' ')));
        assert!(output.status.success(), "curl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Replaces what stands for the lab in a config.
    pub fn fill_in(&self, text: &str) -> String {
        let Nginx { http1, http2, plain, tls12, misnamed, named, .. } = self.nginx;
        text.replace("$SERVICE_HTTP2", &format!("https://localhost:{http2}"))
            .replace("$SERVICE_PLAIN", &format!("localhost:{plain}"))
            .replace("$SERVICE_TLS12", &format!("https://localhost:{tls12}"))
            .replace("$SERVICE_MISNAMED", &format!("https://localhost:{misnamed}"))
            .replace("$SERVICE_NAMED", &format!("https://localhost:{named}"))
            .replace("$SERVICE", &format!("https://localhost:{http1}"))
            .replace("$AUTHORITY", &format!("localhost:{http1}"))
            .replace("$PORT", &http1.to_string())
            .replace("$FOLDER", &self.folder().display().to_string())
    }
}

/// Looks again and again until `condition` has a value.
#[track_caller]
pub fn until<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    // Not an `async fn`, so that a failure names the line of the test.
    let (what, caller) = (what.to_owned(), std::panic::Location::caller());
    let mut condition = condition;
    async move {
        let start = Instant::now();
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "{caller}: waited in vain for {what}");
            tokio::time::sleep(GLANCE).await;
        }
    }
}

pub async fn until_listening(port: u16) {
    until(&format!("port {port}"), async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
}

/// A port that nobody listens on, for programs that can't choose one themselves.
///
/// Below the range from which the kernel gives ports to outgoing connections; each process starts at another place.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + (std::process::id() * 100 + step) % 22_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn write_pair(folder: &Path, name: &str, pair: &Pair) {
    write(folder, &format!("tls/{name}.pem"), &pair.chain);
    write(folder, &format!("tls/{name}.key"), &pair.key);
}

fn write(folder: &Path, file: &str, contents: &str) {
    let target = folder.join(file);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    let aside = target.with_extension("new");
    fs::write(&aside, contents).unwrap();
    // Keys and secrets that others can read are warned about, and that is another test's matter.
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&aside, &target).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(10);
