//! What an alert of the service means (RFC 8446 §6), given what was seen of the handshake.
//!
//! Programs differ in the alert that they send for one and the same cause, so what was seen comes before any guess: no
//! text speaks of a certificate that was never shown.

use rustls::AlertDescription;

use super::fitness::CertificateDefect;
use super::handshake::{ClientCertificate, IssuerListing};
use super::origin::TlsOrigin;

/// The whole sentence.
pub(super) fn text(alert: AlertDescription, seen: ClientCertificate, origin: TlsOrigin) -> String {
    let name = name(alert);
    match advice(alert, seen, origin) {
        Some(advice) => format!("the service ended it with the TLS alert {name}: {advice}"),
        None => format!("the service ended it with the TLS alert {name}"),
    }
}

/// Why it may have closed the connection without an alert: a guess, as it may have closed it for any other reason.
pub(super) fn silence(seen: ClientCertificate, origin: TlsOrigin) -> Option<String> {
    match seen {
        ClientCertificate::NoneLinked => Some(told_of_none(PERHAPS_WANTED, origin)),
        ClientCertificate::NoneFits => Some(PERHAPS_FITS.to_owned()),
        seen => refusal(seen, origin),
    }
}

/// Why it refused us, where it says that the certificate or its absence is the reason, and no more.
pub(super) fn refusal(seen: ClientCertificate, origin: TlsOrigin) -> Option<String> {
    match seen {
        ClientCertificate::NotAskedFor | ClientCertificate::OfSession => None,
        ClientCertificate::NoneLinked => Some(told_of_none(WANTED, origin)),
        ClientCertificate::NoneFits => Some(NONE_FITS.to_owned()),
        ClientCertificate::Shown { issuer, defect } => {
            let known = known_of(issuer, defect).unwrap_or_else(|| format!(": {MAY_NOT_BE_TRUSTED}"));
            Some(format!("our client certificate was shown before{known}"))
        }
    }
}

fn advice(alert: AlertDescription, seen: ClientCertificate, origin: TlsOrigin) -> Option<String> {
    use AlertDescription as A;
    if let Some(about_us) = about_our_certificate(alert, seen, origin) {
        return Some(about_us);
    }
    let advice = match alert {
        A::HandshakeFailure => "no cipher suite, key exchange or signature scheme is common to both sides",
        A::ProtocolVersion => {
            return Some(format!("it speaks none of the TLS versions that {} allows", origin.tls("min_version")));
        }
        A::UnrecognisedName => return Some(format!("it serves no such name; see {}", origin.another_name())),
        A::NoApplicationProtocol => {
            let see = origin.http_version().map(|key| format!("; see {key}")).unwrap_or_default();
            return Some(format!("it speaks none of the HTTP versions offered{see}"));
        }
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
fn about_our_certificate(alert: AlertDescription, seen: ClientCertificate, origin: TlsOrigin) -> Option<String> {
    let text = match (seen, topic(alert)) {
        (_, AlertTopic::Else)
        | (ClientCertificate::OfSession, _)
        | (ClientCertificate::NotAskedFor, AlertTopic::Perhaps) => return None,
        (ClientCertificate::NotAskedFor, AlertTopic::Certificate) => {
            return Some(format!("{NOT_ASKED_FOR} ({})", origin.another_name()));
        }
        (ClientCertificate::NoneLinked, AlertTopic::Perhaps) if alert != AlertDescription::HandshakeFailure => {
            return Some(told_of_none(PERHAPS_WANTED, origin));
        }
        (ClientCertificate::NoneLinked, _) => return Some(told_of_none(WANTED, origin)),
        (ClientCertificate::NoneFits, AlertTopic::Perhaps) if alert != AlertDescription::HandshakeFailure => {
            PERHAPS_FITS
        }
        (ClientCertificate::NoneFits, _) => NONE_FITS,
        (ClientCertificate::Shown { issuer, defect }, _) => return shown(alert, issuer, defect),
    };
    Some(text.to_owned())
}

fn shown(alert: AlertDescription, issuer: IssuerListing, defect: Option<CertificateDefect>) -> Option<String> {
    use AlertDescription as A;
    // What is plainly said comes before what we know of the certificate, and that before what programs may mean.
    let said = match alert {
        A::UnknownCA if issuer == IssuerListing::Listed => {
            "it does not know the CA of our client certificate; send the whole chain, or have the CA added there"
        }
        A::CertificateExpired if defect != Some(CertificateDefect::Expired) => {
            "it takes our client certificate for expired, which it is not by the clock here: a certificate of its chain may be, \
             or a clock is wrong"
        }
        A::CertificateRevoked => "it takes our client certificate for revoked",
        A::CertificateRequired | A::NoCertificate => "it wants a client certificate, and takes the one shown for none",
        _ => {
            return known_of(issuer, relevant(alert, defect))
                .map_or_else(|| vague(alert), |known| Some(format!("our client certificate was shown{known}")));
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

/// What is known to be wrong with the certificate, as it goes on after "our client certificate was shown".
fn known_of(issuer: IssuerListing, defect: Option<CertificateDefect>) -> Option<String> {
    const UNLISTED: &str = "its issuer is none of the CAs that the service names: ";
    const MEND: &str = "link a certificate of one of them, or have the CA added there";
    const COMPLETE: &str = "append the intermediate certificates to its file if they are missing there, ";
    let unlisted = match issuer {
        IssuerListing::Listed => {
            return defect.map(|defect| format!(" and {}; {}", defect.clause(), defect.remedy()));
        }
        IssuerListing::Unlisted => format!("{UNLISTED}{MEND}"),
        IssuerListing::BeyondTheChain => format!("{UNLISTED}{COMPLETE}{MEND}"),
    };
    Some(match defect {
        None => format!(", but {unlisted}"),
        Some(defect) => format!(" and {}, and {unlisted}", defect.clause()),
    })
}

/// What programs may mean by an alert where nothing is known to be wrong.
fn vague(alert: AlertDescription) -> Option<String> {
    use AlertDescription as A;
    let text = match alert {
        // Whether a cipher suite is common was settled before the certificate was asked for (RFC 8446 §4.1.3, RFC 5246
        // §7.4.4), so that a failure of the handshake is about nothing else any more.
        A::BadCertificate | A::CertificateUnknown | A::HandshakeFailure => {
            return Some(format!("it does not accept our client certificate: {MAY_NOT_BE_TRUSTED}"));
        }
        A::UnsupportedCertificate => {
            "it does not accept a client certificate of this kind; its key or its use may be what it minds"
        }
        A::AccessDenied => "it refuses our client certificate: its CA is not trusted there, or it has no access",
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

fn told_of_none(what: &str, origin: TlsOrigin) -> String {
    format!("{what}; {}", origin.link_one())
}

const WANTED: &str = "it wants a client certificate";
const PERHAPS_WANTED: &str = "it asked for a client certificate and got none, so perhaps it wants one";
const NONE_FITS: &str = "it wants a client certificate, and the linked one was not shown: the service lists no signature \
     scheme of its key's kind; link one with an RSA or a P-256 key";
const PERHAPS_FITS: &str = "it asked for a client certificate, and the linked one was not shown: the service lists no \
     signature scheme of its key's kind; link one with an RSA or a P-256 key";
/// Where we can see nothing wrong with it ourselves.
const MAY_NOT_BE_TRUSTED: &str = "its CA may not be trusted there, or it may be revoked or have no access";
const NOT_ASKED_FOR: &str = "it asked for no client certificate, so none was shown; it may ask only under another name";

#[cfg(test)]
mod tests {
    use AlertDescription as A;

    use super::*;

    /// Of a service, as all of this but what names a key.
    fn text(alert: A, seen: ClientCertificate) -> String {
        super::text(alert, seen, TlsOrigin::Service)
    }

    fn silence(seen: ClientCertificate) -> Option<String> {
        super::silence(seen, TlsOrigin::Service)
    }

    fn refusal(seen: ClientCertificate) -> Option<String> {
        super::refusal(seen, TlsOrigin::Service)
    }

    const NONE_LINKED: &str = "it wants a client certificate; link one with `certificate`";
    const PERHAPS_LINKED: &str =
        "it asked for a client certificate and got none, so perhaps it wants one; link one with `certificate`";

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
    const SHOWN: ClientCertificate = ClientCertificate::Shown { issuer: IssuerListing::Listed, defect: None };

    const NOT_SHOWN: [ClientCertificate; 4] = [
        ClientCertificate::NotAskedFor,
        ClientCertificate::OfSession,
        ClientCertificate::NoneLinked,
        ClientCertificate::NoneFits,
    ];

    fn all() -> impl Iterator<Item = A> {
        (0..=255).map(A::from)
    }

    #[test]
    fn no_advice_speaks_of_a_certificate_that_was_not_shown() {
        for alert in all() {
            for seen in NOT_SHOWN {
                let text = text(alert, seen);
                assert!(!text.contains("our client certificate"), "{text}");
                assert_eq!(
                    text.contains("link one"),
                    text.contains("it wants") || text.contains("it asked for a"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_may_be_wrong_with_a_certificate_is_nothing_that_was_seen_to_be_right() {
        let texts = all().filter(|alert| *alert != A::CertificateExpired).map(|alert| text(alert, SHOWN));
        for text in texts.chain(silence(SHOWN)).chain(refusal(SHOWN)) {
            for ruled_out in ["expired", "not for clients", "cipher suite"] {
                let is_of_another = !text.contains("our client certificate") && !text.contains("does not accept");
                assert!(is_of_another || !text.contains(ruled_out), "{text}");
            }
        }
        assert!(text(A::HandshakeFailure, SHOWN).ends_with(MAY_NOT_BE_TRUSTED));
    }

    #[test]
    fn nobody_is_told_after_a_resumed_session_that_no_certificate_was_asked_for() {
        for alert in all() {
            let text = text(alert, ClientCertificate::OfSession);
            assert!(!text.contains("it asked for"), "{text}");
        }
        assert_eq!(
            text(A::BadCertificate, ClientCertificate::OfSession),
            "the service ended it with the TLS alert bad_certificate"
        );
        assert_eq!(silence(ClientCertificate::OfSession), None);
    }

    #[test]
    fn what_a_close_without_a_word_means_is_a_guess_and_what_a_status_says_is_none() {
        for (seen, guess, fact) in [
            (ClientCertificate::NoneLinked, PERHAPS_LINKED, NONE_LINKED),
            (ClientCertificate::NoneFits, PERHAPS_FITS, NONE_FITS),
        ] {
            assert_eq!(silence(seen).as_deref(), Some(guess));
            assert_eq!(refusal(seen).as_deref(), Some(fact));
        }
    }

    #[test]
    fn what_is_known_of_a_certificate_goes_on_as_a_sentence() {
        let told = |is_listed, defect| {
            let issuer = if is_listed { IssuerListing::Listed } else { IssuerListing::Unlisted };
            silence(ClientCertificate::Shown { issuer, defect }).expect("an advice")
        };
        let start = "our client certificate was shown before";
        let unlisted = "its issuer is none of the CAs that the service names: link a certificate of one of them, or have the CA added there";

        assert_eq!(told(true, None), format!("{start}: {MAY_NOT_BE_TRUSTED}"));
        assert_eq!(
            told(true, Some(CertificateDefect::Expired)),
            format!("{start} and has expired; renew it and replace its file")
        );
        assert_eq!(told(false, None), format!("{start}, but {unlisted}"));
        assert_eq!(told(false, Some(CertificateDefect::Expired)), format!("{start} and has expired, and {unlisted}"));
    }

    #[test]
    fn the_keys_that_are_named_are_those_of_the_endpoint() {
        let told = |alert, seen, shows_none| super::text(alert, seen, TlsOrigin::TokenEndpoint { shows_none });

        let none = told(A::CertificateRequired, ClientCertificate::NoneLinked, true);
        assert!(none.ends_with("`auth.certificate: none` keeps it from being shown: name one with `auth.certificate`"));
        let none = told(A::CertificateRequired, ClientCertificate::NoneLinked, false);
        assert!(none.ends_with("link one with `certificate`, or for the token endpoint alone with `auth.certificate`"));
        for alert in all() {
            for seen in NOT_SHOWN.into_iter().chain([SHOWN]) {
                let text = told(alert, seen, false);
                assert!(!["`tls.", "host_header", "http_version"].iter().any(|key| text.contains(key)), "{text}");
            }
        }
    }

    #[test]
    fn a_chain_that_may_lack_its_intermediates_is_told_first() {
        let of = |issuer| silence(ClientCertificate::Shown { issuer, defect: None }).expect("an advice");

        assert!(of(IssuerListing::BeyondTheChain).contains(
            "its issuer is none of the CAs that the service names: append the intermediate certificates to its file if they \
             are missing there, link a certificate of one of them"
        ));
        assert!(of(IssuerListing::Unlisted).contains("the service names: link a certificate of one of them"));
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
        assert!(text(A::DecodeError, ClientCertificate::NoneFits).ends_with(PERHAPS_FITS));
        // What is about neither is not turned into it.
        for alert in [A::ProtocolVersion, A::UnrecognisedName, A::NoApplicationProtocol, A::InsufficientSecurity] {
            for seen in [ClientCertificate::NoneLinked, ClientCertificate::NoneFits, SHOWN] {
                assert_eq!(text(alert, seen), text(alert, ClientCertificate::NotAskedFor));
            }
        }
    }

    #[test]
    fn an_issuer_that_the_service_does_not_name_is_told() {
        let seen = ClientCertificate::Shown { issuer: IssuerListing::Unlisted, defect: None };

        for alert in [A::UnknownCA, A::BadCertificate, A::CertificateUnknown, A::AccessDenied] {
            let text = text(alert, seen);

            assert!(text.contains("its issuer is none of the CAs that the service names"), "{text}");
        }
    }

    #[test]
    fn a_defect_that_we_see_ourselves_is_named_where_the_alert_can_be_about_it() {
        use CertificateDefect as D;
        let told = |alert, defect| {
            text(alert, ClientCertificate::Shown { issuer: IssuerListing::Listed, defect: Some(defect) })
                .contains(defect.clause())
        };

        for defect in [D::Expired, D::NotYetValid, D::NotForClients, D::ForAnyUse, D::NotForSignatures] {
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
            let silent =
                silence(ClientCertificate::Shown { issuer: IssuerListing::Listed, defect: Some(defect) }).unwrap();
            assert!(silent.contains(defect.clause()), "{silent}");
        }
        assert!(text(A::CertificateExpired, SHOWN).contains("which it is not by the clock here"));
    }

    #[test]
    fn no_text_names_a_library() {
        for alert in all() {
            for seen in NOT_SHOWN.into_iter().chain([SHOWN]) {
                let text = text(alert, seen).to_lowercase();
                assert!(!["rustls", "openssl", "http:", "https:"].iter().any(|name| text.contains(name)), "{text}");
            }
        }
    }
}
