//! Values from elsewhere: `{ env: NAME, default: … }`, `{ file: PATH }`, `{ credential: NAME }`.

use std::path::{Path, PathBuf};

use schemars::{Schema, SchemaGenerator, json_schema};
use zeroize::Zeroizing;

use super::diagnostic::{Report, Reported};
use super::node::{Entry, Node, Value};
use super::read::{FromNode, Reader, mismatch};
use super::source;
use super::suggest::nearest;
use super::value::Span;
use crate::secret::Secret;

/// What may stand in place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// The environment and files.
    Text,
    /// The environment: the field names a file itself.
    Path,
    /// The environment, files and credentials; never quoted.
    Secret,
}

/// A text and where it came from.
pub(super) struct Found {
    pub(super) value: Zeroizing<String>,
    /// `None`: it stands in the file.
    pub(super) origin: Option<String>,
}

impl Found {
    /// Says under the marked reference which value was wrong.
    pub(super) fn name_origin(&self, report: &mut Report) {
        if let Some(origin) = &self.origin {
            report.label_last(format!("the value of {origin}"));
        }
    }
}

/// Whether a mapping has nothing but the words of a reference.
pub(super) fn is_one(entries: &[Entry]) -> bool {
    let source = |entry: &Entry| matches!(entry.key.text.as_str(), "env" | "file" | "credential" | "command");
    entries.iter().any(source)
        && entries.iter().all(|entry| source(entry) || matches!(entry.key.text.as_str(), "default" | "refresh"))
}

/// The text of a node, its reference followed; `None` if references are not followed (`check --no-secrets`).
pub(super) fn text(node: &Node, accepts: Accepts, what: &str, report: &mut Report) -> Result<Option<Found>, Reported> {
    match &node.value {
        Value::Scalar(scalar) => Ok(Some(Found { value: scalar.text.clone(), origin: None })),
        Value::Mapping(entries) => Reference::parse(node, entries, accepts, report)?.follow(node.span, accepts, report),
        Value::Null | Value::Sequence(_) => Err(mismatch(node, what, report)),
    }
}

/// A text that never leaves this process but where it is meant to go.
impl FromNode for Secret {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        let Some(mut found) = text(node, Accepts::Secret, "a secret", reader.report)? else {
            return Ok(Self::new("placeholder".to_owned()));
        };
        if found.value.is_empty() {
            reader.report.error(node.span, "the secret is empty");
            found.name_origin(reader.report);
            return Err(Reported);
        }
        Ok(Self::new(std::mem::take(&mut *found.value)))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        schema(json_schema!({ "type": ["string", "number", "boolean"] }), Accepts::Secret, generator)
    }
}

/// A path; a relative one starts at the folder of its file.
impl FromNode for PathBuf {
    fn from_node(node: &Node, reader: &mut Reader<'_>) -> Result<Self, Reported> {
        let Some(found) = text(node, Accepts::Path, "a path", reader.report)? else {
            return Ok(Self::from("placeholder"));
        };
        if found.value.is_empty() || found.value.contains('\0') {
            reader.report.error(node.span, "this is not a path");
            found.name_origin(reader.report);
            return Err(Reported);
        }
        Ok(absolute(&found.value, node.span, reader.report))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        schema(json_schema!({ "type": "string", "minLength": 1 }), Accepts::Path, generator)
    }
}

/// `plain`, or a reference that stands for it.
pub(super) fn schema(plain: Schema, accepts: Accepts, generator: &mut SchemaGenerator) -> Schema {
    let (name, kinds) = match accepts {
        Accepts::Path => ("EnvReference", &["env"][..]),
        Accepts::Text => ("Reference", &["env", "file"][..]),
        Accepts::Secret => ("SecretReference", &["env", "file", "credential"][..]),
    };
    let forms: Vec<Schema> = kinds.iter().map(|kind| form(kind)).collect();
    generator.definitions_mut().insert(name.to_owned(), json_schema!({ "oneOf": forms }).to_value());
    json_schema!({ "anyOf": [plain, { "$ref": format!("#/$defs/{name}") }] })
}

fn form(kind: &str) -> Schema {
    let mut properties = serde_json::Map::new();
    properties.insert(kind.to_owned(), serde_json::json!({ "type": "string" }));
    if kind == "env" {
        properties.insert("default".to_owned(), serde_json::json!({ "type": ["string", "number", "boolean"] }));
    }
    json_schema!({ "type": "object", "properties": properties, "required": [kind], "additionalProperties": false })
}

/// A reference as it was written.
enum Reference {
    Env { name: String, default: Option<Zeroizing<String>> },
    File(PathBuf),
    Credential(String),
}

impl Reference {
    fn parse(node: &Node, entries: &[Entry], accepts: Accepts, report: &mut Report) -> Result<Self, Reported> {
        let kind = kind(node, entries, accepts, report)?;
        let default = entries.iter().find(|entry| entry.key.text == "default");
        if let Some(default) = default.filter(|_| kind.key.text != "env") {
            report.error(default.key.span, "`default` belongs beside `env`").help("remove it");
            return Err(Reported);
        }
        let value = scalar(&kind.value, report)?;
        match kind.key.text.as_str() {
            "env" => {
                let default = default.map(|entry| scalar(&entry.value, report)).transpose()?;
                Ok(Self::Env { name: variable_name(&value, kind.value.span, report)?, default })
            }
            "file" => Ok(Self::File(absolute(&value, kind.value.span, report))),
            _ => Ok(Self::Credential(credential_name(&value, kind.value.span, report)?)),
        }
    }

    fn follow(self, span: Span, accepts: Accepts, report: &mut Report) -> Result<Option<Found>, Reported> {
        match self {
            Self::Env { default: Some(value), .. } if !report.reads_secrets() => {
                Ok(Some(Found { value, origin: None }))
            }
            _ if !report.reads_secrets() => Ok(None),
            Self::Env { name, default } => environment(&name, default, span, report).map(Some),
            Self::File(path) => file(&path, span, accepts, report).map(Some),
            Self::Credential(name) => credential(&name, span, report).map(Some),
        }
    }
}

/// The one entry that says where the value comes from.
fn kind<'e>(node: &Node, entries: &'e [Entry], accepts: Accepts, report: &mut Report) -> Result<&'e Entry, Reported> {
    let allowed = accepts.words();
    let mut kinds = entries.iter().filter(|entry| entry.key.text != "default");
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        report.error(node.span, "a value from elsewhere has one source").help(accepts.help());
        return Err(Reported);
    };
    if allowed.contains(&kind.key.text.as_str()) {
        return Ok(kind);
    }
    report.mask_all(&kind.value);
    let message = match (kind.key.text.as_str(), accepts) {
        ("file", Accepts::Path) => "this field names a file itself: write its path here".to_owned(),
        ("command", Accepts::Secret) => "`command` is not in this version yet".to_owned(),
        ("credential" | "command", _) => format!("`{}` is for secrets only", kind.key.text),
        (other, _) => match nearest(other, allowed.iter().copied()) {
            Some(meant) => format!("a value does not come from here, did you mean \"{meant}\"?"),
            None => "expected one value, found a mapping".to_owned(),
        },
    };
    if accepts == Accepts::Secret && nearest(&kind.key.text, ["command"]).is_none() {
        report.mask(kind.key.defined);
    }
    report.error(kind.key.span, message).help(accepts.help());
    Err(Reported)
}

impl Accepts {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["env", "file"],
            Self::Path => &["env"],
            Self::Secret => &["env", "file", "credential"],
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Text => "write the value itself, `{ env: NAME, default: … }` or `{ file: PATH }`",
            Self::Path => "write the path itself, or `{ env: NAME, default: … }`",
            Self::Secret => "write `{ env: NAME }`, `{ file: PATH }` or `{ credential: NAME }`",
        }
    }
}

fn scalar(node: &Node, report: &mut Report) -> Result<Zeroizing<String>, Reported> {
    match node.scalar() {
        Some(scalar) => Ok(scalar.text.clone()),
        None => Err(mismatch(node, "one value", report)),
    }
}

fn variable_name(name: &str, span: Span, report: &mut Report) -> Result<String, Reported> {
    if name.is_empty() || name.contains(['=', '\0']) {
        report.error(span, "this is not the name of an environment variable");
        return Err(Reported);
    }
    Ok(name.to_owned())
}

fn credential_name(name: &str, span: Span, report: &mut Report) -> Result<String, Reported> {
    // A name that is a path could leave the folder of the credentials.
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        report
            .error(span, "a credential is named, not found by a path")
            .help("write the name of a file in $CREDENTIALS_DIRECTORY");
        return Err(Reported);
    }
    Ok(name.to_owned())
}

fn environment(
    name: &str,
    default: Option<Zeroizing<String>>,
    span: Span,
    report: &mut Report,
) -> Result<Found, Reported> {
    let origin = Some(format!("${name}"));
    match (source::variable(name).map(std::ffi::OsString::into_string), default) {
        (Some(Ok(value)), _) => Ok(Found { value: Zeroizing::new(value), origin }),
        (None, Some(value)) => Ok(Found { value, origin: None }),
        (Some(Err(_)), _) => {
            report.error(span, format!("the environment variable `{name}` is not UTF-8 text"));
            Err(Reported)
        }
        (None, None) => {
            report
                .error(span, format!("the environment variable `{name}` is not set"))
                .help(format!("set it, or write `{{ env: {name}, default: … }}`"));
            Err(Reported)
        }
    }
}

fn file(path: &Path, span: Span, accepts: Accepts, report: &mut Report) -> Result<Found, Reported> {
    let bytes = match accepts {
        Accepts::Secret => report.read_secret(path, span),
        Accepts::Text | Accepts::Path => report.read_value(path, span),
    };
    let text = bytes.ok_or(Reported)?;
    let Ok(text) = std::str::from_utf8(&text) else {
        report.error(span, format!("`{}` is not UTF-8 text", path.display()));
        return Err(Reported);
    };
    // Editors and `echo` end a file with a newline that is no part of the value.
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Found { value: Zeroizing::new(line.to_owned()), origin: Some(format!("`{}`", path.display())) })
}

fn credential(name: &str, span: Span, report: &mut Report) -> Result<Found, Reported> {
    let Some(folder) = source::credentials_directory() else {
        report
            .error(span, "$CREDENTIALS_DIRECTORY is not set")
            .help("systemd sets it for a unit that has `LoadCredential=`");
        return Err(Reported);
    };
    file(&folder.join(name), span, Accepts::Secret, report)
}

fn absolute(path: &str, span: Span, report: &Report) -> PathBuf {
    report.folder(span.file).map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}
