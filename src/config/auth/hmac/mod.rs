//! `hmac`: a signature over parts of each request, with a key that both sides know (RFC 2104).

mod template;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use zeroize::Zeroizing;

pub use template::{SignatureTemplate, TemplatePart};

use super::place::RequestPlace;
use super::signature::{Signature, Signs};
use super::{AnyText, Auth, CertificateUse, MethodRow};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader, Wrong};
use crate::config::secret_value::KeySecret;
use crate::config::section::{section, words};
use crate::config::value::{At, Size, Span};
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "hmac", certificate: CertificateUse::Refused, keys: HmacKeys::properties, read };

/// A signature over parts of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// What the service has too.
    pub key: SigningKey,
    /// The digest beneath.
    pub algorithm: HmacDigest,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The field that carries it.
    pub header: At<HeaderName>,
    /// Put before it as it is; together they can be sent in a field.
    pub prefix: String,
    /// What is signed.
    pub template: SignatureTemplate,
    /// How `{timestamp}` and `timestamp_header` are written.
    pub timestamp_format: TimestampFormat,
    /// The field that tells the service the time.
    pub timestamp_header: Option<At<HeaderName>>,
    /// The field that tells the service the nonce.
    pub nonce_header: Option<At<HeaderName>>,
    /// The most that is kept of a body to hash it, in bytes.
    pub max_signed_body: usize,
}

impl Hmac {
    /// The fields that it sets.
    pub fn fields(&self) -> impl Iterator<Item = &At<HeaderName>> {
        std::iter::once(&self.header).chain(&self.timestamp_header).chain(&self.nonce_header)
    }
}

impl Signs for Hmac {
    fn fields(&self) -> Vec<HeaderName> {
        Self::fields(self).map(|name| name.value.clone()).collect()
    }

    fn places(&self, _: Span) -> Vec<(RequestPlace, Span)> {
        self.fields().map(|name| (RequestPlace::header(name.value.as_str()), name.span)).collect()
    }

    fn masked(&self) -> Vec<String> {
        let others = [&self.timestamp_header, &self.nonce_header].into_iter().flatten();
        let others = others.map(|name| format!("{}: ***", name.value));
        let signature = format!("{}: {}*** (a signature)", self.header.value, self.prefix);
        std::iter::once(signature).chain(others).collect()
    }
}

/// The bytes of a key: wiped on drop and never printed.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// The bytes themselves, for who signs.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for SigningKey {}

words! {
    /// The digest beneath a signature.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum HmacDigest ("a digest for HMAC") {
        /// SHA-1: broken as a digest, not as an HMAC.
        "sha1" => Sha1,
        /// SHA-256.
        "sha256" => Sha256,
        /// SHA-512.
        "sha512" => Sha512,
    }
}

words! {
    /// How a signature is written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Encoding ("an encoding of a signature") {
        /// In lower case.
        "hex" => Hex,
        /// With padding (RFC 4648 §4).
        "base64" => Base64,
    }
}

words! {
    /// How the time is written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum TimestampFormat ("a format for the time") {
        /// Seconds since 1970.
        "unix" => Unix,
        /// Milliseconds since 1970.
        "unix_ms" => UnixMs,
        /// `2026-11-27T22:30:00Z`.
        "rfc3339" => Rfc3339,
        /// As in `Date` (RFC 9110 §5.6.7).
        "http_date" => HttpDate,
    }
}

words! {
    /// How a key is written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum KeyEncoding ("an encoding of a key") {
        /// The bytes of the text are the key.
        "utf8" => Utf8,
        /// With padding (RFC 4648 §4).
        "base64" => Base64,
        /// In either case.
        "hex" => Hex,
    }
}

section! {
    struct HmacKeys {
        /// The key that the service has too.
        key: At<Secret> as At<KeySecret>,
        /// How the key is written.
        key_encoding: KeyEncoding = KeyEncoding::Utf8,
        /// The digest beneath the signature.
        algorithm: HmacDigest = HmacDigest::Sha256,
        /// How the signature is written.
        encoding: Encoding = Encoding::Hex,
        /// The field that carries the signature.
        header: At<HeaderName>,
        /// Put before the signature as written, no space added.
        prefix: String as AnyText = String::new(),
        /// What is signed: text with `{method}`, `{path}`, `{query}`, `{host}`, `{timestamp}`, `{nonce}`,
        /// `{body_sha256}` and `{header:NAME}`; `{{` and `}}` are braces.
        template: At<SignatureTemplate>,
        /// How the time is written.
        timestamp_format: TimestampFormat = TimestampFormat::Unix,
        /// The field that tells the service the time.
        timestamp_header: Option<At<HeaderName>> = None,
        /// The field that tells the service the nonce.
        nonce_header: Option<At<HeaderName>> = None,
        /// The most that is kept of a body to hash it.
        max_signed_body: usize as Size<1, 1_048_576> = 8 << 20,
    }
}

fn read(fields: &mut SectionFields<'_>, _: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let keys = HmacKeys::from_fields(fields, reader)?;
    let key = decode(&keys.key, keys.key_encoding, reader);
    keys.check_fields(reader)?;
    keys.warn_of_what_is_not_sent(reader);
    Ok(Some(Auth::Signs(Signature::Hmac(Box::new(Hmac {
        key: key?,
        algorithm: keys.algorithm,
        encoding: keys.encoding,
        header: keys.header,
        prefix: keys.prefix,
        template: keys.template.value,
        timestamp_format: keys.timestamp_format,
        timestamp_header: keys.timestamp_header,
        nonce_header: keys.nonce_header,
        max_signed_body: keys.max_signed_body,
    })))))
}

/// The bytes of the key; what is wrong with it is told without it.
fn decode(key: &At<Secret>, encoding: KeyEncoding, reader: &mut SectionReader<'_>) -> Result<SigningKey, Reported> {
    let text = key.value.expose();
    let bytes = match encoding {
        // What stands in for a key that is not read need not be encoded.
        _ if !reader.inputs.reads_secrets() => Ok(text.as_bytes().to_vec()),
        KeyEncoding::Utf8 => Ok(text.as_bytes().to_vec()),
        KeyEncoding::Base64 => STANDARD.decode(text).map_err(|_| Wrong::new("the key is not base64")),
        KeyEncoding::Hex => unhex(text).ok_or_else(|| Wrong::new("the key is not hexadecimal")),
    };
    let bytes = bytes.map_err(|wrong| {
        let help = "`key_encoding` says how the key is written: `utf8`, `base64` (with padding) or `hex`";
        wrong.help(help).report(key.span, reader.report)
    })?;
    Ok(SigningKey(Zeroizing::new(bytes)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl HmacKeys {
    /// Refuses two of its values in one field, and a signature that would be over itself.
    fn check_fields(&self, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
        // Whatever signature follows the prefix: it is hex or base64.
        let prefixed = At { value: Secret::new("0".to_owned()), span: self.header.span };
        super::check_value(&prefixed, &self.prefix, reader)?;
        let own = [("timestamp_header", &self.timestamp_header), ("nonce_header", &self.nonce_header)];
        let mut taken = vec![&self.header];
        for (key, name) in own.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?))) {
            if let Some(first) = taken.iter().find(|other| same_field(&other.value, &name.value)) {
                let error =
                    reader.report.error(name.span, format!("`{key}` names a field that carries something else"));
                error.also(first.span, "named here").help("choose another field");
                return Err(Reported);
            }
            taken.push(name);
        }
        if self.template.value.pieces().contains(&TemplatePart::Header(self.header.value.clone())) {
            let wrong = Wrong::new("a signature can't be over the field that carries it");
            return Err(wrong.help("take it out of the template").report(self.template.span, reader.report));
        }
        Ok(())
    }

    /// A service that is not told what was signed can only guess it.
    fn warn_of_what_is_not_sent(&self, reader: &mut SectionReader<'_>) {
        let sent = [
            (TemplatePart::Timestamp, "{timestamp}", "timestamp_header", self.timestamp_header.is_none()),
            (TemplatePart::Nonce, "{nonce}", "nonce_header", self.nonce_header.is_none()),
        ];
        for (piece, placeholder, key, unsent) in sent {
            if unsent && self.template.value.pieces().contains(&piece) {
                reader
                    .report
                    .warning(self.template.span, format!("`{placeholder}` is signed and not sent along"))
                    .help(format!(
                        "name the field that tells the service, `{key}: …`: it can't check the signature without"
                    ));
            }
        }
    }
}

/// As the fields of two methods are compared.
fn same_field(one: &HeaderName, other: &HeaderName) -> bool {
    one.as_str().replace('_', "-") == other.as_str().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_in_pairs_and_either_case() {
        assert_eq!(unhex("00ffAb").as_deref(), Some(&[0, 0xff, 0xab][..]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("+1"), None);
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", SigningKey(Zeroizing::new(b"hunter2".to_vec()))), "***");
    }
}
