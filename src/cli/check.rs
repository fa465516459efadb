//! `sidekey check`: validates the config, every problem at once; with `--online` tries it too.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigArgument, FAILED, WRONG, online};
use crate::config::{self, Inputs, Report, Secrets};
use crate::credential::Slots;
use crate::snapshot::Snapshot;

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Read no environment, secret, key or certificate: for CI, where there are none.
    #[arg(long)]
    no_secrets: bool,
    /// Fetch each token and shake hands with each service too, and say what fails and what to do.
    #[arg(long, conflicts_with = "no_secrets")]
    online: bool,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    Text,
    /// A list of `{severity, file, line, column, message, help}` on standard output.
    Json,
}

pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    let inputs = Inputs::new(if arguments.no_secrets { Secrets::Skip } else { Secrets::Read });
    let source = match arguments.config.source() {
        Ok(source) => source,
        Err(wrong) => return wrong,
    };
    let (config, mut report) = config::load(&source, &inputs);
    let compiled = config.and_then(|config| Snapshot::compile(config, None, &Slots::default(), &inputs, &mut report));
    let is_valid = !report.has_errors();
    let mut lines = Vec::new();
    if is_valid {
        lines.push("the config is valid".to_owned());
        // Without secrets nothing is compiled, and nothing could be tried.
        if let Some(snapshot) = compiled.filter(|_| arguments.online) {
            match online::check(&snapshot, &mut report) {
                Ok(well) => lines.extend(well),
                Err(error) => {
                    anstream::eprintln!("error: {error}");
                    return ExitCode::from(FAILED);
                }
            }
        }
    }
    match arguments.format {
        ReportFormat::Text => print_text(&report, &lines),
        ReportFormat::Json => print_json(&report),
    }
    match (is_valid, report.has_errors()) {
        (false, _) => ExitCode::from(WRONG),
        (true, true) => ExitCode::from(FAILED),
        (true, false) => ExitCode::SUCCESS,
    }
}

fn print_text(report: &Report, lines: &[String]) {
    let rendered = report.render(super::color());
    if !rendered.is_empty() {
        anstream::eprintln!("{}", rendered.trim_end());
    }
    for line in lines {
        anstream::println!("{line}");
    }
}

fn print_json(report: &Report) {
    match serde_json::to_string_pretty(&report.findings()) {
        Ok(findings) => anstream::println!("{findings}"),
        Err(error) => anstream::eprintln!("error: {error}"),
    }
}
