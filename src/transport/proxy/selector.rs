//! Which URL is reached through a proxy, and why another is not.

use std::fmt;
use std::sync::Arc;

use super::OutboundProxy;
use crate::config::{Inputs, NoProxy, OutboundProxyConfig, Report, Scheme, Span, Url};
use crate::digest::Digest;

/// Says of each URL of a service (its own, its token endpoints', what discovery finds) how it is reached. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxySelector(Arc<ProxyChoice>);

#[derive(Debug, Default)]
enum ProxyChoice {
    /// Nobody has set one.
    #[default]
    Unset,
    /// `outbound_proxy: none`.
    Off,
    /// The service's own.
    Always(Arc<OutboundProxy>),
    /// The environment's: for `https://` alone, and not for what is exempt.
    Environment { proxy: Arc<OutboundProxy>, exempt: NoProxy },
}

/// How a URL is reached.
#[derive(Clone, Debug)]
pub(crate) enum WayOut {
    Through(Arc<OutboundProxy>),
    Direct(WhyDirect),
}

/// Why there is no proxy on the way, as far as somebody might look for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyDirect {
    /// It is on this machine, where none is ever used.
    Loopback,
    Unset,
    Off,
    Exempt,
    /// The environment's is for `https://`.
    Plain,
    /// The same, of files.
    OfFiles,
}

impl ProxySelector {
    /// `place` is where the service's URL stands. `None`: what is wrong has been reported, or no secrets are read.
    pub(crate) fn compile(
        written: &OutboundProxyConfig,
        place: Span,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let choice = match (written, inputs.environment_proxy()) {
            (OutboundProxyConfig::None, _) => ProxyChoice::Off,
            (OutboundProxyConfig::FromEnvironment, None) => ProxyChoice::Unset,
            (OutboundProxyConfig::Through(proxy), _) => {
                let (address, login) = (&proxy.value.address, proxy.value.login.as_ref());
                let proxy = OutboundProxy::compile(address, login, proxy.span, inputs, report)?;
                ProxyChoice::Always(Arc::new(proxy))
            }
            (OutboundProxyConfig::FromEnvironment, Some(named)) => {
                let proxy = OutboundProxy::compile(&named.address, named.login.as_ref(), place, inputs, report)?;
                ProxyChoice::Environment { proxy: Arc::new(proxy), exempt: named.exempt.clone() }
            }
        };
        Some(Self(Arc::new(choice)))
    }

    /// How this URL is reached.
    pub(crate) fn way_to(&self, url: &Url) -> WayOut {
        let (host, port) = (&url.authority.host, url.authority.port);
        match &*self.0 {
            _ if url.is_on_this_machine() => WayOut::Direct(WhyDirect::Loopback),
            ProxyChoice::Unset => WayOut::Direct(WhyDirect::Unset),
            ProxyChoice::Off => WayOut::Direct(WhyDirect::Off),
            ProxyChoice::Always(proxy) => WayOut::Through(Arc::clone(proxy)),
            ProxyChoice::Environment { exempt, .. } if exempt.covers(host, port) => WayOut::Direct(WhyDirect::Exempt),
            ProxyChoice::Environment { proxy, .. } => match url.scheme {
                Scheme::Https => WayOut::Through(Arc::clone(proxy)),
                Scheme::Http | Scheme::OpenPgp => WayOut::Direct(WhyDirect::Plain),
                Scheme::Sftp | Scheme::Ftp | Scheme::Ftps => WayOut::Direct(WhyDirect::OfFiles),
            },
        }
    }

    /// Equal means that every URL is reached in the same way.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        match &*self.0 {
            ProxyChoice::Unset | ProxyChoice::Off => digest.field(b"direct"),
            ProxyChoice::Always(proxy) => {
                digest.field(b"always");
                proxy.digest(digest);
            }
            ProxyChoice::Environment { proxy, exempt } => {
                digest.field(b"environment");
                digest.field(exempt.canonical().as_bytes());
                proxy.digest(digest);
            }
        }
    }
}

impl WayOut {
    /// The proxy on the way.
    pub(crate) fn proxy(&self) -> Option<&Arc<OutboundProxy>> {
        match self {
            Self::Through(proxy) => Some(proxy),
            Self::Direct(_) => None,
        }
    }

    /// Equal means that the same is met on the way.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        match self {
            Self::Direct(_) => digest.field(b"direct"),
            Self::Through(proxy) => proxy.digest(digest),
        }
    }
}

/// What is added to the failure of a connection: the proxy on the way or, where a missing one may be the cause, why there is
/// none.
impl fmt::Display for WayOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Through(proxy) => write!(formatter, ", through the outbound proxy {proxy}"),
            Self::Direct(why) => formatter.write_str(match why {
                WhyDirect::Loopback => "",
                WhyDirect::Unset => "; no outbound proxy is set",
                WhyDirect::Off => "; `outbound_proxy` is `none`",
                WhyDirect::Exempt => "; `NO_PROXY` has it reached without the outbound proxy",
                WhyDirect::Plain => "; `HTTPS_PROXY` is not used for an `http://` URL",
                WhyDirect::OfFiles => "; `HTTPS_PROXY` is not used for SFTP and FTP",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UrlAuthority;

    fn url(scheme: Scheme, host: &str) -> Url {
        let authority = UrlAuthority { host: host.to_owned(), port: 443, default_port: true };
        Url { scheme, authority, path: String::new(), query: None }
    }

    fn proxy() -> Arc<OutboundProxy> {
        OutboundProxy::plain("proxy.corp:3128", None)
    }

    fn environment(exempt: &str) -> ProxySelector {
        ProxySelector(Arc::new(ProxyChoice::Environment { proxy: proxy(), exempt: NoProxy::parse(exempt) }))
    }

    #[track_caller]
    fn check(selector: &ProxySelector, scheme: Scheme, host: &str, expected: Option<WhyDirect>) {
        let way = selector.way_to(&url(scheme, host));

        let why = match way {
            WayOut::Through(_) => None,
            WayOut::Direct(why) => Some(why),
        };
        assert_eq!(why, expected, "{host}");
    }

    #[test]
    fn a_services_own_proxy_is_for_all_but_this_machine() {
        let selector = ProxySelector(Arc::new(ProxyChoice::Always(proxy())));

        check(&selector, Scheme::Https, "api.example", None);
        check(&selector, Scheme::Http, "api.example", None);
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            check(&selector, Scheme::Https, host, Some(WhyDirect::Loopback));
        }
    }

    #[test]
    fn the_environments_proxy_is_for_https_but_what_is_exempt() {
        let selector = environment("corp.example,10.0.0.0/8");

        check(&selector, Scheme::Https, "api.example", None);
        check(&selector, Scheme::Http, "api.example", Some(WhyDirect::Plain));
        check(&selector, Scheme::Https, "api.corp.example", Some(WhyDirect::Exempt));
        check(&selector, Scheme::Https, "10.1.1.1", Some(WhyDirect::Exempt));
        check(&selector, Scheme::Https, "localhost", Some(WhyDirect::Loopback));
    }

    #[test]
    fn none_is_none_whoever_says_so() {
        check(&ProxySelector::default(), Scheme::Https, "api.example", Some(WhyDirect::Unset));
        let off = ProxySelector(Arc::new(ProxyChoice::Off));
        check(&off, Scheme::Https, "api.example", Some(WhyDirect::Off));
    }

    #[test]
    fn what_is_reached_alike_has_one_digest_and_what_is_not_has_another() {
        let of = |selector: ProxySelector| {
            let mut digest = Digest::new();
            selector.digest(&mut digest);
            digest.finish()
        };
        let always = |proxy| of(ProxySelector(Arc::new(ProxyChoice::Always(proxy))));
        let direct = of(ProxySelector::default());
        let others = [
            always(proxy()),
            always(OutboundProxy::plain("proxy.corp:3129", None)),
            always(OutboundProxy::plain("proxy.corp:3128", Some(("me", "one")))),
            always(OutboundProxy::plain("proxy.corp:3128", Some(("me", "two")))),
            of(environment("")),
            of(environment("a.example")),
            direct,
        ];

        assert_eq!(direct, of(ProxySelector(Arc::new(ProxyChoice::Off))));
        assert_eq!(always(proxy()), others[0]);
        for (at, one) in others.iter().enumerate() {
            assert!(!others[..at].contains(one), "{at}");
        }
    }
}
