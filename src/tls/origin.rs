//! Where the config says how an endpoint is spoken to: what goes wrong is told by the keys that can mend it.

/// Which keys an endpoint's TLS was configured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum TlsOrigin {
    /// `tls` and `certificate` of the service, for its `url`.
    #[default]
    Service,
    /// The same of a service that is a server of files.
    #[cfg_attr(not(feature = "files"), allow(dead_code, reason = "nobody speaks to one"))]
    FileServer,
    /// `tls` and `certificate` of the method, for its token endpoint.
    TokenEndpoint {
        /// `certificate: none` is written there.
        shows_none: bool,
    },
    /// `tls` of the service, for the endpoint that lends keys: it is never shown a certificate.
    Sts,
    /// None: an outbound proxy is held against the system's roots, and never shown a certificate.
    OutboundProxy,
}

impl TlsOrigin {
    /// A key of `tls`, with the path to it, as it is written in a text.
    pub(crate) fn tls(self, key: &str) -> String {
        match self {
            Self::Service | Self::FileServer | Self::Sts => format!("`tls.{key}`"),
            Self::TokenEndpoint { .. } => format!("`auth.tls.{key}`"),
            Self::OutboundProxy => "the system's roots (`SSL_CERT_FILE`)".to_owned(),
        }
    }

    /// What to do where a certificate is wanted and none is linked.
    pub(super) fn link_one(self) -> &'static str {
        match self {
            Self::Service | Self::FileServer => "link one with `certificate`",
            Self::TokenEndpoint { shows_none: true } => {
                "`auth.certificate: none` keeps it from being shown: name one with `auth.certificate`"
            }
            Self::TokenEndpoint { shows_none: false } => {
                "link one with `certificate`, or for the token endpoint alone with `auth.certificate`"
            }
            Self::Sts | Self::OutboundProxy => "it is never shown one",
        }
    }

    /// Which versions of HTTP are offered, where there is a choice.
    pub(super) fn http_version(self) -> Option<&'static str> {
        matches!(self, Self::Service).then_some("`http_version`")
    }

    /// Where another name that TLS asks for is written.
    pub(super) fn another_name(self) -> String {
        match self {
            Self::Service => "`tls.server_name` (and `host_header`, where a service goes by `Host` too)".to_owned(),
            Self::FileServer => "`tls.server_name`".to_owned(),
            Self::TokenEndpoint { .. } => "`auth.tls.server_name`".to_owned(),
            // It has no name of its own there.
            Self::Sts => "`sts_url`".to_owned(),
            Self::OutboundProxy => "`outbound_proxy`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_with_its_path() {
        assert_eq!(TlsOrigin::Service.tls("ca"), "`tls.ca`");
        assert_eq!(TlsOrigin::TokenEndpoint { shows_none: false }.tls("ca"), "`auth.tls.ca`");
        assert_eq!(TlsOrigin::Sts.tls("ca"), "`tls.ca`");
        assert_eq!(TlsOrigin::OutboundProxy.tls("ca"), "the system's roots (`SSL_CERT_FILE`)");
    }
}
