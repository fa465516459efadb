//! What `./test` has installed, and where.

use std::path::PathBuf;

/// The node that runs the identity provider: the one that `./test` chose, else the one in `PATH`.
pub fn node() -> PathBuf {
    chosen("node")
}

/// The python that has the HTTP client library.
pub fn python() -> PathBuf {
    chosen("python3")
}

fn chosen(program: &str) -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.bed/bin").join(program);
    if installed.exists() { installed } else { program.into() }
}
