//! Proxies for tests.

use std::sync::Arc;

use super::{OutboundProxy, authorization};
use crate::config::{ProxyAddress, ProxyLogin, Scheme, UrlAuthority};
use crate::secret::Secret;
use crate::tls::ClientTls;

impl OutboundProxy {
    pub(crate) fn plain(authority: &str, login: Option<(&str, &str)>) -> Arc<Self> {
        Self::at(Scheme::Http, authority, None, login)
    }

    pub(crate) fn at(
        scheme: Scheme,
        authority: &str,
        tls: Option<ClientTls>,
        login: Option<(&str, &str)>,
    ) -> Arc<Self> {
        let (host, port) = authority.rsplit_once(':').unwrap();
        let host = host.trim_matches(['[', ']']).to_owned();
        let authority = UrlAuthority { host, port: port.parse().unwrap(), default_port: false };
        let login = login.map(|(username, password)| ProxyLogin {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        });
        let authorization = login.as_ref().map(authorization);
        Arc::new(Self { address: ProxyAddress { scheme, authority }, tls, authorization })
    }
}
