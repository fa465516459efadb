//! What a certificate says of itself.

use std::time::{Duration, SystemTime};

use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::distinguished;
use crate::clock::rfc3339;
use crate::digest::sha256;
use crate::hex::hex;

/// What the leaf says, for status, metrics and warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// RFC 4514 (`CN=…`).
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Lower-case hex.
    pub(crate) serial: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// SHA-256 of the DER: also the `x5t#S256` of RFC 8705 §3.1.
    pub(crate) sha256: [u8; 32],
}

impl Leaf {
    /// Reads a certificate; `None` if it is damaged.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        Some(Self {
            subject: distinguished::text(certificate.subject()),
            issuer: distinguished::text(certificate.issuer()),
            serial: serial(certificate.raw_serial()),
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            sha256: sha256(der),
        })
    }

    /// What to say of a certificate that is, or soon will be, outside its time.
    pub(super) fn outside_its_time(&self, now: SystemTime) -> Option<String> {
        let until = rfc3339(self.not_after);
        if now < self.not_before {
            return Some(format!("not valid before {}", rfc3339(self.not_before)));
        }
        match self.not_after.duration_since(now) {
            Err(_) => Some(format!("expired at {until}")),
            Ok(left) if left < SOON => Some(format!("expires in {} days, at {until}", left.as_secs() / DAY)),
            Ok(_) => None,
        }
    }
}

/// The SubjectPublicKeyInfo of a certificate, as DER; `None` if it is damaged.
///
/// Unlike webpki this takes certificates of version 1 too, which are still issued to clients.
pub(super) fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    Some(certificate.tbs_certificate.subject_pki.raw)
}

/// The issuer's name of a certificate, as DER; `None` if it is damaged.
pub(super) fn raw_issuer(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    Some(certificate.tbs_certificate.issuer.as_raw())
}

/// The number without the zero that DER puts before a first bit that is set.
fn serial(bytes: &[u8]) -> String {
    let number = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    hex(number)
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

const DAY: u64 = 24 * 60 * 60;
const SOON: Duration = Duration::from_secs(30 * DAY);

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::super::openssl::Openssl;
    use super::*;

    fn read(openssl: &Openssl, with: &str) -> Leaf {
        let pem = openssl.make(&format!("req -x509 -newkey ed25519 -nodes -keyout key -out out {with}"));
        Leaf::read(&CertificateDer::from_pem_slice(&pem).unwrap()).unwrap()
    }

    #[test]
    fn names_are_written_from_the_most_specific_part_up() {
        let subject = "-subj /C=DE/O=Example,\u{a0}Inc./CN=app+UID=7/emailAddress=a@b.example -multivalue-rdn -utf8";

        let leaf = read(&Openssl::new(), subject);

        let name = "emailAddress=a@b.example,CN=app+UID=7,O=Example\\,\u{a0}Inc.,C=DE";
        assert_eq!((leaf.subject.as_str(), leaf.issuer.as_str()), (name, name));
    }

    #[test]
    fn an_attribute_without_a_short_name_is_written_in_hex() {
        let leaf = read(&Openssl::new(), "-subj /postalCode=123/CN=app");

        assert_eq!(leaf.subject, "CN=app,2.5.4.17=#0c03313233");
    }

    #[test]
    fn a_serial_number_is_hex_without_the_sign_byte() {
        let openssl = Openssl::new();

        assert_eq!(read(&openssl, "-subj /CN=app -set_serial 0xF00D").serial, "f00d");
        assert_eq!(read(&openssl, "-subj /CN=app -set_serial 0x0A").serial, "0a");
    }

    #[test]
    fn a_damaged_certificate_is_none() {
        assert_eq!(Leaf::read(b"half a certif"), None);
        assert_eq!(public_key(b""), None);
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[track_caller]
    fn check_time(now: u64, expected: Option<&str>) {
        let leaf = Leaf {
            subject: "CN=app".to_owned(),
            issuer: "CN=ca".to_owned(),
            serial: "01".to_owned(),
            not_before: at(100 * DAY),
            not_after: at(200 * DAY),
            sha256: [0; 32],
        };
        assert_eq!(leaf.outside_its_time(at(now)).as_deref(), expected);
    }

    #[test]
    fn a_certificate_outside_its_time_or_near_its_end_is_warned_of() {
        check_time(100 * DAY - 1, Some("not valid before 1970-04-11T00:00:00Z"));
        check_time(100 * DAY, None);
        check_time(170 * DAY, None);
        check_time(170 * DAY + 1, Some("expires in 29 days, at 1970-07-20T00:00:00Z"));
        check_time(200 * DAY - 1, Some("expires in 0 days, at 1970-07-20T00:00:00Z"));
        check_time(200 * DAY + 1, Some("expired at 1970-07-20T00:00:00Z"));
    }
}
