//! What is promised, once more and in other words than the program's.

use std::collections::BTreeSet;

use super::generator::Sent;
use crate::lab::fault::Received;

/// What the model knows of the config.
pub struct World {
    pub ports: [u16; 3],
    /// `access.browsers`.
    pub people_may_look: bool,
    /// Of our `Via`: random, and the same in all requests.
    pub instance: Option<String>,
}

/// What must become of a request.
#[derive(Debug)]
pub enum Expected {
    /// Any of these, and nothing arrives.
    Refused(BTreeSet<u16>),
    /// Answered by Sidekey itself.
    Options,
    /// What arrives, and at which service: the request line, then the fields in lower case, in order of name.
    Arrives(usize, String, Vec<(String, String)>),
}

/// Which service a request is for, and what is sent for its path.
struct Route {
    service: usize,
    path: String,
    /// Whether what is left of the request's own path begins with `//`.
    doubles: bool,
}

/// `host` as it is compared, and its port.
struct Authority {
    host: String,
    port: Option<u16>,
}

const PAYMENTS: usize = 0;
const ORDERS: usize = 1;
const KEYS: usize = 2;
const NAMES: [&str; 3] = ["payments", "orders", "keys"];
const BASES: [&str; 3] = ["/v1", "", "/k"];

impl World {
    /// Compares what came of a request with what should have.
    pub fn compare(&mut self, sent: &Sent, status: u16, came: Option<&(usize, Received)>) -> Result<(), String> {
        match (self.expected(sent), came) {
            (Expected::Refused(any), None) if any.contains(&status) => Ok(()),
            (Expected::Options, None) if status == 204 => Ok(()),
            (Expected::Arrives(service, line, fields), Some((at, request))) if service == *at => {
                self.compare_heads(&line, fields, request)?;
                match sent.body.clone().unwrap_or_default() == request.body && request.whole && status == 200 {
                    true => Ok(()),
                    false => Err(format!("the body, or {status}")),
                }
            }
            (expected, _) => Err(format!("expected {expected:#?}")),
        }
    }

    fn compare_heads(
        &mut self,
        line: &str,
        mut expected: Vec<(String, String)>,
        request: &Received,
    ) -> Result<(), String> {
        let mut lines = request.head.split("\r\n");
        let arrived = lines.next().unwrap_or_default();
        if arrived != line {
            return Err(format!("{arrived:?} and not {line:?}"));
        }
        let parted = lines.map(|line| line.split_once(": ").unwrap_or((line, "")));
        let mut fields: Vec<_> = parted.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ours = fields.iter().rposition(|(name, _)| name == "via").map(|place| fields.remove(place).1);
        let ours = ours.filter(|via| via.starts_with("1.") && via.len() == "1.1 sidekey-00000000".len());
        let instance = ours.ok_or("no `Via` of ours")?[4..].to_owned();
        if *self.instance.get_or_insert(instance.clone()) != instance {
            return Err(format!("another instance: {instance}"));
        }
        // Lines of one name keep their order; the names have none (RFC 9110 §5.3).
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        if fields == expected { Ok(()) } else { Err(format!("fields {fields:#?}\nexpected {expected:#?}")) }
    }

    fn expected(&self, sent: &Sent) -> Expected {
        let mut refused = BTreeSet::new();
        if sent.method == "TRACE" {
            refused.insert(405);
        }
        let (absolute, target) = match parts(&sent.target) {
            Ok(parts) => parts,
            Err(status) => return Expected::Refused(refused.into_iter().chain([status, 400]).collect()),
        };
        let (path, query) = split_query(target);
        let asks_about_us = sent.method == "OPTIONS" && (path == "*" || self.is_spent(sent));
        // What can't be parsed asks for nothing.
        let is_broken = target.bytes().any(|byte| byte.is_ascii_control());
        if is_broken || (!asks_about_us && is_dangerous(path)) {
            refused.insert(400);
        }
        let Some(authority) = self.authority(sent, absolute) else {
            refused.insert(400);
            return Expected::Refused(refused);
        };
        let trusted = is_of_this_machine(&authority.host);
        let local = trusted || authority.host == "sidekey.internal";
        let has_routes = authority.host == "shop.example" || authority.host.ends_with(".pay.example");
        if absolute.is_none() && !local && !has_routes {
            refused.insert(403);
        }
        if self.is_browser(sent, &authority, trusted, absolute.is_some()) {
            refused.insert(403);
        }
        let route = self.route(sent, path, &authority, absolute.is_some(), local);
        if refused.is_empty() && asks_about_us {
            return Expected::Options;
        }
        let Some(route) = route else {
            refused.insert(404);
            return Expected::Refused(refused);
        };
        if route.doubles {
            refused.insert(400);
        }
        if !is_allowed(route.service, &sent.method, &route.path) {
            refused.insert(403);
        }
        match refused.is_empty() {
            true => self.arrives(sent, &route, query),
            false => Expected::Refused(refused),
        }
    }

    /// `OPTIONS` that may go no further.
    fn is_spent(&self, sent: &Sent) -> bool {
        sent.values("max-forwards").first() == Some(&"0")
    }

    /// The host that counts. `None`: it is missing, repeated or malformed.
    fn authority(&self, sent: &Sent, absolute: Option<&str>) -> Option<Authority> {
        let field = match sent.values("host")[..] {
            [] if sent.version == "HTTP/1.0" => Some(None),
            [one] => read(one).map(Some),
            _ => None,
        }?;
        match (absolute, field) {
            (Some(target), _) => read(target),
            (None, Some(authority)) => Some(authority),
            (None, None) => Some(Authority { host: "localhost".to_owned(), port: None }),
        }
    }

    fn is_browser(&self, sent: &Sent, authority: &Authority, trusted: bool, absolute: bool) -> bool {
        let origins = sent.values("origin");
        if !origins.is_empty() {
            return origins.iter().any(|origin| *origin != "https://app.example");
        }
        if ["sec-purpose", "purpose", "x-moz", "service-worker"].iter().any(|name| !sent.values(name).is_empty()) {
            return true;
        }
        let sites = sent.values("sec-fetch-site");
        let is_called_so = sent.values("user-agent").iter().any(|agent| agent.starts_with("Mozilla/"));
        match sites[..] {
            [] => !trusted && is_called_so,
            [site] if self.people_may_look && self.is_alone(authority, absolute) => match site {
                "none" => sent.values("sec-fetch-user").first() != Some(&"?1"),
                site => site != "same-origin",
            },
            _ => true,
        }
    }

    /// Whether all that is asked under this name goes to one service.
    fn is_alone(&self, authority: &Authority, absolute: bool) -> bool {
        let named = ["payments.localhost", "orders.localhost", "keys.localhost", "shop.example"];
        named.contains(&authority.host.as_str()) || (absolute && self.at(authority).is_some())
    }

    /// The service whose own authority this is.
    fn at(&self, authority: &Authority) -> Option<usize> {
        let port = authority.port.filter(|_| authority.host == "127.0.0.1")?;
        self.ports.iter().position(|known| *known == port)
    }

    fn route(&self, sent: &Sent, path: &str, authority: &Authority, absolute: bool, local: bool) -> Option<Route> {
        let under = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let to = |service: usize, rest: &str| {
            let path = format!("{}{rest}", BASES[service]);
            let path = if path.is_empty() { "/".to_owned() } else { path };
            Some(Route { service, path, doubles: rest.starts_with("//") })
        };
        if let Some(service) = self.at(authority).filter(|_| absolute) {
            under(BASES[service])?;
            let path = if path.is_empty() { "/" } else { path }.to_owned();
            return Some(Route { service, path, doubles: false });
        }
        match authority.host.as_str() {
            "shop.example" => return to(ORDERS, path),
            host if host.ends_with(".pay.example") => return under("/p").and_then(|rest| to(PAYMENTS, rest)),
            "localhost" => {
                if let Some(rest) = under("/h") {
                    return to(KEYS, rest);
                }
            }
            _ => {}
        }
        if let Some(service) = NAMES.iter().position(|name| authority.host == format!("{name}.localhost")) {
            return to(service, path);
        }
        if !local {
            return None;
        }
        if under("/pay/raw").is_some() {
            return to(ORDERS, path);
        }
        if let Some(rest) = under("/pay") {
            return to(PAYMENTS, rest);
        }
        if let Some(rest) = under("/m") {
            return match (sent.method.as_str(), &sent.values("x-tenant")[..]) {
                ("POST", _) => to(KEYS, rest),
                (_, ["acme"]) => to(PAYMENTS, rest),
                _ => to(ORDERS, rest),
            };
        }
        let (service, rest) = NAMES.iter().enumerate().find_map(|(n, name)| Some((n, under(&format!("/{name}"))?)))?;
        to(service, rest)
    }

    fn arrives(&self, sent: &Sent, route: &Route, query: &str) -> Expected {
        let service = route.service;
        let nominated: Vec<_> =
            sent.values("connection").iter().flat_map(|value| value.split(", ")).map(str::to_lowercase).collect();
        let mut fields = Vec::new();
        for (name, value) in &sent.fields {
            let (name, value) = (name.to_lowercase(), value.clone());
            let spelt = name.replace('_', "-");
            let is_dropped = HOP_BY_HOP.contains(&name.as_str())
                || nominated.contains(&name)
                || spelt == "forwarded"
                || spelt.starts_with("x-forwarded-")
                || (service == PAYMENTS && spelt == "authorization")
                || (service == KEYS && ["x-api-key", "x-environment", "x-debug"].contains(&spelt.as_str()));
            if !is_dropped {
                fields.push((name, value));
            }
        }
        let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        add("host", &format!("127.0.0.1:{}", self.ports[service]));
        match service {
            PAYMENTS => add("authorization", "Bearer services-own"),
            KEYS => {
                add("x-api-key", "services-key");
                add("x-environment", "test");
            }
            _ => {}
        }
        if sent.values("te").contains(&"trailers") {
            add("te", "trailers");
            add("connection", "te");
        }
        let length = sent.body.as_ref().map_or(0, Vec::len);
        if length > 0 || ["POST", "PUT", "PATCH"].contains(&sent.method.as_str()) {
            add("content-length", &length.to_string());
        }
        if sent.method == "OPTIONS" {
            count_down(&mut fields);
        }
        Expected::Arrives(service, format!("{} {}{query} HTTP/1.1", sent.method, route.path), fields)
    }
}

/// RFC 9110 §7.6.2.
fn count_down(fields: &mut Vec<(String, String)>) {
    let Some(first) = fields.iter().position(|(name, _)| name == "max-forwards") else { return };
    let left: u64 = fields[first].1.parse().unwrap();
    fields.retain(|(name, _)| name != "max-forwards");
    fields.push(("max-forwards".to_owned(), (left - 1).to_string()));
}

const HOP_BY_HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "host", "content-length", "upgrade"];

/// The authority of an absolute-form, and the path with its query; else the status.
fn parts(target: &str) -> Result<(Option<&str>, &str), u16> {
    let target = target.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) else {
        return Ok((None, target));
    };
    if !["http", "https"].contains(&scheme.to_lowercase().as_str()) {
        return Err(404);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Ok((Some(authority), path))
}

fn split_query(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// Reads an authority; `None` if it is malformed.
fn read(text: &str) -> Option<Authority> {
    let text = text.to_lowercase();
    let (host, port) = match text.rfind(':').filter(|colon| !text[*colon..].contains(']')) {
        Some(colon) => (&text[..colon], Some(text[colon + 1..].parse().ok()?)),
        None => (text.as_str(), None),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => {
            let host = host.strip_suffix('.').unwrap_or(host);
            let is_name = |label: &str| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            host.split('.').all(is_name).then(|| host.to_owned())?
        }
    };
    Some(Authority { host, port })
}

/// A name that browsers take for this machine too.
fn is_of_this_machine(host: &str) -> bool {
    let loopback =
        host.starts_with("127.") && host.split('.').count() == 4 && host.parse::<std::net::Ipv4Addr>().is_ok();
    host == "localhost" || host.ends_with(".localhost") || loopback || host == "::1"
}

/// What could name something outside the route, to whoever reads it.
fn is_dangerous(path: &str) -> bool {
    if !path.starts_with('/') || path.starts_with("//") || path.contains('\\') || path.contains("%00") {
        return true;
    }
    if path.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return true;
    }
    let broken = path.match_indices('%').any(|(at, _)| {
        let pair = path.get(at + 1..at + 3);
        pair.is_none_or(|pair| !pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
    });
    let once = decode(path);
    broken || [path, &once, &decode(&once)].iter().any(|path| has_dot_segment(path))
}

fn has_dot_segment(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let name = segment.split([';', '?', '#']).next().unwrap_or_default();
        name == "." || name == ".."
    })
}

/// Byte by byte, as Latin-1: what is no ASCII is no dot either.
fn decode(path: &str) -> String {
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(byte) = rest.chars().next() {
        let code = rest.get(1..3).filter(|_| byte == '%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(code.map_or(byte, char::from));
        rest = &rest[if code.is_some() { 3 } else { byte.len_utf8() }..];
    }
    decoded
}

fn is_allowed(service: usize, method: &str, path: &str) -> bool {
    match service {
        ORDERS => ["GET", "HEAD", "POST", "OPTIONS"].contains(&method),
        KEYS => {
            let segments: Vec<_> = path.split('/').skip(1).collect();
            matches!(segments[..], ["k", "a", ..] | ["k", _, "b"] | ["k"] | ["k", ""])
        }
        _ => true,
    }
}
