//! What a load has read, so that a watcher can tell whether a load now would read something else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::command::{SecretCommand, Withheld};
use super::source;
use crate::digest::{Digest, sha256};
use crate::secret::Secret;

/// What a load has read or tried to read, each with a digest of what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    read: BTreeMap<PathBuf, FoundFile>,
    commands: Vec<WatchedCommand>,
}

/// A command that a load has run, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedCommand {
    command: SecretCommand,
    refresh: Option<Duration>,
    withheld: Arc<Withheld>,
    /// SHA-256 of what it printed, or why it failed.
    outcome: Result<[u8; 32], String>,
}

/// What a load found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// SHA-256 of the content, of the names in a directory, or of the fact that there was nothing to read.
    digest: [u8; 32],
    by: By,
}

/// How one looks at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// What is in it, up to so many bytes; more counts as nothing.
    Content(usize),
    /// Size and times: for what has hundreds of files, which nobody but its owner writes.
    Facts,
}

impl Watched {
    pub(super) fn new(read: BTreeMap<PathBuf, FoundFile>, commands: Vec<WatchedCommand>) -> Self {
        Self { read, commands }
    }

    /// The paths: files, and the config's directory if it is one.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.read.keys().map(PathBuf::as_path)
    }

    /// The commands, each once.
    pub fn commands(&self) -> &[WatchedCommand] {
        &self.commands
    }

    /// Reads the same paths now. Commands have turns of their own, and are taken as they were.
    #[must_use]
    pub fn again(&self) -> Self {
        let read = self.read.iter().map(|(path, seen)| (path.clone(), look(path, seen.by))).collect();
        Self { read, commands: self.commands.clone() }
    }
}

impl WatchedCommand {
    pub(super) fn new(
        command: SecretCommand,
        refresh: Option<Duration>,
        withheld: Arc<Withheld>,
        outcome: &Result<Secret, String>,
    ) -> Self {
        let digest = |secret: &Secret| sha256(secret.expose().as_bytes());
        Self { command, refresh, withheld, outcome: outcome.as_ref().map(digest).map_err(String::clone) }
    }

    /// The program as it was written.
    pub fn name(&self) -> &str {
        self.command.name()
    }

    /// How often it is run again.
    pub fn refresh(&self) -> Option<Duration> {
        self.refresh
    }

    /// Why it failed, if it did; without what it printed.
    pub fn failure(&self) -> Option<&str> {
        self.outcome.as_ref().err().map(String::as_str)
    }

    /// Runs it now. Blocks, for ten seconds at most.
    #[must_use]
    pub fn again(&self) -> Self {
        let ran = self.command.run(&self.withheld).map_err(|failure| failure.to_string());
        Self::new(self.command.clone(), self.refresh, Arc::clone(&self.withheld), &ran)
    }
}

impl FoundFile {
    /// The content of a file; `None` if nothing could be read.
    pub(super) fn content(content: Option<&[u8]>, limit: usize) -> Self {
        let mut digest = Digest::new();
        // As a list: an empty file is not the same as none.
        digest.list(content.iter());
        Self { digest: digest.finish(), by: By::Content(limit) }
    }

    /// The files of a directory.
    pub(super) fn names(files: &[PathBuf], limit: usize) -> Self {
        let mut names = Digest::new();
        names.list(files.iter().map(|file| file.as_os_str().as_encoded_bytes()));
        Self { digest: names.finish(), by: By::Content(limit) }
    }

    /// What a file or folder is like from outside.
    pub(super) fn facts(path: &Path) -> Self {
        let mut digest = Digest::new();
        // As a list: what is not there is like nothing that is.
        digest.list(source::facts(path).iter().flatten().map(|fact| fact.to_be_bytes()));
        Self { digest: digest.finish(), by: By::Facts }
    }
}

fn look(path: &Path, by: By) -> FoundFile {
    let By::Content(limit) = by else { return FoundFile::facts(path) };
    match source::list(path) {
        Ok(files) => FoundFile::names(&files, limit),
        Err(_) => {
            let content = source::read(path, limit);
            FoundFile::content(content.as_ref().ok().map(|content| content.bytes.as_slice()), limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::{Inputs, Report, Secrets, Span};

    #[test]
    fn a_change_of_the_content_is_seen_and_so_is_its_return() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());
        inputs.read(&path, Span::NOWHERE, &mut report).unwrap();
        let watched = inputs.watched();

        fs::write(&path, "two").unwrap();
        assert_ne!(watched.again(), watched);

        fs::write(&path, "one").unwrap();
        assert_eq!(watched.again(), watched);
    }

    #[test]
    fn a_file_that_could_not_be_read_is_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing");
        let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());
        assert_eq!(inputs.read(&path, Span::NOWHERE, &mut report), None);
        let watched = inputs.watched();

        fs::write(&path, "").unwrap();

        assert_eq!(watched.paths().collect::<Vec<_>>(), [path.as_path()]);
        assert_ne!(watched.again(), watched);
    }
}
