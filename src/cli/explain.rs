//! `sidekey explain`: which service a request would go to, with what, and why. Reads no secret and sends nothing.

use std::process::ExitCode;

use clap::Args;
use http::{Method, Uri, request};

use super::{ConfigArgument, FAILED, WRONG};
use crate::config::{self, Config, Inputs, Secrets, ServiceConfig};
use crate::name::ServiceName;
use crate::proxy::explain::{self, Explained, Outcome, World};
use crate::route::RouteTable;
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
    #[arg(value_parser = url)]
    url: Uri,
}

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let source = match arguments.config.source() {
        Ok(source) => source,
        Err(wrong) => return wrong,
    };
    let (config, mut report) = config::load(&source, &Inputs::new(Secrets::Skip));
    let compiled = config.and_then(|config| Compiled::compile(config, &mut report));
    let Some(compiled) = compiled.filter(|_| !report.has_errors()) else {
        anstream::eprint!("{}", report.render(super::color()));
        return ExitCode::from(WRONG);
    };
    match compiled.explain(arguments) {
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
struct Compiled {
    config: Config,
    routes: RouteTable,
    access: Access,
}

impl Compiled {
    fn compile(config: Config, report: &mut config::Report) -> Option<Self> {
        let routes = compile_routes(&config, report);
        let access = Access::compile(&config.access, config.listens(), report)?;
        Some(Self { config, routes, access })
    }

    /// What would happen, for people; an error if the request would be refused.
    fn explain(&self, arguments: &ExplainArguments) -> Result<String, String> {
        let world = World { config: &self.config, routes: &self.routes, access: &self.access };
        let explained = world.explain(&head(arguments));
        let mut text = format!("{} {}\n\n", arguments.method, explain::as_sent(&arguments.url.to_string()));
        match &explained.outcome {
            Outcome::Sent { url } => text += &format!("sends      {} {url}\n", arguments.method),
            Outcome::Answered => text += "answers    204: an `OPTIONS`, which Sidekey answers itself\n",
            Outcome::Tunnel { to, plain: true } => {
                text += &format!("tunnels    to {to}, a service's: plain HTTP is spoken inside\n");
            }
            Outcome::Tunnel { to, plain: false } => text += &format!("tunnels    to {to}; nothing is added\n"),
            Outcome::Refused(error) => {
                let (code, detail) = (error.code(), error.detail());
                text += &format!("refused    {} {}: {detail}\n", code.status().as_u16(), code.word());
            }
        }
        if self.access.token().is_some() {
            text += "needs      `access.token`\n";
        }
        text += &explained.service.map(|(name, service)| injected(name, service)).unwrap_or_default();
        text += &candidates(&world, &explained);
        if matches!(explained.outcome, Outcome::Refused(_)) { Err(text) } else { Ok(text) }
    }
}

/// The request as it would come.
fn head(arguments: &ExplainArguments) -> request::Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = arguments.method.clone();
    head.uri = arguments.url.clone();
    head.headers = arguments.headers.iter().cloned().collect();
    head
}

/// The service, the certificate and the credentials, values masked.
fn injected(name: &ServiceName, service: &ServiceConfig) -> String {
    let title = service.title.as_deref().map(|title| format!(" ({title})")).unwrap_or_default();
    let mut text = format!("service    {name}{title}\n");
    if let Some(identities) = &service.identities {
        text += &format!("identity   {identities}\n");
    }
    if let Some(host) = &service.host_header {
        text += &format!("host       {} (`host_header`)\n", host.value);
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
fn candidates(world: &World<'_>, explained: &Explained<'_>) -> String {
    let mut text = String::new();
    let mut label = "routes";
    for it in &explained.considered {
        let name = world.service(it.service).map_or("", |(name, _)| name.as_str());
        text += &format!("{label:<10} {name}, {} ({}): {}\n", it.kind, it.rule, it.verdict);
        label = "";
    }
    text
}

fn url(text: &str) -> Result<Uri, String> {
    explain::asked(text).ok_or_else(|| "this is no target that a request could have".to_owned())
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
    use crate::config::ConfigSource;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        explain: ExplainArguments,
    }

    const CONFIG: &str = "
connect: { allow: ['*.example.org:443'] }
services:
  payments:
    title: Payments API
    url: https://api.partner.example/v1
    auth: { type: bearer, token: { env: TOKEN } }
    allow: { methods: [GET], paths: [/v1/orders/**] }
";

    fn explain(line: &str) -> String {
        let arguments = Line::parse_from(["explain"].into_iter().chain(line.split(' '))).explain;
        let (config, mut report) = config::load(&ConfigSource::Text(CONFIG.to_owned()), &Inputs::new(Secrets::Skip));
        let world = Compiled::compile(config.expect("a config"), &mut report).expect("a world");
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
    fn it_says_what_becomes_of_a_tunnel() {
        let of = |target| explain(&format!("-X CONNECT {target}"));
        let to_service = "tunnels    to api.partner.example:443, a service's: plain HTTP is spoken inside";
        assert!(of("api.partner.example:443").contains(to_service), "{}", of("api.partner.example:443"));
        assert!(of("a.example.org:443").contains("tunnels    to a.example.org:443; nothing is added"));
        assert!(of("a.example.org:80").contains("refused    405 method_not_allowed: no tunnel is opened"));
        assert!(of("http://a.example.org:443/").contains("refused    400 bad_request"));
    }

    #[test]
    fn a_query_may_have_what_it_may_have_when_it_is_sent() {
        let text = explain("/payments/orders?x=\"1\"");
        assert!(text.contains("sends      GET https://api.partner.example/v1/orders?x=\"1\"\n"), "{text}");
    }

    #[test]
    fn it_says_why_a_request_is_refused() {
        let table = [
            ("/nobody", "refused    404 no_route: no route fits"),
            ("-X TRACE /payments/orders", "refused    405 method_not_allowed: TRACE is not carried"),
            ("/payments/%2e%2e/admin", "refused    400 bad_request: "),
            (
                "-X POST /payments/orders",
                "refused    403 forbidden: the service's `allow` has no place for POST /v1/orders",
            ),
            ("/payments/refunds", "refused    403 forbidden: the service's `allow` has no place for GET /v1/refunds"),
            (
                "-H Host:rebound.example /payments/orders",
                "refused    403 forbidden: `Host: rebound.example` is no local",
            ),
            (
                "-H Origin:http://page.example /payments/orders",
                "refused    403 forbidden: `Origin: http://page.example`",
            ),
            ("localhost:9800", "refused    400 bad_request: the target is neither a path nor an `http://` URL"),
        ];
        for (line, refused) in table {
            let text = explain(line);
            assert!(text.contains(refused) && text.ends_with("(exit 1)"), "{line}: {text}");
        }
    }
}
