//! `hmac`: a signature over parts of each request, as it is sent.
//!
//! The template was taken apart when the config was read, and the key is ready to sign. What is signed is read from the
//! request itself, after all other methods have put theirs on it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::TRANSFER_ENCODING;
use http::{HeaderName, HeaderValue, Method};
use hyper::body::Body as _;

use super::attachments::own_name;
use super::digest::{Digest, body_sha256};
use super::part::{Part, Sending};
use super::sensitive::secret_value;
use super::{Error, Material, Owned};
use crate::clock::rfc3339;
use crate::config::Report;
use crate::config::auth::hmac::{Encoding, Hmac, HmacDigest, TemplatePart, TimestampFormat};
use crate::hex::hex;
use crate::raw_query::as_read;
use crate::transport::{BodyNeed, Outgoing};

/// Signs the requests of one service.
#[derive(Debug)]
pub(super) struct HmacSigner {
    written: Hmac,
    key: hmac::Key,
    timed: bool,
    counted: bool,
}

/// What is new in each signature.
struct Fresh {
    timestamp: String,
    nonce: String,
}

impl HmacSigner {
    /// Nothing is left to be found wrong with it.
    pub(super) fn compile(written: &Hmac, _: &Material<'_>, _: &mut Report) -> Option<Self> {
        Some(Self::new(written))
    }

    fn new(written: &Hmac) -> Self {
        let algorithm = match written.algorithm {
            HmacDigest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HmacDigest::Sha256 => hmac::HMAC_SHA256,
            HmacDigest::Sha512 => hmac::HMAC_SHA512,
        };
        let has = |piece| written.template.pieces().contains(&piece);
        Self {
            key: hmac::Key::new(algorithm, written.key.expose()),
            timed: has(TemplatePart::Timestamp) || written.timestamp_header.is_some(),
            counted: has(TemplatePart::Nonce) || written.nonce_header.is_some(),
            written: written.clone(),
        }
    }

    /// The fields that it sets.
    fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.written.fields().map(|name| &name.value)
    }

    fn header(&self) -> &HeaderName {
        &self.written.header.value
    }

    fn sign(&self, outgoing: &mut Outgoing) -> Result<(), Error> {
        let fresh = Fresh {
            timestamp: if self.timed {
                timestamp(self.written.timestamp_format, SystemTime::now())
            } else {
                String::new()
            },
            nonce: if self.counted { nonce()? } else { String::new() },
        };
        self.sign_at(&fresh, outgoing)
    }

    fn sign_at(&self, fresh: &Fresh, outgoing: &mut Outgoing) -> Result<(), Error> {
        // First: they may be signed as fields.
        let told = [(&self.written.timestamp_header, &fresh.timestamp), (&self.written.nonce_header, &fresh.nonce)];
        for (name, value) in told {
            if let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                outgoing.fields.insert(own_name(&name.value), value);
            }
        }
        let mut signature = hmac::Context::with_key(&self.key);
        for piece in self.written.template.pieces() {
            update(&mut signature, piece, fresh, outgoing)?;
        }
        let signature = signature.sign();
        let signature = match self.written.encoding {
            Encoding::Hex => hex(signature.as_ref()),
            Encoding::Base64 => STANDARD.encode(signature),
        };
        let value = secret_value(&format!("{}{signature}", self.written.prefix));
        outgoing.fields.insert(own_name(self.header()), value);
        Ok(())
    }
}

impl Part for HmacSigner {
    fn owns(&self, owned: &mut Owned) {
        owned.fields.extend(self.fields().cloned());
    }

    fn digest(&self, digest: &mut Digest) {
        let Hmac { key, algorithm, encoding, prefix, timestamp_format, .. } = &self.written;
        digest.field(b"hmac");
        digest.field(key.expose());
        digest.field(&[*algorithm as u8, *encoding as u8, *timestamp_format as u8]);
        digest.field(prefix.as_bytes());
        digest.field(format!("{:?}", self.written.template).as_bytes());
        digest.field(&self.written.max_signed_body.to_be_bytes());
        digest.field(self.header().as_str().as_bytes());
        for told in [&self.written.timestamp_header, &self.written.nonce_header] {
            digest.list(told.iter().map(|name| name.value.as_str().as_bytes()));
        }
    }

    /// An app that sends one of its fields signs the request itself: no signature of ours is over another's time.
    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        self.fields().any(|name| outgoing.fields.contains_key(name))
    }

    /// Puts the signature on the request, and the fields that it is checked with.
    ///
    /// # Errors
    /// When there is no chance for a nonce, or no body to be hashed.
    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        self.sign(sending.outgoing)
    }

    fn body_needed(&self) -> Option<BodyNeed> {
        let needed = self.written.template.pieces().contains(&TemplatePart::BodySha256);
        needed.then_some(BodyNeed::Whole { most: self.written.max_signed_body })
    }
}

fn update(
    signature: &mut hmac::Context,
    piece: &TemplatePart,
    fresh: &Fresh,
    outgoing: &Outgoing,
) -> Result<(), Error> {
    match piece {
        TemplatePart::Text(text) => signature.update(text.as_bytes()),
        TemplatePart::Method => signature.update(outgoing.method.as_str().as_bytes()),
        TemplatePart::Path => signature.update(outgoing.target.path().as_bytes()),
        TemplatePart::Query => signature.update(&as_read(outgoing.target.query().unwrap_or_default())),
        TemplatePart::Host => signature.update(outgoing.authority.as_str().as_bytes()),
        TemplatePart::Timestamp => signature.update(fresh.timestamp.as_bytes()),
        TemplatePart::Nonce => signature.update(fresh.nonce.as_bytes()),
        TemplatePart::BodySha256 => signature.update(body_sha256(&outgoing.body)?.as_bytes()),
        TemplatePart::ContentLength => signature.update(content_length(outgoing).as_bytes()),
        TemplatePart::Header(name) => {
            for (number, line) in outgoing.fields.get_all(name).iter().enumerate() {
                signature.update(if number == 0 { b"" } else { b", " });
                signature.update(line.as_bytes());
            }
        }
    }
    Ok(())
}

/// As HTTP/1.1 will say it; empty if it will say nothing.
fn content_length(outgoing: &Outgoing) -> String {
    let chunked = outgoing.fields.contains_key(TRANSFER_ENCODING);
    let says_zero = matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH);
    match outgoing.body.size_hint().exact() {
        Some(0) if !says_zero => String::new(),
        Some(length) if length == 0 || !chunked => length.to_string(),
        _ => String::new(),
    }
}

fn timestamp(format: TimestampFormat, now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match format {
        TimestampFormat::Unix => since.as_secs().to_string(),
        TimestampFormat::UnixMs => since.as_millis().to_string(),
        TimestampFormat::Rfc3339 => rfc3339(now),
        TimestampFormat::HttpDate => httpdate::fmt_http_date(now),
    }
}

/// 16 bytes of chance, in hex.
fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Error::unsignable("the system has no random bytes"))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::config::Auth;
    use crate::config::auth::Signature;
    use crate::credential::tests::{load, outgoing};
    use crate::transport::RequestBody;

    /// The signer of a service with these fields in its `auth`.
    fn signer(fields: &str) -> HmacSigner {
        let (config, _) = load(format!(
            "services: {{ api: {{ url: 'https://api.example', auth: {{ type: hmac, header: x-signature, {fields} }} }} }}"
        ));
        let Auth::Signs(Signature::Hmac(written)) = &config.services["api"].value.auth[0].value else {
            panic!("no hmac")
        };
        HmacSigner::new(written)
    }

    fn fresh() -> Fresh {
        Fresh { timestamp: "1700000000".to_owned(), nonce: "00ff".to_owned() }
    }

    fn signature(signer: &HmacSigner, request: &mut Outgoing) -> String {
        signer.sign_at(&fresh(), request).expect("a signature");
        request.fields["x-signature"].to_str().expect("ASCII").to_owned()
    }

    #[track_caller]
    fn check(fields: &str, expected: &str) {
        assert_eq!(signature(&signer(fields), &mut outgoing("/", &[])), expected, "{fields}");
    }

    #[test]
    fn signatures_are_those_of_rfc_2202_and_4231() {
        let jefe = "key: Jefe, template: 'what do ya want for nothing?'";
        check(&format!("{jefe}, algorithm: sha1"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        check(jefe, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        check(&format!("{jefe}, encoding: base64"), "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
        check(
            &format!(
                "key: '{}', key_encoding: hex, template: Hi There, algorithm: sha512, prefix: 'v1='",
                "0b".repeat(20)
            ),
            "v1=87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61\
             f1702e696c203a126854",
        );
        let long = STANDARD.encode([0xaa; 131]);
        check(
            &format!(
                "key: {long}, key_encoding: base64, template: Test Using Larger Than Block-Size Key - Hash Key First"
            ),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
    }

    /// Signs one request under a template, and a text without placeholders: the signatures are the same.
    #[track_caller]
    fn check_template(template: &str, text: &str) {
        let body = RequestBody::Whole(Some(Bytes::from_static(b"abc")));
        let fields = [("content-type", "text/plain"), ("x-two", "a"), ("x-two", "b, c")];
        let mut request = Outgoing { method: Method::PUT, body, ..outgoing("/v1//a%2Fb;c?x=%20&y", &fields) };
        request.fields.append("x-two", HeaderValue::from_static("d"));
        let told = "key: k, timestamp_header: x-time, nonce_header: x-nonce";

        let found = signature(&signer(&format!("{told}, template: \"{template}\"")), &mut request);

        assert_eq!(
            found,
            signature(&signer(&format!("{told}, template: \"{text}\"")), &mut outgoing("/", &[])),
            "{template}"
        );
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        check_template("{method} {path}?{query}", "PUT /v1//a%2Fb;c?x=%20&y");
        check_template("{host}\n{header:host}", "api.example\napi.example");
        check_template("{timestamp}.{nonce}", "1700000000.00ff");
        check_template("{header:X-Time}{header:x-nonce}", "170000000000ff");
        check_template("{header:content-type}|{header:x-two}|{header:x-none}|", "text/plain|a, b, c, d||");
        check_template("{header:content-length}", "3");
        check_template("{body_sha256}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check_template("{{{method}}}", "{{PUT}}");
    }

    #[test]
    fn no_body_is_the_empty_one_and_no_query_the_empty_text() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

        let found = signature(
            &signer("key: k, template: '{query}|{body_sha256}|{header:content-length}'"),
            &mut outgoing("/", &[]),
        );

        assert_eq!(found, signature(&signer(&format!("key: k, template: '|{empty}|'")), &mut outgoing("/", &[])));
    }

    #[test]
    fn the_time_is_written_as_asked_for() {
        let now = UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);

        let written =
            [TimestampFormat::Unix, TimestampFormat::UnixMs, TimestampFormat::Rfc3339, TimestampFormat::HttpDate]
                .map(|format| timestamp(format, now));

        assert_eq!(written, ["1700000000", "1700000000123", "2023-11-14T22:13:20Z", "Tue, 14 Nov 2023 22:13:20 GMT"]);
    }

    #[test]
    fn each_sending_has_a_nonce_of_its_own_and_an_app_gets_none_of_its_fields_through() {
        let signer = signer("key: k, template: '{nonce}', nonce_header: x-nonce, timestamp_header: date");
        let mut request = outgoing("/", &[("content-type", "a")]);

        let mut nonces = Vec::new();
        for _ in 0..2 {
            signer.sign(&mut request).expect("a signature");
            nonces.push(request.fields["x-nonce"].clone());
        }

        assert_eq!((request.fields.len(), &request.fields[CONTENT_TYPE]), (4, &HeaderValue::from_static("a")));
        assert!(nonces.iter().all(|nonce| nonce.len() == 32) && nonces[0] != nonces[1], "{nonces:?}");
        assert!(request.fields["x-signature"].is_sensitive());
        let owned: Vec<_> = signer.fields().map(HeaderName::as_str).collect();
        assert_eq!(owned, ["x-signature", "date", "x-nonce"]);
    }

    #[test]
    fn only_a_template_with_the_bodys_digest_needs_the_body() {
        assert_eq!(signer("key: k, template: '{path}'").body_needed(), None);
        let needed = signer("key: k, template: '{body_sha256}', max_signed_body: 1MiB").body_needed();
        assert_eq!(needed, Some(BodyNeed::Whole { most: 1 << 20 }));
    }
}
