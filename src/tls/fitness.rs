//! What makes our own client certificate one that services rightly refuse: most of them only say that they do.

use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::leaf::system_time;

/// What a certificate is good for, as far as it says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fitness {
    not_before: SystemTime,
    not_after: SystemTime,
    unfit_use: Option<CertificateDefect>,
}

/// Why a certificate is not fit to be shown by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateDefect {
    Expired,
    NotYetValid,
    /// Its extendedKeyUsage names other uses alone (RFC 5280 §4.2.1.12).
    NotForClients,
    /// Its keyUsage lacks digitalSignature (§4.2.1.3), which the client's part of the handshake is.
    NotForSignatures,
}

impl Fitness {
    /// `None`: it is damaged.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        Some(Self {
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            unfit_use: unfit_use(&certificate),
        })
    }

    /// What is wrong with it at this time. The times come last: they may be right by another clock.
    pub(super) fn defect(&self, now: SystemTime) -> Option<CertificateDefect> {
        let of_time = if now > self.not_after {
            Some(CertificateDefect::Expired)
        } else if now < self.not_before {
            Some(CertificateDefect::NotYetValid)
        } else {
            None
        };
        self.unfit_use.or(of_time)
    }

    /// What is wrong with it at any time.
    pub(super) fn unfit_use(&self) -> Option<CertificateDefect> {
        self.unfit_use
    }
}

fn unfit_use(certificate: &X509Certificate<'_>) -> Option<CertificateDefect> {
    // Either may be missing, and then forbids nothing; one that can't be read is not ours to judge.
    let extended = certificate.extended_key_usage().ok().flatten();
    if extended.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        return Some(CertificateDefect::NotForClients);
    }
    let usage = certificate.key_usage().ok().flatten();
    // OpenSSL is content with keyAgreement too.
    let is_unfit = usage.is_some_and(|usage| !usage.value.digital_signature() && !usage.value.key_agreement());
    is_unfit.then_some(CertificateDefect::NotForSignatures)
}

impl CertificateDefect {
    /// As it goes on after "our client certificate was shown,".
    pub(super) fn clause(self) -> &'static str {
        match self {
            Self::Expired => "which has expired",
            Self::NotYetValid => "which is not valid yet, or the clock here is wrong",
            Self::NotForClients => "which is not for clients: its extended key usage lacks clientAuth",
            Self::NotForSignatures => "which is not for handshakes: its key usage lacks digitalSignature",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::super::openssl::Openssl;
    use super::*;

    #[track_caller]
    fn check(openssl: &Openssl, extensions: &str, expected: Option<CertificateDefect>) {
        let request = "req -x509 -newkey ed25519 -nodes -subj /CN=app -days 2 -keyout key -out out";
        let pem = openssl.make(&format!("{request}{extensions}"));
        let fitness = Fitness::read(&CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let (now, days) = (SystemTime::now(), |days: u64| Duration::from_secs(days * 24 * 60 * 60));

        assert_eq!(fitness.defect(now + Duration::from_secs(60)), expected, "{extensions}");
        assert_eq!(fitness.unfit_use(), expected);
        assert_eq!(fitness.defect(now + days(3)), expected.or(Some(CertificateDefect::Expired)));
        assert_eq!(fitness.defect(now - days(1)), expected.or(Some(CertificateDefect::NotYetValid)));
    }

    #[test]
    fn a_use_that_leaves_clients_out_is_a_defect_and_none_at_all_is_not() {
        let openssl = Openssl::new();
        for (extensions, expected) in [
            ("", None),
            (" -addext extendedKeyUsage=clientAuth", None),
            (" -addext extendedKeyUsage=serverAuth,clientAuth", None),
            (" -addext extendedKeyUsage=anyExtendedKeyUsage", None),
            (" -addext keyUsage=digitalSignature,keyEncipherment", None),
            (" -addext keyUsage=keyAgreement", None),
            (" -addext extendedKeyUsage=serverAuth", Some(CertificateDefect::NotForClients)),
            (" -addext extendedKeyUsage=1.3.6.1.4.1.311.20.2.2", Some(CertificateDefect::NotForClients)),
            (" -addext keyUsage=keyEncipherment", Some(CertificateDefect::NotForSignatures)),
            (" -addext keyUsage=keyCertSign,cRLSign", Some(CertificateDefect::NotForSignatures)),
        ] {
            check(&openssl, extensions, expected);
        }
    }
}
