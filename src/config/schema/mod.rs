//! The config as it was written, parsed and with its references resolved: one type per section of the file.
//!
//! Every value that a later check may complain about knows its place (`At`). Defaults are filled in here.

mod access;
mod certificate;
mod identities;
mod process;
mod route;
mod service;
mod tls;
mod traffic;

use std::collections::BTreeMap;

pub use access::{Access, Admin};
pub use certificate::{Certificate, WrittenMaterial};
pub use identities::{Identities, IdentitySet, Pick};
pub use process::{AccessLog, Format, Level, Limits, Log, Shutdown};
pub use route::Route;
pub use service::{Allow, HttpVersion, OnClientAuthorization, Ready, RequestHeaders, ResponseHeaders, Service};
pub use tls::{Tls, TlsVersion};
pub use traffic::{Pool, Retry, Timeouts};

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
        pub admin: Option<Admin> as AdminOrOff = Some(Admin::default()),
        /// Who may use the proxy.
        pub access: Access = Access::default(),
        /// What is logged, and how.
        pub log: Log = Log::default(),
        /// Limits of client connections.
        pub limits: Limits = Limits::default(),
        /// What happens between the signal to stop and the end.
        pub shutdown: Shutdown = Shutdown::default(),
        /// Threads that carry traffic; by default as many as the process has cores.
        pub workers: Option<usize> as InRange<1, 1024> = None,
        /// Client certificates by name, linked from services.
        pub certificates: BTreeMap<CertificateName, At<Certificate>> = BTreeMap::new(),
        /// Services by their permanent name.
        pub services: BTreeMap<ServiceName, At<Service>>,
        /// Routes beside the default ones; their order does not matter.
        pub routes: Vec<At<Route>> as List<At<Route>> = Vec::new(),
    }
}

read_section!(Config);
