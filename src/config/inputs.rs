//! What a load takes from outside: the files that the config names are read through here, and its commands are run, so
//! that each is remembered for the watcher.
//!
//! Whoever reads holds a shared reference, beside the report that hears of what can't be read: a load is of one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::command::{SecretCommand, Withheld};
use super::command_runs::CommandRuns;
use super::diagnostic::{Report, Reported};
use super::exposed::Exposed;
use super::source::{self, Content, FileAccess, LARGEST_FILE, LARGEST_SECRET, LARGEST_TABLE, UnreadableFile};
use super::tolerated::ToleratedFailures;
use super::value::Span;
use super::watched::{FoundFile, Watched};

/// What a load reads beside the config itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Environment, secret files, keys and certificates are read, and commands run.
    Read,
    /// None of them is (`check --no-secrets`).
    Skip,
}

/// What one load reads and runs: one for each load, which all rooms go through that compile a part of the config.
#[derive(Debug)]
pub struct Inputs {
    secrets: Secrets,
    found: RefCell<BTreeMap<PathBuf, FoundFile>>,
    /// What others may do with files, as far as it has been warned of.
    exposed: RefCell<Exposed>,
    commands: RefCell<CommandRuns>,
}

impl Inputs {
    /// Those of a load that has read nothing yet.
    #[must_use]
    pub fn new(secrets: Secrets) -> Self {
        Self::with(secrets, CommandRuns::none())
    }

    fn with(secrets: Secrets, commands: CommandRuns) -> Self {
        Self { secrets, found: RefCell::default(), exposed: RefCell::default(), commands: RefCell::new(commands) }
    }

    /// Makes a warning of it where one of these commands fails and a service's `auth` names it.
    #[must_use]
    pub(crate) fn tolerating(mut self, tolerated: ToleratedFailures) -> Self {
        self.commands.get_mut().tolerate(tolerated);
        self
    }

    /// The same for a reading in which no command is run.
    pub(super) fn rehearsal(&self) -> Self {
        Self::with(self.secrets, CommandRuns::rehearsal())
    }

    /// The variables that were read as secrets.
    pub(super) fn secret_variables(self) -> Withheld {
        self.commands.into_inner().secret_variables()
    }

    /// No command inherits these from now on.
    pub(super) fn withhold(&self, variables: Withheld) {
        self.commands.borrow_mut().withhold(variables);
    }

    /// A secret is read from this variable of the environment.
    pub(super) fn read_variable_of_secret(&self, name: &str) {
        self.commands.borrow_mut().read_variable_of_secret(name);
    }

    /// `false` under `check --no-secrets`: certificates, keys and secrets are not read then, and placeholders stand for
    /// them. So it is in what is left of an entry of `auth` once one of its commands has failed.
    pub(crate) fn reads_secrets(&self) -> bool {
        self.follows_references() && !self.commands.borrow().has_failed_in_method()
    }

    /// `false` under `check --no-secrets`.
    pub(super) fn follows_references(&self) -> bool {
        self.secrets == Secrets::Read
    }

    /// Everything that this load read or tried to read, the config's own files included, and the commands it ran.
    pub fn watched(&self) -> Watched {
        Watched::new(self.found.borrow().clone(), self.commands.borrow().watched())
    }

    /// Has a file or folder watched that is read elsewhere. What is read there is read after this.
    pub(crate) fn watch(&self, path: &Path) {
        self.found.borrow_mut().entry(path.to_owned()).or_insert_with(|| FoundFile::facts(path));
    }

    fn remember(&self, path: &Path, found: FoundFile) {
        self.found.borrow_mut().insert(path.to_owned(), found);
    }
}

/// Files. What is wrong with one that the config names at `span` is reported, and it is watched all the same.
impl Inputs {
    /// Reads a regular file of at most 1 MiB.
    pub(crate) fn read(&self, path: &Path, span: Span, report: &mut Report) -> Option<Vec<u8>> {
        let content = self.fetch(path, span, LARGEST_FILE, report)?;
        Some(content.bytes.to_vec())
    }

    /// As [`Inputs::read`] for one that can be done without: why it can't be read is for the caller to tell.
    pub(crate) fn try_read(&self, path: &Path, span: Span, report: &mut Report) -> Result<Vec<u8>, String> {
        let content = self.try_fetch(path, span, LARGEST_FILE, report);
        content.map(|content| content.bytes.to_vec()).map_err(|reason| reason.to_string())
    }

    /// As [`Inputs::read`] for a private key or other secret file of at most 64 KiB: one that others can read gets a
    /// warning.
    pub(crate) fn read_secret(&self, path: &Path, span: Span, report: &mut Report) -> Option<Zeroizing<Vec<u8>>> {
        let content = self.fetch(path, span, LARGEST_SECRET, report)?;
        if content.access.is_readable_by_others() {
            self.warn_of_public(path, span, report);
        }
        Some(content.bytes)
    }

    /// Reads a value, secret or not, that the config keeps in a file of at most 64 KiB.
    pub(super) fn read_value(&self, path: &Path, span: Span, report: &mut Report) -> Option<Zeroizing<Vec<u8>>> {
        Some(self.fetch(path, span, LARGEST_SECRET, report)?.bytes)
    }

    /// Reads a file of at most 16 MiB whose lines are values of the config, as one of its texts: the text's number, and
    /// whether any user of the machine can read it.
    pub(super) fn read_table(&self, path: &Path, span: Span, report: &mut Report) -> Option<(u16, bool)> {
        let mut content = self.fetch(path, span, LARGEST_TABLE, report)?;
        let Ok(text) = String::from_utf8(std::mem::take(&mut *content.bytes)) else {
            report.error(span, format!("`{}` is not UTF-8 text", path.display()));
            return None;
        };
        let folder = path.parent().unwrap_or(path).to_owned();
        let file = report.add_text(path.display().to_string(), folder, Zeroizing::new(text));
        Some((file, content.access.is_readable_by_others()))
    }

    /// Reads a file of the config itself.
    pub(super) fn read_config(
        &self,
        path: &Path,
        limit: usize,
    ) -> Result<(Zeroizing<String>, FileAccess), UnreadableFile> {
        let read = source::read_text(path, limit);
        self.remember(path, FoundFile::content(read.as_ref().ok().map(|(text, _)| text.as_bytes()), limit));
        read
    }

    /// Lists the files of a config that is a folder.
    pub(super) fn list_config(&self, folder: &Path, limit: usize) -> Result<Vec<PathBuf>, UnreadableFile> {
        let files = source::list(folder)?;
        self.remember(folder, FoundFile::names(&files, limit));
        Ok(files)
    }

    fn fetch(&self, path: &Path, span: Span, limit: usize, report: &mut Report) -> Option<Content> {
        let content = self.try_fetch(path, span, limit, report);
        content.map_err(|reason| report_unreadable(path, span, &reason, report)).ok()
    }

    fn try_fetch(&self, path: &Path, span: Span, limit: usize, report: &mut Report) -> Result<Content, UnreadableFile> {
        let content = source::read(path, limit);
        self.remember(path, FoundFile::content(content.as_ref().ok().map(|content| content.bytes.as_slice()), limit));
        let content = content?;
        self.exposed.borrow_mut().warn_of_writable(path, content.access, span, report);
        Ok(content)
    }
}

/// Commands.
impl Inputs {
    /// From here on an entry of `auth` is read, in which commands may fail.
    pub(super) fn begin_method(&self) {
        self.commands.borrow_mut().begin_method();
    }

    /// Why commands of the entry failed; the user was warned, and placeholders stand for their secrets.
    pub(super) fn end_method(&self) -> Vec<String> {
        self.commands.borrow_mut().end_method()
    }

    /// The commands that failed in this load, which was tolerated.
    pub(crate) fn failing(&self) -> ToleratedFailures {
        self.commands.borrow().failing()
    }

    /// Runs a command that the config names at `span`, once in a load however many places name it, and remembers it.
    /// Reports why it failed; `None` if that is tolerated, or if this is a rehearsal.
    pub(super) fn run(
        &self,
        command: SecretCommand,
        refresh: Option<Duration>,
        span: Span,
        report: &mut Report,
    ) -> Result<Option<Zeroizing<String>>, Reported> {
        let mut commands = self.commands.borrow_mut();
        let Some(withheld) = commands.withheld() else { return Ok(None) };
        // Before it is run: whoever can change the program decides what comes of it.
        if let Some(program) = command.file()
            && let Some(access) = FileAccess::at(&program)
        {
            self.exposed.borrow_mut().warn_of_writable(&program, access, span, report);
        }
        let failure = match commands.run(&command, refresh, &withheld) {
            Ok(secret) => return Ok(Some(secret)),
            Err(failure) => format!("the command `{}` {failure}", command.name()),
        };
        if commands.note_tolerated(command, &failure) {
            report.warning(span, failure).help("requests of this service are answered 503 until it gives the secret");
            return Ok(None);
        }
        report.error(span, failure);
        Err(Reported)
    }
}

/// What others may do with files, and should not.
impl Inputs {
    /// Warns, once, of a file with a secret that any user of the machine can read.
    pub(super) fn warn_of_public(&self, path: &Path, span: Span, report: &mut Report) {
        self.exposed.borrow_mut().warn_of_public(path, span, report);
    }

    /// Takes note of what others may do with a file of the config, and warns if they can change it.
    pub(super) fn file_may(&self, file: u16, path: &Path, access: FileAccess, report: &mut Report) {
        self.exposed.borrow_mut().file_may(file, path, access, report);
    }

    /// A secret stands in the config itself: warns, once for each file, if others can read that.
    pub(super) fn has_secret_inside(&self, span: Span, report: &mut Report) {
        self.exposed.borrow_mut().has_secret_inside(span, report);
    }
}

fn report_unreadable(path: &Path, span: Span, reason: &UnreadableFile, report: &mut Report) {
    let relative = report.folder(span.file).is_some_and(|folder| path.starts_with(folder)) && path.is_relative();
    let error = report.error(span, format!("`{}` can't be read: {reason}", path.display()));
    match reason {
        UnreadableFile::Missing if relative => error.help("relative paths start at the folder of the config file"),
        UnreadableFile::Denied => error.help("let the user that runs Sidekey read it"),
        _ => error,
    };
}
