//! `log`, `limits` and `shutdown`.

use std::time::Duration;

use crate::config::section::{read_section, section, words};
use crate::config::value::{InRange, OrOff, Size};

section! {
    with defaults
    /// `log`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LogConfig {
        /// The least serious lines that are written.
        pub level: LogLevel = LogLevel::Info,
        /// By default `json` when standard error is no terminal.
        pub format: Option<LogFormat> = None,
        /// Which requests get a line.
        pub access: AccessLog = AccessLog::Errors,
    }
}

read_section!(LogConfig);

words! {
    /// `log.level`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LogLevel ("a log level") {
        /// What failed.
        "error" => Error,
        /// What will fail if nobody acts.
        "warn" => Warn,
        /// What happened.
        "info" => Info,
        /// Why.
        "debug" => Debug,
        /// Everything.
        "trace" => Trace,
    }
}

words! {
    /// `log.format`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LogFormat ("a log format") {
        /// For people.
        "text" => Text,
        /// For machines, one object a line.
        "json" => Json,
    }
}

words! {
    /// `log.access`: which requests get a line.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AccessLog ("a choice of requests to log") {
        /// Those that failed.
        "errors" => Errors,
        /// All.
        "all" => All,
        /// None.
        "off" => Off,
    }
}

section! {
    with defaults
    /// `limits` of client connections, and of what is held of their requests.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Client connections at a time; beyond it new ones wait in the backlog.
        pub connections: usize as InRange<1, 1_000_000> = 10_000,
        /// Bytes of a request's head.
        pub header_bytes("header_size"): usize as Size<8, 1024> = 64 << 10,
        /// Fields of a request.
        pub headers: usize as InRange<1, 1000> = 100,
        /// From the first byte of a request's head to its last; `None`: off.
        pub header_timeout: Option<Duration> as OrOff = Some(Duration::from_secs(10)),
        /// How long an idle client connection is kept; `None`: off.
        pub idle_timeout: Option<Duration> as OrOff = Some(Duration::from_secs(300)),
        /// Bodies held in memory for signatures and checks, all together.
        pub held_bytes("held_bodies"): usize as Size<64, 1_073_741_824> = 256 << 20,
    }
}

read_section!(Limits);

section! {
    with defaults
    /// `shutdown`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Shutdown {
        /// How long all goes on after the signal, with `/readyz` at 503.
        pub delay: Duration = Duration::ZERO,
        /// How long running requests then have to end.
        pub drain: Duration = Duration::from_secs(25),
    }
}

read_section!(Shutdown);
