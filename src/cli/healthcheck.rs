//! `sidekey healthcheck`: asks `/readyz`, for containers without a shell.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::client::get;
use super::{ConfigArgument, FAILED, WRONG};
use crate::config::{self, AdminOverride, Inputs, ListenAddress, Secrets};

#[derive(Debug, Args)]
pub(super) struct HealthcheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The admin address to ask, instead of the config's.
    #[arg(long, value_name = "ADDRESS", env = "SIDEKEY_ADMIN", value_parser = super::run::admin, hide_env_values = true)]
    admin: Option<AdminOverride>,
    /// Ask until it is ready, for as long as this (`30s`).
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    wait: Option<Duration>,
}

pub(super) fn run(arguments: &HealthcheckArguments) -> ExitCode {
    let address = match address(arguments) {
        Ok(address) => address,
        Err(wrong) => return wrong,
    };
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match asked {
        Ok(runtime) => runtime.block_on(ask_until(&address, arguments.wait.unwrap_or_default())),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            anstream::eprintln!("not ready: {reason}");
            ExitCode::from(FAILED)
        }
    }
}

/// The admin port's first address, else the health port's. Reads no secret of the file.
fn address(arguments: &HealthcheckArguments) -> Result<ListenAddress, ExitCode> {
    // The environment is that of `run`: it may name several, or none.
    match &arguments.admin {
        Some(AdminOverride::Listen(addresses)) if !addresses.is_empty() => return Ok(addresses[0].clone()),
        Some(AdminOverride::Off) => {
            anstream::eprintln!("error: `SIDEKEY_ADMIN` or --admin says `off`; name an address with --admin");
            return Err(ExitCode::from(WRONG));
        }
        _ => {}
    }
    let (config, report) = config::load(&arguments.config.source()?, &Inputs::new(Secrets::Skip));
    let Some(config) = config else {
        anstream::eprint!("{}", report.render(super::color()));
        return Err(ExitCode::from(WRONG));
    };
    let first = config.admin.and_then(|admin| admin.listen.into_iter().chain(admin.health).next());
    first.map(|address| address.value).ok_or_else(|| {
        anstream::eprintln!("error: the config says `admin: off`; name an address with --admin");
        ExitCode::from(WRONG)
    })
}

async fn ask_until(address: &ListenAddress, wait: Duration) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let answer = tokio::time::timeout(ANSWER_WITHIN, ask(address)).await;
        let reason = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer from {address} within {} s", ANSWER_WITHIN.as_secs()),
        };
        if started.elapsed() + BETWEEN_TRIES > wait {
            return Err(reason);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn ask(address: &ListenAddress) -> Result<(), String> {
    let nobody = |error: std::io::Error| format!("{address}: {error}");
    match address {
        ListenAddress::Localhost { port } => {
            exchange(TcpStream::connect(("127.0.0.1", *port)).await.map_err(nobody)?).await
        }
        ListenAddress::Tcp(tcp) => exchange(TcpStream::connect(reachable(*tcp)).await.map_err(nobody)?).await,
        ListenAddress::Unix(path) => exchange(UnixStream::connect(path).await.map_err(nobody)?).await,
    }
}

/// `0.0.0.0` can be listened on, not connected to.
fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        std::net::IpAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, address.port()).into(),
        std::net::IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    let (status, body) = get(stream, "localhost", "/readyz").await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", reason(&body))) }
}

/// The `detail` of a problem, else the body as it is.
fn reason(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        healthcheck: HealthcheckArguments,
    }

    fn asks(admin: &str) -> Option<String> {
        let line = Line::parse_from(["healthcheck", "--admin", admin]);
        address(&line.healthcheck).ok().map(|address| address.to_string())
    }

    #[test]
    fn what_run_takes_as_its_admin_address_is_asked() {
        assert_eq!(asks("127.0.0.1:9900").as_deref(), Some("127.0.0.1:9900"));
        assert_eq!(asks("localhost:9900,unix:/run/sidekey").as_deref(), Some("localhost:9900"));
        assert_eq!(asks("off"), None);
    }

    #[test]
    fn an_unspecified_address_is_asked_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:9901".parse().unwrap()).to_string(), "127.0.0.1:9901");
        assert_eq!(reachable("[::]:9901".parse().unwrap()).to_string(), "[::1]:9901");
        assert_eq!(reachable("127.0.0.2:9901".parse().unwrap()).to_string(), "127.0.0.2:9901");
    }

    #[test]
    fn a_problems_detail_is_the_reason() {
        assert_eq!(reason(br#"{"detail": "the process is draining"}"#), "the process is draining");
        assert_eq!(reason(b"something else"), "something else");
    }
}
