//! `sidekey schema`: the JSON Schema of the config, for editors.

use std::process::ExitCode;

use crate::config;

pub(super) fn run() -> ExitCode {
    anstream::println!("{:#}", config::json_schema());
    ExitCode::SUCCESS
}
