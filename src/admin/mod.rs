//! The admin port: probes, metrics, status, reload, and what is done with one service.
//!
//! Opens no socket: `server` carries its connections and fills its [`AdminContext`]. Every answer here is live, so none may
//! be stored, and none names the proxy (`Proxy-Status` is for the traffic ports).

mod explain;
mod guard;
mod refresh;
mod service;
mod status;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode, Uri, request};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Moment;
use crate::code::Code;
use crate::proxy::{Arrival, ResponseBody, problem};
use crate::reload::{ReloadOutcome, Reloads};
use crate::snapshot::Published;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{ConfigGauges, Gauges};
use service::ServiceAction;

/// What the admin port knows; filled by `server`.
pub(crate) struct AdminContext {
    pub(crate) published: Arc<Published>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) listeners: Arc<ArcSwap<Vec<Listening>>>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) started_at: SystemTime,
    /// Where the config comes from, for people.
    pub(crate) config_path: String,
}

/// An open listening socket, for status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listening {
    pub(crate) role: Role,
    /// The service that has it for its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// `127.0.0.1:9800`, `unix:/run/sidekey.sock`.
    pub(crate) address: String,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Traffic,
    Admin,
    Health,
}

/// Whether the process should get traffic; set by `server`, read by `/readyz`.
#[derive(Debug, Default)]
pub(crate) struct Readiness(ArcSwapOption<String>);

impl Readiness {
    /// Not ready, for this reason.
    pub(crate) fn not_yet(&self, reason: impl Into<String>) {
        self.0.store(Some(Arc::new(reason.into())));
    }

    /// Ready.
    pub(crate) fn reached(&self) {
        self.0.store(None);
    }

    /// Why it is not ready; `None`: it is.
    pub(crate) fn reason(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}

/// Whether all of the process turns; set by `server`, read by `/livez`.
#[derive(Debug, Default)]
pub(crate) struct Liveness(ArcSwapOption<String>);

impl Liveness {
    /// What hangs; `None`: nothing does.
    pub(crate) fn set(&self, reason: Option<String>) {
        self.0.store(reason.map(Arc::new));
    }

    /// What hangs; `None`: nothing does.
    pub(crate) fn reason(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}

/// Answers a request on the admin port.
pub(crate) async fn handle(head: &request::Parts, arrival: &Arrival, cx: &AdminContext) -> Response<ResponseBody> {
    let snapshot = cx.published.current().load_full();
    match guard::admit(head, arrival.peer, &snapshot) {
        Ok(page) => page.answer(cx).await,
        Err(refusal) => refusal.answer(),
    }
}

/// Answers a request on the health port: GET and HEAD of `/livez`, `/readyz`, `/metrics`, all else 404.
pub(crate) async fn health(head: &request::Parts, cx: &AdminContext) -> Response<ResponseBody> {
    match AdminPage::at(&head.uri).filter(|page| page.is_for_machines() && page.takes(&head.method)) {
        // `/healthz` is another spelling for the admin port alone.
        Some(page) if head.uri.path() != "/healthz" => page.answer(cx).await,
        _ => refuse(Code::NotFound, "this port has /livez, /readyz and /metrics"),
    }
}

/// Our answer to a request on the admin or health port that could not be taken.
pub(crate) fn refuse(code: Code, detail: &str) -> Response<ResponseBody> {
    live(problem::admin(code, detail, Map::new()))
}

/// What there is on the admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminPage<'a> {
    Live,
    Ready,
    Metrics,
    Status,
    Reload,
    /// What would become of the request that this query describes.
    Explain(&'a str),
    /// A page of the service of this name.
    Service(&'a str, ServiceAction),
}

impl<'a> AdminPage<'a> {
    fn at(target: &'a Uri) -> Option<Self> {
        match target.path() {
            "/livez" | "/healthz" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            "/api/status" => Some(Self::Status),
            "/api/reload" => Some(Self::Reload),
            "/api/explain" => Some(Self::Explain(target.query().unwrap_or_default())),
            path => {
                let (name, action) = path.strip_prefix("/api/services/")?.split_once('/')?;
                Some(Self::Service(name, ServiceAction::at(action)?))
            }
        }
    }

    /// The methods that it has, as `Allow` lists them.
    fn methods(self) -> &'static str {
        match self {
            Self::Reload | Self::Service(_, ServiceAction::Refresh | ServiceAction::Probe) => "POST",
            Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Status
            | Self::Explain(_)
            | Self::Service(_, ServiceAction::Authorization) => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|taken| taken == method)
    }

    /// What is on the health port too.
    fn is_for_machines(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Metrics)
    }

    /// Probes are asked by machinery that holds no token.
    fn is_probe(self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }

    /// Whether it shows a secret.
    fn hands_out(self) -> bool {
        matches!(self, Self::Service(_, ServiceAction::Authorization))
    }

    async fn answer(self, cx: &AdminContext) -> Response<ResponseBody> {
        match self {
            Self::Live => probe("alive\n", cx.liveness.reason()),
            Self::Ready => probe("ready\n", cx.readiness.reason()),
            Self::Metrics => text(OPEN_METRICS, cx.metrics.encode(gauges(cx))),
            Self::Status => json(StatusCode::OK, &status::of(cx)),
            Self::Reload => reload(cx).await,
            Self::Explain(query) => explain::answer(query, cx).unwrap_or_else(Refusal::answer),
            Self::Service(name, action) => action.answer(name, cx).await.unwrap_or_else(Refusal::answer),
        }
    }
}

/// Why a request is not answered.
#[derive(Debug)]
struct Refusal {
    code: Code,
    detail: String,
    /// A field that the answer needs.
    field: Option<(http::HeaderName, HeaderValue)>,
    /// What the problem tells beside its own members.
    more: Option<Box<Map<String, Value>>>,
}

impl Refusal {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, more: None }
    }

    fn with(self, name: http::HeaderName, value: &'static str) -> Self {
        Self { field: Some((name, HeaderValue::from_static(value))), ..self }
    }

    fn method(page: AdminPage<'_>) -> Self {
        let allowed = page.methods();
        Self::new(Code::MethodNotAllowed, format!("this page takes {allowed}")).with(ALLOW, allowed)
    }

    fn answer(self) -> Response<ResponseBody> {
        let mut answer = live(problem::admin(self.code, &self.detail, self.more.map(|more| *more).unwrap_or_default()));
        answer.headers_mut().extend(self.field);
        answer
    }
}

/// `fine`, or why it is not.
fn probe(fine: &'static str, reason: Option<Arc<String>>) -> Response<ResponseBody> {
    match reason {
        None => text("text/plain; charset=utf-8", fine),
        Some(reason) => refuse(Code::NotReady, &reason),
    }
}

#[derive(Serialize)]
struct Reloaded {
    outcome: &'static str,
    generation: u64,
}

async fn reload(cx: &AdminContext) -> Response<ResponseBody> {
    let (outcome, generation) = match cx.reloads.request().await {
        ReloadOutcome::Applied { generation } => ("applied", generation),
        ReloadOutcome::Unchanged { generation } => ("unchanged", generation),
        ReloadOutcome::Refused { error } => return refuse(Code::ConfigInvalid, error.trim_end()),
    };
    json(StatusCode::OK, &Reloaded { outcome, generation })
}

fn gauges(cx: &AdminContext) -> Gauges {
    let snapshot = cx.published.current().load();
    let expiry = |service: &Arc<crate::snapshot::Service>| {
        let expires = service.slots().filter_map(|slot| slot.expires()).min()?;
        Some((service.name.to_string(), Moment::wall(expires)))
    };
    let history = cx.reloads.history();
    Gauges {
        tokens: snapshot.services.iter().filter_map(expiry).collect(),
        certificates: snapshot.certificates.iter().map(|it| (it.name.to_string(), it.leaf.not_after)).collect(),
        openpgp_keys: openpgp_keys(&snapshot),
        config: ConfigGauges {
            generation: snapshot.generation,
            last_reload_successful: history.last_error.is_none(),
            last_success: history.last_success,
            applied: history.count_applied,
            unchanged: history.count_unchanged,
            refused: history.count_refused,
        },
    }
}

/// Each key once for each service that uses it.
#[cfg(feature = "openpgp")]
fn openpgp_keys(snapshot: &crate::snapshot::Snapshot) -> Vec<(String, String, std::time::SystemTime)> {
    let mut all = Vec::new();
    for service in &snapshot.services {
        let keys = service.transforms.iter().flat_map(|transforms| transforms.keys());
        all.extend(keys.filter_map(|key| Some((service.name.to_string(), key.fingerprint.clone(), key.expires_at?))));
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(not(feature = "openpgp"))]
fn openpgp_keys(_: &crate::snapshot::Snapshot) -> Vec<(String, String, std::time::SystemTime)> {
    Vec::new()
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<ResponseBody> {
    let Ok(mut body) = serde_json::to_vec_pretty(value) else {
        return refuse(Code::InternalError, "the answer can't be written as JSON");
    };
    body.push(b'\n');
    let mut answer = text("application/json", body);
    *answer.status_mut() = status;
    answer
}

fn text(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::whole(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    live(answer)
}

/// What every answer of this port carries.
fn live(mut answer: Response<ResponseBody>) -> Response<ResponseBody> {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_probe_says_what_is_wrong() {
        let liveness = Liveness::default();
        assert_eq!(probe("alive\n", liveness.reason()).status(), StatusCode::OK);

        liveness.set(Some("worker 1 has not turned for 10 s".to_owned()));

        let answer = probe("alive\n", liveness.reason());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(problem["detail"], "worker 1 has not turned for 10 s");
    }
}
