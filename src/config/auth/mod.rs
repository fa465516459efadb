//! The entries of `auth`: one method and its fields.
//!
//! A method is a file of this folder and a row of `METHODS`. What a static one puts on a request is a list of
//! [`Attachment`]s, so that nothing else has to know of it; one that signs requests is a variant of [`Signature`] as well.

mod api_key;
mod attachment;
pub mod aws;
mod basic;
mod bearer;
mod canada_post;
mod file_login;
mod ftp;
mod google_places;
mod gpg_decrypt;
mod gpg_encrypt;
mod headers;
pub mod hmac;
pub mod oauth2;
mod place;
mod plaid;
mod sftp;
mod signature;
mod transform;
mod twilio;
mod unknown;

use schemars::{Schema, SchemaGenerator, json_schema};

pub use attachment::{Attachment, Static};
pub use aws::AwsSigV4;
pub use file_login::FileLogin;
pub use ftp::{FtpLogin, FtpTls};
pub use gpg_decrypt::{BeyondCheckFirst, GpgDecrypt};
pub use gpg_encrypt::{GpgEncrypt, PgpCompression, PgpFormat, SignWith};
pub use hmac::Hmac;
pub use oauth2::OAuth2;
pub use sftp::{PrivateKeyFile, SftpLogin, WrittenHostKeys};
pub use signature::Signature;
pub use transform::Transform;

use super::diagnostic::Reported;
use super::json_schema::{self, Property};
use super::node::{Node, ScalarKind, Value};
use super::read::{FromNode, FromText, SectionFields, SectionReader, Wrong};
use super::reference::{self, Accepts};
use super::section::one_of;
use super::value::{At, Url, header_value};
use crate::secret::Secret;
pub(super) use place::{report_overlap_with_field, report_overlap_with_headers};

/// One authentication method with its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// What is put on a request is known before any comes.
    Static(Static),
    /// A token of an OAuth 2.0 endpoint.
    OAuth2(Box<OAuth2>),
    /// A signature over each request.
    Signs(Signature),
    /// A login to a server of files, before any request.
    Files(FileLogin),
    /// What becomes of bodies on their way.
    Transforms(Transform),
    /// A method one of whose commands failed.
    Unavailable(NotBuiltIn),
}

/// A method whose secret can't be had now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBuiltIn {
    /// What the config calls the method.
    pub name: &'static str,
    /// As it was read, with placeholders for secrets: good for its other fields only.
    pub method: Box<Auth>,
    /// Which command failed, and why; no secret.
    pub reason: String,
}

/// `auth` as it is written: one method or a list of them.
pub(super) struct Methods(Vec<At<Auth>>);

impl From<Methods> for Vec<At<Auth>> {
    fn from(methods: Methods) -> Self {
        methods.0
    }
}

impl FromNode for Methods {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        if reader.overridden.is_some() {
            return Ok(Self(Vec::new()));
        }
        let entries = entries(node);
        let read: Vec<Result<Option<Auth>, Reported>> = entries.iter().map(|entry| Auth::read(entry, reader)).collect();
        reader.auth_unknown |= read.iter().any(Result::is_err);
        let methods = read
            .into_iter()
            .zip(entries)
            .filter_map(|(method, entry)| Some(At { value: method.ok().flatten()?, span: entry.span }));
        let methods: Vec<At<Auth>> = methods.collect();
        place::report_overlap(&methods, reader.report);
        transform::report_repeated(&methods, reader.report);
        Ok(Self(methods))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let methods: Vec<Schema> = methods().map(|method| method.schema(generator)).collect();
        let one = json_schema!({ "oneOf": methods });
        generator.definitions_mut().insert("Method".to_owned(), one.to_value());
        let method = json_schema!({ "$ref": "#/$defs/Method" });
        json_schema!({ "anyOf": [method, { "type": "array", "items": method }] })
    }
}

/// The methods of an `auth`, one or a list.
pub(super) fn entries(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(entries) => entries.as_slice(),
        _ => std::slice::from_ref(node),
    }
}

/// The keys that an entry of `auth` may have beside `type`; `None` if its method is unknown or can't be known.
pub(super) fn keys(entry: &Node, reader: &mut SectionReader<'_>) -> Option<Vec<&'static str>> {
    let name = MethodName::from_node(&entry.entry("type")?.value, reader).ok()?.0?;
    let method = methods().find(|method| method.name == name)?;
    Some((method.keys)(&mut SchemaGenerator::default()).iter().map(|property| property.key).collect())
}

/// Describes an `auth` that `identities` complete: any of its keys but `type` may be missing.
pub(super) fn schema_of_overridden(generator: &mut SchemaGenerator) -> Schema {
    let lenient = |method: &MethodRow| {
        let mut schema = method.schema(generator);
        schema.insert("required".to_owned(), serde_json::json!(["type"]));
        schema
    };
    let methods: Vec<Schema> = methods().map(lenient).collect();
    let one = json_schema!({ "oneOf": methods });
    generator.definitions_mut().insert("OverriddenMethod".to_owned(), one.to_value());
    let method = json_schema!({ "$ref": "#/$defs/OverriddenMethod" });
    json_schema!({ "anyOf": [method, { "type": "array", "items": method }] })
}

/// What a config may say in `type`.
struct MethodRow {
    name: &'static str,
    certificate: CertificateUse,
    /// The keys beside `type`.
    keys: fn(&mut SchemaGenerator) -> Vec<Property>,
    /// `None` for `{type: none}`.
    read: fn(&mut SectionFields<'_>, &Node, &mut SectionReader<'_>) -> Result<Option<Auth>, Reported>,
}

/// Whether a method may stand beside the certificate of its service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CertificateUse {
    Allowed,
    Refused,
}

const NONE: MethodRow =
    MethodRow { name: "none", certificate: CertificateUse::Allowed, keys: |_| Vec::new(), read: |_, _, _| Ok(None) };

const METHODS: [MethodRow; 20] = [
    NONE,
    basic::METHOD,
    bearer::METHOD,
    api_key::METHOD,
    headers::METHOD,
    oauth2::CLIENT_CREDENTIALS,
    oauth2::PASSWORD,
    oauth2::REFRESH_TOKEN,
    oauth2::JWT_BEARER,
    oauth2::TOKEN_EXCHANGE,
    aws::METHOD,
    hmac::METHOD,
    google_places::METHOD,
    twilio::METHOD,
    plaid::METHOD,
    canada_post::METHOD,
    sftp::METHOD,
    ftp::METHOD,
    gpg_encrypt::METHOD,
    gpg_decrypt::METHOD,
];

/// Those that this build has.
fn methods() -> impl Iterator<Item = &'static MethodRow> + Clone {
    METHODS.iter().filter(|method| unknown::missing_feature(method.name).is_none())
}

impl MethodRow {
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut properties = (self.keys)(generator);
        let about = "The authentication method.";
        properties.insert(0, Property { key: "type", about, schema: one_of(&[self.name]), required: true });
        json_schema::object(properties)
    }

    fn read(
        &self,
        fields: &mut SectionFields<'_>,
        node: &Node,
        reader: &mut SectionReader<'_>,
    ) -> Result<Option<Auth>, Reported> {
        reader.inputs.begin_method();
        let read = (self.read)(fields, node, reader);
        let failures = reader.inputs.end_method();
        if failures.is_empty() {
            return read;
        }
        let unavailable =
            |method| NotBuiltIn { name: self.name, method: Box::new(method), reason: failures.join("; ") };
        Ok(read?.map(|method| Auth::Unavailable(unavailable(method))))
    }
}

impl Auth {
    /// The fields of an OAuth 2.0 method.
    pub(super) fn oauth2(&self) -> Option<&OAuth2> {
        match self {
            Self::OAuth2(oauth2) => Some(oauth2),
            Self::Static(_) | Self::Signs(_) | Self::Files(_) | Self::Transforms(_) => None,
            Self::Unavailable(NotBuiltIn { method, .. }) => method.oauth2(),
        }
    }

    /// Where keys are asked for that a method signs with.
    pub(super) fn sts_url(&self) -> Option<&At<Url>> {
        match self {
            Self::Signs(signature) => signature.method().sts_url(),
            Self::Static(_) | Self::OAuth2(_) | Self::Files(_) | Self::Transforms(_) => None,
            Self::Unavailable(NotBuiltIn { method, .. }) => method.sts_url(),
        }
    }

    /// The login to a server of files.
    pub(crate) fn file_login(&self) -> Option<&FileLogin> {
        match self {
            Self::Files(login) => Some(login),
            Self::Static(_) | Self::OAuth2(_) | Self::Signs(_) | Self::Transforms(_) => None,
            Self::Unavailable(NotBuiltIn { method, .. }) => method.file_login(),
        }
    }

    /// Reads an entry; `None` for `{type: none}`.
    fn read(node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Self>, Reported> {
        if node.scalar().is_some_and(|scalar| scalar.kind == ScalarKind::Text) {
            let wrong =
                Wrong::new("expected a mapping, found text").help("write `{ type: METHOD, … }` with the method's keys");
            return Err(wrong.report(node.span, reader.report));
        }
        let mut fields = SectionFields::open(node, reader.report)?;
        let Some(name) = fields.required::<MethodName>("type", reader)?.0 else {
            // The method comes from elsewhere, which `--no-secrets` does not read: nothing can be said about it.
            reader.auth_unknown = true;
            return Ok(None);
        };
        let Some(method) = methods().find(|method| method.name == name) else {
            return Err(unknown::refuse(&name, node, reader));
        };
        let read = method.read(&mut fields, node, reader);
        fields.close(reader.report);
        if method.certificate == CertificateUse::Refused && reader.links_certificate {
            return Err(unknown::refuse_certificate(&name, node, reader));
        }
        read
    }
}

/// `type`; `None` if it comes from elsewhere and is not read.
struct MethodName(Option<String>);

impl FromNode for MethodName {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let text = reference::text(node, Accepts::Text, "an authentication method", reader)?;
        Ok(Self(text.map(|found| (*found.value).clone())))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Refuses a secret that can't be the value of a field.
fn check_value(secret: &At<Secret>, prefix: &str, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
    let value = zeroize::Zeroizing::new(format!("{prefix}{}", secret.value.expose()));
    header_value(&value).map(drop).map_err(|wrong| wrong.report(secret.span, reader.report))
}

/// Text that may be empty.
struct AnyText(String);

impl From<AnyText> for String {
    fn from(text: AnyText) -> Self {
        text.0
    }
}

impl FromText for AnyText {
    const WHAT: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.contains(char::is_control) {
            return Err(Wrong::new("this text has a line break or another control character"));
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self(String::new())
    }
}
