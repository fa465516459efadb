//! A bench that is a Python package beside its target: nobody waits for a build to change what it measures.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, io};

/// Goes on as that package, with the arguments of this process; returns only if there is no Python.
pub(crate) fn become_python(name: &str) -> io::Error {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name);
    let mut python = Command::new("python3");
    // Cargo's own argument to every bench is left out.
    python.arg(package).args(env::args_os().skip(1).filter(|argument| argument != "--bench"));
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_package(name)) {
        python.env_remove(name);
    }
    python.exec()
}

/// Cargo tells a bench what it is a part of, and build scripts that look at that run again, so that all crates would be
/// built anew.
fn is_of_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}
