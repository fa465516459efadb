//! The real identity provider: `tests/idp/server.js` on node.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::bed;
use super::client::{Request, exchange};

/// A running `oidc-provider`; ends when it is dropped.
pub struct Idp {
    /// Its standard input: the server ends when this closes.
    _process: Child,
    pub port: u16,
    control: u16,
}

impl Idp {
    /// Starts it on the certificates in `folder`/tls; its tokens live `lifetime` seconds.
    pub async fn start(folder: &Path, lifetime: u64) -> Self {
        let path = |file: &str| folder.join("tls").join(file).display().to_string();
        let settings = serde_json::json!({
            "certificate": path("server.pem"), "key": path("server.key"), "ca": path("ca.pem"), "lifetime": lifetime,
        });
        let mut process = Command::new(bed::node())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/idp/server.js"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed: ./test does it");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let ports: Value = serde_json::from_str(&line).expect("the provider starts: ./test installs its packages");
        let port = |name: &str| u16::try_from(ports[name].as_u64().unwrap()).unwrap();
        Self { port: port("port"), control: port("control"), _process: process }
    }

    /// What came to the token endpoint: `status`, `client`, `authorization` and the form's `fields`.
    pub async fn token_requests(&self) -> Vec<Value> {
        let answer = exchange(&format!("localhost:{}", self.control), Request::get("/token-requests")).await;
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// A refresh token of this client, for alice.
    pub async fn refresh_token(&self, client: &str) -> String {
        let request = Request::post(&format!("/refresh-tokens?client={client}"), "");
        let answer = exchange(&format!("localhost:{}", self.control), request).await;
        answer.json()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// The one token request that was made.
    #[track_caller]
    pub fn only(requests: &[Value]) -> &Value {
        assert_eq!(requests.len(), 1, "{requests:#?}");
        &requests[0]
    }
}
