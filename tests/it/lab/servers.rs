//! Authorization servers that others wrote (`tests/servers`), all with the same clients.

use serde_json::{Value, json};

use super::client::{Request, exchange};
use super::keys::Key;
use super::part::Part;
use super::{Lab, bed};

/// How one of them is started, and where it has what.
pub struct Kind {
    /// As docs/partners.md calls it.
    pub name: &'static str,
    pub script: &'static str,
    /// The path of its token endpoint.
    pub token: &'static str,
    /// The path of its issuer, if it has metadata.
    pub issuer: Option<&'static str>,
    /// Somebody whom it knows, and the password.
    pub user: (&'static str, &'static str),
}

/// A running one; ends when it is dropped.
pub struct AuthorizationServer {
    part: Part,
    kind: &'static Kind,
}

impl AuthorizationServer {
    pub async fn start(lab: &Lab, kind: &'static Kind, key: &Key) -> Self {
        let path = |file: &str| lab.path(file).display().to_string();
        let settings = json!({
            "certificate": path("tls/server.pem"), "key": path("tls/server.key"), "ca": path("tls/ca.pem"),
            "secret": SECRET, "odd_secret": ODD_SECRET, "jwks": { "by-key": key.set() },
            // The identity provider of the other tests knows these by other names.
            "clients": registrations(), "scopes": "read write", "lifetime": 600,
        });
        let (interpreter, settings) = match kind.script.rsplit_once('.').unwrap().1 {
            "py" => (bed::python(), with_one_set(settings, key)),
            _ if kind.script.starts_with("tests/idp") => (bed::node(), settings),
            _ => (bed::node(), with_one_set(settings, key)),
        };
        let part = Part::start(interpreter, kind.script, &[settings.to_string()]).await;
        Self { part, kind }
    }

    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    pub fn version(&self) -> String {
        self.part.text("version")
    }

    pub fn token_url(&self) -> String {
        format!("{}{}", self.base(), self.kind.token)
    }

    pub fn issuer(&self) -> Option<String> {
        Some(format!("{}{}", self.base(), self.kind.issuer?))
    }

    /// Host and port as they stand in what Sidekey says.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.part.port("port").unwrap())
    }

    pub fn base(&self) -> String {
        format!("https://{}", self.host())
    }

    /// At which of the places for metadata it has some that name a token endpoint.
    pub fn metadata(&self, lab: &Lab) -> String {
        let Some(path) = self.kind.issuer.map(|path| path.trim_end_matches('/')) else { return "–".to_owned() };
        let [openid, oauth] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
        let mut places = vec![("OpenID", format!("{path}{openid}")), ("RFC 8414", format!("{oauth}{path}"))];
        if !path.is_empty() {
            places.push(("RFC 8414 appended", format!("{path}{oauth}")));
        }
        places.retain(|(_, place)| {
            let answer = serde_json::from_str(&lab.curl(&format!("{}{place}", self.base())));
            answer.is_ok_and(|document: Value| document["token_endpoint"].is_string())
        });
        places.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// A refresh token of the user's, if it gives any.
    pub async fn refresh_token(&self, lab: &Lab) -> Option<String> {
        if let Some(control) = self.part.port("control") {
            let request = Request::post("/refresh-tokens?client=for-bob", "");
            let answer = exchange(&format!("localhost:{control}"), request).await;
            return Some(answer.json()["refresh_token"].as_str()?.to_owned());
        }
        let (name, password) = self.kind.user;
        let form = format!("-d grant_type=password -d username={name} -d password={password} -d scope=read");
        let answer = lab.curl(&format!("-u for-bob:{SECRET} {form} {}", self.token_url()));
        let answer: Value = serde_json::from_str(&answer).ok()?;
        Some(answer["refresh_token"].as_str()?.to_owned())
    }
}

/// The servers of `tests/servers` know one client that signs.
fn with_one_set(mut settings: Value, key: &Key) -> Value {
    settings["jwks"] = key.set();
    settings
}

/// The clients in the words of RFC 7591.
fn registrations() -> Value {
    let client = |id: &str, secret: &str, method: &str| json!({ "client_id": id, "client_secret": secret, "token_endpoint_auth_method": method });
    let mut for_bob = client("for-bob", SECRET, "client_secret_basic");
    for_bob["grant_types"] = json!(["password", "refresh_token"]);
    let mut all = vec![
        client("by-basic", SECRET, "client_secret_basic"),
        client("by-odd", ODD_SECRET, "client_secret_basic"),
        client("by-post", ODD_SECRET, "client_secret_post"),
    ];
    for one in &mut all {
        one["grant_types"] = json!(["client_credentials"]);
    }
    all.push(for_bob);
    all.into()
}

pub const SECRET: &str = "plain-secret-of-a-test";
/// All that Basic could garble.
pub const ODD_SECRET: &str = "s3~/=!: +%&x";
