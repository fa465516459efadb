//! Who is missing between a service's certificate and the CAs that are trusted here.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

use super::distinguished;

/// Follows the chain that came, issuer by issuer, and says where it ends; `None` where a certificate is damaged.
pub(super) fn missing(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    roots: &RootCertStore,
) -> Option<String> {
    let (_, leaf) = parse_x509_certificate(leaf).ok()?;
    let others: Vec<_> = others.iter().filter_map(|other| Some(parse_x509_certificate(other).ok()?.1)).collect();
    if is_same(leaf.subject(), leaf.issuer()) {
        return Some(format!(
            "the service's certificate is self-signed, {}, and not trusted here; name it in `tls.ca`",
            distinguished::text(leaf.subject())
        ));
    }
    let mut last = &leaf;
    // As often as there are others: two CAs that certify each other would lead round and round.
    for _ in &others {
        let issuer = others.iter().find(|other| is_same(other.subject(), last.issuer()));
        let Some(issuer) = issuer.filter(|_| !is_same(last.subject(), last.issuer())) else { break };
        last = issuer;
    }
    let issuer = distinguished::text(last.issuer());
    let is_trusted = roots.roots.iter().any(|root| root.subject.as_ref() == inside(last.issuer()));
    Some(if is_trusted {
        format!(
            "the service's certificate comes from {issuer}; a CA of that name is trusted here, but with another key; name \
             its new certificate in `tls.ca`"
        )
    } else if is_same(last.subject(), last.issuer()) {
        format!("{NOT_TRUSTED}, {issuer}; name that CA in `tls.ca`")
    } else {
        format!(
            "{NOT_TRUSTED}, {issuer}; name that CA in `tls.ca`; or, if it is an intermediate one, have the service send its \
             certificate too, which it did not"
        )
    })
}

const NOT_TRUSTED: &str = "the service's certificate comes from a CA that is not trusted here";

fn is_same(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw()
}

/// A name without the header of its sequence, as trust anchors have it.
fn inside<'n>(name: &'n X509Name<'_>) -> &'n [u8] {
    match name.as_raw() {
        [_, length, rest @ ..] if *length < 0x80 => rest,
        [_, length, rest @ ..] => rest.get(usize::from(*length & 0x7f)..).unwrap_or_default(),
        _ => &[],
    }
}
