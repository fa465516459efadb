//! `sidekey explain`: which service a request would go to, with what, and why. Reads no secret and sends nothing.

use std::process::ExitCode;

use clap::Args;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

use super::{ConfigArgument, FAILED, WRONG};
use crate::config::{self, At, Config, Secrets, Service};
use crate::name::ServiceName;
use crate::route::allow::Allow;
use crate::route::authority::Authority;
use crate::route::{Form, Match, Question, Table, target};
use crate::snapshot::{Access, compile_routes};

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The method of the request.
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A field of the request, as `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// What the app would call: a path (`/payments/orders`), or a URL.
    url: Uri,
}

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let source = match arguments.config.source() {
        Ok(source) => source,
        Err(wrong) => return wrong,
    };
    let (config, mut report) = config::load(&source, Secrets::Skip);
    let compiled = config.and_then(|config| World::compile(config, &mut report));
    let Some(world) = compiled.filter(|_| !report.has_errors()) else {
        anstream::eprint!("{}", report.render(super::color()));
        return ExitCode::from(WRONG);
    };
    match world.explain(arguments) {
        Ok(text) => {
            anstream::print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            anstream::print!("{text}");
            ExitCode::from(FAILED)
        }
    }
}

/// What decides where a request goes.
struct World {
    services: Vec<(ServiceName, At<Service>)>,
    routes: Table,
    access: Access,
}

impl World {
    fn compile(config: Config, report: &mut config::Report) -> Option<Self> {
        let routes = compile_routes(&config, report);
        let access = Access::compile(&config.access, &config.listen, report)?;
        Some(Self { services: config.services.into_iter().collect(), routes, access })
    }

    /// What would happen, for people; an error if the request would be refused.
    fn explain(&self, arguments: &ExplainArguments) -> Result<String, String> {
        let fields: HeaderMap = arguments.headers.iter().cloned().collect();
        let heading = format!("{} {}\n\n", arguments.method, arguments.url);
        let asked =
            Asked::read(&arguments.url, &fields).map_err(|refused| format!("{heading}refused    400: {refused}\n"))?;
        if [Method::TRACE, Method::CONNECT].contains(&arguments.method) {
            return Err(format!("{heading}refused    405: {} is not served\n", arguments.method));
        }
        let question = Question {
            form: asked.form,
            host: &asked.authority.host,
            port: asked.authority.port,
            local: self.access.local_name(&asked.authority.host).is_some(),
            method: &arguments.method,
            path: asked.target.path(),
            fields: &fields,
        };
        self.admit_host(&question).map_err(|refused| format!("{heading}refused    403: {refused}\n"))?;
        target::check(question.path).map_err(|refused| format!("{heading}refused    400: {refused}\n"))?;
        let candidates = self.candidates(&question);
        let Some(found) = self.routes.find(&question) else {
            return Err(format!("{heading}refused    404: no route fits\n{candidates}"));
        };
        let service = &self.services[found.service].1.value;
        let url = &service.url.value;
        let sent = target::build(&asked.target, &found, target::base_path(url))
            .map_err(|refused| format!("{heading}refused    400: {refused}\n"))?;
        let injected = self.injected(&found);
        let allow = service.allow.as_ref().map(Allow::read);
        if allow.is_some_and(|allow| !allow.admits(&arguments.method, sent.path())) {
            let refused = format!("403: the service's `allow` has no place for {} {}", arguments.method, sent.path());
            return Err(format!("{heading}refused    {refused}\n{injected}{candidates}"));
        }
        Ok(format!("{heading}sends      {} {}{sent}\n{injected}{candidates}", arguments.method, origin(url)))
    }

    /// The check that stands between a rebound name and the routes, as the proxy makes it of a request without a token.
    fn admit_host(&self, question: &Question<'_>) -> Result<(), String> {
        let host = question.host;
        if question.form == Form::Absolute || question.local || self.routes.has_host(host) {
            return Ok(());
        }
        let ways = self.routes.ways_in(host);
        let ways = ways.unwrap_or_else(|| {
            format!("is no local name; if it is one of yours, add `access: {{hosts: [\"{host}\"]}}`")
        });
        Err(format!("`Host: {host}` {ways}"))
    }

    /// The service, the certificate and the credentials, values masked.
    fn injected(&self, found: &Match<'_>) -> String {
        let (name, service) = &self.services[found.service];
        let service = &service.value;
        let title = service.title.as_deref().map(|title| format!(" ({title})")).unwrap_or_default();
        let mut text = format!("service    {name}{title}\n");
        if let Some(identities) = &service.identities {
            text += &format!("identity   {identities}\n");
        }
        let mut label = "with";
        let certificate = service.certificate.iter().map(|name| format!("client certificate `{}`", name.value));
        for line in certificate.chain(service.auth.iter().flat_map(|auth| auth.value.masked())) {
            text += &format!("{label:<10} {line}\n");
            label = "";
        }
        text
    }

    /// Every route that was considered, the winner first.
    fn candidates(&self, question: &Question<'_>) -> String {
        let mut text = String::new();
        let mut label = "routes";
        for it in self.routes.consider(question) {
            let service = &self.services[it.service].0;
            text += &format!("{label:<10} {service}, {} ({}): {}\n", it.kind, it.rule, it.verdict);
            label = "";
        }
        text
    }
}

/// The target as a request would carry it.
struct Asked {
    form: Form,
    authority: Authority<'static>,
    target: PathAndQuery,
}

impl Asked {
    /// A path counts as sent to its `Host`, without one to `localhost`; a URL as absolute-form, which is the same under
    /// a local name.
    fn read(url: &Uri, fields: &HeaderMap) -> Result<Self, target::Refused> {
        let form = if url.authority().is_some() { Form::Absolute } else { Form::Origin };
        let host = fields.get(HOST).map_or(Ok("localhost"), |host| host.to_str());
        let host = host.map_err(|_| target::Refused::Host)?;
        let authority = Authority::parse(url.authority().map_or(host, |authority| authority.as_str()))?;
        let authority = Authority { host: authority.host.into_owned().into(), port: authority.port };
        let target = url.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { form, authority, target })
    }
}

/// Scheme, host and port.
fn origin(url: &config::Url) -> String {
    config::Url { path: String::new(), query: None, ..url.clone() }.to_string()
}

fn field(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write `Name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no field name"))?;
    let value = value.trim().parse().map_err(|_| "this is no field value".to_owned())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Source;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        explain: ExplainArguments,
    }

    const CONFIG: &str = "
services:
  payments:
    title: Payments API
    url: https://api.partner.example/v1
    auth: { type: bearer, token: { env: TOKEN } }
    allow: { methods: [GET], paths: [/v1/orders/**] }
";

    fn explain(line: &str) -> String {
        let arguments = Line::parse_from(["explain"].into_iter().chain(line.split(' '))).explain;
        let (config, mut report) = config::load(&Source::Text(CONFIG.to_owned()), Secrets::Skip);
        let world = World::compile(config.expect("a config"), &mut report).expect("a world");
        match world.explain(&arguments) {
            Ok(text) => text,
            Err(text) => format!("{text}(exit 1)"),
        }
    }

    #[test]
    fn it_says_what_is_sent_with_what_and_why() {
        insta::assert_snapshot!(explain("/payments/orders?x=1"));
        insta::assert_snapshot!(explain("http://api.partner.example/v1/orders"));
    }

    #[test]
    fn it_says_why_a_request_is_refused() {
        let table = [
            ("/nobody", "refused    404: no route fits"),
            ("-X TRACE /payments/orders", "refused    405: TRACE is not served"),
            ("/payments/%2e%2e/admin", "refused    400: "),
            ("-X POST /payments/orders", "refused    403: the service's `allow` has no place for POST /v1/orders"),
            ("/payments/refunds", "refused    403: the service's `allow` has no place for GET /v1/refunds"),
            ("-H Host:rebound.example /payments/orders", "refused    403: `Host: rebound.example` is no local name"),
        ];
        for (line, refused) in table {
            let text = explain(line);
            assert!(text.contains(refused) && text.ends_with("(exit 1)"), "{line}: {text}");
        }
    }
}
