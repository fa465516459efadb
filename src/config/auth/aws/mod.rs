//! `aws_sigv4`: AWS Signature Version 4 over each request.

mod profile;

use std::path::PathBuf;

use http::{HeaderName, header};

use super::place::RequestPlace;
use super::signature::{Signature, Signs};
use super::{Auth, CertificateUse, MethodRow, check_value};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromText, SectionFields, SectionReader, Wrong};
use crate::config::section::{read_section, section, words};
use crate::config::value::{At, EndpointUrl, Size, Span, Url};
use crate::secret::Secret;
use profile::Profile;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "aws_sigv4", certificate: CertificateUse::Allowed, keys: AwsFields::properties, read };

/// AWS Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSigV4 {
    /// `eu-central-1`.
    pub region: String,
    /// As AWS calls it in signatures: `s3`, `execute-api`.
    pub service: String,
    /// What it is signed with.
    pub keys: AwsKeys,
    /// The most that is kept of a body to hash it, in bytes.
    pub max_signed_body: usize,
    /// Whether bodies are signed; `None`: as is usual for the service.
    pub payload: Option<At<SignedPayload>>,
}

words! {
    /// `payload`: whether the signature covers the body.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SignedPayload ("what a signature may say of the body") {
        /// By its digest.
        "signed" => Signed,
        /// `UNSIGNED-PAYLOAD`, over TLS only.
        "unsigned" => Unsigned,
    }
}

/// What requests to AWS are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsKeys {
    /// Known before any request comes: written here or in a profile.
    Fixed(AwsKey),
    /// Lent by STS for the token of a workload.
    WebIdentity(WebIdentity),
}

/// A key of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKey {
    /// Says which key it is; goes out with each request.
    pub id: String,
    /// Signs.
    pub secret: Secret,
    /// Goes along with a key that is lent.
    pub session_token: Option<Secret>,
}

/// How a key is lent (`AssumeRoleWithWebIdentity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The role that is assumed.
    pub role_arn: String,
    /// Holds the workload's token; read anew each time.
    pub token_file: PathBuf,
    /// Who lends it.
    pub sts_url: At<Url>,
}

impl AwsSigV4 {
    /// The fields that only it sets.
    pub const FIELDS: [HeaderName; 4] = [
        header::AUTHORIZATION,
        HeaderName::from_static("x-amz-date"),
        HeaderName::from_static("x-amz-content-sha256"),
        HeaderName::from_static("x-amz-security-token"),
    ];
}

impl Signs for AwsSigV4 {
    fn fields(&self) -> Vec<HeaderName> {
        Self::FIELDS.to_vec()
    }

    fn places(&self, method: Span) -> Vec<(RequestPlace, Span)> {
        Self::FIELDS.iter().map(|name| (RequestPlace::header(name.as_str()), method)).collect()
    }

    fn masked(&self) -> Vec<String> {
        vec![format!("authorization: AWS4-HMAC-SHA256 *** (a signature for {} in {})", self.service, self.region)]
    }

    fn sts_url(&self) -> Option<&At<Url>> {
        match &self.keys {
            AwsKeys::Fixed(_) => None,
            AwsKeys::WebIdentity(lent) => Some(&lent.sts_url),
        }
    }
}

section! {
    struct AwsFields {
        /// The region, `eu-central-1` say.
        region: ScopeWord,
        /// The service as AWS calls it in signatures: `s3`, `execute-api`, `dynamodb`.
        service: ScopeWord,
        /// The id of a key; with `secret_access_key`.
        access_key_id: Option<At<KeyId>> = None,
        /// The key; with `access_key_id`.
        secret_access_key: Option<At<Secret>> = None,
        /// Goes along with a key that is lent.
        session_token: Option<At<Secret>> = None,
        /// The key is in a file of credentials.
        profile: Option<At<ProfileKeys>> = None,
        /// The key is lent by STS for the token of a workload.
        web_identity: Option<At<WebIdentityKeys>> = None,
        /// The most that is kept of a body to hash it.
        max_signed_body: usize as Size<1, 1_048_576> = 8 << 20,
        /// `unsigned` sends `UNSIGNED-PAYLOAD` for every body, over `https://` only; the default for `vpc-lattice-svcs`.
        payload: Option<At<SignedPayload>> = None,
    }
}

section! {
    /// `profile`.
    struct ProfileKeys {
        /// A file in the format of `~/.aws/credentials`.
        file: At<PathBuf>,
        /// The profile's name there.
        name: String = "default".to_owned(),
    }
}

section! {
    /// `web_identity`.
    struct WebIdentityKeys {
        /// The role that is assumed.
        role_arn: String,
        /// Holds the token that shows who assumes it; read anew each time.
        token_file: PathBuf,
        /// STS; by default that of the region.
        sts_url: Option<At<EndpointUrl>> = None,
    }
}

read_section!(ProfileKeys, WebIdentityKeys);

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let keys = AwsFields::from_fields(fields, reader)?;
    let (region, service, max_signed_body) = (keys.region.0.clone(), keys.service.0.clone(), keys.max_signed_body);
    let payload = keys.payload;
    let keys = keys.source(node, reader)?;
    Ok(Some(Auth::Signs(Signature::AwsSigV4(Box::new(AwsSigV4 { region, service, keys, max_signed_body, payload })))))
}

impl AwsFields {
    /// The one source of its key.
    fn source(self, node: &Node, reader: &mut SectionReader<'_>) -> Result<AwsKeys, Reported> {
        let written = |keys: &[&str]| keys.iter().any(|key| node.entry(key).is_some());
        let fixed = written(&["access_key_id", "secret_access_key", "session_token"]);
        let sources = [fixed, written(&["profile"]), written(&["web_identity"])];
        if sources.iter().filter(|written| **written).count() != 1 {
            let wrong = Wrong::new("the key comes from exactly one place");
            let help = "write `access_key_id` and `secret_access_key`, or `profile`, or `web_identity`";
            return Err(wrong.help(help).report(node.span, reader.report));
        }
        if fixed {
            return self.fixed(node, reader).map(AwsKeys::Fixed);
        }
        match (self.profile, self.web_identity) {
            (Some(named), _) => {
                let ProfileKeys { file, name } = named.value;
                profile::read(&Profile { file, name, span: named.span }, reader).map(AwsKeys::Fixed)
            }
            (_, Some(lent)) => lent.value.source(&self.region.0, lent.span, reader).map(AwsKeys::WebIdentity),
            // The one that is written could not be read.
            (None, None) => Err(Reported),
        }
    }

    fn fixed(self, node: &Node, reader: &mut SectionReader<'_>) -> Result<AwsKey, Reported> {
        for key in ["access_key_id", "secret_access_key"] {
            if node.entry(key).is_none() {
                let error = reader.report.error(node.span, format!("`{key}` is missing"));
                error.label(format!("needs `{key}`")).help(format!("add `{key}: …`"));
                return Err(Reported);
            }
        }
        let session_token = self.session_token;
        if let Some(token) = &session_token {
            check_value(token, "", reader)?;
        }
        let (Some(id), Some(secret)) = (self.access_key_id, self.secret_access_key) else { return Err(Reported) };
        Ok(AwsKey { id: id.value.0, secret: secret.value, session_token: session_token.map(|token| token.value) })
    }
}

impl WebIdentityKeys {
    fn source(self, region: &str, span: Span, reader: &mut SectionReader<'_>) -> Result<WebIdentity, Reported> {
        let sts_url = match self.sts_url {
            Some(url) => At { value: url.value.into(), span: url.span },
            None => At { value: usual_sts(region).map_err(|wrong| wrong.report(span, reader.report))?, span },
        };
        Ok(WebIdentity { role_arn: self.role_arn, token_file: self.token_file, sts_url })
    }
}

/// STS of a region; China's is a world of its own.
fn usual_sts(region: &str) -> Result<Url, Wrong> {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    EndpointUrl::from_text(&format!("https://sts.{region}.amazonaws.com{suffix}/")).map(Url::from)
}

/// A word of the scope that a signature is good for.
struct ScopeWord(String);

impl FromText for ScopeWord {
    const WHAT: &'static str = "a name of AWS";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || !text.bytes().all(legal) {
            return Err(
                Wrong::new("this is not a name of AWS").help("letters, digits, `-`, `_` and `.`, like `eu-central-1`")
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self("placeholder".to_owned())
    }
}

/// The id of a key.
struct KeyId(String);

impl FromText for KeyId {
    const WHAT: &'static str = "the id of a key";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b',')) {
            return Err(Wrong::new("this is not the id of a key")
                .help("it has no space, `/` or `,`, and looks like `AKIAIOSFODNN7EXAMPLE`"));
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self("placeholder".to_owned())
    }
}
