//! `sidekey demo`: the main job, on embedded parts, with nothing to configure.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use clap::Args;
use tokio::net::TcpStream;

use super::FAILED;
use super::client::get;
use super::run::end;
use crate::config::{ConfigSource, LogLevel, Overrides};
use crate::demo::Demo;
use crate::server::{self, OnHangUp, Options, Started};

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Exit after the first request.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &DemoArguments) -> ExitCode {
    match show(arguments) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn show(arguments: &DemoArguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let demo = runtime.block_on(Demo::start())?;
    let overrides = Overrides { log_level: Some(LogLevel::Warn), ..Overrides::default() };
    // A closed terminal must not leave the demo and its keys behind.
    let options = Options { source: ConfigSource::Path(demo.config_path()), overrides, on_hang_up: OnHangUp::Stop };
    let (started, is_started) = mpsc::channel();
    let server = thread::Builder::new().name("sidekey".to_owned()).spawn(move || {
        server::run(options, move |up| {
            // Nobody waits any more if the first request could not be made.
            let _gone = started.send(up);
        })
    })?;
    // The channel closes without a word if the server could not start: `end` tells why.
    if let Ok(up) = is_started.recv() {
        let shown = runtime.block_on(first_request(&up, &demo));
        if arguments.once || shown.is_err() {
            up.stop();
        }
        shown?;
        if !arguments.once {
            invite(&up, &demo);
        }
    }
    let ended = server.join().map_err(|_| "the server panicked")?;
    Ok(end(ended))
}

async fn first_request(up: &Started, demo: &Demo) -> Result<(), Box<dyn std::error::Error>> {
    let address = up.traffic().first().ok_or("the proxy has no listener")?.clone();
    let stream = TcpStream::connect(&address).await?;
    let (status, body) = get(stream, &address, &path()).await?;
    tell(&address, &demo.config_path().display().to_string(), status, &String::from_utf8_lossy(&body));
    if status.is_success() { Ok(()) } else { Err(format!("the service was not reached: {status}").into()) }
}

fn tell(address: &str, config: &str, status: http::StatusCode, seen: &str) {
    anstream::println!("Sidekey runs with {config}\n");
    anstream::println!("The app sent, in plain HTTP and without a credential:\n");
    anstream::println!("    GET {} HTTP/1.1", path());
    anstream::println!("    Host: {address}\n");
    anstream::println!("The app got {status}, with what the service saw over mutual TLS:\n");
    for line in seen.trim_end().lines() {
        anstream::println!("    {line}");
    }
}

fn invite(up: &Started, demo: &Demo) {
    let Some(address) = up.traffic().first() else { return };
    anstream::println!("\nTry it yourself, from another terminal:\n");
    anstream::println!("    curl 'http://{address}{}'", path());
    if let Some(admin) = up.admin().first() {
        anstream::println!("    curl http://{admin}/api/status");
    }
    anstream::println!(
        "\nThe config, certificates and secrets are in {} until you press Ctrl-C.",
        demo.folder().display()
    );
}

fn path() -> String {
    format!("/{}/orders?limit=2", Demo::SERVICE)
}
