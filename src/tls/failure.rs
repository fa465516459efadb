//! How a TLS connection fails, in words that say whose turn it is to act.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::{CertificateError, Error, InvalidMessage};
use rustls_pki_types::UnixTime;

use super::alert;
use super::handshake::{ClientCertificate, Observation};
use crate::clock::rfc3339;

/// Why a TLS connection failed: what our side refused, what the other side refused, what is no TLS, and the rest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    /// The service's certificate did not pass.
    #[error("{0}")]
    Certificate(String),
    /// The other side ended it with an alert, named in the text (RFC 8446 §6).
    #[error("{0}")]
    Alert(String),
    /// No TLS, or none that both sides speak.
    #[error("{0}")]
    Protocol(String),
    /// The connection under it failed.
    #[error(transparent)]
    Io(io::Error),
}

impl TlsFailure {
    /// Sorts what a handshake, a read or a write ended with, given what was seen of the handshake.
    pub(crate) fn of(error: io::Error, seen: &Observation) -> Self {
        Self::within(&error, seen).unwrap_or_else(|| Self::of_socket(error, seen.client_certificate))
    }

    /// Looks for a TLS error among an error's sources; HTTP's errors wrap those of the connection.
    pub(crate) fn within(error: &(dyn std::error::Error + 'static), seen: &Observation) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<Error>() {
                return Some(Self::sorted(tls, seen));
            }
            if let Some(renegotiation) = error.downcast_ref::<Renegotiation>() {
                return Some(Self::Protocol(renegotiation.to_string()));
            }
            // What an `io::Error` wraps is not its source: its source is the source of that.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }

    fn sorted(error: &Error, seen: &Observation) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::Certificate(certificate(error, seen)),
            Error::NoCertificatesPresented => Self::Certificate("the service showed no certificate".to_owned()),
            Error::AlertReceived(alert) => Self::Alert(alert::text(*alert, seen.client_certificate)),
            Error::InvalidMessage(message) => Self::Protocol(no_tls(message)),
            Error::PeerIncompatible(reason) => Self::Protocol(format!("no common ground for TLS: {reason:?}")),
            error => Self::Protocol(error.to_string()),
        }
    }

    /// A connection that ends without an alert often ends for a reason that one would have named.
    fn of_socket(error: io::Error, seen: ClientCertificate) -> Self {
        let what = match error.kind() {
            // The library's own text for it is a link to its manual.
            io::ErrorKind::UnexpectedEof => SILENT_END.to_owned(),
            _ => error.to_string(),
        };
        let text = match alert::silence(seen) {
            Some(why) => format!("{what}; {why}"),
            None => what,
        };
        Self::Io(io::Error::new(error.kind(), text))
    }
}

/// The service asks for another handshake on a connection of TLS 1.2 (RFC 5246 §7.4.1.1).
#[derive(Debug, thiserror::Error)]
#[error(
    "the service asked for a renegotiation, which is refused: it has to ask for the client certificate in the handshake, \
     for the whole host and not for some paths"
)]
pub(crate) struct Renegotiation;

fn certificate(error: &CertificateError, seen: &Observation) -> String {
    match error {
        CertificateError::UnknownIssuer => match &seen.missing {
            Some(missing) => missing.to_string(),
            None => "the service's certificate comes from a CA that is not trusted here; name that CA in `tls.ca`"
                .to_owned(),
        },
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => format!(
            "the service's certificate has no subjectAltName, and a common name counts for nothing (RFC 9525 §2); it has to \
             be issued anew, with {} as a subjectAltName",
            expected.to_str(),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the service's certificate is for {}, not for {}; if that is meant, say so with `tls.server_name` (and \
             `host_header`, where a service goes by `Host` too)",
            shortened(presented),
            expected.to_str(),
        ),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the service's certificate expired at {}; or the clock here is wrong", time(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the service's certificate is not valid before {}; or the clock here is wrong", time(*not_before))
        }
        CertificateError::Other(other) => format!("the service's certificate is refused: {}", other.0),
        error => format!("the service's certificate is refused: {error}"),
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

/// webpki names the kind too, and spells addresses its own way: `DnsName("localhost")`, `IpAddress(0::1)`.
fn bare(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    match inside.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => inside.trim_matches('"').to_owned(),
    }
}

fn time(time: UnixTime) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

fn no_tls(message: &InvalidMessage) -> String {
    match message {
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            "what came back is no TLS; if this port speaks plain HTTP, its url begins with http://".to_owned()
        }
        message => format!("what came back is no valid TLS: {message:?}"),
    }
}

const MOST_NAMES: usize = 5;

/// What is said of a connection that ends without the goodbye of TLS.
pub(crate) const SILENT_END: &str = "it closed the connection without a word";

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_alert_is_found_beneath_what_wraps_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] io::Error);
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = Wrapped(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert)));

        let found = TlsFailure::within(&wrapped, &Observation::default());

        assert!(matches!(found, Some(TlsFailure::Alert(text)) if text.contains("certificate_required")));
        assert!(TlsFailure::within(&io::Error::other("no TLS at all"), &Observation::default()).is_none());
    }

    #[test]
    fn a_certificate_of_many_names_is_not_quoted_whole() {
        let names: Vec<_> = (0..7).map(|number| format!("DnsName(\"host{number}\")")).collect();

        assert_eq!(shortened(&names), "host0, host1, host2, host3, host4, 2 more");
        assert_eq!(shortened(&["IpAddress(127.0.0.1)".to_owned()]), "127.0.0.1");
        assert_eq!(shortened(&[]), "no name");
    }
}
