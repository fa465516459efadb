//! What is done with one service: another token, a probe, its credential handed out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use super::refresh::refresh;
use super::{AdminContext, Refusal, json};
use crate::clock::{Moment, rfc3339};
use crate::code::Code;
use crate::config::Scheme;
use crate::credential::{self, Attachments, Credential};
use crate::hex::hex;
use crate::proxy::ResponseBody;
use crate::snapshot::{Identity, Service};
use crate::tls::{ClientCertificate, Leaf};
use crate::transport::{self, ConnectStep, Outgoing, ProbeResult, Probed, Protocol};

/// What is done with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceAction {
    /// Another token now.
    Refresh,
    /// A connection and a token, to see whether they can be had.
    Probe,
    /// Its credential is handed out.
    Authorization,
}

impl ServiceAction {
    /// What a path below a service's stands for.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "token/refresh" => Some(Self::Refresh),
            "probe" => Some(Self::Probe),
            "authorization" => Some(Self::Authorization),
            _ => None,
        }
    }

    /// Does it with the service of this name.
    ///
    /// # Errors
    /// When there is no such service, or nothing to do for it; when no token can be had.
    pub(super) async fn answer(self, name: &str, cx: &AdminContext) -> Result<Response<ResponseBody>, Refusal> {
        let service = cx.published.current().load().service(name).cloned();
        let service = service.ok_or_else(|| Refusal::new(Code::NotFound, "there is no service of this name"))?;
        let answer = match self {
            Self::Refresh => json(StatusCode::OK, &refresh(&service).await?),
            Self::Probe => json(StatusCode::OK, &ProbeReport::of(&service).await),
            Self::Authorization => json(StatusCode::OK, &HandedOut::of(&service).await?),
        };
        Ok(answer)
    }
}

/// What a probe found.
#[derive(Serialize)]
struct ProbeReport {
    service: String,
    /// Whether a request could be sent now.
    ok: bool,
    /// The outbound proxy that is on the way to the service; `null`: none is.
    proxy: Option<String>,
    timings: Timings,
    /// `h2` or `http/1.1`; `null` where no connection came about.
    protocol: Option<&'static str>,
    tls_version: Option<&'static str>,
    certificate: Option<PeerCertificate>,
    /// What became of ours; `null` where the handshake did not come so far, or there is none.
    client_certificate: Option<&'static str>,
    failures: Vec<ProbeFailure>,
}

/// Milliseconds; `null`: it did not come to that, or there is none.
#[derive(Default, Serialize)]
struct Timings {
    dns: Option<f64>,
    tcp: Option<f64>,
    /// The outbound proxy: TLS to it, if that is spoken, and `CONNECT`.
    proxy: Option<f64>,
    tls: Option<f64>,
    token: Option<f64>,
    /// Of a service whose partner speaks SFTP or FTP.
    #[cfg(feature = "files")]
    #[serde(flatten)]
    files: Option<FileMilliseconds>,
}

/// As [`Timings`], of what comes after a connection to a file server.
#[cfg(feature = "files")]
#[derive(Serialize)]
struct FileMilliseconds {
    host_key: Option<f64>,
    login: Option<f64>,
    listing: Option<f64>,
}

/// The service's own certificate.
#[derive(Serialize)]
struct PeerCertificate {
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    sha256: String,
}

/// A phase that failed, and why.
#[derive(Serialize)]
struct ProbeFailure {
    phase: &'static str,
    code: &'static str,
    detail: String,
}

impl ProbeReport {
    /// Of one that nothing is sent from: its keys are there, or it would not be.
    fn of_nowhere(service: &Service) -> Self {
        let unavailable = service.identities.first().credential.unavailable();
        let unavailable = unavailable.map(|reason| ProbeFailure::of_token(Code::CredentialUnavailable, reason));
        let failures: Vec<_> = unavailable.into_iter().chain(ProbeFailure::of_keys(service)).collect();
        Self {
            service: service.name.to_string(),
            ok: failures.is_empty(),
            proxy: None,
            timings: Timings::default(),
            protocol: None,
            tls_version: None,
            certificate: None,
            client_certificate: None,
            failures,
        }
    }

    async fn of(service: &Arc<Service>) -> Self {
        let Identity { upstream, credential, .. } = service.identities.first();
        if service.scheme == Scheme::OpenPgp {
            return Self::of_nowhere(service);
        }
        let (probed, (token, token_failure)) = tokio::join!(upstream.connector().probe(), obtain(credential));
        let Probed { spent, client_certificate, outcome, .. } = probed;
        let shook_hands = spent.tls.is_some() || client_certificate != ClientCertificate::NotAskedFor;
        let (found, failure) = match outcome {
            Ok(found) => (Some(found), None),
            Err((step, error)) => (None, Some(ProbeFailure::of_connection(step, &error))),
        };
        let failures: Vec<_> = failure.into_iter().chain(token_failure).chain(ProbeFailure::of_keys(service)).collect();
        Self {
            service: service.name.to_string(),
            ok: failures.is_empty(),
            proxy: upstream.connector().way().proxy().map(ToString::to_string),
            timings: Timings {
                dns: spent.lookup.map(milliseconds),
                tcp: spent.tcp.map(milliseconds),
                proxy: spent.proxy.map(milliseconds),
                tls: spent.tls.map(milliseconds),
                token: token.map(milliseconds),
                #[cfg(feature = "files")]
                files: probed.files.map(FileMilliseconds::of),
            },
            protocol: found.as_ref().map(|found| alpn(found.protocol)),
            tls_version: found.as_ref().and_then(|found| found.tls_version),
            certificate: found.and_then(|ProbeResult { peer, .. }| peer).map(PeerCertificate::of),
            client_certificate: shook_hands.then(|| client_certificate.word()),
            failures,
        }
    }
}

/// Waits as a request would until there is a live token; how long that took, `None` without one.
async fn obtain(credential: &Credential) -> (Option<Duration>, Option<ProbeFailure>) {
    if let Some(reason) = credential.unavailable() {
        return (None, Some(ProbeFailure::of_token(Code::CredentialUnavailable, reason)));
    }
    let (began, mut has_token) = (Instant::now(), false);
    for slot in credential.slots() {
        if let Err(error) = slot.until_live().await {
            return (None, Some(ProbeFailure::of_token(error.code(), &error.to_string())));
        }
        has_token = true;
    }
    (has_token.then(|| began.elapsed()), None)
}

#[cfg(feature = "files")]
impl FileMilliseconds {
    fn of(timings: transport::FileTimings) -> Self {
        let transport::FileTimings { host_key, login, listing } = timings;
        Self {
            host_key: host_key.map(milliseconds),
            login: login.map(milliseconds),
            listing: listing.map(milliseconds),
        }
    }
}

impl ProbeFailure {
    fn of_connection(step: ConnectStep, error: &transport::Error) -> Self {
        let phase = match step {
            ConnectStep::Lookup => "dns",
            ConnectStep::Tcp => "tcp",
            ConnectStep::Proxy => "proxy",
            ConnectStep::Tls => "tls",
            #[cfg(feature = "files")]
            ConnectStep::HostKey => "host_key",
            #[cfg(feature = "files")]
            ConnectStep::Login => "login",
            #[cfg(feature = "files")]
            ConnectStep::Listing => "listing",
        };
        Self { phase, code: error.code().word(), detail: error.to_string() }
    }

    /// A key may have expired while it is in use.
    #[cfg(feature = "openpgp")]
    fn of_keys(service: &Service) -> Option<Self> {
        let encryptor = service.transforms.as_ref()?.encryptor.as_ref()?;
        let error = encryptor.check().err()?;
        Some(Self::of_token(Code::CredentialUnavailable, &error.to_string()))
    }

    #[cfg(not(feature = "openpgp"))]
    fn of_keys(_: &Service) -> Option<Self> {
        None
    }

    fn of_token(code: Code, detail: &str) -> Self {
        Self { phase: "token", code: code.word(), detail: detail.to_owned() }
    }
}

impl PeerCertificate {
    fn of(leaf: Leaf) -> Self {
        Self {
            not_before: rfc3339(leaf.not_before),
            not_after: rfc3339(leaf.not_after),
            sha256: hex(&leaf.sha256),
            subject: leaf.subject,
            issuer: leaf.issuer,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

fn alpn(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
        #[cfg(feature = "files")]
        Protocol::File => "file",
    }
}

/// What a request to the service carries, for an app that sends its requests itself.
#[derive(Serialize)]
struct HandedOut {
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cookies: BTreeMap<String, String>,
    /// `null`: it does not expire.
    expires_at: Option<String>,
}

impl HandedOut {
    async fn of(service: &Service) -> Result<Self, Refusal> {
        let credential = &service.identities.first().credential;
        if credential.depends_on_request() || !service.identities.is_lone() {
            let detail = format!("`{}` is different for each request; send them through Sidekey", credential.method());
            return Err(Refusal::new(Code::Conflict, detail));
        }
        let mut outgoing = Outgoing {
            method: Method::GET,
            scheme: service.scheme,
            authority: service.authority.clone(),
            target: PathAndQuery::from_static("/"),
            fields: HeaderMap::new(),
            body: transport::RequestBody::Empty,
            switch: transport::ProtocolSwitch::NotAsked,
        };
        let own = RefCell::new(Attachments::default());
        let subjects = credential.subject_tokens(&outgoing.fields);
        credential.authorize(&own, &subjects, &mut outgoing).await?;
        tracing::info!(service = service.name.as_str(), "the credential was handed out on the admin port");

        let expires = credential.slots().filter_map(|slot| slot.expires()).min();
        let cookies = outgoing.fields.remove(COOKIE);
        Ok(Self {
            headers: outgoing.fields.iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
            query: form_urlencoded::parse(outgoing.target.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            cookies: cookies.as_ref().map(shown).map(|cookies| pairs(&cookies)).unwrap_or_default(),
            expires_at: expires.map(Moment::wall).map(rfc3339),
        })
    }
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The pairs of a `Cookie`.
fn pairs(cookies: &str) -> BTreeMap<String, String> {
    let pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl From<credential::Error> for Refusal {
    fn from(error: credential::Error) -> Self {
        let field = error.retry_after().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        Self { field, ..Self::new(error.code(), error.to_string()) }
    }
}
