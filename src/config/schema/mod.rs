//! The config as it was written, parsed and with its references resolved: one type per section of the file.
//!
//! Every value that a later check may complain about knows its place (`At`). Defaults are filled in here.

mod access;
mod certificate;
mod connect;
mod files;
mod identities;
mod outbound_proxy;
mod process;
mod route;
mod service;
mod tls;
mod traffic;

use std::collections::BTreeMap;

pub use access::{AccessConfig, AdminConfig};
pub use certificate::{CertificateConfig, WrittenMaterial};
pub use connect::ConnectConfig;
pub use files::{FilesConfig, LinkPolicy, UploadWay};
pub use identities::{IdentitiesConfig, IdentitySet, PickConfig};
pub use outbound_proxy::{OutboundProxyConfig, ProxyConfig};
pub use process::{AccessLog, Limits, LogConfig, LogFormat, LogLevel, Shutdown};
pub use route::RouteConfig;
pub use service::{
    AllowConfig, Cookies, Forwarded, HttpVersion, OnClientAuthorization, Ready, RequestHeaders, ResponseHeaders,
    ServiceConfig,
};
pub use tls::{Tls, TlsVersion};
pub use traffic::{IdleLimit, PoolConfig, Retry, ServiceLimits, Timeouts};

use super::read::List;
use super::section::{read_section, section};
use super::value::{At, InRange, ListenAddress};
use crate::name::{CertificateName, ServiceName};
use access::AdminOrOff;

section! {
    /// The whole config.
    #[derive(Clone, Debug)]
    pub struct Config {
        /// Where apps reach the proxy: one address or a list of `host:port` and `unix:/path`.
        pub listen: Vec<At<ListenAddress>> = vec![At::nowhere(ListenAddress::Localhost { port: 9800 })],
        /// The admin port, or `off`; `None` is `off`.
        pub admin: Option<AdminConfig> as AdminOrOff = Some(AdminConfig::default()),
        /// Who may use the proxy.
        pub access: AccessConfig = AccessConfig::default(),
        /// Tunnels for apps that open TLS themselves.
        pub connect: ConnectConfig = ConnectConfig::default(),
        /// What is logged, and how.
        pub log: LogConfig = LogConfig::default(),
        /// Limits of client connections.
        pub limits: Limits = Limits::default(),
        /// What happens between the signal to stop and the end.
        pub shutdown: Shutdown = Shutdown::default(),
        /// Threads that carry traffic; by default as many as the process has cores.
        pub workers: Option<usize> as InRange<1, 1024> = None,
        /// Client certificates by name, linked from services.
        pub certificates: BTreeMap<CertificateName, At<CertificateConfig>> = BTreeMap::new(),
        /// Services by their permanent name.
        pub services: BTreeMap<ServiceName, At<ServiceConfig>>,
        /// Routes beside the default ones; their order does not matter.
        pub routes: Vec<At<RouteConfig>> as List<At<RouteConfig>> = Vec::new(),
    }
}

read_section!(Config);

impl Config {
    /// Where traffic arrives: `listen`, and what services have of their own.
    pub(crate) fn listens(&self) -> impl Iterator<Item = &At<ListenAddress>> {
        self.listen.iter().chain(self.services.values().flat_map(|service| &service.value.listen))
    }
}
