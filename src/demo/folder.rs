//! A fresh folder that only its owner can look into, and that goes away with its value.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Error, random_hex};

/// A folder under the system's place for temporary files, mode 0700.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it; a name that is taken is an error, never somebody else's folder.
    pub(super) fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("sidekey-demo-{}", random_hex()?));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a new file that only its owner can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.0.join(name);
        write_new(&path, text).map_err(|source| Error::Write { path, source })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell if that fails.
        let _unremoved = std::fs::remove_dir_all(&self.0);
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
