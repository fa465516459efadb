//! The command line: one file per command, each with its arguments, its words and its exit codes.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 the config or the command line is wrong.

#![allow(clippy::disallowed_macros, reason = "printing is what the command line is for")]

mod check;
mod client;
mod completions;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod healthcheck;
#[cfg(not(feature = "demo"))]
mod no_demo;
mod online;
mod run;
mod schema;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Color, ConfigSource};

/// The app speaks plain HTTP to localhost; Sidekey speaks mutual TLS and OAuth 2.0 to the world.
#[derive(Debug, Parser)]
#[command(name = "sidekey", version, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (also the default without a command).
    Run(run::RunArguments),
    /// Validate the config: every problem at once.
    Check(check::CheckArguments),
    /// Show the main job on embedded parts, with nothing to configure.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    /// Say which build has the demo.
    #[cfg(not(feature = "demo"))]
    Demo(no_demo::MissingDemoArguments),
    /// Say which service a request would go to, with what, and why.
    Explain(explain::ExplainArguments),
    /// Fetch a service's token, and show its type, lifetime and claims.
    Token(token::TokenArguments),
    /// Print the JSON Schema of the config.
    Schema,
    /// Ask a running proxy whether it is ready: exit 0 or 1.
    Healthcheck(healthcheck::HealthcheckArguments),
    /// Print completions for a shell.
    Completions(completions::CompletionsArguments),
}

/// `--config`, for every command that needs one.
#[derive(Clone, Debug, Args)]
struct ConfigArgument {
    /// The config: a file, a directory of `*.yaml` files, or `-` for standard input [default: ./sidekey.yaml, else
    /// /etc/sidekey/sidekey.yaml].
    #[arg(long, value_name = "PATH", env = "SIDEKEY_CONFIG", hide_env_values = true)]
    config: Option<OsString>,
}

impl ConfigArgument {
    /// Where the config is, or the exit code when there is none: the reason is printed.
    fn source(&self) -> Result<ConfigSource, ExitCode> {
        ConfigSource::find(self.config.as_deref()).map_err(|none| {
            anstream::eprintln!("error: {none}");
            ExitCode::from(WRONG)
        })
    }
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut Cli::command()).exit());
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(arguments) => run::run(arguments, matches.subcommand_matches("run").unwrap_or(&matches)),
        Command::Check(arguments) => check::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(&arguments),
        #[cfg(not(feature = "demo"))]
        Command::Demo(arguments) => no_demo::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Schema => schema::run(),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// Whether standard error takes colors: a terminal does, unless `NO_COLOR` says otherwise.
fn color() -> Color {
    match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => Color::Plain,
        _ => Color::Colored,
    }
}

/// Failed while running.
const FAILED: u8 = 1;
/// The config or the command line is wrong.
const WRONG: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
