//! What either protocol says of an entry, in words that both share.

use super::conditions::FileVersion;
use super::entry::{EntryKind, Found};
use super::{ftp, sftp};

pub(super) fn of_attributes(attributes: sftp::Attributes) -> Found {
    const KIND: u32 = 0o170_000;
    let kind = match attributes.mode.map(|mode| mode & KIND) {
        Some(0o040_000) => EntryKind::Folder,
        Some(0o120_000) => EntryKind::Link,
        // Who tells no kind has files and folders alone, and folders are told.
        Some(0o100_000 | 0) | None => EntryKind::File,
        Some(_) => EntryKind::Other,
    };
    Found { kind, version: FileVersion { size: attributes.size, modified: attributes.modified.map(i64::from) } }
}

pub(super) fn of_entry(entry: &ftp::FtpEntry) -> Found {
    Found { kind: entry.kind, version: FileVersion { size: entry.size, modified: entry.modified } }
}
