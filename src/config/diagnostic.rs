//! What is wrong with a config, and the report that collects it from every room that compiles a part of one.
//!
//! The report also reads the files that the config names and runs its commands, so that each is remembered for the
//! watcher. It keeps the config's text for drawing, wiped when it is dropped, and which parts of it are secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Secrets;
use super::command::{SecretCommand, Withheld};
use super::exposed::Exposed;
use super::mask;
use super::node::{MappingEntry, Node};
use super::source::{self, FileAccess, LARGEST_FILE, LARGEST_SECRET, LARGEST_TABLE, UnreadableFile};
use super::tolerated::ToleratedFailures;
use super::value::Span;
use super::watched::{FoundFile, Watched, WatchedCommand};
use crate::secret::Secret;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The config is used all the same.
    Warning,
    /// The config is not used.
    Error,
}

/// One problem of the config: where, what, and what to write instead.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` for what was not written in a file (a flag, say).
    pub span: Option<Span>,
    /// What is wrong, without any secret.
    pub message: String,
    /// What stands under the marked text.
    pub label: Option<String>,
    /// Another place that has to do with it, and what it is.
    pub related: Option<(Span, String)>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn label(&mut self, text: impl Into<String>) -> &mut Self {
        self.label = Some(text.into());
        self
    }

    pub(crate) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Shows another place beside the first.
    pub(crate) fn also(&mut self, place: Span, text: impl Into<String>) -> &mut Self {
        self.related = Some((place, text.into()));
        self
    }
}

/// What was wrong has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported;

/// Collects the problems of one load, from every room that compiles a part of the config.
///
/// It is also how those rooms read the files that the config names: it remembers each path for the watcher.
#[derive(Debug)]
pub struct Report {
    secrets: Secrets,
    texts: Vec<Text>,
    diagnostics: Vec<Diagnostic>,
    read: BTreeMap<PathBuf, FoundFile>,
    commands: BTreeMap<SecretCommand, Ran>,
    forgiven: ToleratedFailures,
    /// Why commands of the entry of `auth` that is being read failed, as far as that is forgiven; `None` elsewhere.
    failures: Option<Vec<String>>,
    /// Commands that failed in any of them.
    failing: BTreeSet<SecretCommand>,
    /// What others may do with files, as far as it has been warned of.
    pub(super) exposed: Exposed,
    /// Variables of the environment that the config reads as secrets: what no command inherits. `None` where they are
    /// still being found out, and no command is run.
    withheld: Option<Arc<Withheld>>,
    /// Those that were read so far.
    secret_variables: Withheld,
}

/// What came of a command in this load.
#[derive(Debug)]
struct Ran {
    outcome: Result<Secret, String>,
    /// The shortest of all places that name it.
    refresh: Option<Duration>,
}

/// The text of one file of the config.
pub(super) struct Text {
    pub(super) name: String,
    /// Where relative paths of this file start.
    pub(super) folder: PathBuf,
    pub(super) text: Arc<Zeroizing<String>>,
    /// Its file, if others can read that.
    pub(super) public: Option<PathBuf>,
    /// What is never drawn, in bytes of `text`.
    pub(super) masks: Vec<Range<usize>>,
}

impl Text {
    /// The same, of which nothing is ever drawn.
    fn without_masks(&self) -> Self {
        let (name, folder) = (self.name.clone(), self.folder.clone());
        Self { name, folder, text: Arc::clone(&self.text), public: None, masks: Vec::new() }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Report {
    /// An empty report.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            texts: Vec::new(),
            diagnostics: Vec::new(),
            read: BTreeMap::new(),
            commands: BTreeMap::new(),
            forgiven: ToleratedFailures::none(),
            failures: None,
            failing: BTreeSet::new(),
            exposed: Exposed::default(),
            withheld: Some(Arc::default()),
            secret_variables: Withheld::new(),
        }
    }

    /// A report that nobody hears of, for a reading in which no command is run.
    pub(super) fn rehearsal(&self) -> Self {
        let texts = self.texts.iter().map(Text::without_masks).collect();
        Self { withheld: None, texts, ..Self::new(self.secrets) }
    }

    /// The variables that were read as secrets.
    pub(super) fn secret_variables(self) -> Withheld {
        self.secret_variables
    }

    /// No command inherits these from now on.
    pub(super) fn withhold(&mut self, variables: Withheld) {
        self.withheld = Some(Arc::new(variables));
    }

    /// A secret is read from this variable of the environment.
    pub(super) fn read_variable_of_secret(&mut self, name: &str) {
        self.secret_variables.insert(name.to_owned());
    }

    /// Makes a warning of it where one of these commands fails and a service's `auth` names it.
    pub(super) fn forgiving(mut self, forgiven: ToleratedFailures) -> Self {
        self.forgiven = forgiven;
        self
    }

    /// Adds an error; the config will not be used. Chain `.label()` and `.help()`.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, span, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, span, message.into())
    }

    /// Whether an error was added.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Every problem, in the order of the files.
    pub fn diagnostics(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.file, span.start)));
        sorted
    }

    /// `false` under `check --no-secrets`: certificates, keys and secrets are not read then, and placeholders stand for
    /// them. So it is in what is left of an entry of `auth` once one of its commands has failed.
    pub(crate) fn reads_secrets(&self) -> bool {
        self.follows_references() && self.failures.as_ref().is_none_or(Vec::is_empty)
    }

    /// `false` under `check --no-secrets`.
    pub(super) fn follows_references(&self) -> bool {
        self.secrets == Secrets::Read
    }

    /// Reads a regular file of at most 1 MiB that the config names at `span`, and remembers its path; reports what is
    /// wrong with it.
    pub(crate) fn read(&mut self, path: &Path, span: Span) -> Option<Vec<u8>> {
        let content = self.fetch(path, span, LARGEST_FILE)?;
        Some(content.bytes.to_vec())
    }

    /// As [`Report::read`] for a private key or other secret file of at most 64 KiB: one that others can read gets a
    /// warning.
    pub(crate) fn read_secret(&mut self, path: &Path, span: Span) -> Option<Zeroizing<Vec<u8>>> {
        let content = self.fetch(path, span, LARGEST_SECRET)?;
        if content.access.is_readable_by_others() {
            self.warn_of_public(path, span);
        }
        Some(content.bytes)
    }

    /// Reads a value, secret or not, that the config keeps in a file of at most 64 KiB.
    pub(super) fn read_value(&mut self, path: &Path, span: Span) -> Option<Zeroizing<Vec<u8>>> {
        Some(self.fetch(path, span, LARGEST_SECRET)?.bytes)
    }

    /// Reads a file of at most 16 MiB whose lines are values of the config, as one of its texts: the text's number, and
    /// whether any user of the machine can read it.
    pub(super) fn read_table(&mut self, path: &Path, span: Span) -> Option<(u16, bool)> {
        let mut content = self.fetch(path, span, LARGEST_TABLE)?;
        let Ok(text) = String::from_utf8(std::mem::take(&mut *content.bytes)) else {
            self.error(span, format!("`{}` is not UTF-8 text", path.display()));
            return None;
        };
        let folder = path.parent().unwrap_or(path).to_owned();
        let file = self.add_text(path.display().to_string(), folder, Zeroizing::new(text));
        Some((file, content.access.is_readable_by_others()))
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Drops what was reported before, of the problems from the one numbered `first` on: what is read again and again
    /// is wrong in one place. Says how many errors are left of them.
    pub(super) fn forget_repeated(&mut self, first: usize) -> usize {
        let mut errors = 0;
        for diagnostic in self.diagnostics.split_off(first.min(self.diagnostics.len())) {
            let same = |known: &Diagnostic| known.span == diagnostic.span && known.message == diagnostic.message;
            if !self.diagnostics.iter().any(same) {
                errors += usize::from(diagnostic.severity == Severity::Error);
                self.diagnostics.push(diagnostic);
            }
        }
        errors
    }

    /// From here on an entry of `auth` is read, in which commands may fail.
    pub(super) fn begin_method(&mut self) {
        self.failures = Some(Vec::new());
    }

    /// Why commands of the entry failed; the user was warned, and placeholders stand for their secrets.
    pub(super) fn end_method(&mut self) -> Vec<String> {
        self.failures.take().unwrap_or_default()
    }

    /// The commands that failed in this load and were forgiven.
    pub(crate) fn failing(&self) -> ToleratedFailures {
        ToleratedFailures::these(self.failing.clone())
    }

    /// Runs a command that the config names at `span`, once in a load however many places name it, and remembers it.
    /// Reports why it failed; `None` if that is forgiven.
    pub(super) fn run(
        &mut self,
        command: SecretCommand,
        refresh: Option<Duration>,
        span: Span,
    ) -> Result<Option<Zeroizing<String>>, Reported> {
        let Some(withheld) = self.withheld.clone() else { return Ok(None) };
        if let Some(program) = command.file()
            && let Some(access) = FileAccess::at(&program)
        {
            self.warn_of_writable(&program, access, span);
        }
        let name = command.name().to_owned();
        let run = || command.run(&withheld).map_err(|failure| failure.to_string());
        let ran = self.commands.entry(command.clone()).or_insert_with(|| Ran { outcome: run(), refresh });
        ran.refresh = ran.refresh.into_iter().chain(refresh).min();
        match &ran.outcome {
            Ok(secret) => Ok(Some(Zeroizing::new(secret.expose().to_owned()))),
            Err(failure) => {
                let message = format!("the command `{name}` {failure}");
                self.report_failure(command, message, span).map(|()| None)
            }
        }
    }

    fn report_failure(&mut self, command: SecretCommand, message: String, span: Span) -> Result<(), Reported> {
        match &mut self.failures {
            Some(failures) if self.forgiven.has(&command) => {
                failures.push(message.clone());
                self.failing.insert(command);
                self.warning(span, message).help("requests of this service are answered 503 until it gives the secret");
                Ok(())
            }
            _ => {
                self.error(span, message);
                Err(Reported)
            }
        }
    }

    /// Everything that this load read or tried to read, the config's own files included, and the commands it ran.
    pub fn watched(&self) -> Watched {
        let command = |(command, ran): (&SecretCommand, &Ran)| {
            let withheld = self.withheld.clone().unwrap_or_default();
            WatchedCommand::new(command.clone(), ran.refresh, withheld, &ran.outcome)
        };
        Watched::new(self.read.clone(), self.commands.iter().map(command).collect())
    }

    fn add(&mut self, severity: Severity, span: Span, message: String) -> &mut Diagnostic {
        let span = (span != Span::NOWHERE).then_some(span);
        self.diagnostics.push(Diagnostic { severity, span, message, label: None, related: None, help: None });
        // Invariant: the line above pushed one.
        #[allow(clippy::expect_used)]
        self.diagnostics.last_mut().expect("a diagnostic was pushed")
    }

    fn fetch(&mut self, path: &Path, span: Span, limit: usize) -> Option<source::Content> {
        let content = source::read(path, limit);
        self.remember(path, FoundFile::content(content.as_ref().ok().map(|content| content.bytes.as_slice()), limit));
        let content = content.map_err(|reason| self.report_unreadable(path, span, &reason)).ok()?;
        self.warn_of_writable(path, content.access, span);
        Some(content)
    }

    fn report_unreadable(&mut self, path: &Path, span: Span, reason: &UnreadableFile) {
        let relative = self.folder(span.file).is_some_and(|folder| path.starts_with(folder)) && path.is_relative();
        let error = self.error(span, format!("`{}` can't be read: {reason}", path.display()));
        match reason {
            UnreadableFile::Missing if relative => error.help("relative paths start at the folder of the config file"),
            UnreadableFile::Denied => error.help("let the user that runs Sidekey read it"),
            _ => error,
        };
    }

    /// Has a file or folder watched that is read elsewhere. What is read there is read after this.
    pub(crate) fn watch(&mut self, path: &Path) {
        self.read.entry(path.to_owned()).or_insert_with(|| FoundFile::facts(path));
    }

    /// Remembers what was found at a path.
    pub(super) fn remember(&mut self, path: &Path, seen: FoundFile) {
        self.read.insert(path.to_owned(), seen);
    }
}

/// The texts of the config, for this room alone.
impl Report {
    /// Adds a file of the config, and numbers it.
    pub(super) fn add_text(&mut self, name: String, folder: PathBuf, text: Zeroizing<String>) -> u16 {
        let masks = mask::of_urls(&text);
        self.texts.push(Text { name, folder, text: Arc::new(text), public: None, masks });
        // `source` reads at most a thousand files.
        u16::try_from(self.texts.len() - 1).unwrap_or(u16::MAX)
    }

    /// Others can read this file of the config.
    pub(super) fn set_public(&mut self, file: u16, path: PathBuf) {
        if let Some(text) = self.texts.get_mut(usize::from(file)) {
            text.public = Some(path);
        }
    }

    pub(super) fn text(&self, file: u16) -> Arc<Zeroizing<String>> {
        self.file(file).map(|text| Arc::clone(&text.text)).unwrap_or_default()
    }

    pub(super) fn file(&self, file: u16) -> Option<&Text> {
        self.texts.get(usize::from(file))
    }

    pub(super) fn folder(&self, file: u16) -> Option<&Path> {
        self.file(file).map(|text| text.folder.as_path())
    }

    /// Puts a label on the problem that was added last.
    pub(super) fn label_last(&mut self, text: String) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.label = Some(text);
        }
    }

    /// Keeps a part of the config out of every drawing.
    pub(super) fn mask(&mut self, span: Span) {
        if let Some(text) = self.texts.get_mut(usize::from(span.file)) {
            text.masks.push(span.start as usize..span.end as usize);
        }
    }

    /// Masks every scalar of a tree, and its keys.
    pub(super) fn mask_all(&mut self, node: &Node) {
        mask::all(node, &mut |span| self.mask(span));
    }

    /// Masks what is secret in an entry that does not become part of the tree.
    pub(super) fn mask_entry(&mut self, entry: &MappingEntry) {
        mask::of_entry(entry, &mut |span| self.mask(span));
    }

    /// Masks what is secret in a tree, by its keys.
    pub(super) fn mask_secrets(&mut self, file: u16, tree: &Node) {
        let comments = mask::of_comments(&self.text(file));
        mask::of_tree(tree, &mut |span| self.mask(span));
        if let Some(text) = self.texts.get_mut(usize::from(file)) {
            text.masks.extend(comments);
        }
    }

    /// Masks what may be secret in a text that is no YAML.
    pub(super) fn mask_unparsed(&mut self, file: u16) {
        let masks = mask::of_text(&self.text(file));
        if let Some(text) = self.texts.get_mut(usize::from(file)) {
            text.masks.extend(masks);
        }
    }

    /// Masks from a place to the end of its line.
    pub(super) fn mask_line(&mut self, span: Span) {
        let text = self.text(span.file);
        let rest = text.get(span.start as usize..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        if let Some(text) = self.texts.get_mut(usize::from(span.file)) {
            text.masks.push(span.start as usize..span.start as usize + length);
        }
    }
}
