//! `sidekey check`: validates the config, every problem at once.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigArgument, WRONG};
use crate::config::{self, Report, Secrets};
use crate::credential::Slots;
use crate::snapshot::Snapshot;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Read no environment, secret, key or certificate: for CI, where there are none.
    #[arg(long)]
    no_secrets: bool,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// A list of `{severity, file, line, column, message, help}` on standard output.
    Json,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let secrets = if arguments.no_secrets { Secrets::Skip } else { Secrets::Read };
    let source = match arguments.config.source() {
        Ok(source) => source,
        Err(wrong) => return wrong,
    };
    let (config, mut report) = config::load(&source, secrets);
    if let Some(config) = config {
        // What compiles is what would run; here only the report is of interest.
        let _compiled = Snapshot::compile(config, None, &Slots::default(), &mut report);
    }
    match arguments.format {
        Format::Text => print_text(&report),
        Format::Json => print_json(&report),
    }
    if report.has_errors() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS }
}

fn print_text(report: &Report) {
    let rendered = report.render(super::color());
    if !rendered.is_empty() {
        anstream::eprintln!("{}", rendered.trim_end());
    }
    if !report.has_errors() {
        anstream::println!("the config is valid");
    }
}

fn print_json(report: &Report) {
    match serde_json::to_string_pretty(&report.findings()) {
        Ok(findings) => anstream::println!("{findings}"),
        Err(error) => anstream::eprintln!("error: {error}"),
    }
}
