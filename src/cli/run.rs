//! `sidekey run`: the proxy.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConfigArgument, FAILED, WRONG};
use crate::config::{self, AdminOverride, ListenAddress, OverrideSource, Overrides};
use crate::server::{self, OnHangUp, Options};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Where apps connect, instead of the config's `listen`: `host:port` or `unix:/path`, several with commas.
    #[arg(long, value_name = "ADDRESS", env = "SIDEKEY_LISTEN", value_delimiter = ',', hide_env_values = true)]
    listen: Vec<ListenAddress>,
    /// Where the admin API listens, instead of the config's `admin.listen`, or `off`.
    #[arg(long, value_name = "ADDRESS", env = "SIDEKEY_ADMIN", value_parser = admin, hide_env_values = true)]
    admin: Option<AdminOverride>,
    /// How much to log, instead of the config's `log.level`.
    #[arg(long, value_enum, value_name = "LEVEL", env = "SIDEKEY_LOG_LEVEL", hide_env_values = true)]
    log_level: Option<LevelArgument>,
    /// How to log, instead of the config's `log.format`.
    #[arg(long, value_enum, value_name = "FORMAT", env = "SIDEKEY_LOG_FORMAT", hide_env_values = true)]
    log_format: Option<FormatArgument>,
    /// Threads that carry traffic, instead of the config's `workers`.
    #[arg(long, value_name = "NUMBER", env = "SIDEKEY_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024), hide_env_values = true)]
    workers: Option<u16>,
}

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let source = match arguments.config.source() {
        Ok(source) => source,
        Err(wrong) => return wrong,
    };
    let overrides = Overrides {
        listen: arguments.listen,
        listen_from: source_of("--listen"),
        admin: arguments.admin,
        admin_from: source_of("--admin"),
        log_level: arguments.log_level.map(Into::into),
        log_format: arguments.log_format.map(Into::into),
        workers: arguments.workers.map(usize::from),
    };
    end(server::run(Options { source, overrides, on_hang_up: OnHangUp::Reload }, |_| {}))
}

/// Who gave what a flag or its variable says: the flag goes first.
fn source_of(flag: &str) -> OverrideSource {
    let is_it = |argument: OsString| {
        argument
            .to_str()
            .and_then(|text| text.strip_prefix(flag))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if std::env::args_os().any(is_it) { OverrideSource::Flag } else { OverrideSource::Variable }
}

/// The exit code of a server that has ended, its reason printed.
pub(super) fn end(ended: Result<(), server::Error>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    match error {
        // Drawn already, each problem with its own `error:`.
        server::Error::Config(report) => {
            tell(report.render(super::color()));
            ExitCode::from(WRONG)
        }
        server::Error::Listen(report) => {
            tell(report.render(super::color()));
            ExitCode::from(FAILED)
        }
        error => {
            tell(format!("error: {error}\n"));
            ExitCode::from(FAILED)
        }
    }
}

/// Prints on standard error, unless nobody reads there any more: a full pipe must not hold up the end.
fn tell(text: String) {
    let (done, printed) = mpsc::channel();
    thread::spawn(move || {
        anstream::eprint!("{text}");
        // Whoever waited may have gone on.
        let _late = done.send(());
    });
    let _nobody_reads = printed.recv_timeout(Duration::from_secs(1));
}

/// Addresses, or `off`.
pub(super) fn admin(text: &str) -> Result<AdminOverride, String> {
    if text == "off" {
        return Ok(AdminOverride::Off);
    }
    let addresses: Result<Vec<ListenAddress>, _> = text.split(',').map(str::parse).collect();
    addresses.map(AdminOverride::Listen)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArgument {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LevelArgument> for config::LogLevel {
    fn from(level: LevelArgument) -> Self {
        match level {
            LevelArgument::Error => Self::Error,
            LevelArgument::Warn => Self::Warn,
            LevelArgument::Info => Self::Info,
            LevelArgument::Debug => Self::Debug,
            LevelArgument::Trace => Self::Trace,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    Text,
    Json,
}

impl From<FormatArgument> for config::LogFormat {
    fn from(format: FormatArgument) -> Self {
        match format {
            FormatArgument::Text => Self::Text,
            FormatArgument::Json => Self::Json,
        }
    }
}
