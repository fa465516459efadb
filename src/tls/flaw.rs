//! What is wrong with a certificate of a service's chain whoever looks at it (RFC 5280).

use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use super::chain::{ReadChain, Remedy, UNUSUAL};
use super::distinguished;

/// The one that the check names.
pub(super) fn of(error: &webpki::Error, chain: &ReadChain<'_>) -> (String, Remedy) {
    use webpki::Error as E;
    let what = match error {
        E::CaUsedAsEndEntity if chain.is_self_issued() => return (chain.missing(), Remedy::Ca),
        E::CaUsedAsEndEntity => format!(
            "the service's certificate says that it is a CA (CA:TRUE), which a server's may not be; it has to be issued anew, \
             or be named itself in {}",
            chain.origin.tls("ca")
        ),
        E::EndEntityUsedAsCa => no_ca(chain),
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => {
            "the service's chain is longer than a CA of it allows (pathLenConstraint)".to_owned()
        }
        E::NameConstraintViolation => name_constraints(chain),
        E::UnsupportedCertVersion => {
            let whose = chain.whose(|certificate| certificate.version() != X509Version::V3);
            format!("{whose} is of an old version of X.509; it has to be issued anew, in version 3")
        }
        E::UnsupportedCriticalExtension => unknown_extension(chain),
        E::EmptyEkuExtension => {
            "a certificate of the service's chain has an extended key usage without a use".to_owned()
        }
        E::SignatureAlgorithmMismatch => {
            "a certificate of the service's chain names two different signature algorithms".to_owned()
        }
        E::InvalidSerialNumber => "a certificate of the service's chain has no valid serial number".to_owned(),
        E::MalformedDnsIdentifier | E::UnsupportedNameType => {
            "a name in the service's certificate is none that a server can have".to_owned()
        }
        E::InvalidNetworkMaskConstraint | E::MalformedNameConstraint => {
            "a certificate of the service's chain has name constraints that can't be read".to_owned()
        }
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded => {
            "the service's chain takes too many steps to check: it sends more certificates than belong to it".to_owned()
        }
        // What is a variant of its own where this is called from, what concerns lists of revoked certificates, which are not
        // used, and what versions to come may add.
        _ => UNUSUAL.to_owned(),
    };
    (what, Remedy::Owner)
}

/// Somebody signed who may not.
fn no_ca(chain: &ReadChain<'_>) -> String {
    let path = chain.path();
    let is_ca = |certificate: &X509Certificate<'_>| {
        certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca)
    };
    match path.iter().skip(1).find(|certificate| !is_ca(certificate)) {
        Some(issuer) => format!(
            "the service's certificate comes from {}, which is no CA: its basic constraints lack CA:TRUE; it has to be \
             issued anew",
            distinguished::text(issuer.subject())
        ),
        None => {
            "the service's certificate comes from one that may not sign certificates, by its basic constraints or its \
                 key usage"
                .to_owned()
        }
    }
}

fn name_constraints(chain: &ReadChain<'_>) -> String {
    let path = chain.path();
    let constrained = path.iter().skip(1).find(|ca| ca.name_constraints().ok().flatten().is_some());
    let last = path.last().copied().unwrap_or(&chain.leaf);
    let ca = constrained.map_or_else(|| last.issuer(), |ca| ca.subject());
    format!(
        "the service's certificate has a name for which {} may issue none (its name constraints)",
        distinguished::text(ca)
    )
}

/// It is for other uses alone (RFC 5280 §4.2.1.12).
pub(super) fn wrong_use(chain: &ReadChain<'_>) -> String {
    let whose = chain.whose(|certificate| {
        let usage = certificate.extended_key_usage().ok().flatten();
        usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any)
    });
    format!("{whose} is not for servers: its extended key usage lacks serverAuth; it has to be issued anew")
}

/// An extension that has to be understood, and is not (RFC 5280 §4.2).
pub(super) fn unknown_extension(chain: &ReadChain<'_>) -> String {
    let critical = |certificate: &X509Certificate<'_>| {
        let unknown = certificate.extensions().iter().filter(|extension| extension.critical);
        unknown.map(|extension| extension.oid.to_id_string()).find(|oid| !UNDERSTOOD.contains(&oid.as_str()))
    };
    let path = chain.path();
    match path.iter().find_map(|certificate| critical(certificate)) {
        Some(oid) => format!(
            "{} has the critical extension {oid}, which is not known here; it has to be issued anew, without it or with it \
             as one that is not critical",
            chain.whose(|certificate| critical(certificate).is_some())
        ),
        None => "a certificate of the service's chain has a critical extension that is not known here".to_owned(),
    }
}

/// Key usage, subjectAltName, basic constraints, name constraints, distribution points, extended key usage.
const UNDERSTOOD: [&str; 6] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.37"];
