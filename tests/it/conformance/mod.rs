//! The rules that public suites hold a server to, with the sections in which they stand, asked of the port for apps.

mod hpack;
mod http1;
mod http2;
mod smuggling;

use crate::lab::Lab;
use crate::lab::mirror::Mirror;
use crate::lab::sidekey::Sidekey;

/// Sidekey before a service that sends back what it gets, by the name of `echo`.
struct Echo {
    _lab: Lab,
    service: Mirror,
    sidekey: Sidekey,
}

impl Echo {
    async fn start() -> Self {
        let (lab, service) = (Lab::start().await, Mirror::http2().await);
        let config = format!("services: {{ echo: {{ url: '{}', http_version: 2 }} }}", service.url());
        let sidekey = lab.sidekey(&config).await;
        Self { _lab: lab, service, sidekey }
    }
}
