//! What would become of a request, for people and programs: as `sidekey explain` says it, of what runs now.

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request};
use serde::Serialize;

use super::{AdminContext, Refusal, json};
use crate::code::Code;
use crate::proxy::ResponseBody;
use crate::proxy::explain::{Outcome, World, as_sent, asked};

#[derive(Serialize)]
struct Explanation {
    method: String,
    url: String,
    /// `sent`, `answered` (by Sidekey itself, which is asked about itself), `tunnel` or `refused`.
    outcome: &'static str,
    /// What is asked of the service.
    upstream_url: Option<String>,
    status: Option<u16>,
    code: Option<&'static str>,
    detail: Option<String>,
    /// Whether `access.token` has to be shown.
    needs_token: bool,
    service: Option<String>,
    certificate: Option<String>,
    /// What is sent as `Host` instead of the host of `upstream_url`.
    host_header: Option<String>,
    /// What the credential puts on the request, values masked.
    injected: Vec<String>,
    /// The routes that came nearest, the winner first.
    routes: Vec<ConsideredRoute>,
}

#[derive(Serialize)]
struct ConsideredRoute {
    service: String,
    kind: String,
    route: String,
    verdict: String,
}

/// Answers for the request that `query` describes: `url`, `method` (`GET`), and `header` as `Name: value`, which may be
/// repeated.
///
/// # Errors
/// When it describes none.
pub(super) fn answer(query: &str, cx: &AdminContext) -> Result<Response<ResponseBody>, Refusal> {
    let head = described(query)?;
    let snapshot = cx.published.current().load_full();
    let world = World { config: &snapshot.config, routes: &snapshot.routes, access: &snapshot.access };
    let explained = world.explain(&head);
    let (outcome, upstream_url, refusal) = match explained.outcome {
        Outcome::Sent { url } => ("sent", Some(url), None),
        Outcome::Answered => ("answered", None, None),
        Outcome::Tunnel { .. } => ("tunnel", None, None),
        Outcome::Refused(error) => ("refused", None, Some(error)),
    };
    let code = refusal.as_ref().map(|error| error.code());
    let service = explained.service;
    let name = |place| world.service(place).map_or_else(String::new, |(name, _)| name.to_string());
    let explanation = Explanation {
        method: head.method.to_string(),
        url: as_sent(&head.uri.to_string()),
        outcome,
        upstream_url,
        status: code.map(|code| code.status().as_u16()),
        code: code.map(Code::word),
        detail: refusal.map(|error| error.detail()),
        needs_token: snapshot.access.token().is_some(),
        service: service.map(|(name, _)| name.to_string()),
        certificate: service.and_then(|(_, service)| Some(service.certificate.as_ref()?.value.to_string())),
        host_header: service.and_then(|(_, service)| Some(service.host_header.as_ref()?.value.to_string())),
        injected: service.iter().flat_map(|(_, service)| &service.auth).flat_map(|auth| auth.value.masked()).collect(),
        routes: explained
            .considered
            .iter()
            .map(|it| ConsideredRoute {
                service: name(it.service),
                kind: it.kind.to_string(),
                route: it.rule.to_string(),
                verdict: it.verdict.to_string(),
            })
            .collect(),
    };
    Ok(json(StatusCode::OK, &explanation))
}

fn described(query: &str) -> Result<request::Parts, Refusal> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    let mut url = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "url" => url = Some(asked(&value).ok_or_else(|| wrong("`url` is none that a request could have"))?),
            "method" => head.method = Method::from_bytes(value.as_bytes()).map_err(|_| wrong("`method` is none"))?,
            "header" => {
                let (name, value) = field(&value).ok_or_else(|| wrong("write `header` as `Name: value`"))?;
                head.headers.append(name, value);
            }
            _ => return Err(wrong("this page takes `url`, `method` and `header`")),
        }
    }
    head.uri = url.ok_or_else(|| wrong("say which `url`: a path (`/payments/orders`), or a whole one"))?;
    Ok(head)
}

fn field(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn wrong(detail: &str) -> Refusal {
    Refusal::new(Code::BadRequest, detail)
}
