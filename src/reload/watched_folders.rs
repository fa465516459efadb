//! Which directories must be watched so that no change of a file goes unseen.
//!
//! A file changes when its bytes do, when another takes its name, or when a symlink on the way to it leads elsewhere:
//! Kubernetes swaps `..data`, other tools swap a whole directory. Each of these is an entry of some directory that
//! appears, moves or goes, so the directories along the trail are what is watched, never the file itself: a watch on
//! a file stays with its inode and sees one replacement at most.

#![allow(clippy::disallowed_methods, reason = "watches are made on a thread of their own")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::blocking;

/// The directories in which an entry decides what `path` leads to. Where the trail breaks off, the last one is the
/// nearest that exists: what is missing will appear in there.
pub(super) fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let _mark = blocking::mark(format!("following the links of `{}`", path.display()));
    let mut folders = WatchedFolders { at: PathBuf::from("/"), found: BTreeSet::new(), links: 0 };
    // Fails only when the working directory is gone: then a relative path leads nowhere.
    if let Ok(path) = std::path::absolute(path) {
        folders.walk(&path);
    }
    folders.found
}

struct WatchedFolders {
    /// A directory that is reached by no symlink.
    at: PathBuf,
    found: BTreeSet<PathBuf>,
    links: usize,
}

/// What a walk does after a step.
enum WalkStep {
    On,
    /// A symlink: the rest of the way starts at its target.
    Follow(PathBuf),
    End,
}

impl WatchedFolders {
    fn walk(&mut self, path: &Path) {
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            match self.step(part) {
                WalkStep::On => {}
                WalkStep::Follow(target) => return self.walk(&target.join(parts.as_path())),
                WalkStep::End => return,
            }
        }
        // The path is a directory: its entries count, and so does its own.
        self.found.insert(self.at.clone());
        self.found.extend(self.at.parent().map(Path::to_owned));
    }

    fn step(&mut self, part: Component<'_>) -> WalkStep {
        match part {
            Component::RootDir => self.at = PathBuf::from("/"),
            Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => drop(self.at.pop()),
            Component::Normal(name) => return self.enter(name.to_owned()),
        }
        WalkStep::On
    }

    fn enter(&mut self, name: OsString) -> WalkStep {
        let next = self.at.join(name);
        let Ok(metadata) = fs::symlink_metadata(&next) else { return self.end() };
        if metadata.is_dir() {
            self.at = next;
            return WalkStep::On;
        }
        self.found.insert(self.at.clone());
        self.links += usize::from(metadata.is_symlink());
        match fs::read_link(&next) {
            Ok(target) if self.links <= MOST_LINKS => WalkStep::Follow(target),
            _ => WalkStep::End,
        }
    }

    fn end(&mut self) -> WalkStep {
        self.found.insert(self.at.clone());
        WalkStep::End
    }
}

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The directories found below `folder`, relative to it; `""` is the folder itself.
    fn found(folder: &Path, path: &str) -> Vec<String> {
        let within = |directory: PathBuf| Some(directory.strip_prefix(folder).ok()?.display().to_string());
        directories(&folder.join(path)).into_iter().filter_map(within).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "").unwrap();
        folder
    }

    #[test]
    fn a_plain_file_is_watched_through_its_directory() {
        let folder = folder();

        assert_eq!(found(folder.path(), "a/b/file"), ["a/b"]);
        assert_eq!(found(folder.path(), "a/./b/../b/file"), ["a/b"]);
    }

    #[test]
    fn a_directory_is_watched_and_so_is_its_own_entry() {
        let folder = folder();

        assert_eq!(found(folder.path(), "a/b"), ["a", "a/b"]);
    }

    #[test]
    fn every_symlink_on_the_way_is_watched_where_it_lies() {
        let folder = folder();
        fs::create_dir(folder.path().join("mount")).unwrap();
        symlink("../a", folder.path().join("mount/..data")).unwrap();
        symlink("..data/b/file", folder.path().join("mount/file")).unwrap();

        assert_eq!(found(folder.path(), "mount/file"), ["a/b", "mount"]);
    }

    #[test]
    fn what_is_missing_is_watched_where_it_will_appear() {
        let folder = folder();
        symlink("gone/file", folder.path().join("a/broken")).unwrap();

        assert_eq!(found(folder.path(), "a/b/missing"), ["a/b"]);
        assert_eq!(found(folder.path(), "a/x/y/z"), ["a"]);
        assert_eq!(found(folder.path(), "a/broken"), ["a"]);
    }

    #[test]
    fn a_loop_of_symlinks_ends() {
        let folder = folder();
        symlink("loop", folder.path().join("loop")).unwrap();

        assert_eq!(found(folder.path(), "loop"), [""]);
    }
}
