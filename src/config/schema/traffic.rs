//! `timeouts`, `retry`, `pool` and `limits` of a service.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::diagnostic::Reported;
use crate::config::node::{Node, ScalarKind};
use crate::config::read::{FromNode, SectionReader, mismatch};
use crate::config::section::{read_section, section, words};
use crate::config::value::{InRange, OrOff, Rate, Size};

section! {
    with defaults
    /// `timeouts`; `None`: off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Timeouts {
        /// Name look-up, TCP and TLS together.
        pub connect: Option<Duration> as OrOff = Some(Duration::from_secs(5)),
        /// From the request's last byte to the answer's head.
        pub response: Option<Duration> as OrOff = Some(Duration::from_secs(60)),
        /// Silence in both directions of one exchange.
        pub idle: Option<Duration> as OrOff = Some(Duration::from_secs(300)),
    }
}

read_section!(Timeouts);

/// `retry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many times a request is sent again.
    pub attempts: u32,
    /// When no connection could be made.
    pub on_connect: bool,
    /// When the connection or stream ended before the answer's head.
    pub on_reset: bool,
    /// Of 502, 503 and 504.
    pub on_status: Vec<u16>,
}

section! {
    with defaults
    struct RetryKeys {
        /// How many times a request is sent again, where that is safe.
        attempts: usize as InRange<0, 10> = 1,
        /// What it is sent again for.
        on: Vec<Cause> = vec![Cause::Connect, Cause::Reset],
    }
}

read_section!(RetryKeys);

words! {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Cause ("something that a request is sent again for") {
        "connect" => Connect,
        "reset" => Reset,
        "502" => BadGateway,
        "503" => ServiceUnavailable,
        "504" => GatewayTimeout,
    }
}

impl From<RetryKeys> for Retry {
    fn from(keys: RetryKeys) -> Self {
        let statuses = [(Cause::BadGateway, 502), (Cause::ServiceUnavailable, 503), (Cause::GatewayTimeout, 504)];
        let on_status = statuses.into_iter().filter(|(cause, _)| keys.on.contains(cause));
        Self {
            attempts: u32::try_from(keys.attempts).unwrap_or(u32::MAX),
            on_connect: keys.on.contains(&Cause::Connect),
            on_reset: keys.on.contains(&Cause::Reset),
            on_status: on_status.map(|(_, status)| status).collect(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::from(RetryKeys::default())
    }
}

impl FromNode for Retry {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        RetryKeys::from_node(node, reader).map(Self::from)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        RetryKeys::schema(generator)
    }
}

section! {
    with defaults
    /// `pool`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PoolConfig {
        /// Idle connections kept.
        pub max_idle: IdleLimit = IdleLimit::Auto,
        /// How long an idle connection is kept; `None`: off.
        pub idle_timeout: Option<Duration> as OrOff = Some(Duration::from_secs(60)),
        /// Connections of all workers together.
        pub max_connections: usize as InRange<1, 1_000_000> = 1024,
        /// How long a connection is used; `None`: off.
        pub max_lifetime: Option<Duration> as OrOff = Some(Duration::from_secs(600)),
    }
}

read_section!(PoolConfig);

section! {
    with defaults
    /// `limits` of a service; `None`: none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ServiceLimits {
        /// Requests that go on at once, of all workers; beyond it 503.
        pub concurrency: Option<usize> as InRange<1, 1_000_000> = None,
        /// Requests in a time: `100/s`; beyond it 429.
        pub rate: Option<Rate> = None,
        /// Bytes of a request's body; beyond it 413.
        pub body_bytes("body"): Option<usize> as Size<1, 1_073_741_824> = None,
    }
}

read_section!(ServiceLimits);

/// `pool.max_idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleLimit {
    /// As many as were in use at once a moment ago.
    Auto,
    /// So many, shared out among the workers, one each at least.
    Most(usize),
}

impl FromNode for IdleLimit {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        match node.scalar() {
            Some(scalar) if scalar.kind == ScalarKind::Number => {
                Number::from_node(node, reader).map(|number| Self::Most(number.into()))
            }
            Some(scalar) if *scalar.text == "auto" => Ok(Self::Auto),
            _ => Err(mismatch(node, "`auto` or a whole number", reader.report)),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "auto" }, Number::schema(generator)] })
    }
}

type Number = InRange<0, 1_000_000>;
