//! Why a service's certificate does not pass, told by what can be seen of its chain, with what to do about it.
//!
//! What checks it gives the kind of the problem and seldom the certificate that has it, so that is looked for here.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::chain::{ReadChain, Remedy, UNUSUAL};
use super::origin::TlsOrigin;
use super::{flaw, signature};
use crate::clock::rfc3339;
use crate::legible::{excerpt, legible};

/// Why the certificate of a service, or of another endpoint, does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCertificateError {
    what: String,
    remedy: Remedy,
    origin: TlsOrigin,
}

/// What came of the endpoint, and whom it is held against.
pub(super) struct Chain<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) others: &'a [CertificateDer<'a>],
    /// `None`: nobody is checked.
    pub(super) roots: Option<&'a RootCertStore>,
}

impl ServerCertificateError {
    /// Of a certificate whose chain or name does not pass.
    pub(super) fn of(error: &CertificateError, chain: &Chain<'_>, origin: TlsOrigin) -> Self {
        let leaf = parse_x509_certificate(chain.leaf).ok().map(|(_, leaf)| leaf);
        let others: Vec<_> =
            chain.others.iter().filter_map(|other| Some(parse_x509_certificate(other).ok()?.1)).collect();
        let (what, remedy) = match leaf {
            Some(leaf) => problem(error, &ReadChain { leaf, others, roots: chain.roots, origin }),
            None => (DAMAGED.to_owned(), Remedy::Owner),
        };
        // Its names are a stranger's words, whatever the problem makes of them.
        Self { what: what.chars().flat_map(legible).collect(), remedy, origin }
    }

    /// Of one whose key has to sign the handshake (RFC 8446 §4.4.3).
    pub(super) fn of_handshake(error: &CertificateError, leaf: &CertificateDer<'_>, origin: TlsOrigin) -> Self {
        let leaf = parse_x509_certificate(leaf).ok().map(|(_, leaf)| leaf);
        let what = match leaf {
            Some(leaf) => signature::of_handshake(error, &leaf),
            None => DAMAGED.to_owned(),
        };
        Self { what, remedy: Remedy::Owner, origin }
    }

    /// Of one of which nothing is known but that it did not pass.
    pub(super) fn unseen(origin: TlsOrigin) -> Self {
        Self { what: UNUSUAL.to_owned(), remedy: Remedy::Owner, origin }
    }

    /// There was none.
    pub(super) fn absent(origin: TlsOrigin) -> Self {
        Self { what: "the service showed no certificate".to_owned(), remedy: Remedy::Owner, origin }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        let origin = self.origin;
        match self.remedy {
            Remedy::Ca => format!("check {}, the authorities that are trusted for it", origin.tls("ca")),
            Remedy::Name => format!("check the host of its URL, and {}", origin.another_name()),
            Remedy::Time => format!(
                "this machine's clock says {}; if that is right, its owner must renew it",
                rfc3339(SystemTime::now())
            ),
            Remedy::Owner => "its owner has to show another certificate".to_owned(),
            Remedy::Pin => format!(
                "ask its owner whether it has a new key; if it has, write that pin in {} too",
                origin.tls("pin_sha256")
            ),
        }
    }
}

impl fmt::Display for ServerCertificateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

fn problem(error: &CertificateError, chain: &ReadChain<'_>) -> (String, Remedy) {
    match error {
        CertificateError::UnknownIssuer => (chain.missing(), Remedy::Ca),
        CertificateError::NotValidForNameContext { expected, presented } => {
            about_names(expected, presented, chain.origin)
        }
        CertificateError::NotValidForName => ("the service's certificate is for other names".to_owned(), Remedy::Name),
        CertificateError::ExpiredContext { not_after, .. } => {
            let whose = chain.whose(|certificate| seconds(certificate.validity().not_after) == not_after.as_secs());
            (format!("{whose} expired at {}; {OR_CLOCK}", time(*not_after)), Remedy::Time)
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let whose = chain.whose(|certificate| seconds(certificate.validity().not_before) == not_before.as_secs());
            (format!("{whose} is not valid before {}; {OR_CLOCK}", time(*not_before)), Remedy::Time)
        }
        CertificateError::Expired => {
            let whose = chain.whose(|certificate| certificate.validity().not_after < certificate.validity().not_before);
            (format!("{whose} ends before it begins to be valid"), Remedy::Owner)
        }
        CertificateError::BadSignature => signature::unmatched(chain),
        #[allow(deprecated)]
        CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            (signature::unsupported(chain), Remedy::Owner)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (flaw::wrong_use(chain), Remedy::Owner)
        }
        CertificateError::BadEncoding => (DAMAGED.to_owned(), Remedy::Owner),
        CertificateError::UnhandledCriticalExtension => (flaw::unknown_extension(chain), Remedy::Owner),
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => flaw::of(error, chain),
            None => (pinned(other, chain.origin), Remedy::Pin),
        },
        // Of lists of revoked certificates and answers of OCSP, neither of which is used, and of versions to come.
        _ => (UNUSUAL.to_owned(), Remedy::Owner),
    }
}

fn about_names(expected: &ServerName<'_>, presented: &[String], origin: TlsOrigin) -> (String, Remedy) {
    let expected = expected.to_str();
    if presented.is_empty() {
        return (
            format!(
                "the service's certificate has no subjectAltName, and a common name counts for nothing (RFC 9525 §2); it has to \
                 be issued anew, with {expected} as a subjectAltName"
            ),
            Remedy::Owner,
        );
    }
    let is_address = expected.parse::<IpAddr>().is_ok();
    if is_address && presented.iter().any(|name| name.starts_with("DnsName(") && bare(name) == expected) {
        return (
            format!(
                "the service's certificate has {expected} as a DNS name and not as an IP address, which counts for nothing \
                 (RFC 9525 §6.5); it has to be issued anew, with {expected} as an IP address among its subjectAltNames"
            ),
            Remedy::Owner,
        );
    }
    let what = format!(
        "the service's certificate is for {}, not for {expected}; if that is meant, say so with {}",
        shortened(presented),
        origin.another_name()
    );
    (what, Remedy::Name)
}

/// The service's key is none of those that were pinned.
#[derive(Debug, thiserror::Error)]
#[error("the service's key has the pin {0}, which is none of those that are written")]
pub(super) struct PinMismatch(pub(super) String);

fn pinned(other: &rustls::OtherError, origin: TlsOrigin) -> String {
    match other.0.downcast_ref::<PinMismatch>() {
        Some(PinMismatch(pin)) => format!(
            "the service's certificate is refused: its key has the pin {pin}, which is none of {}",
            origin.tls("pin_sha256")
        ),
        None => UNUSUAL.to_owned(),
    }
}

/// The names of a certificate, of which there may be hundreds.
fn shortened(names: &[String]) -> String {
    let mut shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| bare(name)).collect();
    match names.len() {
        0 => return "no name".to_owned(),
        all if all > MOST_NAMES => shown.push(format!("{} more", all - MOST_NAMES)),
        _ => {}
    }
    shown.join(", ")
}

/// The kind is named too, and addresses are spelled in a way of their own: `DnsName("localhost")`, `IpAddress(0::1)`.
fn bare(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    match inside.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => excerpt(inside.trim_matches('"')).into_owned(),
    }
}

fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or_default()
}

fn time(time: UnixTime) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

const OR_CLOCK: &str = "or the clock here is wrong";
const DAMAGED: &str =
    "the service's certificate, or one of its chain, is damaged: it is no X.509 certificate (RFC 5280 §4.1)";
const MOST_NAMES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_many_names_is_not_quoted_whole() {
        let names: Vec<_> = (0..7).map(|number| format!("DnsName(\"host{number}\")")).collect();

        assert_eq!(shortened(&names), "host0, host1, host2, host3, host4, 2 more");
        assert_eq!(shortened(&["IpAddress(127.0.0.1)".to_owned()]), "127.0.0.1");
        assert_eq!(shortened(&[]), "no name");
    }
}
