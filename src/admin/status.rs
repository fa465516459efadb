//! `GET /api/status`: all that can be said without a secret, as JSON.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{AdminContext, Listening};
use crate::clock::rfc3339;
use crate::credential::{TokenState, TokenStatus};
use crate::hex::hex;
use crate::reload::{Applied, History};
use crate::snapshot::{Service, Snapshot};
use crate::telemetry::errors::RecentError;
use crate::tls;

/// The status now.
pub(super) fn of(cx: &AdminContext) -> Status {
    let snapshot = cx.published.current().load_full();
    let history = cx.reloads.history();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(cx.started_at),
        config: ConfigStatus::of(cx, &snapshot, &history),
        certificates: certificates(&snapshot),
        openpgp_keys: openpgp_keys(&snapshot),
        services: snapshot.services.iter().map(|service| ServiceStatus::of(service, cx)).collect(),
        routes: routes(&snapshot),
        listeners: cx.listeners.load().to_vec(),
        reloads: history.applied.iter().map(Reload::of).collect(),
        errors: cx.metrics.recent().list().iter().map(FailureStatus::of).collect(),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    started_at: String,
    config: ConfigStatus,
    certificates: Vec<CertificateStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    openpgp_keys: Vec<OpenPgpKeyStatus>,
    services: Vec<ServiceStatus>,
    routes: Vec<RouteStatus>,
    listeners: Vec<Listening>,
    reloads: Vec<Reload>,
    errors: Vec<FailureStatus>,
}

#[derive(Debug, Serialize)]
struct ConfigStatus {
    path: String,
    generation: u64,
    loaded_at: String,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    name: String,
    title: String,
    subject: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    /// Negative once it has expired.
    days_left: i64,
    sha256: String,
    services: Vec<String>,
}

/// A key with which a service encrypts, decrypts, signs or checks.
#[derive(Debug, Serialize)]
struct OpenPgpKeyStatus {
    service: String,
    fingerprint: String,
    user: Option<String>,
    /// `null`: never.
    expires_at: Option<String>,
    /// Negative once it has expired.
    days_left: Option<i64>,
}

#[derive(Debug, Serialize)]
struct ServiceStatus {
    name: String,
    title: String,
    url: String,
    auth: String,
    certificate: Option<String>,
    token: TokenJson,
    connections: Connections,
    requests: u64,
    errors: u64,
}

#[derive(Debug, Serialize)]
struct TokenJson {
    state: &'static str,
    r#type: Option<String>,
    expires_at: Option<String>,
    refreshed_at: Option<String>,
    requests: u64,
    failures: u64,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Connections {
    active: u64,
    idle: u64,
}

#[derive(Debug, Serialize)]
struct RouteStatus {
    rule: String,
    service: String,
}

#[derive(Debug, Serialize)]
struct Reload {
    generation: u64,
    time: String,
    changes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FailureStatus {
    time: String,
    service: String,
    code: &'static str,
    detail: String,
}

impl ConfigStatus {
    fn of(cx: &AdminContext, snapshot: &Snapshot, history: &History) -> Self {
        Self {
            path: cx.config_path.clone(),
            generation: snapshot.generation,
            loaded_at: rfc3339(snapshot.loaded_at),
            last_error: history.last_error.clone(),
        }
    }
}

impl CertificateStatus {
    fn of(certificate: &Arc<tls::Certificate>, services: Vec<String>) -> Self {
        let leaf = &certificate.leaf;
        Self {
            name: certificate.name.to_string(),
            title: certificate.title.clone(),
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            serial: leaf.serial.clone(),
            not_before: rfc3339(leaf.not_before),
            not_after: rfc3339(leaf.not_after),
            days_left: days_between(SystemTime::now(), leaf.not_after),
            sha256: hex(&leaf.sha256),
            services,
        }
    }
}

#[cfg(feature = "openpgp")]
fn openpgp_keys(snapshot: &Snapshot) -> Vec<OpenPgpKeyStatus> {
    let mut all = Vec::new();
    for service in &snapshot.services {
        for key in service.transforms.iter().flat_map(|transforms| transforms.keys()) {
            all.push(OpenPgpKeyStatus {
                service: service.name.to_string(),
                fingerprint: key.fingerprint.clone(),
                user: key.user.clone(),
                expires_at: key.expires_at.map(rfc3339),
                days_left: key.expires_at.map(|expiry| days_between(SystemTime::now(), expiry)),
            });
        }
    }
    all
}

#[cfg(not(feature = "openpgp"))]
fn openpgp_keys(_: &Snapshot) -> Vec<OpenPgpKeyStatus> {
    Vec::new()
}

/// Each certificate, with the services that link it, for themselves or one of their identities.
fn certificates(snapshot: &Snapshot) -> Vec<CertificateStatus> {
    let mut links: HashMap<&str, Vec<String>> = HashMap::new();
    for service in &snapshot.services {
        let of_identities = service.identities.all().iter().filter_map(|identity| identity.certificate.as_ref());
        let linked: HashSet<_> = of_identities.chain(&service.certificate).map(|linked| linked.name.as_str()).collect();
        for name in linked {
            links.entry(name).or_default().push(service.name.to_string());
        }
    }
    let status =
        |it: &Arc<tls::Certificate>| CertificateStatus::of(it, links.remove(it.name.as_str()).unwrap_or_default());
    snapshot.certificates.iter().map(status).collect()
}

impl ServiceStatus {
    fn of(service: &Arc<Service>, cx: &AdminContext) -> Self {
        let totals = cx.metrics.totals(service.name.as_str());
        // All identities of a service have its method.
        let credentials = || service.identities.all().iter().map(|identity| &identity.credential);
        let tokens = credentials().filter_map(|credential| credential.token_status());
        let method = credentials().next().map(|credential| credential.method().to_owned());
        Self {
            name: service.name.to_string(),
            title: service.title.clone(),
            url: service.url.to_string(),
            auth: method.unwrap_or_default(),
            certificate: service.certificate.as_ref().map(|certificate| certificate.name.to_string()),
            token: TokenJson::of(tokens.reduce(together).unwrap_or_else(nothing)),
            connections: Connections { active: totals.active, idle: totals.idle },
            requests: totals.requests,
            errors: totals.errors,
        }
    }
}

impl TokenJson {
    fn of(status: TokenStatus) -> Self {
        Self {
            state: match status.state {
                TokenState::None => "none",
                TokenState::Pending => "pending",
                TokenState::Valid => "valid",
                TokenState::Expired => "expired",
                TokenState::Failed => "failed",
            },
            r#type: status.token_type,
            expires_at: status.expires_at.map(rfc3339),
            refreshed_at: status.refreshed_at.map(rfc3339),
            requests: status.requests,
            failures: status.failures,
            last_error: status.last_error,
        }
    }
}

/// The tokens of a service without any.
fn nothing() -> TokenStatus {
    TokenStatus {
        state: TokenState::None,
        token_type: None,
        expires_at: None,
        lifetime: None,
        refreshed_at: None,
        requests: 0,
        failures: 0,
        last_error: None,
    }
}

/// The tokens of two identities as one: as bad as the worse of them, and as old as the older.
fn together(one: TokenStatus, other: TokenStatus) -> TokenStatus {
    TokenStatus {
        state: if severity(one.state) >= severity(other.state) { one.state } else { other.state },
        token_type: one.token_type.or(other.token_type),
        expires_at: one.expires_at.into_iter().chain(other.expires_at).min(),
        lifetime: one.lifetime.into_iter().chain(other.lifetime).min(),
        refreshed_at: one.refreshed_at.max(other.refreshed_at),
        requests: one.requests + other.requests,
        failures: one.failures + other.failures,
        last_error: one.last_error.or(other.last_error),
    }
}

fn severity(state: TokenState) -> u8 {
    match state {
        TokenState::Valid => 0,
        TokenState::None => 1,
        TokenState::Pending => 2,
        TokenState::Expired => 3,
        TokenState::Failed => 4,
    }
}

fn routes(snapshot: &Snapshot) -> Vec<RouteStatus> {
    let route = |rule: &crate::route::Rule| {
        let service = snapshot.services.get(rule.service())?;
        Some(RouteStatus { rule: rule.to_string(), service: service.name.to_string() })
    };
    snapshot.routes.rules().iter().filter_map(route).collect()
}

impl Reload {
    fn of(applied: &Applied) -> Self {
        Self { generation: applied.generation, time: rfc3339(applied.time), changes: applied.difference.lines() }
    }
}

impl FailureStatus {
    fn of(entry: &Arc<RecentError>) -> Self {
        Self {
            time: rfc3339(entry.time),
            service: entry.service.clone(),
            code: entry.code.word(),
            detail: entry.detail.clone(),
        }
    }
}

/// Whole days, rounded down.
fn days_between(now: SystemTime, then: SystemTime) -> i64 {
    let days = |seconds: u64| i64::try_from(seconds / SECONDS_A_DAY).unwrap_or(i64::MAX);
    match then.duration_since(now) {
        Ok(left) => days(left.as_secs()),
        Err(past) => -days(past.duration().as_secs()) - 1,
    }
}

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arc_swap::ArcSwap;
    use http::StatusCode;

    use super::*;
    use crate::admin::{Readiness, Role};
    use crate::config::{Color, ConfigSource, Overrides};
    use crate::demo::certificates::{CertificateAuthority, certificate_pem};
    use crate::reload::{Loaded, Loader, Reloads};
    use crate::snapshot::Published;
    use crate::telemetry::metrics::Metrics;

    const CONFIG: &str = "
certificates: { partner: { title: Partner, chain: partner.pem, key: partner.key } }
services:
  orders: { url: 'http://localhost:8080', auth: { type: bearer, token: hunter2 } }
  payments:
    title: Payments API
    url: https://localhost/v1
    certificate: partner
    tls: { ca: ca.pem }
    auth: { type: oauth2_client_credentials, token_url: https://localhost/token, client_id: me, client_secret: hunter2 }
routes: [{ path: /pay, service: payments }]
";

    /// The admin port of a process that loaded `CONFIG` at the beginning of time.
    fn context() -> AdminContext {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::new("lab").unwrap();
        let partner = authority.client("partner").unwrap();
        for (name, text) in [
            ("ca.pem", certificate_pem(authority.certificate())),
            ("partner.pem", certificate_pem(&partner.certificate)),
            ("partner.key", partner.key_pem()),
            ("sidekey.yaml", CONFIG.to_owned()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let source = ConfigSource::Path(folder.path().join("sidekey.yaml"));
        let Loaded { snapshot, report, .. } =
            Loader { source, overrides: Overrides::default() }.load(None, &<_>::default());
        let mut snapshot = snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)));
        snapshot.loaded_at = SystemTime::UNIX_EPOCH;
        let traffic = Listening { role: Role::Traffic, service: None, address: "127.0.0.1:9800".to_owned() };
        AdminContext {
            published: Arc::new(Published::new(snapshot)),
            metrics: Arc::new(Metrics::default()),
            reloads: Reloads::new().0,
            listeners: Arc::new(ArcSwap::from_pointee(vec![traffic])),
            readiness: Arc::new(Readiness::default()),
            liveness: Arc::default(),
            started_at: SystemTime::UNIX_EPOCH,
            config_path: "/etc/sidekey/sidekey.yaml".to_owned(),
        }
    }

    #[test]
    fn the_status_says_all_but_secrets() {
        let cx = context();
        let numbers = cx.metrics.numbers(0, "payments");
        numbers.answered(StatusCode::BAD_GATEWAY);
        numbers.failed(crate::code::Code::DnsError);
        numbers.connections(1, 2);
        cx.metrics.recent().add("payments", crate::code::Code::DnsError, "the name is not known");

        let mut status = serde_json::to_value(of(&cx)).unwrap();

        // What differs from run to run.
        for (place, shape) in [
            ("/certificates/0/serial", "hex"),
            ("/certificates/0/sha256", "hex"),
            ("/certificates/0/not_before", "time"),
            ("/certificates/0/not_after", "time"),
            ("/errors/0/time", "time"),
        ] {
            let value = status.pointer_mut(place).unwrap();
            let text = value.as_str().unwrap();
            let is_hex = || text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            assert!(if shape == "hex" { is_hex() } else { text.ends_with('Z') }, "{place}: {text}");
            *value = format!("({shape})").into();
        }
        status["version"] = "(version)".into();
        let status = serde_json::to_string_pretty(&status).unwrap();
        assert!(!status.contains("hunter2"));
        insta::assert_snapshot!(status);
    }

    #[test]
    fn days_left_are_rounded_down() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * SECONDS_A_DAY);

        assert_eq!(days_between(now, now + Duration::from_secs(SECONDS_A_DAY - 1)), 0);
        assert_eq!(days_between(now, now + Duration::from_secs(SECONDS_A_DAY)), 1);
        assert_eq!(days_between(now, now - Duration::from_secs(1)), -1);
    }
}
