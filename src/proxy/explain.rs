//! What would become of a request: the way of one that is carried, up to where a credential would be asked for.
//!
//! Promises the same answer as the proxy gives, by asking the same functions in the same order. Reads no secret, sends
//! nothing, and takes no place anywhere.

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version, header, request};

use super::admit::{AccessCheck, Admission, Named};
#[cfg(feature = "files")]
use super::destination::{self, FileAdmission};
use super::fields::{self, FieldNames, Instance, RequestContext, Rules, WrittenRules};
use super::tunnel::{self, TunnelEnd, TunnelKind};
use super::{Error, find, target};
use crate::config::{self, At, Config, HttpVersion, ListenAddress, PickConfig, Url};
use crate::credential::{Owned, query};
use crate::name::ServiceName;
use crate::raw_query;
use crate::route::RouteTable;
use crate::route::allow::Allow;
use crate::route::explain::Considered;
use crate::route::target::base_path;
use crate::snapshot::{Access, pick_written};
use crate::{transport, upstream};

/// What decides.
#[derive(Clone, Copy)]
pub(crate) struct World<'w> {
    pub(crate) config: &'w Config,
    pub(crate) routes: &'w RouteTable,
    pub(crate) access: &'w Access,
}

/// What would become of one request, and why.
pub(crate) struct Explained<'w> {
    pub(crate) outcome: Outcome,
    /// The one that it is for, as far as that was found out.
    pub(crate) service: Option<(&'w ServiceName, &'w config::ServiceConfig)>,
    /// The routes that came nearest, the winner first; none, where it is refused before any is looked for.
    pub(crate) considered: Vec<Considered<'w>>,
}

/// What becomes of a request.
pub(crate) enum Outcome {
    /// It goes to this URL.
    Sent { url: String },
    /// It is an `OPTIONS` that asks about the proxy, or about the files that it asks for.
    Answered,
    /// It opens a tunnel; `plain`: to a service, which is spoken to in plain HTTP there.
    Tunnel { to: String, plain: bool },
    /// It gets an answer of the proxy's own.
    Refused(Error),
}

impl<'w> World<'w> {
    /// Says what would become of a request that comes by TCP; where `access.token` is set, of somebody who shows it.
    pub(crate) fn explain(&self, head: &request::Parts) -> Explained<'w> {
        let mut explained = Explained { outcome: Outcome::Answered, service: None, considered: Vec::new() };
        explained.outcome = match self.follow(&with_host(head), &mut explained) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Refused(error),
        };
        explained
    }

    /// The service's name, by its place in order of name.
    pub(crate) fn service(&self, place: usize) -> Option<(&'w ServiceName, &'w config::ServiceConfig)> {
        self.config.services.iter().nth(place).map(|(name, service)| (name, &service.value))
    }

    /// As `carry` does; the two must ask the same in the same order.
    fn follow(&self, head: &request::Parts, explained: &mut Explained<'w>) -> Result<Outcome, Error> {
        let instance = Instance::new(NOBODY);
        if head.method == Method::CONNECT {
            return self.tunnel(head);
        }
        let own = self.own_port(head);
        let door = AccessCheck { access: self.access, routes: self.routes, instance: &instance, own };
        let (named, present) = match door.admit(head, door.presumed())? {
            Admission::Carry(named, present) => (named, present),
            Admission::AnswerOptions => return Ok(Outcome::Answered),
        };
        // On a port of its own a service is found without a look at any route.
        explained.considered = if own.is_some() { Vec::new() } else { self.consider(&named, head) };
        let found = find(self.routes, head, &named, own)?;
        // Invariant: routes are compiled from the services of this config, in this order.
        let Some((name, service)) = self.service(found.service) else { return Ok(Outcome::Answered) };
        explained.service = Some((name, service));
        let (url, allow) = (&service.url.value, service.allow.as_ref().map(Allow::read));
        let sent = target(head, &found, base_path(url), allow.as_ref())?;
        #[cfg(feature = "files")]
        if url.scheme.is_of_files() {
            match destination::admit(&mut head.clone(), &found, base_path(url), allow.as_ref(), &sent)? {
                FileAdmission::Carry => {}
                FileAdmission::AnswerOptions => return Ok(Outcome::Answered),
            }
        }

        let identities = service.identities.as_ref();
        identities.map_or(Ok(()), |identities| pick_written(identities, &head.headers))?;
        let upward = RequestContext {
            method: &head.method,
            version: head.version,
            chunked: false,
            instance: &instance,
            present,
            routed_by: &FieldNames::default(),
        };
        fields::request(&mut head.headers.clone(), upward, &rules(service, allow.as_ref()))?;
        if head.version == Version::HTTP_11
            && head.method == Method::GET
            && fields::asks_for_websocket(&head.headers)
            && service.http_version == HttpVersion::Http2
        {
            return Err(upstream::Error::from(transport::Error::UpgradeForbidden).into());
        }
        let ours = Owned::written(service.auth.iter().map(|auth| &auth.value)).query;
        let url = url_of(url, &query::masked(&ours, service.on_client_authorization, &sent));
        Ok(Outcome::Sent { url })
    }

    /// At a port of all: where a tunnel is asked for, the target does not say at which.
    fn tunnel(&self, head: &request::Parts) -> Result<Outcome, Error> {
        let TunnelEnd { authority, host, port } = TunnelEnd::of(head)?;
        let kind = tunnel::kind(self.config, self.routes, None, &host, port)?;
        Ok(Outcome::Tunnel { to: authority.to_string(), plain: kind == TunnelKind::Service })
    }

    /// The service on whose own port a request to this URL arrives.
    fn own_port(&self, head: &request::Parts) -> Option<usize> {
        let port = head.uri.port_u16()?;
        let is_it = |address: &At<ListenAddress>| address.value.port() == Some(port);
        self.config.services.values().position(|service| service.value.listen.iter().any(is_it))
    }

    fn consider(&self, named: &Named<'_>, head: &request::Parts) -> Vec<Considered<'w>> {
        self.routes.consider(&named.question(head))
    }
}

/// A target, or a URL with one, as it is sent: with the bytes that RFC 3986 forbids.
pub(crate) fn as_sent(text: &str) -> String {
    String::from_utf8_lossy(&raw_query::as_read(text)).into_owned()
}

/// What an app would write as its target; a query may have bytes that RFC 3986 forbids, as it may when it is sent.
pub(crate) fn asked(text: &str) -> Option<Uri> {
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let (before, query) = text.split_once('?')?;
    let mut spelt = format!("{before}?").into_bytes();
    raw_query::spell(query.as_bytes(), &mut spelt);
    Uri::try_from(spelt).ok()
}

/// A path counts as sent to `localhost`, a URL as an HTTP client of a proxy would send it.
fn with_host(head: &request::Parts) -> request::Parts {
    let mut head = head.clone();
    let host = head.uri.authority().map_or("localhost", |authority| authority.as_str());
    if head.version != Version::HTTP_10 && !head.headers.contains_key(header::HOST) {
        // An authority that no field can say is refused as the target's.
        let host = HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        head.headers.insert(header::HOST, host);
    }
    head
}

fn rules(service: &config::ServiceConfig, allow: Option<&Allow>) -> Rules {
    let methods = service.auth.iter().map(|auth| &auth.value);
    Rules::of_written(&WrittenRules {
        owned: &Owned::written(methods),
        identity_field: service.identities.as_ref().and_then(|identities| match &identities.pick {
            PickConfig::Header(name) => Some(&name.value),
            PickConfig::RoundRobin | PickConfig::Connection => None,
        }),
        allow,
        request: &service.headers,
        answer: &service.response_headers,
        on_client_authorization: service.on_client_authorization,
        forwarded: service.forwarded,
        via: service.via,
        cookies: service.cookies,
    })
}

/// The whole URL that is asked for this at a service.
fn url_of(url: &Url, sent: &PathAndQuery) -> String {
    let origin = Url { path: String::new(), query: None, ..url.clone() };
    as_sent(&format!("{origin}{sent}"))
}

/// Of no process: nothing has been here before.
const NOBODY: &str = "";
