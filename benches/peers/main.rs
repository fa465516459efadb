//! `cargo bench --bench peers`: hands over to the Python package beside it, which does all the work.
//!
//! It is a bench target so that one command finds it, and it is not in Rust so that nobody waits for a build to change a
//! peer's config. `cargo bench --bench peers -- --all` passes arguments on; `--help` shows them.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, io};

fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let mut python = Command::new("python3");
    // Cargo's own argument to every bench is left out.
    python.arg(package).args(env::args_os().skip(1).filter(|argument| argument != "--bench"));
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_package(name)) {
        python.env_remove(name);
    }
    Err(python.exec())
}

/// Cargo tells a bench what it is a part of, and build scripts that look at that run again, so that all peers' crates
/// would be built anew.
fn is_of_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}
