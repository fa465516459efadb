//! Chains of services that do not pass, as `openssl` makes them, and what is told of each.

use std::io;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::openssl::Openssl;
use super::pem::Pem;
use super::*;

/// A folder of CAs, and what they issue.
struct Lab(Openssl);

const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";
const CA: &str = "basicConstraints=critical,CA:TRUE";

impl Lab {
    fn new() -> Self {
        let lab = Self(Openssl::new());
        lab.root("ca", "Good CA", P256);
        lab
    }

    fn root(&self, file: &str, name: &str, key: &str) {
        self.0.shell(&format!(
            "openssl req -x509 -newkey {key} -nodes -keyout {file}.key -out {file}.pem -days 90 -subj '/CN={name}' 2>&1"
        ));
    }

    /// One that `issuer` signs; `with` is more for `openssl x509`.
    fn issue(&self, file: &str, issuer: &str, extensions: &str, key: &str, with: &str) {
        let config = if extensions.is_empty() {
            String::new()
        } else {
            self.0.write("ext", extensions.as_bytes());
            " -extfile ext".to_owned()
        };
        self.0.shell(&format!(
            "openssl req -newkey {key} -nodes -keyout {file}.key -out csr -subj '/CN={file}' 2>&1 && openssl x509 -req -in csr \
             -CA {issuer}.pem -CAkey {issuer}.key -set_serial 7 -days 30 -out {file}.pem {config} {with} 2>&1"
        ));
    }

    fn leaf(&self, issuer: &str, extensions: &str) {
        self.issue("leaf", issuer, extensions, P256, "");
    }

    fn certificates(&self, files: &[&str]) -> Vec<CertificateDer<'static>> {
        let read = |file: &&str| Pem::read(&self.0.read(&format!("{file}.pem"))).unwrap().certificates().unwrap();
        files.iter().flat_map(read).collect()
    }

    /// What is said of these, in `days` days, where these are trusted.
    async fn seen(&self, chain: &[&str], trusted: &[&str], days: u64) -> ServerCertificateError {
        self.seen_from(TlsOrigin::Service, "localhost", chain, trusted, days).await
    }

    async fn seen_from(
        &self,
        origin: TlsOrigin,
        host: &'static str,
        chain: &[&str],
        trusted: &[&str],
        days: u64,
    ) -> ServerCertificateError {
        let trust = TrustAnchors::new(self.certificates(trusted), None);
        let verifier = ServerVerifier::new(Some(&trust), Vec::new());
        let (chain, name) = (self.certificates(chain), ServerName::try_from(host).unwrap());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + days * 24 * 60 * 60));
        let check = async { verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) };
        let (checked, seen) = observed(origin, check).await;
        match TlsFailure::of(io::Error::other(checked.unwrap_err()), &seen) {
            TlsFailure::Certificate(why) => why,
            other => panic!("no certificate error: {other:?}"),
        }
    }
}

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

#[track_caller]
fn check(why: &ServerCertificateError, what: &str, help: &str) {
    let (told, to_do) = (why.to_string(), why.help());
    assert_eq!(told, what);
    assert!(to_do.contains(help), "{told}: {to_do}");
}

const OWNER: &str = "its owner has to show another certificate";
const TRUST: &str = "check `tls.ca`, the authorities that are trusted for it";

#[tokio::test]
async fn a_self_signed_certificate_is_told_as_one_ca_or_not() {
    let lab = Lab::new();
    for (file, constraint) in [("plain", "basicConstraints=CA:FALSE"), ("own", CA)] {
        lab.0.shell(&format!(
            "openssl req -x509 -newkey {P256} -nodes -keyout {file}.key -out {file}.pem -subj /CN=localhost -addext {NAMES} \
             -addext {constraint} 2>&1"
        ));
        check(
            &lab.seen(&[file], &["ca"], 0).await,
            "the service's certificate is self-signed, CN=localhost, and not trusted here; name it in `tls.ca`",
            TRUST,
        );
    }
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_told_by_what_is_seen() {
    let lab = Lab::new();
    lab.root("new", "Good CA", P256);
    lab.leaf("new", NAMES);
    check(
        &lab.seen(&["leaf"], &["ca"], 0).await,
        "the service's certificate comes from CN=Good CA; a CA of that name is trusted here, but another one, with another \
         key, signed it; name its certificate in `tls.ca`",
        TRUST,
    );
    lab.root("short", "Short CA", "rsa:1024");
    lab.leaf("short", NAMES);
    check(
        &lab.seen(&["leaf"], &["short"], 0).await,
        "the service's certificate comes from CN=Short CA, a CA whose RSA key has 1024 bits, and fewer than 2048 are not \
         accepted; it has to come from another CA",
        OWNER,
    );
    lab.issue("leaf", "ca", NAMES, "rsa:1024", "");
    let leaf = lab.certificates(&["leaf"]).remove(0);
    check(
        &ServerCertificateError::of_handshake(&rustls::CertificateError::BadSignature, &leaf, TlsOrigin::Service),
        "the RSA key of the service's certificate has 1024 bits, and fewer than 2048 are not accepted; it needs a new key",
        OWNER,
    );
    lab.issue("leaf", "ca", NAMES, P256, "-sha1");
    check(
        &lab.seen(&["leaf"], &["ca"], 0).await,
        "the service's certificate is signed with SHA-1, which is not accepted; it has to be issued anew, with SHA-256",
        OWNER,
    );
}

#[tokio::test]
async fn what_a_certificate_may_not_be_is_told_with_the_certificate() {
    let lab = Lab::new();
    let issued = |extensions: &str| lab.leaf("ca", &format!("{NAMES}\n{extensions}"));
    let told = async || lab.seen(&["leaf"], &["ca"], 0).await;

    issued(CA);
    check(
        &told().await,
        "the service's certificate says that it is a CA (CA:TRUE), which a server's may not be; it has to be issued anew, or \
         be named itself in `tls.ca`",
        OWNER,
    );
    issued("1.2.3.4=critical,ASN1:UTF8String:x");
    check(
        &told().await,
        "the service's certificate has the critical extension 1.2.3.4, which is not known here; it has to be issued anew, \
         without it or with it as one that is not critical",
        OWNER,
    );
    issued("extendedKeyUsage=clientAuth");
    check(
        &told().await,
        "the service's certificate is not for servers: its extended key usage lacks serverAuth; it has to be issued anew",
        OWNER,
    );
    lab.leaf("ca", "");
    check(
        &told().await,
        "the service's certificate is of an old version of X.509; it has to be issued anew, in version 3",
        OWNER,
    );
}

#[tokio::test]
async fn what_is_wrong_with_an_intermediate_is_told_of_that() {
    let lab = Lab::new();
    let through = |extensions: &str| {
        lab.issue("middle", "ca", extensions, P256, "-days 1");
        lab.leaf("middle", NAMES);
    };
    let told = async |days| lab.seen(&["leaf", "middle"], &["ca"], days).await;

    through("basicConstraints=CA:FALSE");
    check(
        &told(0).await,
        "the service's certificate comes from CN=middle, which is no CA: its basic constraints lack CA:TRUE; it has to be \
         issued anew",
        OWNER,
    );
    through(&format!("{CA}\nnameConstraints=critical,permitted;DNS:other.example"));
    check(
        &told(0).await,
        "the service's certificate has a name for which CN=middle may issue none (its name constraints)",
        OWNER,
    );
    through(CA);
    let expired = told(2).await;
    let what = expired.to_string();
    assert!(
        what.starts_with("CN=middle, a certificate that the service sends along, expired at 20")
            && what.ends_with("; or the clock here is wrong"),
        "{what}"
    );
    assert!(expired.help().starts_with("this machine's clock says "), "{}", expired.help());
}

#[tokio::test]
async fn an_address_that_is_a_dns_name_is_told_as_one() {
    let lab = Lab::new();
    lab.leaf("ca", "subjectAltName=DNS:127.0.0.1");

    check(
        &lab.seen_from(TlsOrigin::Service, "127.0.0.1", &["leaf"], &["ca"], 0).await,
        "the service's certificate has 127.0.0.1 as a DNS name and not as an IP address, which counts for nothing \
         (RFC 9525 §6.5); it has to be issued anew, with 127.0.0.1 as an IP address among its subjectAltNames",
        OWNER,
    );
}

#[tokio::test]
async fn the_keys_that_are_named_are_those_of_the_endpoint() {
    let lab = Lab::new();
    lab.root("other", "Other CA", P256);
    lab.leaf("ca", NAMES);
    let endpoint = TlsOrigin::TokenEndpoint { shows_none: false };

    check(
        &lab.seen_from(endpoint, "idp.example", &["leaf"], &["ca"], 0).await,
        "the service's certificate is for localhost, 127.0.0.1, not for idp.example; if that is meant, say so with \
         `auth.tls.server_name`",
        "`auth.tls.server_name`",
    );
    let why = lab.seen_from(endpoint, "localhost", &["leaf"], &["other"], 0).await;
    assert!(why.to_string().contains("CN=Good CA; name that CA in `auth.tls.ca`"), "{why}");
    assert_eq!(why.help(), "check `auth.tls.ca`, the authorities that are trusted for it");
}

#[test]
fn no_problem_of_a_certificate_is_told_in_words_of_a_library() {
    use webpki::Error as E;
    let lab = Lab::new();
    lab.leaf("ca", NAMES);
    let leaf = lab.certificates(&["leaf"]).remove(0);
    let chain = server_certificate::Chain { leaf: &leaf, others: &[], roots: None };
    for error in [
        E::BadDer,
        E::CaUsedAsEndEntity,
        E::EmptyEkuExtension,
        E::EndEntityUsedAsCa,
        E::ExtensionValueInvalid,
        E::InvalidNetworkMaskConstraint,
        E::InvalidSerialNumber,
        E::MalformedDnsIdentifier,
        E::MalformedExtensions,
        E::MalformedNameConstraint,
        E::MaximumNameConstraintComparisonsExceeded,
        E::MaximumPathBuildCallsExceeded,
        E::MaximumPathDepthExceeded,
        E::MaximumSignatureChecksExceeded,
        E::NameConstraintViolation,
        E::PathLenConstraintViolated,
        E::SignatureAlgorithmMismatch,
        E::UnsupportedCertVersion,
        E::UnsupportedCriticalExtension,
        E::UnsupportedNameType,
    ] {
        let word = format!("{error:?}");
        let error = rustls::CertificateError::Other(rustls::OtherError(Arc::new(error)));

        let told = ServerCertificateError::of(&error, &chain, TlsOrigin::Service).to_string();

        assert!(!told.contains(&word) && told.contains("the service's c"), "{word}: {told}");
    }
}
