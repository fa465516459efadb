//! Who is missing between a service's certificate and the CAs that are trusted here.

use rustls::RootCertStore;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Name;

use super::distinguished;
use super::origin::TlsOrigin;

/// What is said of the chain that came: it is followed issuer by issuer to where it ends.
pub(super) fn missing(
    leaf: &X509Certificate<'_>,
    others: &[X509Certificate<'_>],
    roots: &RootCertStore,
    origin: TlsOrigin,
) -> String {
    let ca = origin.tls("ca");
    if is_self_issued(leaf) {
        let subject = distinguished::text(leaf.subject());
        return format!("the service's certificate is self-signed, {subject}, and not trusted here; name it in {ca}");
    }
    let last = path(leaf, others).pop().unwrap_or(leaf);
    let issuer = distinguished::text(last.issuer());
    if is_trusted(last.issuer(), roots) {
        format!(
            "the service's certificate comes from {issuer}; a CA of that name is trusted here, but with another key; name \
             its new certificate in {ca}"
        )
    } else if is_self_issued(last) {
        format!("{NOT_TRUSTED}, {issuer}; name that CA in {ca}")
    } else {
        format!(
            "{NOT_TRUSTED}, {issuer}; name that CA in {ca}; or, if it is an intermediate one, have the service send its \
             certificate too, which it did not"
        )
    }
}

/// The leaf, then each one's issuer as far as it came. As often as there are others: two CAs that certify each other would
/// lead round and round.
pub(super) fn path<'c, 'der>(
    leaf: &'c X509Certificate<'der>,
    others: &'c [X509Certificate<'der>],
) -> Vec<&'c X509Certificate<'der>> {
    let mut path = vec![leaf];
    let mut last = leaf;
    for _ in others {
        let issuer = others.iter().find(|other| is_same(other.subject(), last.issuer()));
        let Some(issuer) = issuer.filter(|_| !is_self_issued(last)) else { break };
        path.push(issuer);
        last = issuer;
    }
    path
}

/// Whether a trusted CA has this name.
pub(super) fn is_trusted(name: &X509Name<'_>, roots: &RootCertStore) -> bool {
    roots.roots.iter().any(|root| root.subject.as_ref() == inside(name))
}

pub(super) fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    is_same(certificate.subject(), certificate.issuer())
}

pub(super) const NOT_TRUSTED: &str = "the service's certificate comes from a CA that is not trusted here";

fn is_same(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw()
}

/// A name without the header of its sequence, as trust anchors have it.
pub(super) fn inside<'n>(name: &'n X509Name<'_>) -> &'n [u8] {
    match name.as_raw() {
        [_, length, rest @ ..] if *length < 0x80 => rest,
        [_, length, rest @ ..] => rest.get(usize::from(*length & 0x7f)..).unwrap_or_default(),
        _ => &[],
    }
}
