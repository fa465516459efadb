//! `aws_sigv4`: AWS Signature Version 4, in fields of the request.
//!
//! Canonical form and signature are AWS's own crate's; what is signed, and how much of a body has to be known for it,
//! is decided here. Signed are the host, `content-type` and all of `x-amz-…`: what no later stage changes.

mod path;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};
use tracing::Dispatch;
use tracing::dispatcher::with_default;

use super::sts::Lent;
use crate::config::auth::AwsSigV4;
use crate::config::auth::aws::{AwsKey, AwsKeys, SignedPayload};
use crate::config::{Report, Scheme};
use crate::credential::digest::{Digest, body_sha256};
use crate::credential::oauth2::Slot;
use crate::credential::part::{Part, Sending};
use crate::credential::{Error, Material, Owned};
use crate::raw_query::first_spelt;
use crate::transport::{BodyNeed, Outgoing, RequestBody};

/// Signs the requests of one service.
#[derive(Debug)]
pub(in crate::credential) struct SigV4Signer {
    region: String,
    service: String,
    /// Keeps paths as they are, and wants to be told what the body is.
    storage: bool,
    /// `None`: bodies are not signed.
    need: Option<BodyNeed>,
    keys: KeySource,
}

/// What requests are signed with.
#[derive(Debug)]
enum KeySource {
    Fixed { written: AwsKey, credentials: Credentials },
    Lent(Lent),
}

impl SigV4Signer {
    /// `None`: what is wrong has been reported.
    pub(in crate::credential) fn compile(
        written: &AwsSigV4,
        material: &Material<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let keys = match &written.keys {
            AwsKeys::Fixed(key) => KeySource::Fixed { credentials: credentials(key), written: key.clone() },
            AwsKeys::WebIdentity(lent) => KeySource::Lent(Lent::compile(lent, material, report)?),
        };
        let storage = STORAGE.contains(&written.service.as_str());
        let most = written.max_signed_body;
        let protected = material.service.url.value.scheme == Scheme::Https;
        let payload = match &written.payload {
            Some(payload) if payload.value == SignedPayload::Unsigned && !protected => {
                report
                    .error(payload.span, "a body that is not signed needs TLS")
                    .help("give the service an https:// url, or leave `payload` out");
                return None;
            }
            Some(payload) => payload.value,
            None if protected && written.service == LATTICE => SignedPayload::Unsigned,
            None => SignedPayload::Signed,
        };
        let need = match payload {
            SignedPayload::Unsigned => None,
            SignedPayload::Signed if storage && protected => Some(BodyNeed::IfShort { most: most.min(LONGEST_SIGNED) }),
            SignedPayload::Signed => Some(BodyNeed::Whole { most }),
        };
        Some(Self { region: written.region.clone(), service: written.service.clone(), storage, need, keys })
    }

    fn sign_with(&self, credentials: &Credentials, now: SystemTime, outgoing: &mut Outgoing) -> Result<(), Error> {
        refuse_signed_chunks(outgoing)?;
        let url = self.url(outgoing)?;
        let body = self.body(&outgoing.body)?;
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(self.settings())
            .build()
            .map_err(Error::unsignable)?
            .into();
        let host = (HOST.as_str(), outgoing.authority.as_str());
        let fields = std::iter::once(Ok(host)).chain(signed_fields(outgoing)).collect::<Result<Vec<_>, Error>>()?;
        let request = SignableRequest::new(outgoing.method.as_str(), url, fields.into_iter(), body);
        let request = request.map_err(|_| Error::unsignable("its target is no URI"))?;
        // Its traces hold the whole target, other credentials in the query included.
        let signed = with_default(&Dispatch::none(), || sign(request, &params));
        let (set, _) = signed.map_err(Error::unsignable)?.into_parts().0.into_parts();
        for field in set {
            let mut value = HeaderValue::from_str(field.value()).map_err(Error::unsignable)?;
            value.set_sensitive(matches!(field.name(), "authorization" | "x-amz-security-token"));
            outgoing.fields.insert(HeaderName::from_static(field.name()), value);
        }
        Ok(())
    }

    /// The request's URL, as its canonical form is made of it.
    fn url(&self, outgoing: &Outgoing) -> Result<String, Error> {
        let target = &outgoing.target;
        let path = if self.storage { path::of_storage(target.path()) } else { Cow::Borrowed(target.path()) };
        let query = target.query().unwrap_or_default();
        if first_spelt(query).is_some() {
            return Err(Error::unsignable("its query has a byte that has to be percent-encoded (RFC 3986)"));
        }
        if !path::is_text(query) {
            return Err(Error::unsignable("its query is not UTF-8"));
        }
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("https://{}{path}{mark}{query}", outgoing.authority))
    }

    fn body(&self, body: &RequestBody) -> Result<SignableBody<'static>, Error> {
        let may_stream = !matches!(self.need, Some(BodyNeed::Whole { .. }));
        if self.need.is_none() || may_stream && !body.is_in_memory() {
            return Ok(SignableBody::UnsignedPayload);
        }
        body_sha256(body).map(SignableBody::Precomputed)
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.storage {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        if self.storage || self.need.is_none() || WANTS_CHECKSUM.contains(&self.service.as_str()) {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

impl Part for SigV4Signer {
    fn owns(&self, owned: &mut Owned) {
        owned.fields.extend_from_slice(&FIELDS);
    }

    fn digest(&self, digest: &mut Digest) {
        let most = self.need.map(|(BodyNeed::Whole { most } | BodyNeed::IfShort { most })| most.to_be_bytes());
        digest.list([b"aws_sigv4".as_slice(), self.region.as_bytes(), self.service.as_bytes()].into_iter());
        digest.list(most.iter());
        match &self.keys {
            KeySource::Fixed { written: AwsKey { id, secret, session_token }, .. } => {
                let token = session_token.iter().map(|token| token.expose().as_bytes());
                digest.list([id.as_bytes(), secret.expose().as_bytes()].into_iter().chain(token));
            }
            KeySource::Lent(lent) => lent.digest(digest),
        }
    }

    /// An app that sends one of its fields signs the request itself: no signature of ours is over another's time.
    fn was_sent(&self, outgoing: &Outgoing) -> bool {
        FIELDS.iter().any(|name| outgoing.fields.contains_key(name))
    }

    /// Puts the signature on the request. Waits only while there is no live key that is lent.
    ///
    /// # Errors
    /// When no key is lent to us; when the request has something in it that has no canonical form.
    async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
        let now = SystemTime::now();
        match &self.keys {
            KeySource::Fixed { credentials, .. } => self.sign_with(credentials, now, sending.outgoing),
            KeySource::Lent(lent) => self.sign_with(&credentials(&lent.key().await?), now, sending.outgoing),
        }
    }

    fn body_needed(&self) -> Option<BodyNeed> {
        self.need
    }

    fn slot(&self) -> Option<&Arc<Slot>> {
        match &self.keys {
            KeySource::Fixed { .. } => None,
            KeySource::Lent(lent) => Some(lent.slot()),
        }
    }
}

/// What the app has cut into chunks and signed can only be sent with the app's signature: S3 would keep the chunks' own
/// heads as content.
fn refuse_signed_chunks(outgoing: &Outgoing) -> Result<(), Error> {
    let codings = outgoing.fields.get_all(CONTENT_ENCODING).iter();
    let is_cut = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii() == b"aws-chunked")
    };
    if codings.into_iter().any(is_cut) {
        return Err(Error::unsignable("its body is `aws-chunked`: let the app send it as it is"));
    }
    Ok(())
}

/// The fields that are signed, without the host.
fn signed_fields(outgoing: &Outgoing) -> impl Iterator<Item = Result<(&str, &str), Error>> {
    let signed = |name: &HeaderName| *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
    outgoing.fields.iter().filter(move |(name, _)| signed(name)).map(|(name, value)| {
        let text = std::str::from_utf8(value.as_bytes());
        text.map(|text| (name.as_str(), text)).map_err(|_| Error::unsignable(format!("its `{name}` is not UTF-8")))
    })
}

fn credentials(key: &AwsKey) -> Credentials {
    let token = key.session_token.as_ref().map(|token| token.expose().to_owned());
    Credentials::new(key.id.clone(), key.secret.expose(), token, None, "sidekey")
}

/// Bodies that are longer are not signed on the way to storage, but for what TLS does.
const LONGEST_SIGNED: usize = 64 << 10;

/// S3 by its names: a path is a key there, every byte of it.
const STORAGE: [&str; 3] = ["s3", "s3-object-lambda", "s3-outposts"];

/// VPC Lattice, which takes no signature over a body, and wants to be told so.
const LATTICE: &str = "vpc-lattice-svcs";

/// Others that want to be told the body's digest (OpenSearch Serverless, Glacier; Lattice without TLS).
const WANTS_CHECKSUM: [&str; 3] = ["aoss", "glacier", LATTICE];

static FIELDS: [HeaderName; 4] = AwsSigV4::FIELDS;
