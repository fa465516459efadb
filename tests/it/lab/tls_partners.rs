//! Servers of others that ask for a client certificate, and one service of Sidekey's for each of them, each version of TLS
//! and each certificate.

use super::certificates::{Authority, Validity};
use super::part::Part;
use super::sidekey::Sidekey;
use super::{Lab, bed, free_port};

/// The servers, each with a port for TLS 1.2 and one for TLS 1.3; they end when this is dropped.
pub struct TlsPartners {
    _part: Part,
    ports: Vec<(&'static str, [u16; 2])>,
}

/// What is shown to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Good,
    Nothing,
    OfUnknownAuthority,
    Expired,
    NotForClients,
    OfIntermediate,
    Ed25519,
    P521,
}

/// A way to go to one of them.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub server: &'static str,
    pub version: &'static str,
    pub shown: Shown,
}

impl Shown {
    pub const ALL: [Self; 8] = [
        Self::Good,
        Self::Nothing,
        Self::OfUnknownAuthority,
        Self::Expired,
        Self::NotForClients,
        Self::OfIntermediate,
        Self::Ed25519,
        Self::P521,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Way {
    /// The service that goes there.
    pub fn service(self) -> String {
        format!("{}-{}-{}", self.server, self.version.replace('.', ""), self.shown.name())
    }
}

impl TlsPartners {
    /// Starts them, as `tests/client/tls_partners.py` calls them.
    pub async fn start(lab: &Lab, servers: &[&'static str]) -> Self {
        let ports: Vec<_> = servers.iter().map(|server| (*server, [free_port(), free_port()])).collect();
        let told = ports.iter().map(|(server, [old, new])| format!("{server}:{old}:{new}"));
        let arguments: Vec<_> = [lab.folder().display().to_string()].into_iter().chain(told).collect();
        Self { _part: Part::start(bed::python(), "tests/client/tls_partners.py", &arguments).await, ports }
    }

    /// All that can be shown to all of them.
    pub fn ways(&self) -> Vec<Way> {
        let servers = self.ports.iter().map(|(server, _)| *server);
        let all = servers.flat_map(|server| {
            VERSIONS.into_iter().flat_map(move |version| Shown::ALL.map(|shown| Way { server, version, shown }))
        });
        all.collect()
    }

    /// Starts Sidekey with a service for each way.
    pub async fn sidekey(&self, lab: &Lab) -> Sidekey {
        lab.sidekey(&self.config(lab, "")).await
    }

    /// As [`TlsPartners::sidekey`], with keys for all services.
    pub async fn sidekey_with(&self, lab: &Lab, keys: &str) -> Sidekey {
        lab.sidekey(&self.config(lab, keys)).await
    }

    fn config(&self, lab: &Lab, keys: &str) -> String {
        let certificates = Shown::ALL.into_iter().filter(|shown| *shown != Shown::Nothing).map(|shown| {
            let name = shown.name();
            lab.write_pair(&name, &pair(&lab.ca, shown));
            format!("  {name}: {{ chain: tls/{name}.pem, key: tls/{name}.key }}\n")
        });
        let certificates: String = certificates.collect();
        let services = self.ways().into_iter().map(|way| {
            let linked = match way.shown {
                Shown::Nothing => String::new(),
                shown => format!(", certificate: {}", shown.name()),
            };
            let url = format!("https://localhost:{}", self.port(way.server, way.version));
            format!("  {}: {{ url: '{url}', tls: {{ ca: tls/ca.pem }}{linked}{keys} }}\n", way.service())
        });
        format!("certificates:\n{certificates}services:\n{}", services.collect::<String>())
    }

    fn port(&self, server: &str, version: &str) -> u16 {
        let ports = self.ports.iter().find(|(name, _)| *name == server).unwrap().1;
        ports[VERSIONS.iter().position(|known| *known == version).unwrap()]
    }
}

fn pair(ca: &Authority, shown: Shown) -> super::certificates::Pair {
    let name = shown.name();
    match shown {
        Shown::Good | Shown::Nothing => ca.client(&name, Validity::LONG),
        Shown::OfUnknownAuthority => Authority::new("another authority").client(&name, Validity::LONG),
        Shown::Expired => ca.client(&name, Validity::EXPIRED),
        Shown::NotForClients => ca.server(&["partner.example"]),
        Shown::OfIntermediate => ca.client_of_an_intermediate(&name),
        Shown::Ed25519 => ca.client_with(&name, &rcgen::PKCS_ED25519),
        Shown::P521 => ca.client_with(&name, &rcgen::PKCS_ECDSA_P521_SHA512),
    }
}

pub const VERSIONS: [&str; 2] = ["1.2", "1.3"];
