//! Files that somebody else keeps fresh, a platform's tokens say: read as they are used, and not watched.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config;

/// Reads the file as it is now, white space around its content aside.
///
/// # Errors
/// When it can't be read, with the reason.
pub(in crate::credential) async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = PathBuf::from(path);
    // It may be on a disk, or a network, that takes its time.
    match tokio::task::spawn_blocking(move || config::read_as_used(&file)).await {
        Ok(Ok(content)) => Ok(Zeroizing::new(content.trim_ascii().to_vec())),
        Ok(Err(reason)) => Err(reason.to_string()),
        Err(_) => Err("a fault of Sidekey's own, its log has the place".to_owned()),
    }
}
