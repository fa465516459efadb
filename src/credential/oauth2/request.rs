//! A token request: what the grant asks for and how the client authenticates, as a form over HTTP.
//!
//! It is written anew each time, for parts of it may be good only once. Each goes over a connection of its own: they are
//! minutes apart, and an idle one would have to be watched in between.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::{Authority, InvalidUri, PathAndQuery};
use http::{HeaderName, Method, response};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::answer::{self, Answer, Asked, Granted, LARGEST_ANSWER};
use super::client::Client;
use super::draft::{Draft, Written};
use super::failure::{Failure, Kind};
use super::grant::Grant;
use super::refresh::{Endpoint, Fetch};
use crate::clock::Moment;
use crate::code::Code;
use crate::config::auth::OAuth2;
use crate::config::{Report, Scheme, Url};
use crate::credential::digest::Digest;
use crate::secret::Secret;
use crate::transport::{Body, Connected, Connector, Error, Outgoing, Reading, Sender};

/// The token request of one entry, made anew each time it is sent.
pub(super) struct TokenRequest {
    address: Address,
    client: Client,
    grant: Grant,
    asks: Asks,
    certificate: Option<[u8; 32]>,
}

/// Where a token endpoint is.
struct Address {
    connector: Connector,
    scheme: Scheme,
    authority: Authority,
    target: PathAndQuery,
}

/// What is asked for, whatever the grant.
struct Asks {
    scope: Option<String>,
    audience: Option<String>,
    resource: Vec<String>,
    params: Vec<(String, Secret)>,
    headers: Vec<(HeaderName, Secret)>,
}

impl TokenRequest {
    /// `certificate` is the fingerprint of the one that the endpoint sees. `None`: what is wrong has been reported.
    pub(super) fn compile(
        written: &OAuth2,
        connector: Connector,
        certificate: Option<[u8; 32]>,
        report: &mut Report,
    ) -> Option<Self> {
        let address = Address::of(written.endpoint.value.url(), connector);
        if address.is_err() {
            report.error(written.endpoint.span, "a request can't be sent to this URL");
        }
        let (client, grant) = (Client::compile(written, report), Grant::compile(written, report));
        Some(Self { address: address.ok()?, client: client?, grant: grant?, asks: Asks::of(written), certificate })
    }

    /// Digests all that decides which token it brings, but for where it is sent.
    pub(super) fn digest(&self, digest: &mut Digest) {
        self.client.digest(digest);
        self.grant.digest(digest);
        self.asks.digest(digest);
    }

    async fn exchange(&self, timeout: Duration) -> Result<Granted, Failure> {
        let deadline = Instant::now() + timeout;
        let written = self.draft().finish();
        let Ok(connected) = timeout_at(deadline, self.address.connector.connect()).await else {
            return Err(self.late(timeout, "for a connection"));
        };
        let Connected { mut sender, driver, .. } = connected.map_err(|error| self.unreachable(&error))?;
        if let Some(driver) = driver {
            // Ends with the sender, which this function drops.
            tokio::task::spawn_local(driver);
        }

        let sent = Moment::now();
        let Ok(received) = timeout_at(deadline, self.receive(&written, &mut sender)).await else {
            return Err(self.late(timeout, "for its whole answer"));
        };
        let (head, body) = received?;
        let body = body.as_ref().map(|body| body.as_slice());
        let answer = Answer { status: head.status, fields: &head.headers, body };
        answer::read(&answer, &self.asked(&written, sent), SystemTime::now())
    }

    /// The request as it goes out this time.
    fn draft(&self) -> Draft {
        let mut draft = self.grant.draft();
        self.client.authenticate(&mut draft);
        self.asks.write(&mut draft);
        draft
    }

    async fn receive(&self, written: &Written, sender: &mut Sender) -> Result<(response::Parts, Received), Failure> {
        let answer =
            sender.send(&mut self.address.outgoing(written)).await.map_err(|unsent| self.unreachable(&unsent.error))?;
        let (head, body) = answer.into_parts();
        let body = bounded(sender.read(body)).await.map_err(|error| self.broken_off(&error))?;
        Ok((head, body))
    }

    fn asked<'a>(&'a self, written: &'a Written, sent: Moment) -> Asked<'a> {
        Asked { endpoint: self.host(), secrets: &written.secrets, certificate: self.certificate, sent }
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
        self.address.authority.as_str()
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

impl Address {
    fn of(url: &Url, connector: Connector) -> Result<Self, InvalidUri> {
        Ok(Self { connector, scheme: url.scheme, authority: authority(url)?, target: target(url)? })
    }

    fn outgoing(&self, written: &Written) -> Outgoing {
        Outgoing {
            method: Method::POST,
            scheme: self.scheme,
            authority: self.authority.clone(),
            target: self.target.clone(),
            fields: written.fields.clone(),
            body: Body::Whole(Some(Bytes::copy_from_slice(written.form.expose().as_bytes()))),
        }
    }
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

impl Asks {
    fn of(written: &OAuth2) -> Self {
        let params = written.params.iter().map(|(name, value)| (name.clone(), value.value.clone()));
        let headers = written.headers.iter().map(|(name, value)| (name.value.clone(), value.value.clone()));
        Self {
            scope: written.scope.clone(),
            audience: written.audience.clone(),
            resource: written.resource.clone(),
            params: params.collect(),
            headers: headers.collect(),
        }
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list(self.scope.iter().map(String::as_bytes));
        digest.list(self.audience.iter().map(String::as_bytes));
        digest.list(self.resource.iter().map(String::as_bytes));
        digest.list(self.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.expose().as_bytes()]));
        let headers = self.headers.iter();
        digest.list(headers.flat_map(|(name, value)| [name.as_str().as_bytes(), value.expose().as_bytes()]));
    }

    fn write(&self, draft: &mut Draft) {
        self.scope.iter().for_each(|scope| draft.add("scope", scope));
        self.audience.iter().for_each(|audience| draft.add("audience", audience));
        self.resource.iter().for_each(|resource| draft.add("resource", resource));
        self.params.iter().for_each(|(name, value)| draft.add_secret(name, value));
        for (name, value) in &self.headers {
            draft.set_field(name, value.expose(), [value.clone()]);
        }
    }
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
    use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};

    use super::*;
    use crate::config::auth::oauth2::ClientAuth;
    use crate::config::{At, HttpVersion, Secrets};
    use crate::credential::tests::oauth2;
    use crate::transport::Spelling;

    fn secret(text: &str) -> At<Secret> {
        At::nowhere(Secret::new(text.to_owned()))
    }

    /// The request that this method makes.
    fn written(method: &OAuth2) -> Written {
        let url = Url { scheme: Scheme::Http, ..method.endpoint.value.url().clone() };
        let connector = Connector::new(&url, None, HttpVersion::Auto, None, Spelling::LowerCase);
        let mut report = Report::new(Secrets::Read);
        let request = TokenRequest::compile(method, connector, None, &mut report);
        request.expect("a request").draft().finish()
    }

    #[track_caller]
    fn check(method: &OAuth2, authorization: Option<&str>, expected: &str) {
        let written = written(method);
        let sent = written.fields.get(AUTHORIZATION).map(|value| value.to_str().expect("ASCII"));

        assert_eq!(written.form.expose(), expected);
        assert_eq!(sent, authorization);
    }

    #[test]
    fn basic_encodes_id_and_secret_as_a_form_does_before_it_joins_them() {
        let mut method = oauth2();
        method.client_id = Some("odd:id%".to_owned());
        method.client_auth = ClientAuth::Basic(secret("p ä&ss"));

        // odd%3Aid%25:p+%C3%A4%26ss
        check(&method, Some("Basic b2RkJTNBaWQlMjU6cCslQzMlQTQlMjZzcw=="), "grant_type=client_credentials");
    }

    #[test]
    fn the_other_ways_to_authenticate_send_the_id_in_the_form_and_no_authorization() {
        let mut method = oauth2();
        method.client_auth = ClientAuth::Post(secret("s&s"));
        check(&method, None, "grant_type=client_credentials&client_id=app&client_secret=s%26s");

        method.client_auth = ClientAuth::TlsClientAuth;
        check(&method, None, "grant_type=client_credentials&client_id=app");

        method.client_auth = ClientAuth::None;
        check(&method, None, "grant_type=client_credentials&client_id=app");
    }

    #[test]
    fn all_that_is_asked_for_stands_in_the_form() {
        let mut method = oauth2();
        method.client_auth = ClientAuth::None;
        method.scope = Some("read write".to_owned());
        method.audience = Some("https://api".to_owned());
        method.resource = vec!["urn:a".to_owned(), "urn:b".to_owned()];
        method.params = vec![("tenant".to_owned(), secret("t=1"))];

        let expected = "grant_type=client_credentials&client_id=app&scope=read+write&audience=https%3A%2F%2Fapi\
                        &resource=urn%3Aa&resource=urn%3Ab&tenant=t%3D1";
        check(&method, None, expected);
    }

    #[test]
    fn the_head_says_who_asks_and_what_may_come_back() {
        let mut method = oauth2();
        method.headers = vec![(At::nowhere(http::HeaderName::from_static("x-tenant")), secret("t1"))];

        let fields = written(&method).fields;

        assert_eq!(fields[ACCEPT], "application/json");
        assert_eq!(fields[ACCEPT_ENCODING], "identity");
        assert_eq!(fields[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(fields[USER_AGENT], concat!("sidekey/", env!("CARGO_PKG_VERSION")));
        assert_eq!(fields["x-tenant"], "t1");
        assert!(fields["x-tenant"].is_sensitive());
    }

    #[test]
    fn an_endpoint_is_addressed_as_its_url_was_written() {
        let mut url = oauth2().endpoint.value.url().clone();
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
