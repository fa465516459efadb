//! A client certificate whose chain matches its key, or none.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::CertificateDer;

use super::certificate_error::CertificateError;
use super::fitness::Fitness;
pub(crate) use super::leaf::Leaf;
use super::leaf::public_key;
use super::pem::Pem;
use super::{key, pkcs12};
use crate::config::{self, At, Inputs, Report, Span, WrittenMaterial};
use crate::name::CertificateName;

/// A named client certificate, ready to present.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) name: CertificateName,
    pub(crate) title: String,
    pub(crate) leaf: Leaf,
    pub(crate) presented: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads the files, and reports a key that does not belong to the leaf, an expired leaf and the like.
    ///
    /// `None` without a word where no secrets are read.
    pub(crate) fn compile(
        name: &CertificateName,
        written: &At<config::CertificateConfig>,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Arc<Self>> {
        if !inputs.reads_secrets() {
            return None;
        }
        let mut reading = CertificateReader { name, written: &written.value, inputs, report };
        let (leaf, presented) = reading.read()?;
        let title = written.value.title.clone().unwrap_or_else(|| name.to_string());
        Some(Arc::new(Self { name: name.clone(), title, leaf, presented: Arc::new(presented) }))
    }

    /// Whether both present the same chain with the same key (titles aside).
    pub(crate) fn same_material(&self, other: &Self) -> bool {
        // The key needs no look: it is the one that belongs to the leaf, or neither would exist.
        self.presented.cert == other.presented.cert
    }
}

/// One certificate while its files are read.
struct CertificateReader<'a> {
    name: &'a CertificateName,
    written: &'a config::CertificateConfig,
    inputs: &'a Inputs,
    report: &'a mut Report,
}

impl CertificateReader<'_> {
    fn read(&mut self) -> Option<(Leaf, CertifiedKey)> {
        let (file, presented) = match &self.written.material {
            WrittenMaterial::Pem { chain, key } => (chain, self.pem(chain, key)?),
            WrittenMaterial::Pkcs12(file) => (file, self.pkcs12(file)?),
        };
        let facts = self.facts(file, &presented.cert)?;
        self.warn(file, &facts);
        self.warn_of_use(file, presented.cert.first());
        Some((facts.into_iter().next()?, presented))
    }

    /// Both files are read before either is given up: a user wants to hear of all that is wrong.
    fn pem(&mut self, chain_file: &At<PathBuf>, key_file: &At<PathBuf>) -> Option<CertifiedKey> {
        let chain = self.chain(chain_file);
        let key = self.key(key_file);
        let (chain, (key, beside)) = (chain?, key?);
        match owner(&*key, &chain) {
            Some(0) => Some(CertifiedKey::new(chain, key)),
            Some(place) => self.wrong_order(chain_file, place, &chain),
            None => self.mismatch(key_file, owner(&*key, &beside).map(|place| &beside[place]), &chain[0]),
        }
    }

    fn chain(&mut self, file: &At<PathBuf>) -> Option<Vec<CertificateDer<'static>>> {
        let text = self.inputs.read(&file.value, file.span, self.report)?;
        let chain = Pem::read(&text).and_then(|pem| pem.certificates());
        chain.map_err(|unusable| self.refuse(file, &unusable)).ok()
    }

    /// The key, and the certificates that its file holds beside it.
    fn key(&mut self, file: &At<PathBuf>) -> Option<(Arc<dyn SigningKey>, Vec<CertificateDer<'static>>)> {
        let text = self.inputs.read_secret(&file.value, file.span, self.report)?;
        let passphrase = self.written.passphrase.as_ref().map(|passphrase| &passphrase.value);
        let read = Pem::read(&text).and_then(|pem| {
            let beside = pem.certificates().unwrap_or_default();
            Ok((key::from_pem(&pem, passphrase)?, beside))
        });
        read.map_err(|unusable| self.refuse(file, &unusable)).ok()
    }

    fn pkcs12(&mut self, file: &At<PathBuf>) -> Option<CertifiedKey> {
        let bytes = self.inputs.read_secret(&file.value, file.span, self.report)?;
        let passphrase = self.written.passphrase.as_ref().map(|passphrase| &passphrase.value);
        let contents = pkcs12::read(&bytes, passphrase).map_err(|unusable| self.refuse(file, &unusable)).ok()?;
        Some(CertifiedKey::new(contents.chain, contents.key))
    }

    fn facts(&mut self, file: &At<PathBuf>, chain: &[CertificateDer<'_>]) -> Option<Vec<Leaf>> {
        let mut facts = Vec::with_capacity(chain.len());
        for (place, certificate) in chain.iter().enumerate() {
            let Some(read) = Leaf::read(certificate) else {
                self.refuse(file, &CertificateError::DamagedCertificate { number: place + 1 });
                return None;
            };
            facts.push(read);
        }
        Some(facts)
    }

    fn warn(&mut self, file: &At<PathBuf>, chain: &[Leaf]) {
        if let Some(warning) = chain.first().and_then(|leaf| leaf.outside_its_time(SystemTime::now())) {
            let message = self.message(warning);
            self.report.warning(file.span, message).help("replace the file: it is watched, no restart is needed");
        }
        if let Some(place) = chain.windows(2).position(|pair| pair[0].issuer != pair[1].subject) {
            let message = self.message("a service may not be able to follow the chain");
            self.report
                .warning(file.span, message)
                .label(format!("{} was not issued by {}", chain[place].subject, chain[place + 1].subject))
                .help("put each certificate's issuer after it");
        }
    }

    /// Most services refuse one that is for other uses alone, and say no more than that.
    fn warn_of_use(&mut self, file: &At<PathBuf>, leaf: Option<&CertificateDer<'_>>) {
        let Some(defect) = leaf.and_then(|leaf| Fitness::read(leaf)?.unfit_use()) else { return };
        let message = self.message(format!("this is a certificate {}", defect.clause()));
        let help = "have it issued for TLS clients: most services refuse it in a handshake";
        self.report.warning(file.span, message).help(help);
    }

    fn refuse(&mut self, file: &At<PathBuf>, unusable: &CertificateError) {
        let span = self.span_of(unusable).unwrap_or(file.span);
        let message = self.message(unusable);
        let diagnostic = self.report.error(span, message);
        if let Some(help) = unusable.help(&file.value) {
            diagnostic.help(help);
        }
    }

    /// The place of the passphrase, where that is what is wrong.
    fn span_of(&self, unusable: &CertificateError) -> Option<Span> {
        let is_about_passphrase =
            matches!(unusable, CertificateError::PassphraseWrong | CertificateError::PassphraseNotNeeded);
        let passphrase = self.written.passphrase.as_ref().filter(|_| is_about_passphrase)?;
        Some(passphrase.span)
    }

    fn wrong_order<T>(&mut self, file: &At<PathBuf>, place: usize, chain: &[CertificateDer<'_>]) -> Option<T> {
        let message = self.message("the chain does not begin with the certificate of the key");
        self.report
            .error(file.span, message)
            .label(format!("{} comes first, {} is number {}", subject(&chain[0]), subject(&chain[place]), place + 1))
            .help("put the leaf first, then each certificate's issuer");
        None
    }

    fn mismatch<T>(
        &mut self,
        file: &At<PathBuf>,
        owner: Option<&CertificateDer<'_>>,
        leaf: &CertificateDer<'_>,
    ) -> Option<T> {
        let label = match owner {
            Some(owner) => format!("public key of {}, the chain's leaf is {}", subject(owner), subject(leaf)),
            None => format!("not the key of the chain's leaf, {}", subject(leaf)),
        };
        let message = self.message("the key does not belong to the certificate");
        self.report
            .error(file.span, message)
            .label(label)
            .help("use the key that the certificate request was made with");
        None
    }

    fn message(&self, what: impl Display) -> String {
        format!("certificate `{}`: {what}", self.name)
    }
}

/// The place in `chain` of the certificate that `key` belongs to.
fn owner(key: &dyn SigningKey, chain: &[CertificateDer<'_>]) -> Option<usize> {
    let ours = key.public_key()?;
    chain.iter().position(|certificate| public_key(certificate) == Some(ours.as_ref()))
}

fn subject(certificate: &CertificateDer<'_>) -> String {
    Leaf::read(certificate).map_or_else(|| "a damaged certificate".to_owned(), |leaf| leaf.subject)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    use tempfile::TempDir;
    use time::OffsetDateTime;

    use super::super::openssl::Openssl;
    use super::*;
    use crate::config::Secrets;
    use crate::demo::certificates::{CertificateAuthority, Issued, certificate_pem, named};
    use crate::secret::Secret;

    /// The files of one certificate, `partner`.
    struct Files {
        folder: TempDir,
        passphrase: Option<&'static str>,
    }

    impl Files {
        fn new() -> Self {
            Self { folder: TempDir::new().unwrap(), passphrase: None }
        }

        fn of(chain: &str, key: &str) -> Self {
            let files = Self::new();
            files.write("chain.pem", chain.as_bytes());
            files.write("key.pem", key.as_bytes());
            files
        }

        fn write(&self, name: &str, contents: &[u8]) {
            let path = self.folder.path().join(name);
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn at(&self, name: &str) -> At<PathBuf> {
            At { value: self.folder.path().join(name), span: place(name) }
        }

        fn compile(&self) -> (Option<Arc<Certificate>>, Report) {
            self.compile_as(
                WrittenMaterial::Pem { chain: self.at("chain.pem"), key: self.at("key.pem") },
                Secrets::Read,
            )
        }

        fn compile_as(&self, material: WrittenMaterial, secrets: Secrets) -> (Option<Arc<Certificate>>, Report) {
            let passphrase =
                self.passphrase.map(|text| At { value: Secret::new(text.to_owned()), span: place("passphrase") });
            let value = config::CertificateConfig { title: None, material, passphrase };
            let (inputs, mut report) = (Inputs::new(secrets), Report::default());
            let name = CertificateName::parse("partner").unwrap();
            let certificate = Certificate::compile(&name, &At { value, span: Span::default() }, &inputs, &mut report);
            (certificate, report)
        }
    }

    /// A place that stands for a field of the config.
    fn place(of: &str) -> Span {
        let start = ["chain.pem", "key.pem", "passphrase", "p12"].iter().position(|name| *name == of).unwrap() + 1;
        Span { file: 0, start: u32::try_from(start).unwrap(), end: 9 }
    }

    /// What a report says, a line each: place, message, label, help.
    fn said(report: &Report) -> Vec<String> {
        let line = |diagnostic: &&config::Diagnostic| {
            let place = diagnostic.span.map_or(0, |span| span.start);
            let label = diagnostic.label.as_deref().unwrap_or("-");
            format!("{place}: {}; {label}; {}", diagnostic.message, diagnostic.help.as_deref().unwrap_or("-"))
        };
        report.diagnostics().iter().map(line).collect()
    }

    fn issue(common_name: &str) -> Issued {
        CertificateAuthority::new("Test CA").unwrap().client(common_name).unwrap()
    }

    #[track_caller]
    fn check_refused(files: &Files, expected: &[&str]) {
        let (certificate, report) = files.compile();
        assert!(certificate.is_none());
        assert_eq!(said(&report), expected);
    }

    #[test]
    fn a_chain_and_its_key_become_a_certificate() {
        let issued = issue("partner");

        let (certificate, report) = Files::of(&certificate_pem(&issued.certificate), &issued.key_pem()).compile();

        let certificate = certificate.unwrap();
        assert_eq!(said(&report), [""; 0]);
        assert_eq!(certificate.title, "partner");
        assert_eq!((certificate.leaf.subject.as_str(), certificate.leaf.issuer.as_str()), ("CN=partner", "CN=Test CA"));
        assert_eq!(certificate.presented.cert, [issued.certificate]);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (issued, other) = (issue("partner"), issue("partner-old"));
        let chain = certificate_pem(&issued.certificate);
        let message = "2: certificate `partner`: the key does not belong to the certificate";
        let help = "use the key that the certificate request was made with";

        let lone = Files::of(&chain, &other.key_pem());
        check_refused(&lone, &[&format!("{message}; not the key of the chain's leaf, CN=partner; {help}")]);

        let beside_its_own = Files::of(&chain, &[other.key_pem(), certificate_pem(&other.certificate)].concat());
        let label = "public key of CN=partner-old, the chain's leaf is CN=partner";
        check_refused(&beside_its_own, &[&format!("{message}; {label}; {help}")]);
    }

    #[test]
    fn a_chain_that_does_not_begin_with_the_leaf_is_refused() {
        let authority = CertificateAuthority::new("Test CA").unwrap();
        let issued = authority.client("partner").unwrap();
        let chain = [certificate_pem(authority.certificate()), certificate_pem(&issued.certificate)].concat();

        check_refused(
            &Files::of(&chain, &issued.key_pem()),
            &["1: certificate `partner`: the chain does not begin with the certificate of the key; \
               CN=Test CA comes first, CN=partner is number 2; put the leaf first, then each certificate's issuer"],
        );
    }

    #[test]
    fn certificates_that_did_not_issue_each_other_are_warned_of() {
        let issued = issue("partner");
        let stranger = certificate_pem(CertificateAuthority::new("Another CA").unwrap().certificate());
        let chain = [certificate_pem(&issued.certificate), stranger].concat();

        let (certificate, report) = Files::of(&chain, &issued.key_pem()).compile();

        assert!(certificate.is_some() && !report.has_errors());
        assert_eq!(
            said(&report),
            ["1: certificate `partner`: a service may not be able to follow the chain; \
              CN=partner was not issued by CN=Another CA; put each certificate's issuer after it"]
        );
    }

    #[test]
    fn what_is_wrong_with_both_files_is_said_at_once() {
        let key = issue("partner").key_pem();

        check_refused(
            &Files::of(&key, "half a k"),
            &[
                "1: certificate `partner`: no certificate in this file; -; what it holds is a PRIVATE KEY",
                "2: certificate `partner`: no private key in this file; -; -",
            ],
        );
    }

    #[test]
    fn a_passphrase_that_does_not_fit_is_marked_itself() {
        let issued = issue("partner");
        let mut files = Files::of(&certificate_pem(&issued.certificate), &issued.key_pem());
        files.passphrase = Some("horse");

        check_refused(
            &files,
            &["3: certificate `partner`: there is a passphrase, but the private key is not encrypted; -; \
               remove `passphrase`, or use the encrypted key"],
        );
    }

    #[track_caller]
    fn check_warned(params: &rcgen::CertificateParams, expected: &str) {
        let issued = CertificateAuthority::new("Test CA").unwrap().issue(params).unwrap();

        let (certificate, report) = Files::of(&certificate_pem(&issued.certificate), &issued.key_pem()).compile();

        assert!(certificate.is_some() && !report.has_errors());
        assert_eq!(said(&report), [format!("1: certificate `partner`: {expected}")]);
    }

    #[test]
    fn an_expired_certificate_is_used_with_a_warning_and_so_is_one_that_is_not_for_clients() {
        let mut expired = named("partner");
        expired.not_after = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        expired.not_before = expired.not_after - Duration::from_secs(60);
        let mut unfit = named("partner");
        unfit.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];

        let renewal = "replace the file: it is watched, no restart is needed";
        check_warned(&expired, &format!("expired at 2023-11-14T22:13:20Z; -; {renewal}"));
        check_warned(
            &unfit,
            "this is a certificate which is not for clients: its extended key usage lacks clientAuth; -; have it issued for TLS \
             clients: most services refuse it in a handshake",
        );
    }

    #[test]
    fn a_pkcs12_file_becomes_a_certificate() {
        let openssl = Openssl::new();
        openssl.run("req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=partner -days 90 -out leaf");
        let mut files = Files::new();
        files.write("p12", &openssl.make("pkcs12 -export -inkey key -in leaf -passout pass:horse -out out"));
        let material = WrittenMaterial::Pkcs12(files.at("p12"));

        files.passphrase = Some("horse");
        let (certificate, report) = files.compile_as(material.clone(), Secrets::Read);
        assert_eq!(said(&report), [""; 0]);
        assert_eq!(certificate.unwrap().leaf.subject, "CN=partner");

        files.passphrase = None;
        let (_, report) = files.compile_as(material, Secrets::Read);
        assert_eq!(
            said(&report),
            ["4: certificate `partner`: the private key is encrypted, and there is no passphrase; -; \
              add `passphrase`, say `passphrase: { file: PATH }`"]
        );
    }

    #[test]
    fn nothing_is_read_where_secrets_are_left_alone() {
        let files = Files::new();
        let material = WrittenMaterial::Pem { chain: files.at("chain.pem"), key: files.at("key.pem") };

        let (certificate, report) = files.compile_as(material, Secrets::Skip);

        assert!(certificate.is_none());
        assert_eq!(said(&report), [""; 0]);
    }

    #[test]
    fn a_key_that_others_can_read_is_warned_of() {
        let issued = issue("partner");
        let files = Files::of(&certificate_pem(&issued.certificate), &issued.key_pem());
        let key: &Path = &files.folder.path().join("key.pem");
        fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();

        let (certificate, report) = files.compile();

        assert!(certificate.is_some());
        assert!(said(&report)[0].contains("holds a secret that others can read"), "{:?}", said(&report));
    }
}
