//! What a file is that is none of those that can be read: told by its first bytes, with the command that converts it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A key or a certificate in other clothes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// PEM, but with another label than what was looked for.
    Section(String),
    Der,
    Pkcs12,
    /// As Azure Key Vault hands it out.
    Base64Pkcs12,
    JavaKeystore,
    /// RFC 7517 §4.
    Jwk,
    /// RFC 7517 §5.
    JwkSet,
    /// The JSON file of a Google service account, whose member `private_key` is one.
    GoogleAccount,
    /// What PowerShell's `>` writes.
    Utf16,
}

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    Key,
    Certificate,
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
        let base64: String = text.split_ascii_whitespace().collect();
        let decoded = STANDARD.decode(base64).ok()?;
        is_pkcs12(&decoded).then_some(Self::Base64Pkcs12)
    }

    /// What it is, and how it becomes what was looked for.
    pub(super) fn help(&self, wanted: Sought, path: &Path) -> String {
        let file = path.display();
        match (self, wanted) {
            (Self::Section(label), Sought::Pkcs12) => {
                format!("it is PEM and begins with a {label}: name such files as `chain` and `key`, not as `pkcs12`")
            }
            (Self::Section(label), Sought::Key) if label == "OPENSSH PRIVATE KEY" => format!(
                "it is a key in OpenSSH's format; RSA and EC keys are converted by: \
                 install -m 600 {file} NEW && ssh-keygen -p -N '' -m PKCS8 -f NEW"
            ),
            (Self::Section(label), Sought::Certificate) if label == "PKCS7" => {
                format!(
                    "what it holds is a PKCS7; take the certificates out: openssl pkcs7 -print_certs -in {file} -out NEW"
                )
            }
            (Self::Section(label), _) => format!("what it holds is a {label}"),
            (Self::Der, Sought::Pkcs12) => {
                "it looks like DER, but not like PKCS#12; a certificate and a key in PEM are \
                 named as `chain` and `key`"
                    .to_owned()
            }
            (Self::Der, Sought::Key) => {
                format!("this looks like DER; make it PEM: openssl pkey -inform DER -in {file} -out NEW")
            }
            (Self::Der, Sought::Certificate) => {
                format!("this looks like DER; make it PEM: openssl x509 -inform DER -in {file} -out NEW")
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
            (Self::Utf16, _) => format!("it is text in UTF-16; make it UTF-8: iconv -f UTF-16 -t UTF-8 {file} > NEW"),
        }
    }
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
/// A JKS and a JCEKS file.
const JAVA: [[u8; 4]; 2] = [[0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce]];

#[cfg(test)]
mod tests {
    use super::super::certificate_error::CertificateError;
    use super::super::openssl::Openssl;
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
        for unknown in [&b""[..], b"{}", b"half a certif", b"AAAA", &[0x80, 0x81]] {
            check(unknown, None);
        }
    }
}
