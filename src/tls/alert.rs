//! What an alert of the service means (RFC 8446 §6), given what was seen of the handshake.
//!
//! Programs differ in the alert that they send for one and the same cause, so what was seen comes before any guess: no
//! text speaks of a certificate that was never shown.

use rustls::AlertDescription;

use super::handshake::ClientCertificate;

/// The whole sentence.
pub(super) fn text(alert: AlertDescription, seen: ClientCertificate) -> String {
    let name = name(alert);
    match advice(alert, seen) {
        Some(advice) => format!("the service ended it with the TLS alert {name}: {advice}"),
        None => format!("the service ended it with the TLS alert {name}"),
    }
}

/// Why it may have closed the connection without an alert.
pub(super) fn silence(seen: ClientCertificate) -> Option<&'static str> {
    Some(match seen {
        ClientCertificate::NotAskedFor => return None,
        ClientCertificate::NoneLinked => NONE_LINKED,
        ClientCertificate::NoneFits => NONE_FITS,
        ClientCertificate::Shown { .. } => {
            "our client certificate was shown before: it may not be known there, have expired, or have no access"
        }
    })
}

fn advice(alert: AlertDescription, seen: ClientCertificate) -> Option<&'static str> {
    use AlertDescription as A;
    if let Some(about_us) = about_our_certificate(alert, seen) {
        return Some(about_us);
    }
    Some(match alert {
        A::HandshakeFailure => "no cipher suite, key exchange or signature scheme is common to both sides",
        A::ProtocolVersion => "it speaks none of the TLS versions that `tls.min_version` allows",
        A::UnrecognisedName => {
            "it serves no such name; see `tls.server_name` (and `host_header`, where it goes by `Host` too)"
        }
        A::NoApplicationProtocol => "it speaks none of the HTTP versions offered; see `http_version`",
        A::InternalError => "something failed on its side; its log knows more",
        _ => return None,
    })
}

/// What the alert says of our client certificate, if that can be what it is about.
fn about_our_certificate(alert: AlertDescription, seen: ClientCertificate) -> Option<&'static str> {
    use AlertDescription as A;
    let is_about_certificates = matches!(
        alert,
        A::CertificateRequired
            | A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::HandshakeFailure
    );
    match seen {
        ClientCertificate::NotAskedFor if is_about_certificates && alert != A::HandshakeFailure => Some(NOT_ASKED_FOR),
        ClientCertificate::NotAskedFor => None,
        ClientCertificate::NoneLinked => is_about_certificates.then_some(NONE_LINKED),
        ClientCertificate::NoneFits => is_about_certificates.then_some(NONE_FITS),
        ClientCertificate::Shown { issuer_is_listed } => shown(alert, issuer_is_listed),
    }
}

fn shown(alert: AlertDescription, issuer_is_listed: bool) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::AccessDenied | A::HandshakeFailure
            if !issuer_is_listed =>
        {
            "our client certificate was shown, but its issuer is none of the CAs that the service names: link a \
             certificate of one of them, or have the CA added there"
        }
        A::UnknownCA => {
            "it does not know the CA of our client certificate; send the whole chain, or have the CA added there"
        }
        A::CertificateExpired => "it takes our client certificate for expired",
        A::CertificateRevoked => "it takes our client certificate for revoked",
        A::BadCertificate | A::CertificateUnknown => {
            "it does not accept our client certificate: unknown there, expired, or not for clients"
        }
        A::UnsupportedCertificate => {
            "it does not accept a client certificate of this kind; its key or its use may be what it minds"
        }
        A::AccessDenied => {
            "it refuses our client certificate: its CA is not known there, it has expired, or it has no access"
        }
        A::HandshakeFailure => {
            "our client certificate was shown and may not be to its liking, or no cipher suite is common"
        }
        A::CertificateRequired | A::NoCertificate => "it wants a client certificate, and takes the one shown for none",
        A::InternalError => {
            "our client certificate was shown, and its check may have failed there: a chain longer than it allows, say; \
             its log knows more"
        }
        A::DecodeError | A::IllegalParameter | A::DecryptError => {
            "our client certificate was shown, and its kind of key may be one that the service can't handle; try RSA or \
             P-256"
        }
        _ => return None,
    })
}

/// The alert's name as the RFCs spell it.
fn name(alert: AlertDescription) -> String {
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

const NONE_LINKED: &str = "it wants a client certificate; link one with `certificate`";
const NONE_FITS: &str = "it wants a client certificate, and the linked one was not shown: the service lists no signature \
     scheme of its key's kind; link one with an RSA or a P-256 key";
const NOT_ASKED_FOR: &str = "it asked for no client certificate, so that none was shown; it may ask for one under another \
     name (`tls.server_name`, with `host_header` beside it) only";

#[cfg(test)]
mod tests {
    use AlertDescription as A;

    use super::*;

    #[track_caller]
    fn check_name(alert: A, expected: &str) {
        assert_eq!(name(alert), expected);
    }

    #[test]
    fn alerts_are_named_as_the_rfcs_spell_them() {
        check_name(A::CertificateRequired, "certificate_required");
        check_name(A::HandshakeFailure, "handshake_failure");
        check_name(A::UnknownCA, "unknown_ca");
        check_name(A::UnrecognisedName, "unrecognized_name");
        check_name(A::BadRecordMac, "bad_record_mac");
        check_name(A::Unknown(200), "number 200");
    }

    #[test]
    fn no_advice_speaks_of_a_certificate_that_was_not_shown() {
        for number in 0..=255 {
            let alert = A::from(number);
            for seen in [ClientCertificate::NotAskedFor, ClientCertificate::NoneLinked, ClientCertificate::NoneFits] {
                let text = text(alert, seen);
                assert!(!text.contains("our client certificate"), "{text}");
                assert_eq!(text.contains("link one"), text.contains("it wants"), "{text}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_said_whatever_alert_a_program_sends_for_it() {
        // Node and OpenSSL 3; Go; Tomcat and NSS; OpenSSL with TLS 1.2; GnuTLS.
        for alert in
            [A::CertificateRequired, A::BadCertificate, A::CertificateUnknown, A::HandshakeFailure, A::AccessDenied]
        {
            assert!(text(alert, ClientCertificate::NoneLinked).ends_with(NONE_LINKED));
            assert!(text(alert, ClientCertificate::NoneFits).ends_with(NONE_FITS));
            assert!(!text(alert, ClientCertificate::Shown { issuer_is_listed: true }).contains("link"));
        }
    }

    #[test]
    fn an_issuer_that_the_service_does_not_name_is_told() {
        let text = text(A::UnknownCA, ClientCertificate::Shown { issuer_is_listed: false });

        assert!(text.contains("its issuer is none of the CAs that the service names"), "{text}");
    }
}
