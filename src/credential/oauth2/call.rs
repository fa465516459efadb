//! One request to a token endpoint or an issuer, and its whole answer.
//!
//! A connection is kept for the next request for a few seconds (`connections`): refreshes are minutes apart, but those of
//! many subjects follow one upon the other.
//! Promises that no answer costs more than [`LARGEST_ANSWER`] bytes, and that what was read of it is wiped.

use std::borrow::Cow;
use std::time::Duration;

use http::uri::{Authority, InvalidUri, PathAndQuery};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::advice::{Learnt, NamedEndpoint};
use super::answer::{LARGEST_ANSWER, TokenAnswer};
use super::connections::Owner;
use super::dpop::Resource;
use super::failure::{FailureKind, HELP_ELSEWHERE, TokenFailure};
use super::origin::UrlOrigin;
use crate::clock::Moment;
use crate::code::Code;
use crate::config::{HttpVersion, Scheme, Url};
use crate::tls::ClientTls;
use crate::transport::{
    AnswerReading, Connected, Connector, Error, Outgoing, ProtocolSwitch, RequestBody, Sender, Spelling, WayOut,
};

/// Where a request goes.
pub(in crate::credential) struct Address {
    connector: Connector,
    scheme: Scheme,
    authority: Authority,
    target: PathAndQuery,
    origin: UrlOrigin,
    /// What its issuer says of it.
    named: Option<NamedEndpoint>,
    connections: Owner,
}

/// The time that one attempt to get a token may take in all.
#[derive(Clone, Copy, Debug)]
pub(in crate::credential) struct TimeBudget {
    pub(in crate::credential) timeout: Duration,
    deadline: Instant,
}

/// A whole answer.
pub(in crate::credential) struct Heard {
    pub(in crate::credential) status: StatusCode,
    pub(in crate::credential) fields: HeaderMap,
    /// `None`: it is too long.
    body: Option<Zeroizing<Vec<u8>>>,
    /// When its request was sent.
    pub(in crate::credential) sent: Moment,
}

impl Address {
    /// `tls` is there for `https` and only for that; `way` is how the URL is reached.
    pub(in crate::credential) fn of(
        url: &Url,
        tls: Option<ClientTls>,
        way: WayOut,
        origin: UrlOrigin,
    ) -> Result<Self, InvalidUri> {
        // The time for a connection is part of the time for the request, which `ask` keeps.
        let connector = Connector::new(url, tls, HttpVersion::Auto, None, Spelling::LowerCase).by(way);
        let (authority, target) = (authority(url)?, target(url)?);
        Ok(Self { connector, scheme: url.scheme, authority, target, origin, named: None, connections: Owner::new() })
    }

    /// It is an endpoint that the metadata of an issuer name.
    pub(super) fn named_as(self, named: NamedEndpoint) -> Self {
        Self { named: Some(named), ..self }
    }

    /// What its issuer says of it.
    pub(super) fn learnt(&self) -> Learnt<'_> {
        self.named.as_ref().map(Learnt::of).unwrap_or_default()
    }

    /// Host and port, for people.
    pub(in crate::credential) fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// What comes after the host, without a query.
    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    pub(super) fn resource(&self) -> Resource<'_> {
        Resource { scheme: self.scheme, authority: self.authority.as_str(), path: self.target.path() }
    }

    /// Sends the request on a new connection, and waits for all of its answer.
    pub(in crate::credential) async fn ask(
        &self,
        method: Method,
        fields: HeaderMap,
        body: RequestBody,
        patience: TimeBudget,
    ) -> Result<Heard, TokenFailure> {
        let Some(connected) = patience.keep(self.connector.connect()).await else {
            return Err(self.unconnected(patience.timeout));
        };
        let Connected { sender, driver, .. } = connected.map_err(|error| self.unreachable(&error))?;
        if let Some(driver) = driver {
            // Ends with the last who could send on the connection.
            tokio::task::spawn_local(driver);
        }
        let heard = self.exchange(sender, self.outgoing(method, fields, body), patience).await;
        heard.unwrap_or_else(|error| Err(self.unreachable(&error)))
    }

    /// A connection that a request before this one left open, if there is one.
    pub(in crate::credential) fn kept(&self) -> Option<Sender> {
        self.connections.take()
    }

    /// As [`Address::ask`], on a connection that was used before. `None`: it was lost before an answer began, as happens to
    /// one that the endpoint closes at the same moment. Nobody can tell whether the request arrived.
    pub(in crate::credential) async fn ask_on(
        &self,
        kept: Sender,
        method: Method,
        fields: HeaderMap,
        body: RequestBody,
        patience: TimeBudget,
    ) -> Option<Result<Heard, TokenFailure>> {
        self.exchange(kept, self.outgoing(method, fields, body), patience).await.ok()
    }

    fn outgoing(&self, method: Method, fields: HeaderMap, body: RequestBody) -> Outgoing {
        let (target, authority) = (self.target.clone(), self.authority.clone());
        Outgoing { method, scheme: self.scheme, authority, target, fields, body, switch: ProtocolSwitch::NotAsked }
    }

    /// # Errors
    /// When the connection is lost before an answer begins. All else that goes wrong is the failure inside.
    async fn exchange(
        &self,
        mut sender: Sender,
        mut outgoing: Outgoing,
        patience: TimeBudget,
    ) -> Result<Result<Heard, TokenFailure>, Error> {
        let heard = patience.keep(self.hear(&mut outgoing, &mut sender)).await;
        let heard = heard.unwrap_or_else(|| Ok(Err(self.late(patience.timeout, "for its whole answer"))))?;
        if heard.is_ok() {
            // Only after an answer that was read to its end: whatever else may be on the connection belongs to this one.
            self.connections.keep(sender);
        }
        Ok(heard)
    }

    async fn hear(&self, outgoing: &mut Outgoing, sender: &mut Sender) -> Result<Result<Heard, TokenFailure>, Error> {
        let sent = Moment::now();
        let sending = sender.send(outgoing).await.map_err(|unsent| unsent.error);
        if let Err(Error::Http1Required) = &sending {
            // It is asked again soon.
            self.connector.fall_back_to_http1();
        }
        let (head, body) = sending?.into_parts();
        let body = bounded(sender.read(body)).await.map_err(|error| self.broken_off(&error));
        Ok(body.map(|body| Heard { status: head.status, fields: head.headers, body, sent }))
    }

    fn unconnected(&self, timeout: Duration) -> TokenFailure {
        let mut failure = self.late(timeout, "for a connection");
        // Where nothing comes through, it may be for a proxy that is on the way, or for want of one.
        failure.what += &self.connector.way().to_string();
        failure
    }

    fn late(&self, timeout: Duration, what: &str) -> TokenFailure {
        let what = format!("made us wait {what} until `timeout` ({timeout:?}) was over");
        let help = match self.origin {
            UrlOrigin::Written => "check that `token_url` can be reached from here",
            UrlOrigin::Issuer => "check that `issuer` can be reached from here",
            UrlOrigin::Sts => "check that `sts_url` can be reached from here",
            UrlOrigin::Metadata => "check that what the metadata of `issuer` names can be reached from here",
        };
        self.unavailable(what, help.into())
    }

    fn unreachable(&self, error: &Error) -> TokenFailure {
        let help = error.help().unwrap_or_else(|| self.help_for(error.code()).into());
        self.unavailable(format!("gave no answer: {error}"), help)
    }

    fn broken_off(&self, error: &Error) -> TokenFailure {
        let what = match error {
            Error::Incomplete(reason) => format!("broke its answer off: {reason}"),
            error => format!("broke its answer off: {error}"),
        };
        self.unavailable(what, HELP_ELSEWHERE.into())
    }

    fn unavailable(&self, what: String, help: Cow<'static, str>) -> TokenFailure {
        TokenFailure { kind: FailureKind::Unavailable, endpoint: self.host().to_owned(), what, help, retry_after: None }
    }

    fn help_for(&self, code: Code) -> &'static str {
        let [name, port, scheme, plain] = match self.origin {
            UrlOrigin::Written => [
                "check the host of `token_url`",
                "check that it is up, and host and port of `token_url`",
                "check whether `token_url` should start with http:// or https://",
                "check whether `token_url` should start with https://",
            ],
            UrlOrigin::Issuer => [
                "check the host of `issuer`",
                "check that it is up, and host and port of `issuer`",
                "check whether `issuer` should start with http:// or https://",
                "check whether `issuer` should start with https://",
            ],
            UrlOrigin::Metadata => ["the metadata of `issuer` names it, and will be read again"; 4],
            UrlOrigin::Sts => [
                "check the host of `sts_url`",
                "check that it is up, and host and port of `sts_url`",
                "check whether `sts_url` should start with http:// or https://",
                "check whether `sts_url` should start with https://",
            ],
        };
        match code {
            Code::DnsError | Code::DnsTimeout => name,
            Code::ConnectionRefused | Code::ConnectionTimeout => port,
            Code::TlsAlertReceived => "check that it accepts the certificate it is shown",
            Code::TlsProtocolError => scheme,
            // What many a server does with a request that should have been a TLS hello.
            Code::ConnectionTerminated | Code::HttpProtocolError if self.scheme == Scheme::Http => plain,
            _ => HELP_ELSEWHERE,
        }
    }
}

impl TimeBudget {
    pub(in crate::credential) fn of(timeout: Duration) -> Self {
        Self { timeout, deadline: Instant::now() + timeout }
    }

    /// What comes of this, if it comes in time.
    pub(in crate::credential) async fn keep<T>(self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.deadline, future).await.ok()
    }

    /// Half of it, for what can be done without.
    pub(in crate::credential) fn half(self) -> Self {
        Self::of(self.timeout / 2)
    }
}

impl Heard {
    pub(in crate::credential) fn answer(&self) -> TokenAnswer<'_> {
        let body = self.body.as_ref().map(|body| body.as_slice());
        TokenAnswer { status: self.status, fields: &self.fields, body }
    }
}

async fn bounded(mut body: AnswerReading<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
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
    url.authority.to_string().parse()
}

fn target(url: &Url) -> Result<PathAndQuery, InvalidUri> {
    let path = if url.path.is_empty() { "/" } else { &url.path };
    match &url.query {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::oauth2;

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
