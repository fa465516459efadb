//! The folder of a state file, and what it lacks.

#![allow(clippy::disallowed_methods, reason = "it is looked at when a config is loaded, and by no worker")]

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::blocking;

/// Where it lies; `None`: at the root, which is no file.
pub(super) fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder == Path::new("") { Path::new(".") } else { folder })
}

/// Why no file can be made in a folder, as far as that can be told without making one. Blocks.
pub(super) fn unwritable(folder: &Path) -> Option<io::ErrorKind> {
    let _mark = blocking::mark_reading(folder);
    match fs::metadata(folder) {
        Err(error) => Some(error.kind()),
        Ok(found) if !found.is_dir() => Some(io::ErrorKind::NotADirectory),
        Ok(_) => access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err().map(kind_of),
    }
}

fn kind_of(errno: Errno) -> io::ErrorKind {
    io::Error::from(errno).kind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_where_no_file_can_be_made_is_told_with_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();

        assert_eq!(unwritable(folder.path()), None);
        assert_eq!(unwritable(&folder.path().join("missing")), Some(io::ErrorKind::NotFound));
        assert_eq!(unwritable(&file), Some(io::ErrorKind::NotADirectory));
        // What the system says of others, to one who may do all and on a disk that may be written to, too.
        assert_eq!(kind_of(Errno::EROFS), io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(kind_of(Errno::EACCES), io::ErrorKind::PermissionDenied);
    }
}
