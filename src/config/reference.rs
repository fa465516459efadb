//! Values from elsewhere: `{ env: NAME, default: … }`, `{ file: PATH }`, `{ credential: NAME }`,
//! `{ command: [PROGRAM, ARGUMENT…], refresh: … }`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};
use zeroize::Zeroizing;

use super::command::{SecretCommand, without_newline};
use super::diagnostic::{Report, Reported};
use super::node::{MappingEntry, Node, Value, quoted};
use super::read::{FromNode, FromText, SectionReader, mismatch, report_unknown};
use super::source;
use super::suggest::nearest;
use super::value::{Positive, Span};

/// What may stand in place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// The environment and files.
    Text,
    /// The environment: the field names a file itself.
    Path,
    /// The environment, files, credentials and commands; never quoted.
    Secret,
}

/// A text and where it came from.
pub(super) struct FoundText {
    pub(super) value: Zeroizing<String>,
    /// `None`: it stands in the file.
    pub(super) origin: Option<String>,
}

impl FoundText {
    /// Says under the marked reference which value was wrong.
    pub(super) fn name_origin(&self, report: &mut Report) {
        if let Some(origin) = &self.origin {
            report.label_last(format!("the value of {origin}"));
        }
    }
}

/// Whether a command is named anywhere.
pub(super) fn has_command(node: &Node) -> bool {
    match &node.value {
        Value::Mapping(entries) => entries.iter().any(|entry| entry.key.text == "command" || has_command(&entry.value)),
        Value::Sequence(items) => items.iter().any(has_command),
        Value::Null | Value::Scalar(_) => false,
    }
}

/// The text of a node, its reference followed; `None` if references are not followed (`check --no-secrets`), or if a
/// command has failed and that is tolerated.
pub(super) fn text(
    node: &Node,
    accepts: Accepts,
    what: &str,
    reader: &mut SectionReader<'_>,
) -> Result<Option<FoundText>, Reported> {
    match &node.value {
        Value::Scalar(scalar) => Ok(Some(FoundText { value: scalar.text.clone(), origin: None })),
        Value::Mapping(entries) => {
            Reference::parse(node, entries, accepts, what, reader)?.follow(node.span, accepts, reader)
        }
        Value::Null | Value::Sequence(_) => Err(mismatch(node, what, reader.report)),
    }
}

/// A path; a relative one starts at the folder of its file.
impl FromNode for PathBuf {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let Some(found) = text(node, Accepts::Path, "a path", reader)? else {
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
    let mut forms: Vec<Schema> = kinds.iter().map(|kind| form(kind)).collect();
    if accepts == Accepts::Secret {
        forms.push(command_form(generator));
    }
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

fn command_form(generator: &mut SchemaGenerator) -> Schema {
    let word = schema(json_schema!({ "type": ["string", "number", "boolean"] }), Accepts::Text, generator);
    let refresh = schema(<Positive as FromText>::schema(), Accepts::Text, generator);
    json_schema!({
        "type": "object",
        "properties": { "command": { "type": "array", "items": word, "minItems": 1 }, "refresh": refresh },
        "required": ["command"],
        "additionalProperties": false,
    })
}

/// A reference as it was written.
enum Reference {
    Env {
        name: String,
        default: Option<Zeroizing<String>>,
    },
    File(PathBuf),
    Credential(String),
    /// The command is `None` where a part of it comes from elsewhere, which is not read.
    Command {
        command: Option<SecretCommand>,
        refresh: Option<Duration>,
    },
}

impl Reference {
    fn parse(
        node: &Node,
        entries: &[MappingEntry],
        accepts: Accepts,
        what: &str,
        reader: &mut SectionReader<'_>,
    ) -> Result<Self, Reported> {
        let kind = kind(node, entries, accepts, what, reader.report)?;
        let default = beside(kind, "default", "env", entries, reader.report)?;
        let refresh = beside(kind, "refresh", "command", entries, reader.report)?;
        if kind.key.text == "command" {
            let command = command_of(&kind.value, reader);
            let refresh = refresh.map(|entry| duration(&entry.value, reader)).transpose()?;
            return Ok(Self::Command { command: command?, refresh: refresh.flatten() });
        }
        let value = scalar(&kind.value, reader.report)?;
        match kind.key.text.as_str() {
            "env" => {
                let default = default.map(|entry| scalar(&entry.value, reader.report)).transpose()?;
                Ok(Self::Env { name: variable_name(&value, kind.value.span, reader.report)?, default })
            }
            "file" => Ok(Self::File(absolute(&value, kind.value.span, reader.report))),
            _ => Ok(Self::Credential(credential_name(&value, kind.value.span, reader.report)?)),
        }
    }

    fn follow(
        self,
        span: Span,
        accepts: Accepts,
        reader: &mut SectionReader<'_>,
    ) -> Result<Option<FoundText>, Reported> {
        match self {
            Self::Env { default: Some(value), .. } if !reader.inputs.follows_references() => {
                Ok(Some(FoundText { value, origin: None }))
            }
            _ if !reader.inputs.follows_references() => Ok(None),
            Self::Env { name, default } => {
                if accepts == Accepts::Secret {
                    reader.inputs.read_variable_of_secret(&name);
                }
                environment(&name, default, span, reader.report).map(Some)
            }
            Self::File(path) => file(&path, span, accepts, reader).map(Some),
            Self::Credential(name) => credential(&name, span, reader).map(Some),
            Self::Command { command: None, .. } => Ok(None),
            Self::Command { command: Some(command), refresh } => output(command, refresh, span, reader),
        }
    }
}

/// The one entry that says where the value comes from.
fn kind<'e>(
    node: &Node,
    entries: &'e [MappingEntry],
    accepts: Accepts,
    what: &str,
    report: &mut Report,
) -> Result<&'e MappingEntry, Reported> {
    let allowed = accepts.words();
    // One that nobody knows beside one that is: a slip, and not a second source.
    let is_known = |entry: &&MappingEntry| WORDS.contains(&entry.key.text.as_str());
    if let (Some(_), Some(unknown)) = (entries.iter().find(is_known), entries.iter().find(|entry| !is_known(entry))) {
        report_unknown(unknown, accepts.keys(), report);
        return Err(Reported);
    }
    if entries.len() > 1 && !entries.iter().any(|entry| is_known(&entry)) {
        // No value from elsewhere, but something that stands in another place.
        report.mask_all(node);
        report.error(node.span, format!("expected {what}, found a mapping")).help(accepts.help());
        return Err(Reported);
    }
    let mut kinds = entries.iter().filter(|entry| !matches!(entry.key.text.as_str(), "default" | "refresh"));
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
        ("credential" | "command", _) => format!("`{}` is for secrets only", kind.key.text),
        (other, _) => match nearest(other, allowed.iter().copied()) {
            Some(meant) => format!("unknown key {}, did you mean \"{meant}\"?", quoted(other)),
            None => format!("expected {what}, found a mapping"),
        },
    };
    if accepts == Accepts::Secret {
        report.mask(kind.key.defined);
    }
    report.error(kind.key.span, message).help(accepts.help());
    Err(Reported)
}

/// All that may stand in a reference of any kind.
const WORDS: [&str; 6] = ["env", "file", "credential", "command", "default", "refresh"];

impl Accepts {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["env", "file"],
            Self::Path => &["env"],
            Self::Secret => &["env", "file", "credential", "command"],
        }
    }

    /// All that may stand in one of this kind.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["env", "file", "default"],
            Self::Path => &["env", "default"],
            Self::Secret => &WORDS,
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Text => "write the value itself, `{ env: NAME, default: … }` or `{ file: PATH }`",
            Self::Path => "write the path itself, or `{ env: NAME, default: … }`",
            Self::Secret => {
                "write `{ env: NAME }`, `{ file: PATH }`, `{ credential: NAME }` or `{ command: [PROGRAM, ARGUMENT] }`"
            }
        }
    }
}

/// An entry that belongs beside one kind of reference only.
fn beside<'e>(
    kind: &MappingEntry,
    key: &str,
    belongs: &str,
    entries: &'e [MappingEntry],
    report: &mut Report,
) -> Result<Option<&'e MappingEntry>, Reported> {
    let entry = entries.iter().find(|entry| entry.key.text == key);
    if let Some(misplaced) = entry.filter(|_| kind.key.text != belongs) {
        report.error(misplaced.key.span, format!("`{key}` belongs beside `{belongs}`")).help("remove it");
        return Err(Reported);
    }
    Ok(entry)
}

/// A program and its arguments, each of which may come from elsewhere.
fn command_of(node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<SecretCommand>, Reported> {
    let Value::Sequence(items) = &node.value else {
        // Somebody may have written the secret itself here.
        reader.report.mask_all(node);
        let wrong = "a command is a list: the program and its arguments, no shell";
        reader.report.error(node.span, wrong).help("write `[PROGRAM, ARGUMENT]`");
        return Err(Reported);
    };
    let words: Vec<_> = items.iter().map(|item| word(item, reader)).collect();
    let words: Option<Vec<String>> = words.into_iter().collect::<Result<_, Reported>>()?;
    let mut words = words.into_iter().flatten();
    match words.next() {
        None if items.is_empty() => {
            reader.report.error(node.span, "a command begins with its program").help("write `[PROGRAM, ARGUMENT]`");
            Err(Reported)
        }
        None => Ok(None),
        Some(name) if name.is_empty() => {
            reader.report.error(items.first().map_or(node.span, |item| item.span), "this is not the name of a program");
            Err(Reported)
        }
        Some(name) => {
            let folder = reader.report.folder(node.span.file).unwrap_or(Path::new(""));
            Ok(Some(SecretCommand::new(name, words.collect(), folder)))
        }
    }
}

fn word(node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<String>, Reported> {
    match text(node, Accepts::Text, "text", reader)? {
        Some(found) if found.value.contains('\0') => {
            reader.report.error(node.span, "an argument has no NUL");
            found.name_origin(reader.report);
            Err(Reported)
        }
        found => Ok(found.map(|found| (*found.value).clone())),
    }
}

fn duration(node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Duration>, Reported> {
    let Some(found) = text(node, Accepts::Text, Positive::WHAT, reader)? else { return Ok(None) };
    match Positive::from_text(&found.value) {
        Ok(duration) => Ok(Some(duration.into())),
        Err(wrong) => {
            let reported = wrong.report(node.span, reader.report);
            found.name_origin(reader.report);
            Err(reported)
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
) -> Result<FoundText, Reported> {
    let origin = Some(format!("${name}"));
    match (source::variable(name).map(std::ffi::OsString::into_string), default) {
        (Some(Ok(value)), _) => Ok(FoundText { value: Zeroizing::new(value), origin }),
        (None, Some(value)) => Ok(FoundText { value, origin: None }),
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

fn file(path: &Path, span: Span, accepts: Accepts, reader: &mut SectionReader<'_>) -> Result<FoundText, Reported> {
    let bytes = match accepts {
        Accepts::Secret => reader.inputs.read_secret(path, span, reader.report),
        Accepts::Text | Accepts::Path => reader.inputs.read_value(path, span, reader.report),
    };
    let text = bytes.ok_or(Reported)?;
    let Ok(text) = std::str::from_utf8(&text) else {
        reader.report.error(span, format!("`{}` is not UTF-8 text", path.display()));
        return Err(Reported);
    };
    // Editors and `echo` end a file with a newline that is no part of the value.
    let line = without_newline(text);
    Ok(FoundText { value: Zeroizing::new(line.to_owned()), origin: Some(format!("`{}`", path.display())) })
}

fn credential(name: &str, span: Span, reader: &mut SectionReader<'_>) -> Result<FoundText, Reported> {
    let Some(folder) = source::credentials_directory() else {
        reader
            .report
            .error(span, "$CREDENTIALS_DIRECTORY is not set")
            .help("systemd sets it for a unit that has `LoadCredential=`");
        return Err(Reported);
    };
    file(&folder.join(name), span, Accepts::Secret, reader)
}

fn output(
    command: SecretCommand,
    refresh: Option<Duration>,
    span: Span,
    reader: &mut SectionReader<'_>,
) -> Result<Option<FoundText>, Reported> {
    let origin = Some(format!("the command `{}`", command.name()));
    Ok(reader.inputs.run(command, refresh, span, reader.report)?.map(|value| FoundText { value, origin }))
}

fn absolute(path: &str, span: Span, report: &Report) -> PathBuf {
    report.folder(span.file).map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}
