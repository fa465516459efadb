//! `sidekey demo` in a build that has left it out: says which has it.

use std::process::ExitCode;

use clap::Args;

use super::WRONG;

#[derive(Debug, Args)]
pub(super) struct MissingDemoArguments {
    /// Exit after the first request.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &MissingDemoArguments) -> ExitCode {
    let command = if arguments.once { "demo --once" } else { "demo" };
    anstream::eprintln!(
        "error: this build has no demo: it was made with `--no-default-features`\n  \
         = help: `cargo run --features demo -- {command}` builds one that has it"
    );
    ExitCode::from(WRONG)
}
