//! `cargo bench --bench peers`: hands over to the Python package beside it, which does all the work.
//!
//! It is a bench target so that one command finds it, and it is not in Rust so that nobody waits for a build to change a
//! peer's config. `cargo bench --bench peers -- --all` passes arguments on; `--help` shows them.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    // Cargo's own argument to every bench.
    let arguments = env::args_os().skip(1).filter(|argument| argument != "--bench");
    let error = Command::new("python3").arg(package).args(arguments.collect::<Vec<OsString>>()).exec();
    eprintln!("peers: python3 does not start: {error}");
    ExitCode::FAILURE
}
