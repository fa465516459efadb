//! What an alert of the service means (RFC 8446 §6), given what was seen of the handshake.
//!
//! Programs differ in the alert that they send for one and the same cause, so what was seen comes before any guess: no
//! text speaks of a certificate that was never shown.

use rustls::AlertDescription;

use super::fitness::CertificateDefect;
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
pub(super) fn silence(seen: ClientCertificate) -> Option<String> {
    Some(match seen {
        ClientCertificate::NotAskedFor => return None,
        ClientCertificate::NoneLinked => NONE_LINKED.to_owned(),
        ClientCertificate::NoneFits => NONE_FITS.to_owned(),
        ClientCertificate::Shown { issuer_is_listed, defect } => {
            let known = known_of(issuer_is_listed, defect)
                .map(|known| format!("our client certificate was shown before, {known}"));
            known.unwrap_or_else(|| {
                "our client certificate was shown before: it may not be known there, have expired, or have no access".to_owned()
            })
        }
    })
}

fn advice(alert: AlertDescription, seen: ClientCertificate) -> Option<String> {
    use AlertDescription as A;
    if let Some(about_us) = about_our_certificate(alert, seen) {
        return Some(about_us);
    }
    let advice = match alert {
        A::HandshakeFailure => "no cipher suite, key exchange or signature scheme is common to both sides",
        A::ProtocolVersion => "it speaks none of the TLS versions that `tls.min_version` allows",
        A::UnrecognisedName => {
            "it serves no such name; see `tls.server_name` (and `host_header`, where it goes by `Host` too)"
        }
        A::NoApplicationProtocol => "it speaks none of the HTTP versions offered; see `http_version`",
        A::InternalError => "something failed on its side; its log knows more",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AlertTopic {
    /// A client certificate, or its absence.
    Certificate,
    /// Programs send it for a certificate, for its absence, and for much else.
    Perhaps,
    Else,
}

fn topic(alert: AlertDescription) -> AlertTopic {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired
        | A::NoCertificate
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => AlertTopic::Certificate,
        A::HandshakeFailure
        | A::DecodeError
        | A::DecryptError
        | A::IllegalParameter
        | A::InternalError
        | A::UnexpectedMessage => AlertTopic::Perhaps,
        _ => AlertTopic::Else,
    }
}

/// What the alert says of our client certificate, if that can be what it is about.
fn about_our_certificate(alert: AlertDescription, seen: ClientCertificate) -> Option<String> {
    let text = match (seen, topic(alert)) {
        (_, AlertTopic::Else) | (ClientCertificate::NotAskedFor, AlertTopic::Perhaps) => return None,
        (ClientCertificate::NotAskedFor, AlertTopic::Certificate) => NOT_ASKED_FOR,
        (ClientCertificate::NoneLinked, AlertTopic::Perhaps) if alert != AlertDescription::HandshakeFailure => {
            PERHAPS_LINKED
        }
        (ClientCertificate::NoneLinked, _) => NONE_LINKED,
        (ClientCertificate::NoneFits, _) => NONE_FITS,
        (ClientCertificate::Shown { issuer_is_listed, defect }, _) => return shown(alert, issuer_is_listed, defect),
    };
    Some(text.to_owned())
}

fn shown(alert: AlertDescription, issuer_is_listed: bool, defect: Option<CertificateDefect>) -> Option<String> {
    use AlertDescription as A;
    // What is plainly said comes before what we know of the certificate, and that before what programs may mean.
    let said = match alert {
        A::UnknownCA if issuer_is_listed => {
            "it does not know the CA of our client certificate; send the whole chain, or have the CA added there"
        }
        A::CertificateExpired if defect != Some(CertificateDefect::Expired) => {
            "it takes our client certificate for expired, which it is not by the clock here: a certificate of its chain may be, \
             or a clock is wrong"
        }
        A::CertificateRevoked => "it takes our client certificate for revoked",
        A::CertificateRequired | A::NoCertificate => "it wants a client certificate, and takes the one shown for none",
        _ => {
            return known_of(issuer_is_listed, relevant(alert, defect))
                .map_or_else(|| vague(alert), |known| Some(format!("our client certificate was shown, {known}")));
        }
    };
    Some(said.to_owned())
}

/// A defect that the alert can be about.
fn relevant(alert: AlertDescription, defect: Option<CertificateDefect>) -> Option<CertificateDefect> {
    use AlertDescription as A;
    let defect = defect?;
    let is_of_time = matches!(defect, CertificateDefect::Expired | CertificateDefect::NotYetValid);
    let is_relevant = match alert {
        // OpenSSL and its kin look for the CA first, then at the use, then at the times, and name what they find.
        A::UnknownCA | A::DecodeError | A::IllegalParameter | A::DecryptError => false,
        A::UnsupportedCertificate => !is_of_time,
        A::CertificateExpired => is_of_time,
        _ => true,
    };
    is_relevant.then_some(defect)
}

/// What is known to be wrong with the certificate that was shown, as it goes on after a comma.
fn known_of(issuer_is_listed: bool, defect: Option<CertificateDefect>) -> Option<String> {
    const UNLISTED: &str = "but its issuer is none of the CAs that the service names: link a certificate of one of them, or have \
         the CA added there";
    match (issuer_is_listed, defect) {
        (true, None) => None,
        (true, Some(defect)) => Some(format!("{}; link another one", defect.clause())),
        (false, None) => Some(UNLISTED.to_owned()),
        (false, Some(defect)) => Some(format!("{}; {UNLISTED}", defect.clause())),
    }
}

/// What programs may mean by an alert where nothing is known to be wrong.
fn vague(alert: AlertDescription) -> Option<String> {
    use AlertDescription as A;
    let text = match alert {
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
        A::InternalError => {
            "our client certificate was shown, and its check may have failed there: a chain longer than it allows, say; \
             its log knows more"
        }
        A::DecodeError | A::IllegalParameter | A::DecryptError => {
            "our client certificate was shown, and its kind of key may be one that the service can't handle; try RSA or \
             P-256"
        }
        _ => return None,
    };
    Some(text.to_owned())
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
const PERHAPS_LINKED: &str =
    "it asked for a client certificate and got none, so perhaps it wants one; link one with `certificate`";
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

    /// Shown, and nothing is known to be wrong with it.
    const SHOWN: ClientCertificate = ClientCertificate::Shown { issuer_is_listed: true, defect: None };

    fn all() -> impl Iterator<Item = A> {
        (0..=255).map(A::from)
    }

    #[test]
    fn no_advice_speaks_of_a_certificate_that_was_not_shown() {
        for alert in all() {
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
            assert!(!text(alert, SHOWN).contains("link"));
        }
        // GnuTLS with TLS 1.2.
        assert!(text(A::DecodeError, ClientCertificate::NoneLinked).ends_with(PERHAPS_LINKED));
        assert!(text(A::DecodeError, ClientCertificate::NoneFits).ends_with(NONE_FITS));
        // What is about neither is not turned into it.
        for alert in [A::ProtocolVersion, A::UnrecognisedName, A::NoApplicationProtocol, A::InsufficientSecurity] {
            for seen in [ClientCertificate::NoneLinked, ClientCertificate::NoneFits, SHOWN] {
                assert_eq!(text(alert, seen), text(alert, ClientCertificate::NotAskedFor));
            }
        }
    }

    #[test]
    fn an_issuer_that_the_service_does_not_name_is_told() {
        let seen = ClientCertificate::Shown { issuer_is_listed: false, defect: None };

        for alert in [A::UnknownCA, A::BadCertificate, A::CertificateUnknown, A::AccessDenied] {
            let text = text(alert, seen);

            assert!(text.contains("its issuer is none of the CAs that the service names"), "{text}");
        }
    }

    #[test]
    fn a_defect_that_we_see_ourselves_is_named_where_the_alert_can_be_about_it() {
        use CertificateDefect as D;
        let told = |alert, defect| {
            text(alert, ClientCertificate::Shown { issuer_is_listed: true, defect: Some(defect) })
                .contains(defect.clause())
        };

        for defect in [D::Expired, D::NotYetValid, D::NotForClients, D::NotForSignatures] {
            for alert in
                [A::BadCertificate, A::CertificateUnknown, A::AccessDenied, A::HandshakeFailure, A::InternalError]
            {
                assert!(told(alert, defect), "{alert:?} {defect:?}");
            }
            let is_of_time = matches!(defect, D::Expired | D::NotYetValid);
            assert_eq!(told(A::UnsupportedCertificate, defect), !is_of_time);
            assert_eq!(told(A::CertificateExpired, defect), defect == D::Expired);
            for alert in [A::UnknownCA, A::CertificateRevoked, A::IllegalParameter, A::ProtocolVersion] {
                assert!(!told(alert, defect), "{alert:?} {defect:?}");
            }
            let silent = silence(ClientCertificate::Shown { issuer_is_listed: true, defect: Some(defect) }).unwrap();
            assert!(silent.contains(defect.clause()), "{silent}");
        }
        assert!(text(A::CertificateExpired, SHOWN).contains("which it is not by the clock here"));
    }

    #[test]
    fn no_text_names_a_library() {
        for alert in all() {
            for seen in
                [ClientCertificate::NotAskedFor, ClientCertificate::NoneLinked, ClientCertificate::NoneFits, SHOWN]
            {
                let text = text(alert, seen).to_lowercase();
                assert!(!["rustls", "openssl", "http:", "https:"].iter().any(|name| text.contains(name)), "{text}");
            }
        }
    }
}
