//! Configs and requests as short texts, for the tests of this room.

mod reference;
mod tables;
mod way_back;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::config::{Scheme, Span, UrlAuthority};

/// Services and routes as a config would have them.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    services: Vec<(ServiceName, At<Url>, bool)>,
    routes: Vec<(At<RouteConfig>, usize)>,
}

/// One entry of `routes`; empty: not named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) methods: &'a [&'a str],
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) strip: bool,
}

pub(super) const ANY: Entry<'static> = Entry { path: "", host: "", methods: &[], headers: &[], strip: true };

impl Written {
    pub(super) fn service(mut self, name: &str, url: &str) -> Self {
        self.services.push((ServiceName::parse(name).expect(name), at(read_url(url)), true));
        self
    }

    fn url(&self, service: usize) -> &Url {
        &self.services[service].1.value
    }

    fn without_default_routes(mut self) -> Self {
        self.services.last_mut().expect("a service").2 = false;
        self
    }

    pub(super) fn route(mut self, entry: Entry<'_>, service: &str) -> Self {
        let place = self.services.iter().position(|(name, ..)| name.as_str() == service).expect(service);
        let text = |text: &str| (!text.is_empty()).then(|| at(text.to_owned()));
        let route = RouteConfig {
            path: text(entry.path),
            host: text(entry.host),
            methods: entry.methods.iter().map(|method| method.parse().expect("a method")).collect(),
            headers: entry.headers.iter().map(|(name, value)| header(name, value)).collect(),
            service: at(self.services[place].0.clone()),
            strip_path: entry.strip,
        };
        self.routes.push((at(route), place));
        self
    }

    pub(super) fn build(&self) -> (RouteTable, Vec<String>) {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(name, url, default_routes)| Destination { name, url, default_routes: *default_routes })
            .collect();
        let routes: Vec<_> = self.routes.iter().map(|(route, service)| (route, *service)).collect();
        let (table, findings) = RouteTable::build(&services, &routes);
        (table, findings.into_iter().map(|finding| finding.fault.to_string()).collect())
    }

    fn table(&self) -> RouteTable {
        let (table, findings) = self.build();
        assert_eq!(findings, Vec::<String>::new());
        table
    }
}

fn at<T>(value: T) -> At<T> {
    At { value, span: Span::default() }
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a name"), value.parse().expect("a value"))
}

fn read_url(text: &str) -> Url {
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    let (scheme, default) = if scheme == "https" { (Scheme::Https, 443) } else { (Scheme::Http, 80) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority::RequestAuthority::parse(authority).expect("an authority");
    let port = authority.port.unwrap_or(default);
    let authority = UrlAuthority { host: authority.host.into(), port, default_port: port == default };
    Url { scheme, authority, path: path.to_owned(), query: None }
}

/// A request, with all that a question borrows.
#[derive(Clone, Debug)]
pub(super) struct Request {
    form: TargetForm,
    host: String,
    port: Option<u16>,
    local: bool,
    method: Method,
    path: String,
    fields: HeaderMap,
}

impl Request {
    /// Reads a line: the method, `//host/path` for origin-form or `http://host/path` for absolute-form, then fields.
    pub(super) fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let method = words.next().expect("a method").parse().expect("a method");
        let target = words.next().expect("a target");
        let (scheme, rest) = target.split_once("//").expect("a host");
        let form = if scheme.is_empty() { TargetForm::Origin } else { TargetForm::Absolute };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority::RequestAuthority::parse(authority).expect("an authority");
        let host = authority.host.into_owned();
        let local = host == "localhost" || host.ends_with(".localhost");
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let mut fields = HeaderMap::new();
        for word in words {
            let (name, value) = word.split_once(':').expect("a field");
            fields.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        Self { form, host, port: authority.port, local, method, path, fields }
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            form: self.form,
            host: &self.host,
            port: self.port,
            local: self.local,
            method: &self.method,
            path: &self.path,
            fields: &self.fields,
        }
    }
}
