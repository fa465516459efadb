//! What a file is that is none of those that can be read: told by its first bytes, with the command that converts it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A key or a certificate in other clothes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// PEM, but with another label than what was looked for.
    Section(String),
    Der,
    Pkcs12,
    /// As Azure Key Vault hands it out.
    Base64Pkcs12,
    /// What stands in PEM between the lines that begin and end it.
    Base64Der,
    /// As a Kubernetes `Secret` has it under `data`.
    Base64Pem,
    JavaKeystore,
    /// RFC 7517 §4.
    Jwk,
    /// RFC 7517 §5.
    JwkSet,
    /// The JSON file of a Google service account, whose member `private_key` is one.
    GoogleAccount,
    /// What PowerShell's `>` writes.
    Utf16,
    /// What was downloaded is what somebody would have been shown.
    Html,
    /// White space at most.
    Empty,
}

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    Key,
    /// A key that no certificate stands beside.
    LoneKey,
    Certificate,
    /// The certificates of those who are trusted.
    Authorities,
    Pkcs12,
}

impl Foreign {
    /// `None`: nothing that is known.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        if file.starts_with(&[0xff, 0xfe]) || file.starts_with(&[0xfe, 0xff]) {
            return Some(Self::Utf16);
        }
        if JAVA.iter().any(|magic| file.starts_with(magic)) {
            return Some(Self::JavaKeystore);
        }
        if let [DER_SEQUENCE, ..] = file {
            return Some(if is_pkcs12(file) { Self::Pkcs12 } else { Self::Der });
        }
        Self::of_text(file)
    }

    fn of_text(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok()?.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            let has = |name: &str| text.contains(&format!("\"{name}\""));
            return match () {
                () if has("service_account") || has("private_key") => Some(Self::GoogleAccount),
                () if has("keys") => Some(Self::JwkSet),
                () if has("kty") => Some(Self::Jwk),
                () => None,
            };
        }
        if let Some(label) = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")) {
            return Some(Self::Section(label.0.to_owned()));
        }
        if text.is_empty() {
            return Some(Self::Empty);
        }
        let is_html = |start: &str| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
        if HTML.iter().any(|start| is_html(start)) {
            return Some(Self::Html);
        }
        Self::in_base64(text)
    }

    fn in_base64(text: &str) -> Option<Self> {
        // It may be a key.
        let base64 = Zeroizing::new(text.split_ascii_whitespace().collect::<String>());
        let decoded = Zeroizing::new(STANDARD.decode(&*base64).ok()?);
        match decoded.as_slice() {
            der if is_pkcs12(der) => Some(Self::Base64Pkcs12),
            // Shorter is no key and no certificate, but some word or other.
            [DER_SEQUENCE, _, ..] if decoded.len() >= SMALLEST_DER => Some(Self::Base64Der),
            text if text.starts_with(b"-----BEGIN ") => Some(Self::Base64Pem),
            _ => None,
        }
    }

    /// What it is, and how it becomes what was looked for.
    pub(super) fn help(&self, wanted: Sought, path: &Path) -> String {
        let file = path.display();
        match (self, wanted) {
            (Self::Section(label), Sought::Pkcs12) => {
                let label = with_article(label);
                format!("it is PEM and begins with {label}: name such files as `chain` and `key`, not as `pkcs12`")
            }
            (Self::Section(label), Sought::Key | Sought::LoneKey) if label == "OPENSSH PRIVATE KEY" => format!(
                "it is a key in OpenSSH's format; RSA and EC keys are converted by: \
                 install -m 600 {file} NEW && ssh-keygen -p -N '' -m PKCS8 -f NEW"
            ),
            (Self::Section(label), Sought::Certificate | Sought::Authorities) if label == "PKCS7" => {
                format!(
                    "what it holds is a PKCS7; take the certificates out: openssl pkcs7 -print_certs -in {file} -out NEW"
                )
            }
            (Self::Section(label), _) => format!("what it holds is {}", with_article(label)),
            (Self::Der | Self::Base64Der, Sought::Pkcs12) => {
                "it looks like DER, but not like PKCS#12; a certificate and a key in PEM are \
                 named as `chain` and `key`"
                    .to_owned()
            }
            (Self::Der, Sought::Key | Sought::LoneKey) => {
                format!("this looks like DER; make it PEM: openssl pkey -inform DER -in {file} -out NEW")
            }
            (Self::Der, Sought::Certificate | Sought::Authorities) => {
                format!("this looks like DER; make it PEM: openssl x509 -inform DER -in {file} -out NEW")
            }
            (Self::Base64Der, wanted) => {
                let is_key = matches!(wanted, Sought::Key | Sought::LoneKey);
                let command = if is_key { "pkey" } else { "x509" };
                format!(
                    "this looks like DER in base64, without the lines that PEM begins and ends with; make it PEM: \
                     base64 -d {file} | openssl {command} -inform DER -out NEW"
                )
            }
            (Self::Base64Pem, _) => format!("it is PEM in base64; decode it: base64 -d {file} > NEW"),
            (Self::Pkcs12, Sought::Authorities) => {
                format!("it is a PKCS#12 file; take the CAs out: openssl pkcs12 -nokeys -cacerts -in {file} -out NEW")
            }
            (Self::Base64Pkcs12, Sought::Authorities) => format!(
                "it is a PKCS#12 file in base64; take the CAs out: \
                 base64 -d {file} | openssl pkcs12 -nokeys -cacerts -out NEW"
            ),
            (Self::Pkcs12, Sought::LoneKey) => {
                format!("it is a PKCS#12 file; take the key out: openssl pkcs12 -nocerts -nodes -in {file} -out NEW")
            }
            (Self::Base64Pkcs12, Sought::LoneKey) => format!(
                "it is a PKCS#12 file in base64; take the key out: \
                 base64 -d {file} | openssl pkcs12 -nocerts -nodes -out NEW"
            ),
            (Self::JavaKeystore, Sought::LoneKey) => format!(
                "it is a Java keystore; make it PKCS#12, and take the key out: \
                 keytool -importkeystore -srckeystore {file} -destkeystore P12 -deststoretype PKCS12 \
                 && openssl pkcs12 -nocerts -nodes -in P12 -out NEW"
            ),
            (Self::JavaKeystore, Sought::Authorities) => {
                format!("it is a Java keystore; take the CAs out: keytool -list -rfc -keystore {file} > NEW")
            }
            (Self::Pkcs12, _) => "it is a PKCS#12 file: name it as `pkcs12`, instead of `chain` and `key`".to_owned(),
            (Self::Base64Pkcs12, _) => {
                format!("it is a PKCS#12 file in base64; name what this writes as `pkcs12`: base64 -d {file} > NEW")
            }
            (Self::JavaKeystore, _) => format!(
                "it is a Java keystore; name what this writes as `pkcs12`: \
                 keytool -importkeystore -srckeystore {file} -destkeystore NEW -deststoretype PKCS12"
            ),
            (Self::Jwk, _) => jwk("a JWK", "", path),
            (Self::JwkSet, _) => jwk("a set of JWKs", ".keys[0]", path),
            (Self::GoogleAccount, _) => format!(
                "it is the JSON file of a service account, and its `private_key` is the key: \
                 python3 -c 'import json; print(json.load(open(\"{file}\"))[\"private_key\"])' > NEW"
            ),
            (Self::Html, _) => {
                "it is an HTML page, which a server shows in place of a file or around one; download the file itself"
                    .to_owned()
            }
            (Self::Empty, _) => "the file is empty; look at what was to write it".to_owned(),
            (Self::Utf16, _) => format!("it is text in UTF-16; make it UTF-8: iconv -f UTF-16 -t UTF-8 {file} > NEW"),
        }
    }
}

/// `a CERTIFICATE`, `an EC PRIVATE KEY`, as it is read aloud.
fn with_article(label: &str) -> String {
    let by_letters = ["RSA ", "X509 ", "X9.42 ", "SSH"].iter().any(|start| label.starts_with(start));
    let article = if by_letters || label.starts_with(['A', 'E', 'I', 'O']) { "an" } else { "a" };
    format!("{article} {label}")
}

fn jwk(what: &str, member: &str, path: &Path) -> String {
    format!(
        "it is {what}; make it PEM: node -p 'crypto.createPrivateKey({{format: \"jwk\", \
         key: JSON.parse(fs.readFileSync(\"{}\")){member}}}).export({{type: \"pkcs8\", format: \"pem\"}})' > NEW",
        path.display()
    )
}

/// A sequence that begins with the version, 3, and a sequence (RFC 7292 §4).
fn is_pkcs12(der: &[u8]) -> bool {
    let [DER_SEQUENCE, length, rest @ ..] = der else { return false };
    let more = if *length < 0x80 { 0 } else { usize::from(*length & 0x7f) };
    rest.get(more..).is_some_and(|inside| inside.starts_with(&[0x02, 0x01, 0x03, DER_SEQUENCE]))
}

const DER_SEQUENCE: u8 = 0x30;
/// In bytes: a key of Ed25519 has 48.
const SMALLEST_DER: usize = 32;
const HTML: [&str; 3] = ["<!doctype html", "<html", "<head"];
/// A JKS and a JCEKS file.
const JAVA: [[u8; 4]; 2] = [[0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce]];

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::super::certificate_error::CertificateError;
    use super::super::openssl::Openssl;
    use super::super::pem::Pem;
    use super::super::{key, pkcs12};
    use super::*;
    use crate::secret::Secret;

    /// Runs the command that a help text ends with in a shell, and reads what it wrote.
    #[track_caller]
    fn converted(openssl: &Openssl, help: &str) -> Vec<u8> {
        let (_, command) = help.split_once(": ").unwrap();
        openssl.shell(command);
        openssl.read("NEW")
    }

    /// Where a key is wanted, `file` is told to be something else, and what converts it makes the key of it.
    #[track_caller]
    fn check_key(openssl: &Openssl, file: &[u8], what: &str) {
        openssl.write("file", file);
        let unusable = key::read(file, None).unwrap_err();
        let help = unusable.help("file".as_ref()).unwrap();
        assert!(help.contains(what) || unusable.to_string().contains(what), "{unusable}: {help}");

        let key = converted(openssl, &help);

        key::read(&key, None).unwrap_or_else(|unusable| panic!("{help}: {unusable}"));
    }

    fn p256(openssl: &Openssl) -> String {
        String::from_utf8(openssl.make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out out")).unwrap()
    }

    #[test]
    fn a_key_in_other_clothes_is_told_and_converted() {
        let openssl = Openssl::new();
        let pem = p256(&openssl);
        openssl.run("pkey -in out -outform DER -out der");
        let der = openssl.read("der");

        check_key(&openssl, &der, "DER");
        check_key(&openssl, pem.replace('\n', "\\n").as_bytes(), "`\\n`");
        check_key(&openssl, format!("\"{}\"", pem.replace('\n', "\\n")).as_bytes(), "`\\n`");
        check_key(&openssl, pem.replace('\n', "\\r\\n").as_bytes(), "`\\n`");
        let utf16: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
        check_key(&openssl, &[&[0xff, 0xfe], &utf16[..]].concat(), "UTF-16");
        let account = format!(r#"{{"type": "service_account", "private_key": "{}"}}"#, pem.replace('\n', "\\n"));
        check_key(&openssl, account.as_bytes(), "service account");
    }

    #[test]
    fn a_jwk_is_told_and_converted() {
        let openssl = Openssl::new();
        openssl.write("key", p256(&openssl).as_bytes());
        openssl.shell("node -p 'JSON.stringify(crypto.createPrivateKey(fs.readFileSync(\"key\")).export({format: \"jwk\"}))' > jwk");
        let jwk = String::from_utf8(openssl.read("jwk")).unwrap();

        check_key(&openssl, jwk.as_bytes(), "a JWK");
        check_key(&openssl, format!(r#"{{"keys": [{jwk}]}}"#).as_bytes(), "a set of JWKs");
    }

    #[test]
    fn a_key_of_openssh_is_told_and_converted() {
        let openssl = Openssl::new();
        openssl.shell("ssh-keygen -q -t ecdsa -N '' -f key");

        check_key(&openssl, &openssl.read("key"), "OpenSSH");
    }

    #[test]
    fn a_pkcs12_file_in_base64_is_told_and_converted() {
        let openssl = Openssl::new();
        openssl.run("req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=app -out leaf");
        let p12 = openssl.make("pkcs12 -export -inkey key -in leaf -passout pass:horse -out out");
        let passphrase = Secret::new("horse".to_owned());
        openssl.shell("base64 out > file");
        let file = openssl.read("file");
        let expected = CertificateError::NoPkcs12 { found: Some(Foreign::Base64Pkcs12) };

        let unusable = pkcs12::read(&file, Some(&passphrase)).unwrap_err();

        assert_eq!(unusable, expected);
        assert_eq!(converted(&openssl, &unusable.help("file".as_ref()).unwrap()), p12);
        assert_eq!(key::read(&p12, None).unwrap_err(), CertificateError::NoKey { found: Some(Foreign::Pkcs12) });
        assert_eq!(key::read(&file, None).unwrap_err(), CertificateError::NoKey { found: Some(Foreign::Base64Pkcs12) });
    }

    /// Where the certificate of `partner` is wanted, or the CAs that are trusted, `file` is told to be something else, and
    /// what converts it makes the certificate of it.
    #[track_caller]
    fn check_certificate(openssl: &Openssl, file: &[u8], wanted: Sought, what: &str, password: &str, expected: &[u8]) {
        openssl.write("file", file);
        let CertificateError::NoCertificate { found: Some(found) } = certificates(file).unwrap_err() else {
            panic!("{what} is not told");
        };
        let help = found.help(wanted, "file".as_ref());
        assert!(help.contains(what), "{help}");

        let converted = converted(openssl, &format!("{help}{password}"));

        assert_eq!(certificates(&converted).unwrap(), certificates(expected).unwrap(), "{help}");
    }

    fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        Pem::read(file).and_then(|pem| pem.certificates())
    }

    #[test]
    fn certificates_in_other_clothes_are_told_and_converted() {
        let openssl = Openssl::new();
        let pem = openssl.make("req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=app -out out");
        openssl.run("x509 -in out -outform DER -out der");
        openssl.shell("base64 der > armourless && base64 out > twice && base64 -w 0 der > one-line");
        openssl.run("crl2pkcs7 -nocrl -certfile out -out pkcs7");

        for wanted in [Sought::Certificate, Sought::Authorities] {
            for (file, what) in [
                ("der", "looks like DER"),
                ("armourless", "DER in base64"),
                ("one-line", "DER in base64"),
                ("twice", "PEM in base64"),
                ("pkcs7", "a PKCS7"),
            ] {
                check_certificate(&openssl, &openssl.read(file), wanted, what, "", &pem);
            }
        }
    }

    #[test]
    fn the_cas_are_taken_out_of_a_pkcs12_file() {
        let openssl = Openssl::new();
        let ca = openssl.make("req -x509 -newkey ed25519 -nodes -keyout ca-key -subj /CN=ca -out out");
        openssl.run("req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=app -CA out -CAkey ca-key -out leaf");
        openssl.run("pkcs12 -export -inkey key -in leaf -certfile out -passout pass:horse -out p12");
        openssl.shell("base64 p12 > p12-base64");

        let password = " -passin pass:horse";
        for (file, what) in [("p12", "a PKCS#12 file"), ("p12-base64", "a PKCS#12 file in base64")] {
            check_certificate(&openssl, &openssl.read(file), Sought::Authorities, what, password, &ca);
        }
    }

    #[test]
    fn a_lone_key_is_taken_out_of_a_pkcs12_file() {
        let openssl = Openssl::new();
        openssl.run("req -x509 -newkey ed25519 -nodes -keyout key -subj /CN=app -out leaf");
        openssl.run("pkcs12 -export -inkey key -in leaf -passout pass:horse -out p12");
        openssl.shell("base64 p12 > p12-base64");

        for file in ["p12", "p12-base64"] {
            let (name, file) = (file, openssl.read(file));
            let help = key::read(&file, None).unwrap_err().help_with_lone_key(name.as_ref()).unwrap();
            assert!(help.contains("take the key out"), "{help}");

            let converted = converted(&openssl, &format!("{help} -passin pass:horse"));

            key::read(&converted, None).unwrap_or_else(|unusable| panic!("{help}: {unusable}"));
        }
    }

    #[test]
    fn a_key_without_the_lines_of_pem_is_told_and_converted() {
        let openssl = Openssl::new();
        let pem = p256(&openssl);
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();

        check_key(&openssl, body.as_bytes(), "DER in base64");
        check_key(&openssl, STANDARD.encode(&pem).as_bytes(), "PEM in base64");
    }

    #[test]
    fn what_a_file_holds_has_its_article() {
        let told = |label: &str| Foreign::Section(label.to_owned()).help(Sought::Certificate, "file".as_ref());

        assert_eq!(told("EC PRIVATE KEY"), "what it holds is an EC PRIVATE KEY");
        assert_eq!(told("RSA PRIVATE KEY"), "what it holds is an RSA PRIVATE KEY");
        assert_eq!(told("ENCRYPTED PRIVATE KEY"), "what it holds is an ENCRYPTED PRIVATE KEY");
        assert_eq!(told("PRIVATE KEY"), "what it holds is a PRIVATE KEY");
    }

    #[test]
    fn what_is_told_by_its_first_bytes_is_told() {
        #[track_caller]
        fn check(file: &[u8], expected: Option<Foreign>) {
            assert_eq!(Foreign::of(file), expected, "{file:?}");
        }
        check(&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], Some(Foreign::JavaKeystore));
        check(&[0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2], Some(Foreign::JavaKeystore));
        // BER of a length that is not known yet, as Java writes it.
        check(&[0x30, 0x80, 2, 1, 3, 0x30, 0x80], Some(Foreign::Pkcs12));
        check(&[0x30, 0x82, 9, 9, 2, 1, 3, 0x30], Some(Foreign::Pkcs12));
        check(&[0x30, 0x82, 9, 9, 0x30], Some(Foreign::Der));
        check(b"{ \"kty\": \"RSA\" }", Some(Foreign::Jwk));
        check(b"", Some(Foreign::Empty));
        check(b"\xef\xbb\xbf \r\n", Some(Foreign::Empty));
        check(b"\n<!DOCTYPE HTML PUBLIC", Some(Foreign::Html));
        check(b"<html lang=en>", Some(Foreign::Html));
        for unknown in [&b"{}"[..], b"half a certif", b"AAAA", b"MIIC", b"<!-- <html> -->", &[0x80, 0x81]] {
            check(unknown, None);
        }
    }
}
