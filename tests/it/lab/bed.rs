//! What `./test` has installed, and where.

use std::path::PathBuf;
use std::process::Command;

/// The node that runs the identity provider: the one that `./test` chose, else the one in `PATH`.
///
/// V8 does all of its work on the thread that runs the script. Its other threads only win time, and of about a thousand
/// starts of node 20 one stood still for ever: the main thread at a lock, every other one without anything to do.
pub fn node() -> Command {
    let mut node = Command::new(chosen("node"));
    node.arg("--single-threaded");
    node
}

/// The python that has the HTTP client library.
pub fn python() -> Command {
    Command::new(chosen("python3"))
}

fn chosen(program: &str) -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.bed/bin").join(program);
    if installed.exists() { installed } else { program.into() }
}
