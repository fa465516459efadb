//! `sidekey completions SHELL`.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell to complete in.
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments) -> ExitCode {
    clap_complete::generate(arguments.shell, &mut super::Cli::command(), "sidekey", &mut io::stdout());
    ExitCode::SUCCESS
}
