//! A token request: what the grant asks for and how the client authenticates, as a form over HTTP.
//!
//! Everything but the connection is made when the config is compiled. Each request goes over a connection of its own:
//! they are minutes apart, and an idle one would have to be watched in between.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, response};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::answer::{self, Answer, Asked, Granted, LARGEST_ANSWER};
use super::failure::{Failure, Kind, Spellings};
use super::refresh::{Endpoint, Fetch};
use crate::clock::Moment;
use crate::code::Code;
use crate::config::auth::{ClientAuth, OAuth2};
use crate::config::{Scheme, Url};
use crate::credential::fixed::secret_value;
use crate::secret::Secret;
use crate::transport::{Body, Connected, Connector, Error, Outgoing, Reading, Sender};

/// The token request of one entry, ready to be sent again and again.
pub(super) struct TokenRequest {
    connector: Connector,
    scheme: Scheme,
    authority: Authority,
    target: PathAndQuery,
    fields: HeaderMap,
    form: Secret,
    secrets: Spellings,
    certificate: Option<[u8; 32]>,
}

impl TokenRequest {
    /// `certificate` is the fingerprint of the one that `connector` presents.
    ///
    /// # Errors
    /// When the URL has something that can't be sent.
    pub(super) fn new(
        written: &OAuth2,
        connector: Connector,
        certificate: Option<[u8; 32]>,
    ) -> Result<Self, InvalidUri> {
        let url = &written.token_url.value;
        Ok(Self {
            connector,
            scheme: url.scheme,
            authority: authority(url)?,
            target: target(url)?,
            fields: fields(written),
            form: form(written),
            secrets: Spellings::of(secrets(written).iter().map(Secret::expose)),
            certificate,
        })
    }

    async fn exchange(&self, timeout: Duration) -> Result<Granted, Failure> {
        let deadline = Instant::now() + timeout;
        let Ok(connected) = timeout_at(deadline, self.connector.connect()).await else {
            return Err(self.late(timeout, "for a connection"));
        };
        let Connected { mut sender, driver, .. } = connected.map_err(|error| self.unreachable(&error))?;
        if let Some(driver) = driver {
            // Ends with the sender, which this function drops.
            tokio::task::spawn_local(driver);
        }

        let sent = Moment::now();
        let Ok(received) = timeout_at(deadline, self.receive(&mut sender)).await else {
            return Err(self.late(timeout, "for its whole answer"));
        };
        let (head, body) = received?;
        let body = body.as_ref().map(|body| body.as_slice());
        let answer = Answer { status: head.status, fields: &head.headers, body };
        answer::read(&answer, &self.asked(sent), SystemTime::now())
    }

    async fn receive(&self, sender: &mut Sender) -> Result<(response::Parts, Received), Failure> {
        let answer = sender.send(&mut self.outgoing()).await.map_err(|unsent| self.unreachable(&unsent.error))?;
        let (head, body) = answer.into_parts();
        let body = bounded(sender.read(body)).await.map_err(|error| self.broken_off(&error))?;
        Ok((head, body))
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            method: Method::POST,
            scheme: self.scheme,
            authority: self.authority.clone(),
            target: self.target.clone(),
            fields: self.fields.clone(),
            body: Body::Whole(Some(Bytes::copy_from_slice(self.form.expose().as_bytes()))),
        }
    }

    fn asked(&self, sent: Moment) -> Asked<'_> {
        Asked { endpoint: self.host(), secrets: &self.secrets, certificate: self.certificate, sent }
    }

    fn late(&self, timeout: Duration, what: &str) -> Failure {
        let what = format!("made us wait {what} until `timeout` ({timeout:?}) was over");
        self.unavailable(what, "check that `token_url` can be reached from here")
    }

    fn unreachable(&self, error: &Error) -> Failure {
        self.unavailable(format!("gave no answer: {error}"), help_for(error.code()))
    }

    fn broken_off(&self, error: &Error) -> Failure {
        let what = match error {
            Error::Incomplete(reason) => format!("broke its answer off: {reason}"),
            error => format!("broke its answer off: {error}"),
        };
        self.unavailable(what, "it will be asked again")
    }

    fn unavailable(&self, what: String, help: &'static str) -> Failure {
        Failure { kind: Kind::Unavailable, endpoint: self.host().to_owned(), what, help, retry_after: None }
    }
}

impl Endpoint for TokenRequest {
    fn fetch(&self, timeout: Duration) -> Fetch<'_> {
        Box::pin(self.exchange(timeout))
    }

    fn host(&self) -> &str {
        self.authority.as_str()
    }
}

/// The body of an answer, wiped when it was read; `None` if it is too long.
type Received = Option<Zeroizing<Vec<u8>>>;

async fn bounded(mut body: Reading<'_>) -> Result<Received, Error> {
    // Never grows, so no unwiped copy of a token is left behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(LARGEST_ANSWER));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > LARGEST_ANSWER {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole))
}

fn authority(url: &Url) -> Result<Authority, InvalidUri> {
    let host = &url.authority.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    if url.authority.default_port { host.parse() } else { format!("{host}:{}", url.authority.port).parse() }
}

fn target(url: &Url) -> Result<PathAndQuery, InvalidUri> {
    let path = if url.path.is_empty() { "/" } else { &url.path };
    match &url.query {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    }
}

fn fields(written: &OAuth2) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(USER_AGENT, HeaderValue::from_static(concat!("sidekey/", env!("CARGO_PKG_VERSION"))));
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // A few hundred bytes gain nothing by compression, and nothing need be unpacked.
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    for (name, value) in &written.headers {
        fields.insert(&name.value, secret_value(value.value.expose()));
    }
    if let ClientAuth::Basic(secret) = &written.client_auth {
        let pair = basic_pair(&written.client_id.value, &secret.value);
        let basic = Zeroizing::new(format!("Basic {}", pair.expose()));
        fields.insert(AUTHORIZATION, secret_value(&basic));
    }
    fields
}

/// Id and secret as RFC 6749 §2.3.1 wants them: each encoded as a form's value is, and only then joined.
fn basic_pair(id: &str, secret: &Secret) -> Secret {
    let form_encoded = |text: &str| Secret::new(byte_serialize(text.as_bytes()).collect());
    let (id, secret) = (form_encoded(id), form_encoded(secret.expose()));
    let pair = Secret::new(format!("{}:{}", id.expose(), secret.expose()));
    Secret::new(STANDARD.encode(pair.expose()))
}

/// The form. The client authenticates in here or in the head, never in both (RFC 6749 §2.3).
fn form(written: &OAuth2) -> Secret {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    match &written.client_auth {
        ClientAuth::Basic(_) => {}
        ClientAuth::Post(secret) => {
            form.append_pair("client_id", &written.client_id.value);
            form.append_pair("client_secret", secret.value.expose());
        }
        // The endpoint must know which client the certificate is to be of (RFC 8705 §2).
        ClientAuth::TlsClientAuth | ClientAuth::None => {
            form.append_pair("client_id", &written.client_id.value);
        }
    }
    form.extend_pairs(written.scope.iter().map(|scope| ("scope", scope)));
    form.extend_pairs(written.audience.iter().map(|audience| ("audience", audience)));
    form.extend_pairs(written.resource.iter().map(|resource| ("resource", resource)));
    form.extend_pairs(written.params.iter().map(|(name, value)| (name, value.value.expose())));
    Secret::new(form.finish())
}

/// Every secret that the request carries, in each form that an endpoint could repeat.
fn secrets(written: &OAuth2) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = written.params.iter().map(|(_, value)| value.value.clone()).collect();
    secrets.extend(written.headers.iter().map(|(_, value)| value.value.clone()));
    match &written.client_auth {
        ClientAuth::Basic(secret) => {
            secrets.push(basic_pair(&written.client_id.value, &secret.value));
            secrets.push(secret.value.clone());
        }
        ClientAuth::Post(secret) => secrets.push(secret.value.clone()),
        ClientAuth::TlsClientAuth | ClientAuth::None => {}
    }
    secrets
}

fn help_for(code: Code) -> &'static str {
    match code {
        Code::DnsError | Code::DnsTimeout => "check the host of `token_url`",
        Code::ConnectionRefused | Code::ConnectionTimeout => "check that it is up, and host and port of `token_url`",
        Code::TlsCertificateError => "check `tls.ca`, the authorities that are trusted for it",
        Code::TlsAlertReceived => "check that it accepts the certificate it is shown",
        Code::TlsProtocolError => "check whether `token_url` should start with http:// or https://",
        _ => "it will be asked again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;
    use crate::credential::tests::oauth2;

    fn secret(text: &str) -> At<Secret> {
        At::nowhere(Secret::new(text.to_owned()))
    }

    #[track_caller]
    fn check(written: &OAuth2, authorization: Option<&str>, expected: &str) {
        let fields = fields(written);
        let sent = fields.get(AUTHORIZATION).map(|value| value.to_str().expect("ASCII"));

        assert_eq!(form(written).expose(), expected);
        assert_eq!(sent, authorization);
    }

    #[test]
    fn basic_encodes_id_and_secret_as_a_form_does_before_it_joins_them() {
        let mut written = oauth2();
        written.client_id.value = "odd:id%".to_owned();
        written.client_auth = ClientAuth::Basic(secret("p ä&ss"));

        // odd%3Aid%25:p+%C3%A4%26ss
        check(&written, Some("Basic b2RkJTNBaWQlMjU6cCslQzMlQTQlMjZzcw=="), "grant_type=client_credentials");
    }

    #[test]
    fn the_other_ways_to_authenticate_send_the_id_in_the_form_and_no_authorization() {
        let mut written = oauth2();
        written.client_auth = ClientAuth::Post(secret("s&s"));
        check(&written, None, "grant_type=client_credentials&client_id=app&client_secret=s%26s");

        written.client_auth = ClientAuth::TlsClientAuth;
        check(&written, None, "grant_type=client_credentials&client_id=app");

        written.client_auth = ClientAuth::None;
        check(&written, None, "grant_type=client_credentials&client_id=app");
    }

    #[test]
    fn all_that_is_asked_for_stands_in_the_form() {
        let mut written = oauth2();
        written.client_auth = ClientAuth::None;
        written.scope = Some("read write".to_owned());
        written.audience = Some("https://api".to_owned());
        written.resource = vec!["urn:a".to_owned(), "urn:b".to_owned()];
        written.params = vec![("tenant".to_owned(), secret("t=1"))];

        let expected = "grant_type=client_credentials&client_id=app&scope=read+write&audience=https%3A%2F%2Fapi\
                        &resource=urn%3Aa&resource=urn%3Ab&tenant=t%3D1";
        check(&written, None, expected);
    }

    #[test]
    fn the_head_says_who_asks_and_what_may_come_back() {
        let mut written = oauth2();
        written.headers = vec![(At::nowhere(http::HeaderName::from_static("x-tenant")), secret("t1"))];

        let fields = fields(&written);

        assert_eq!(fields[ACCEPT], "application/json");
        assert_eq!(fields[ACCEPT_ENCODING], "identity");
        assert_eq!(fields[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(fields[USER_AGENT], concat!("sidekey/", env!("CARGO_PKG_VERSION")));
        assert_eq!(fields["x-tenant"], "t1");
        assert!(fields["x-tenant"].is_sensitive());
    }

    #[test]
    fn an_endpoint_is_addressed_as_its_url_was_written() {
        let mut url = oauth2().token_url.value;
        assert_eq!(authority(&url).expect("an authority"), "idp.example");
        assert_eq!(target(&url).expect("a target"), "/token");

        url.authority.host = "::1".to_owned();
        url.authority.port = 8443;
        url.authority.default_port = false;
        url.path = String::new();
        url.query = Some("p=1".to_owned());
        assert_eq!(authority(&url).expect("an authority"), "[::1]:8443");
        assert_eq!(target(&url).expect("a target"), "/?p=1");
    }
}
