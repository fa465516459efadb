//! The real identity provider: `tests/idp/server.js` on node.

use std::path::Path;

use serde_json::{Value, json};

use super::bed;
use super::client::{Request, exchange};
use super::part::Part;

/// A running `oidc-provider`; ends when it is dropped.
pub struct Idp {
    part: Part,
    pub port: u16,
}

impl Idp {
    /// Starts it on the certificates in `folder`/tls. What else `settings` may have is told in `server.js`.
    pub async fn start(folder: &Path, settings: Value) -> Self {
        let path = |file: &str| folder.join("tls").join(file).display().to_string();
        let mut all = json!({
            "certificate": path("server.pem"), "key": path("server.key"), "ca": path("ca.pem"), "lifetime": 600,
        });
        for (name, value) in settings.as_object().unwrap() {
            all[name] = value.clone();
        }
        let part = Part::start(bed::node(), "tests/idp/server.js", &[all.to_string()]).await;
        let port = part.port("port").unwrap();
        Self { part, port }
    }

    /// `https://localhost:PORT` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The port that asks for certificates, if it was started with `mtls_aliases`.
    pub fn mtls(&self) -> Option<u16> {
        self.part.port("mtls")
    }

    /// What came to the token endpoint: `status`, `client`, `authorization`, the form's `fields`, and more that
    /// `server.js` tells.
    pub async fn token_requests(&self) -> Vec<Value> {
        let answer = exchange(&self.control(), Request::get("/token-requests")).await;
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// A refresh token of alice's for this client, as if she had been there and had agreed.
    pub async fn refresh_token(&self, client: &str) -> String {
        let request = Request::post(&format!("/refresh-tokens?client={client}"), "");
        exchange(&self.control(), request).await.json()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// What is known of an access token, JWT or opaque: `active`, and its claims if it is.
    pub async fn introspect(&self, token: &str) -> Value {
        exchange(&self.control(), Request::post("/introspect", token)).await.json()
    }

    /// The one token request that was made.
    #[track_caller]
    pub fn only(requests: &[Value]) -> &Value {
        assert_eq!(requests.len(), 1, "{requests:#?}");
        &requests[0]
    }

    fn control(&self) -> String {
        format!("127.0.0.1:{}", self.part.port("control").unwrap())
    }
}
