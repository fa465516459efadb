//! A refresh token (RFC 6749 §6) as a config names it: whose family it is of, and where that is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::policy::RefreshPolicies;
use super::super::source::Holdup;
use super::super::state_file::{self, ClaimError, LockError};
use super::claim::Claim;
use super::family::{Families, Family};
use super::file::StateFile;
use crate::config::auth::oauth2::OAuth2;
use crate::config::{At, Inputs, Report};
use crate::credential::digest::Digest;
use crate::secret::Secret;

/// A refresh token as it was configured.
pub(in crate::credential::oauth2) struct RefreshToken {
    written: Secret,
    family: Arc<Family>,
    /// `None`: what takes its place lasts as long as the process.
    file: Option<Arc<StateFile>>,
}

impl RefreshToken {
    /// `None`: what is wrong has been reported.
    pub(super) fn compile(
        written: &OAuth2,
        refresh_token: &Secret,
        state_file: Option<&At<PathBuf>>,
        families: &Families,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        if let Some(file) = state_file.filter(|_| inputs.reads_secrets()) {
            check(file, report)?;
        }
        let file = state_file
            .map(|file| Arc::new(families.file(state_file::resolved(&file.value), written.client_id.clone())));
        Some(Self { written: refresh_token.clone(), family: families.family(written, refresh_token), file })
    }

    /// Digests what was configured: what has taken its place makes no other entry.
    pub(super) fn digest(&self, digest: &mut Digest) {
        let file = self.state_file().map(|file| file.as_os_str().as_encoded_bytes());
        digest.field(self.written.expose().as_bytes());
        digest.list(file.into_iter());
    }

    pub(in crate::credential::oauth2) fn family(&self) -> &Arc<Family> {
        &self.family
    }

    pub(in crate::credential::oauth2) fn serves(&self, services: &Arc<RefreshPolicies>) {
        self.file.iter().for_each(|file| file.serves(services));
    }

    pub(in crate::credential::oauth2) fn state_file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path())
    }

    pub(in crate::credential::oauth2) fn trouble(&self) -> Option<String> {
        self.family.trouble()
    }

    pub(in crate::credential::oauth2) fn holdup(&self) -> Option<Holdup> {
        self.family.holdup()
    }

    /// Has the state file for this process alone, before anything is asked with what it holds. Blocks.
    ///
    /// Nothing of it is used, or seen by anybody, until it is committed. `None`: there is no file.
    ///
    /// # Errors
    /// When another process has it, or what is in it can't be read. A folder that can't be written to is none: the
    /// token then lasts as long as the process.
    pub(in crate::credential::oauth2) fn claim(&self) -> Result<Option<Claim>, ClaimError> {
        let Some(file) = &self.file else { return Ok(None) };
        let (file, path) = (Arc::clone(file), file.path());
        let lock = match file.lock() {
            Err(LockError::InUse { process }) => return Err(ClaimError::InUse { path: path.to_owned(), process }),
            lock => lock,
        };
        let found = state_file::read(path).map_err(|why| ClaimError::Unreadable { path: path.to_owned(), why })?;
        let kept = found.map(|found| found.kept);
        Ok(Some(Claim { family: Arc::clone(&self.family), file, lock, kept }))
    }
}

/// Where it can't be made, the first token that is rotated is lost with the process: nobody wants to learn that then.
fn warn_of_folder(file: &At<PathBuf>, report: &mut Report) {
    let Some(folder) = state_file::folder(&file.value) else { return };
    let (what, help) = match state_file::unwritable(folder) {
        None => return,
        Some(io::ErrorKind::NotFound) => ("does not exist", format!("mkdir -p -m 700 {}", folder.display())),
        Some(io::ErrorKind::NotADirectory) => ("is no folder", "write the path of a file in a folder".to_owned()),
        Some(_) => ("can't be written to", "let the user that runs Sidekey write there".to_owned()),
    };
    let folder = folder.display();
    let message =
        format!("the folder of this `state_file`, `{folder}`, {what}: a new refresh token is lost with the process");
    report.warning(file.span, message).help(help);
}

/// Reports a state file that can't be used, or that others can read. Takes no lock.
fn check(file: &At<PathBuf>, report: &mut Report) -> Option<()> {
    let path = file.value.display();
    match state_file::read(&file.value) {
        Ok(None) => warn_of_folder(file, report),
        Ok(Some(found)) if found.is_public => {
            let warning = report.warning(file.span, format!("`{path}` holds a refresh token that others can read"));
            warning.help(format!("chmod 600 {path}"));
        }
        Ok(Some(_)) => {}
        Err(why) => {
            let error = report.error(file.span, format!("the state file `{path}` can't be read: {why}"));
            error.help("put back what Sidekey wrote there; or remove it, to begin with the config's refresh token");
            return None;
        }
    }
    Some(())
}
