//! How a TLS connection fails, in words that say whose turn it is to act.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::alert;
use super::handshake::Observation;
use super::origin::TlsOrigin;
use super::server_certificate::ServerCertificateError;

/// Why a TLS connection failed: what our side refused, what the other side refused, what is no TLS, and the rest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    /// The service's certificate did not pass.
    #[error("{0}")]
    Certificate(ServerCertificateError),
    /// The other side ended it with an alert, named in the text (RFC 8446 §6).
    #[error("{0}")]
    Alert(String),
    /// It did so as it speaks nothing of what was offered by ALPN (RFC 7301 §3.2).
    #[error("{0}")]
    NoProtocol(String),
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
        Self::within(&error, seen).unwrap_or_else(|| Self::of_socket(error))
    }

    /// As [`TlsFailure::of`], for a connection that has been of no use yet: one that ends without an alert then often ends
    /// for a reason that an alert would have named. One that has worked ends for others.
    pub(crate) fn of_first_use(error: io::Error, seen: &Observation) -> Self {
        match (Self::of(error, seen), seen.why_silent()) {
            (Self::Io(error), Some(guess)) => Self::Io(io::Error::new(error.kind(), format!("{error}; {guess}"))),
            (failure, _) => failure,
        }
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
            Error::InvalidCertificate(_) => Self::Certificate(match &seen.untrusted {
                Some(why) => ServerCertificateError::clone(why),
                None => ServerCertificateError::unseen(seen.origin),
            }),
            Error::NoCertificatesPresented => Self::Certificate(ServerCertificateError::absent(seen.origin)),
            Error::AlertReceived(alert) => {
                let text = alert::text(*alert, seen.client_certificate, seen.origin);
                match alert {
                    AlertDescription::NoApplicationProtocol => Self::NoProtocol(text),
                    _ => Self::Alert(text),
                }
            }
            Error::InvalidMessage(message) => Self::Protocol(no_tls(message, seen.origin)),
            Error::PeerIncompatible(reason) => Self::Protocol(incompatible(reason, seen.origin)),
            Error::PeerMisbehaved(_) => Self::Protocol(AGAINST_THE_RULES.to_owned()),
            error => Self::Protocol(error.to_string()),
        }
    }

    fn of_socket(error: io::Error) -> Self {
        match error.kind() {
            // The library's own text for it is a link to its manual.
            io::ErrorKind::UnexpectedEof => Self::Io(io::Error::new(error.kind(), SILENT_END)),
            _ => Self::Io(error),
        }
    }
}

/// The service asks for another handshake on a connection of TLS 1.2 (RFC 5246 §7.4.1.1).
#[derive(Debug, thiserror::Error)]
#[error(
    "the service asked for a renegotiation, which is refused: it has to ask for the client certificate in the handshake, \
     for the whole host and not for some paths"
)]
pub(crate) struct Renegotiation;

fn incompatible(reason: &PeerIncompatible, origin: TlsOrigin) -> String {
    match reason {
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            format!("it speaks none of the TLS versions that {} allows", origin.tls("min_version"))
        }
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::Tls12NotOffered => {
            "it speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        _ => "no cipher suite, key exchange or signature scheme of TLS is common to both sides".to_owned(),
    }
}

fn no_tls(message: &InvalidMessage, origin: TlsOrigin) -> String {
    match message {
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            let (protocol, scheme) = match origin {
                TlsOrigin::FileServer => ("FTP", "ftp"),
                _ => ("HTTP", "http"),
            };
            format!("what came back is no TLS; if this port speaks plain {protocol}, its url begins with {scheme}://")
        }
        _ => AGAINST_THE_RULES.to_owned(),
    }
}

const AGAINST_THE_RULES: &str = "what came back is no valid TLS (RFC 8446)";

/// What is said of a connection that ends without the goodbye of TLS.
pub(crate) const SILENT_END: &str = "it closed the connection without a word";

#[cfg(test)]
mod tests {
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
}
