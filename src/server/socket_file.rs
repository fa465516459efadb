//! The file of a unix socket that we made.
//!
//! Its name is anybody's who may write to the folder: what stands there by now may be a link to something else, or the
//! socket of a process that came after us. So nothing is done to a file that is not the one that was made.

#![allow(clippy::disallowed_methods, reason = "files of unix sockets are what the background may wait for")]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::blocking;

/// Removed when it is dropped, if it is still there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    made: (u64, u64),
    /// As it was last set.
    mode: AtomicU32,
}

impl SocketFile {
    /// The one that was just put there.
    pub(super) fn made(path: &Path, mode: u32) -> io::Result<Self> {
        let made = identity(&fs::symlink_metadata(path)?);
        Ok(Self { path: path.to_owned(), made, mode: AtomicU32::new(mode) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets who may connect. Touches it only where that is a change: most reloads have nothing to do with it, and it may
    /// be on a mount that hangs.
    pub(super) fn set_mode(&self, mode: u32) {
        if self.mode.load(Ordering::Relaxed) == mode {
            return;
        }
        let path = self.path.display();
        let _mark = blocking::mark(format!("setting the mode of `{path}`"));
        match self.change_mode(mode) {
            Ok(()) => self.mode.store(mode, Ordering::Relaxed),
            Err(error) => tracing::warn!(%path, %error, "can't set the mode of a unix socket"),
        }
    }

    fn change_mode(&self, mode: u32) -> io::Result<()> {
        let file = self.open()?;
        // By way of what was opened and looked at: between a look and a change by name, a link could take its place.
        fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), fs::Permissions::from_mode(mode))
    }

    /// It, if it is what was made; a socket can't be opened for more than a look.
    fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(&self.path)?;
        if identity(&file.metadata()?) != self.made {
            return Err(io::Error::other("something else has taken its place"));
        }
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _mark = blocking::mark(format!("removing the socket `{}`", self.path.display()));
        // One that somebody else removed is as gone. Not done elsewhere: late, it would remove what was bound meanwhile.
        if self.open().is_ok() {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

fn identity(of: &Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_has_taken_its_place_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("ours.sock"), folder.path().join("victim"));
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        fs::write(&victim, "mine").expect("a file");
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("a mode");
        let _socket = UnixListener::bind(&path).expect("a socket");
        let file = SocketFile::made(&path, 0o600).expect("a socket");
        file.set_mode(0o660);
        assert_eq!(mode(&path), 0o660);

        fs::remove_file(&path).expect("it is gone");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        file.set_mode(0o666);
        drop(file);

        assert_eq!(mode(&victim), 0o600);
        assert!(fs::symlink_metadata(&path).expect("the link").is_symlink());
    }
}
