//! Everything that a load reads: the config's own files, the files it names, the environment, standard input.
//!
//! Besides `command` this is the only place of the room that touches the system, so that what is read can be reviewed
//! in one sitting: files that the config or the user names, `$CREDENTIALS_DIRECTORY`, and the variables that the config
//! names.

#![allow(clippy::disallowed_methods, reason = "a load has a thread of its own")]

use std::ffi::OsStr;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::blocking;

/// Where the config is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file, or a directory whose `*.yaml` files are merged in name order.
    Path(PathBuf),
    /// The same in a place where nobody named it: read if it belongs to us or root, for it may name commands, and who
    /// stands in somebody else's folder would run theirs.
    Found(PathBuf),
    /// `-`; read once, so that every later load sees the same text.
    StandardInput,
    /// Text that needs no file (the demo, tests); relative paths start at the working directory.
    Text(String),
}

/// No config was named, and none is where one is looked for.
#[derive(Debug, thiserror::Error)]
#[error("no config found at {} or {}; name one with `--config`", PLACES[0], PLACES[1])]
pub struct NoConfig;

impl ConfigSource {
    /// Finds the config: what the command line or the environment names (an empty name is none), else
    /// `./sidekey.yaml`, else `/etc/sidekey/sidekey.yaml`.
    ///
    /// # Errors
    /// When none is named and neither place has one.
    pub fn find(named: Option<&OsStr>) -> Result<Self, NoConfig> {
        match named.filter(|name| !name.is_empty()) {
            Some(name) if name == "-" => Ok(Self::StandardInput),
            Some(name) => Ok(Self::Path(name.into())),
            None => PLACES
                .iter()
                .find(|place| Path::new(place).exists())
                .map(|place| Self::Found(place.into()))
                .ok_or(NoConfig),
        }
    }
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableFile {
    #[error("no such file")]
    Missing,
    #[error("permission denied")]
    Denied,
    #[error("not a regular file")]
    NotRegular,
    #[error("larger than {} KiB", .0 / 1024)]
    TooLarge(usize),
    #[error("not UTF-8 text")]
    NotText,
    #[error("it was found and not named, and belongs to another user (uid {0})")]
    Foreign(u32),
    #[error("a reading of it hangs, since {0}")]
    Hangs(String),
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for UnreadableFile {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::IsADirectory => Self::NotRegular,
            _ => Self::Other(error),
        }
    }
}

/// The content of a file, and who may do what with it.
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) access: FileAccess,
}

/// What users may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileAccess {
    owner: u32,
    mode: u32,
}

impl FileAccess {
    fn of(metadata: &Metadata) -> Self {
        Self { owner: metadata.uid(), mode: metadata.mode() }
    }

    /// Of the file that a path leads to, if there is one.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().filter(Metadata::is_file).as_ref().map(Self::of)
    }

    /// Whether any user of the machine can read it.
    pub(super) fn is_readable_by_others(self) -> bool {
        self.mode & READABLE_BY_OTHERS != 0
    }

    /// Whether any user of the machine can change it.
    pub(super) fn is_writable_by_others(self) -> bool {
        self.mode & WRITABLE_BY_OTHERS != 0
    }

    /// Whether `caller` may go by what is in it, though nobody named it.
    fn is_trusted_by(self, caller: u32) -> bool {
        self.owner == caller || self.owner == ROOT
    }
}

/// Refuses what was found and belongs to somebody else: the file itself, or a link in its place.
pub(super) fn refuse_foreign(path: &Path, access: FileAccess) -> Result<(), UnreadableFile> {
    let link = fs::symlink_metadata(path).map(|metadata| FileAccess::of(&metadata))?;
    let caller = nix::unistd::geteuid().as_raw();
    match [access, link].into_iter().find(|access| !access.is_trusted_by(caller)) {
        None => Ok(()),
        Some(foreign) => Err(UnreadableFile::Foreign(foreign.owner)),
    }
}

/// As [`refuse_foreign`], for a folder.
pub(super) fn refuse_foreign_folder(path: &Path) -> Result<(), UnreadableFile> {
    refuse_foreign(path, FileAccess::of(&fs::metadata(path)?))
}

/// Reads a regular file (symlinks are followed) of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Content, UnreadableFile> {
    let _mark = blocking::mark_reading(path);
    // Without O_NONBLOCK a FIFO in the file's place would hang the load, and a reload with it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(UnreadableFile::NotRegular);
    }
    let bytes = drain(file, metadata.len(), limit)?;
    Ok(Content { bytes, access: FileAccess::of(&metadata) })
}

/// Reads a secret that is wanted as it is at each use, and so is no part of a load: a regular file of at most 64 KiB.
/// It is not watched. Blocks: call it away from the workers.
///
/// # Errors
/// When there is no such file, or it can't be used.
pub(crate) fn read_as_used(path: &Path) -> Result<Zeroizing<Vec<u8>>, UnreadableFile> {
    // Each attempt to get a token comes here: none may add a thread to those that hang already.
    if let Some(since) = blocking::hangs_reading(path) {
        return Err(UnreadableFile::Hangs(since));
    }
    Ok(read(path, LARGEST_SECRET)?.bytes)
}

/// As [`read`], for text.
pub(super) fn read_text(path: &Path, limit: usize) -> Result<(Zeroizing<String>, FileAccess), UnreadableFile> {
    let Content { bytes, access } = read(path, limit)?;
    Ok((text(bytes)?, access))
}

/// Where a program is that is named without a slash.
pub(super) fn in_search_path(program: &Path) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let is_program = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0);
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(is_program)
}

/// Standard input as it was when it was first asked for.
pub(super) fn standard_input(limit: usize) -> Result<Zeroizing<String>, UnreadableFile> {
    // A reload must see the config again, and a pipe gives its text only once.
    static READ: OnceLock<io::Result<Zeroizing<Vec<u8>>>> = OnceLock::new();
    let bytes = READ.get_or_init(|| drain_most(io::stdin(), FIRST_READ, limit + 1));
    match bytes {
        Ok(bytes) if bytes.len() > limit => Err(UnreadableFile::TooLarge(limit)),
        Ok(bytes) => text(bytes.clone()),
        Err(error) => Err(io::Error::from(error.kind()).into()),
    }
}

/// The `*.yaml` files of a directory in name order, hidden ones aside.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let _mark = blocking::mark_reading(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml");
        if yaml && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What tells one state of a file or folder from another without a look inside; `None`: there is none.
pub(super) fn facts(path: &Path) -> Option<[u64; 5]> {
    let _mark = blocking::mark_reading(path);
    let of = fs::metadata(path).ok()?;
    Some([of.dev(), of.ino(), of.size(), of.mtime().cast_unsigned(), of.mtime_nsec().cast_unsigned()])
}

/// A variable of the environment that the config names.
pub(super) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The folder of systemd's credentials.
pub(super) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Whether the path is a link through Kubernetes' `..data`: such files are readable by all inside their pod.
pub(super) fn is_kubernetes_link(path: &Path) -> bool {
    let through_data = |path: &Path| path.components().any(|part| part == Component::Normal(OsStr::new("..data")));
    through_data(path) || fs::read_link(path).is_ok_and(|target| through_data(&target))
}

/// `likely` is how much there seems to be.
fn drain(source: impl Read, likely: u64, limit: usize) -> Result<Zeroizing<Vec<u8>>, UnreadableFile> {
    let likely = usize::try_from(likely).unwrap_or(limit).min(limit);
    let bytes = drain_most(source, likely + 1, limit + 1)?;
    if bytes.len() > limit { Err(UnreadableFile::TooLarge(limit)) } else { Ok(bytes) }
}

/// Reads up to `most` bytes into memory that never moves unwiped: a buffer that grows by itself leaves copies of what was
/// read in what it gives back. There is no more of it than `most`.
fn drain_most(mut source: impl Read, likely: usize, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; likely.min(most)]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length == most {
                break;
            }
            // More than it seemed, as of a pipe, or of a file that is being written.
            let mut larger =
                Zeroizing::new(vec![0; (bytes.len() * 2).clamp(FIRST_READ, most.max(FIRST_READ)).min(most)]);
            larger[..length].copy_from_slice(&bytes);
            bytes = larger;
        }
        match source.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, UnreadableFile> {
    // Looked at first: the error of a failed conversion would hold the bytes, and let go of them unwiped.
    if std::str::from_utf8(&bytes).is_err() {
        return Err(UnreadableFile::NotText);
    }
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|_| UnreadableFile::NotText)
}

/// Room for most secrets, where nothing says how long one is.
const FIRST_READ: usize = 4 << 10;

const PLACES: [&str; 2] = ["./sidekey.yaml", "/etc/sidekey/sidekey.yaml"];

/// Of a value, a key or a token.
pub(super) const LARGEST_SECRET: usize = 64 << 10;
/// Bundles of public certificates are larger than any secret.
pub(super) const LARGEST_FILE: usize = 1 << 20;
/// Room for ten thousand lines of 1.6 KiB.
pub(super) const LARGEST_TABLE: usize = 16 << 20;

const READABLE_BY_OTHERS: u32 = 0o004;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_named_is_trusted_if_it_is_ones_own_or_roots() {
        let trusted = |owner, caller| FileAccess { owner, mode: 0o644 }.is_trusted_by(caller);

        assert!(trusted(1000, 1000) && trusted(0, 1000) && trusted(0, 0));
        assert!(!trusted(1001, 1000) && !trusted(1000, 0));
    }

    /// Notes where it is read to; gives one byte at a time.
    struct Watching<'a> {
        left: usize,
        buffers: &'a std::cell::RefCell<Vec<(usize, usize)>>,
    }

    impl Read for Watching<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let whole = (buffer.as_ptr() as usize, buffer.len());
            self.buffers.borrow_mut().push(whole);
            let read = usize::from(self.left > 0 && !buffer.is_empty());
            buffer[..read].fill(b's');
            self.left -= read;
            Ok(read)
        }
    }

    #[test]
    fn what_is_as_long_as_it_seems_is_read_into_one_place_and_never_moves() {
        let buffers = std::cell::RefCell::default();

        let read = drain(Watching { left: 1000, buffers: &buffers }, 1000, LARGEST_SECRET).expect("bytes");

        assert_eq!((read.len(), read.as_ptr() as usize), (1000, buffers.borrow()[0].0));
        for (at, (start, room)) in buffers.borrow().iter().enumerate() {
            assert_eq!((start - at, room + at), (read.as_ptr() as usize, 1001));
        }
    }

    #[test]
    fn what_is_longer_than_it_seems_is_read_all_the_same_up_to_the_limit() {
        let drained = |left, likely, limit| {
            let buffers = std::cell::RefCell::default();
            drain(Watching { left, buffers: &buffers }, likely, limit).map(|bytes| bytes.len())
        };

        assert_eq!(drained(100_000, 0, 100_000).ok(), Some(100_000));
        assert_eq!(drained(3, 100_000, 100_000).ok(), Some(3));
        assert_eq!(drained(0, 0, 10).ok(), Some(0));
        assert!(matches!(drained(11, 0, 10), Err(UnreadableFile::TooLarge(10))));
        assert!(matches!(drained(100_001, u64::MAX, 100_000), Err(UnreadableFile::TooLarge(100_000))));
    }
}
