//! `CONNECT`: what becomes of an app's connection when it asks for a tunnel (RFC 9110 §9.3.6).
//!
//! ```text
//!                    listed in `connect.allow` ──► 200, and bytes pass as they are ([`ByteTunnel`])
//!  CONNECT host:port a service's authority     ──► 200, and plain HTTP is spoken inside ([`ServiceTunnel`])
//!                    anything else             ──► 405
//! ```
//!
//! Promises that nothing is ever added to bytes that pass as they are, and that what is asked inside a tunnel to a service is
//! admitted, routed and counted as the same request in absolute-form would be. Leaves the app's socket to `server`, which hands
//! it over once the 200 has left.

use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::{self, PathAndQuery, Scheme, Uri};
use http::{Method, Response, Version, request};

use super::admit::{Caller, TokenBefore};
use super::byte_tunnel::{ByteTunnel, ExchangeSpan};
use super::exchange::ExchangeRecord;
use super::{Error, Peer, ResponseBody};
use crate::clock::Moment;
use crate::config::{self, Config, HttpVersion, Timeouts, TunnelGrant, Url, UrlAuthority};
use crate::legible::excerpt;
use crate::name::ServiceName;
use crate::route::RouteTable;
use crate::route::authority::RequestAuthority;
use crate::route::target::TargetError;
use crate::telemetry::limit::LineLimit;
use crate::transport::{Connector, Spelling};

/// What becomes of a connection, or of a stream of HTTP/2, once the answer that opens it has left: a 200 to `CONNECT`, or what
/// says that a WebSocket is open.
pub(crate) enum OpenedTunnel {
    Bytes(Box<ByteTunnel>),
    Service(ServiceTunnel),
}

/// Plain HTTP inside a tunnel to a service's authority.
#[derive(Clone, Debug)]
pub(crate) struct ServiceTunnel {
    authority: uri::Authority,
    /// A client that knows of a proxy shows the token of `access` with its `CONNECT`, and not inside.
    token: TokenBefore,
}

/// Opens what is asked for, or says why not.
///
/// # Errors
/// When there is no tunnel to that place, or none can be made now.
pub(super) async fn open(caller: Caller, exchange: &ExchangeRecord) -> Result<Response<ResponseBody>, Error> {
    let (view, arrival) = (&exchange.view, &exchange.arrival);
    let TunnelEnd { authority, host, port } = TunnelEnd::of(&exchange.head)?;
    if arrival.inside.is_some() {
        return Err(Error::TunnelInTunnel);
    }
    let snapshot = &view.snapshot;
    let own = match &arrival.own {
        Some(own) => snapshot.config.services.get_key_value(own).map(|(name, service)| (name, &service.value)),
        None => None,
    };
    let opened = match kind(&snapshot.config, &snapshot.routes, own, &host, port)? {
        TunnelKind::Bytes => OpenedTunnel::Bytes(Box::new(dial(&authority, host, port, exchange).await?)),
        // HTTP/1.1 inside a stream of HTTP/2: whoever speaks that can ask for the service as it is.
        TunnelKind::Service if exchange.head.version == Version::HTTP_2 => return Err(Error::Connect),
        TunnelKind::Service => OpenedTunnel::Service(ServiceTunnel { authority, token: caller.inside_tunnel() }),
    };
    Ok(Response::new(ResponseBody::opening(opened)))
}

/// What passes through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelKind {
    Bytes,
    /// Plain HTTP.
    Service,
}

/// What a tunnel to this place is; `own`: the service on whose own port it is asked for.
///
/// # Errors
/// When there is none.
pub(super) fn kind(
    config: &Config,
    routes: &RouteTable,
    own: Option<(&ServiceName, &config::ServiceConfig)>,
    host: &str,
    port: u16,
) -> Result<TunnelKind, Error> {
    if let Some((name, service)) = own {
        // All that comes to a port of a service's own goes to that service.
        let authority = &service.url.value.authority;
        let are_defaults = [authority.port, port].iter().all(|port| matches!(port, 80 | 443));
        let is_its = authority.host == host && (authority.port == port || are_defaults);
        return is_its.then_some(TunnelKind::Service).ok_or_else(|| Error::ConnectAtOwnPort { service: name.clone() });
    }
    let listed = config.connect.allow.iter().filter_map(|entry| entry.value.grants(host, port)).max();
    match (listed, routes.is_service_authority(host, Some(port))) {
        // A service's name that is listed as one among many is the service's: its credential is not left out by chance.
        (Some(TunnelGrant::Exact), _) | (Some(TunnelGrant::Below), false) => Ok(TunnelKind::Bytes),
        (_, true) => Ok(TunnelKind::Service),
        (None, false) => Err(Error::Connect),
    }
}

/// Where a tunnel is asked for to.
pub(super) struct TunnelEnd {
    pub(super) authority: uri::Authority,
    pub(super) host: String,
    pub(super) port: u16,
}

impl TunnelEnd {
    /// RFC 9110 §9.3.6: host and port, and no content.
    pub(super) fn of(head: &request::Parts) -> Result<Self, Error> {
        let Some(authority) = head.uri.authority().filter(|_| head.uri.scheme().is_none()) else {
            return Err(Error::Form);
        };
        let RequestAuthority { host, port } = RequestAuthority::parse(authority.as_str())?;
        let port = port.filter(|port| *port != 0).ok_or(Error::Target(TargetError::Port))?;
        let has_content = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
            || head.headers.contains_key(TRANSFER_ENCODING);
        if has_content {
            // What follows would be its content for one, and the tunnel's first bytes for another.
            return Err(Error::TunnelWithContent);
        }
        Ok(Self { authority: authority.clone(), host: host.into_owned(), port })
    }
}

async fn dial(
    authority: &uri::Authority,
    host: String,
    port: u16,
    exchange: &ExchangeRecord,
) -> Result<ByteTunnel, Error> {
    let (snapshot, began) = (&exchange.view.snapshot, Instant::now());
    let place = UrlAuthority { host, port, default_port: false };
    let url = |scheme| Url { scheme, authority: place.clone(), path: String::new(), query: None };
    // What tunnels carry is TLS nearly always, so the environment's proxy is asked for it as for `https://`; nothing of TLS
    // is ours here.
    let way = snapshot.proxies.way_to(&url(config::Scheme::Https));
    let (limit, spelling) = (Timeouts::default().connect, Spelling::LowerCase);
    let connector = Connector::new(&url(config::Scheme::Http), None, HttpVersion::Http1, limit, spelling).by(way);
    let upstream = connector.open().await.map_err(crate::upstream::Error::from)?;
    // A name may lead to it that nobody would take for it.
    if upstream.peer().is_some_and(|peer| snapshot.config.has_admin_at(peer)) {
        return Err(Error::ConnectToAdmin);
    }
    let (upstream, target, idle) = (Box::new(upstream), authority.to_string(), Timeouts::default().idle);
    Ok(ByteTunnel { upstream, target, began, log: snapshot.config.log.access, idle, span: ExchangeSpan::Answer })
}

impl ServiceTunnel {
    /// Gives a request its authority, as absolute-form has it. One that has one keeps it.
    pub(super) fn complete(&self, head: &mut request::Parts) {
        if head.uri.authority().is_some() || head.method == Method::CONNECT || head.uri.path() == "*" {
            return;
        }
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        // With all three there is nothing that could be missing; and no target would be refused like a broken one.
        head.uri = Uri::from_parts(parts).unwrap_or_default();
    }

    /// Whether the token of `access` was shown for the tunnel.
    pub(super) fn token(&self) -> TokenBefore {
        self.token
    }

    /// Tells of an app that speaks TLS inside. Its connection closes without a word: it would understand none of ours.
    pub(crate) fn tell_of_tls(&self, peer: Peer) {
        let Some(others) = TLS_LINES.pass(Moment::now()) else { return };
        tracing::warn!(
            %peer,
            others = (others > 0).then_some(others),
            "an app speaks TLS in a tunnel to the service at `{0}`, where plain HTTP is spoken: give it an `http://` URL and \
             leave TLS to Sidekey; or list `{0}` in `connect.allow`, for a tunnel that nothing is added to",
            excerpt(self.authority.as_str())
        );
    }
}

static TLS_LINES: LineLimit<1> = LineLimit::in_each(Duration::from_secs(60));

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(target: &str) -> String {
        let (mut head, ()) = http::Request::builder().uri(target).body(()).unwrap().into_parts();
        ServiceTunnel { authority: "api.example:80".parse().unwrap(), token: TokenBefore::NotShown }
            .complete(&mut head);
        head.uri.to_string()
    }

    #[test]
    fn what_is_asked_inside_is_asked_of_the_tunnels_end() {
        assert_eq!(completed("/orders?x=%2F"), "http://api.example:80/orders?x=%2F");
        assert_eq!(completed("/"), "http://api.example:80/");
        assert_eq!(completed("http://other.example/a"), "http://other.example/a");
        assert_eq!(completed("*"), "*");
    }
}
