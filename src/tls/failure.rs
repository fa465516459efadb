//! How a TLS connection fails, in words that say whose turn it is to act.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use rustls_pki_types::UnixTime;

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
    /// Sorts what a handshake, a read or a write ended with.
    pub(crate) fn of(error: io::Error) -> Self {
        Self::within(&error).unwrap_or(Self::Io(error))
    }

    /// Looks for a TLS error among an error's sources; HTTP's errors wrap those of the connection.
    pub(crate) fn within(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<Error>() {
                return Some(Self::sorted(tls));
            }
            // What an `io::Error` wraps is not its source: its source is the source of that.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }

    fn sorted(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::Certificate(certificate(error)),
            Error::NoCertificatesPresented => Self::Certificate("the service showed no certificate".to_owned()),
            Error::AlertReceived(alert) => Self::Alert(alert_text(*alert)),
            Error::InvalidMessage(message) => Self::Protocol(no_tls(message)),
            Error::PeerIncompatible(reason) => Self::Protocol(format!("no common ground for TLS: {reason:?}")),
            error => Self::Protocol(error.to_string()),
        }
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the service's certificate comes from a CA that is not trusted here; name that CA in `tls.ca`".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the service's certificate is for {}, not for {}; if that is meant, say so with `tls.server_name`",
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

fn alert_text(alert: AlertDescription) -> String {
    let name = alert_name(alert);
    match advice(alert) {
        Some(advice) => format!("the service ended it with the TLS alert {name}: {advice}"),
        None => format!("the service ended it with the TLS alert {name}"),
    }
}

fn advice(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired | A::NoCertificate => "it wants a client certificate; link one with `certificate`",
        A::HandshakeFailure => "no common cipher suite, or a client certificate is missing or not to its liking",
        A::UnknownCA => {
            "it does not know the CA of our client certificate; send the whole chain, or have the CA added there"
        }
        A::CertificateExpired => "it takes our client certificate for expired",
        A::CertificateRevoked => "it takes our client certificate for revoked",
        A::BadCertificate | A::CertificateUnknown | A::UnsupportedCertificate => {
            "it does not accept our client certificate"
        }
        A::AccessDenied => "our client certificate is known there, but has no access",
        A::ProtocolVersion => "it speaks none of the TLS versions that `tls.min_version` allows",
        A::UnrecognisedName => "it serves no such name; see `tls.server_name`",
        A::NoApplicationProtocol => "it speaks none of the HTTP versions offered; see `http_version`",
        _ => return None,
    })
}

/// The alert's name as the RFCs spell it.
fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => return "unknown_ca".to_owned(),
        AlertDescription::UnrecognisedName => return "unrecognized_name".to_owned(),
        AlertDescription::UnknownPSKIdentity => return "unknown_psk_identity".to_owned(),
        AlertDescription::EncryptedClientHelloRequired => return "ech_required".to_owned(),
        AlertDescription::UserCanceled => return "user_canceled".to_owned(),
        _ => {}
    }
    let Some(words) = alert.as_str() else { return format!("number {}", u8::from(alert)) };
    let mut name = String::with_capacity(words.len() + 4);
    for letter in words.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_alert(alert: AlertDescription, name: &str) {
        assert_eq!(alert_name(alert), name);
    }

    #[test]
    fn alerts_are_named_as_the_rfcs_spell_them() {
        check_alert(AlertDescription::CertificateRequired, "certificate_required");
        check_alert(AlertDescription::HandshakeFailure, "handshake_failure");
        check_alert(AlertDescription::UnknownCA, "unknown_ca");
        check_alert(AlertDescription::UnrecognisedName, "unrecognized_name");
        check_alert(AlertDescription::BadRecordMac, "bad_record_mac");
        check_alert(AlertDescription::Unknown(200), "number 200");
    }

    #[test]
    fn an_alert_is_found_beneath_what_wraps_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] io::Error);
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = Wrapped(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert)));

        let found = TlsFailure::within(&wrapped);

        assert!(matches!(found, Some(TlsFailure::Alert(text)) if text.contains("certificate_required")));
        assert!(TlsFailure::within(&io::Error::other("no TLS at all")).is_none());
    }

    #[test]
    fn a_certificate_of_many_names_is_not_quoted_whole() {
        let names: Vec<_> = (0..7).map(|number| format!("DnsName(\"host{number}\")")).collect();

        assert_eq!(shortened(&names), "host0, host1, host2, host3, host4, 2 more");
        assert_eq!(shortened(&["IpAddress(127.0.0.1)".to_owned()]), "127.0.0.1");
        assert_eq!(shortened(&[]), "no name");
    }
}
