//! Why a connection gets an answer of ours outside of any exchange, and the line of the log about it.

use std::time::Duration;

use crate::clock::Moment;
use crate::code::Code;
use crate::proxy::Peer;
use crate::telemetry::limit::LineLimit;

/// What a client hears in place of a service's answer.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRefusal {
    pub(crate) code: Code,
    pub(crate) detail: String,
    /// It is a gRPC client that hears it.
    pub(crate) wants_grpc: bool,
    line: RefusalLine,
}

/// What the log says of it.
#[derive(Clone, Copy, Debug)]
enum RefusalLine {
    /// What it says of every request.
    Request,
    /// That the app was told the wrong scheme, which whoever runs it has to know: its client shows nothing of our answer.
    TlsHello,
}

impl ConnectionRefusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), wants_grpc: false, line: RefusalLine::Request }
    }

    /// Whether it is a gRPC client that hears it.
    pub(crate) fn heard_by_grpc(self, wants_grpc: bool) -> Self {
        Self { wants_grpc, ..self }
    }

    /// A handshake of TLS, where plain HTTP is spoken.
    pub(crate) fn tls_hello() -> Self {
        let detail = "it begins as TLS does: this port speaks plain HTTP, use an `http://` URL".to_owned();
        Self { code: Code::BadRequest, detail, wants_grpc: false, line: RefusalLine::TlsHello }
    }

    /// Tells of it, unless `log.access` wants no line about requests. Whoever can connect can send such, so they are told
    /// of once a second; and a client that is told the wrong scheme tries for ever, so of those once a minute.
    pub(crate) fn log(&self, peer: Peer, logs_requests: bool) {
        match self.line {
            RefusalLine::Request if !logs_requests => {}
            RefusalLine::Request => {
                if let Some(before) = UNREADABLE.pass(Moment::now()) {
                    tracing::info!(
                        service = "",
                        status = self.code.status().as_u16(),
                        code = self.code.word(),
                        detail = self.detail,
                        peer = %peer,
                        others = others(before),
                        "request"
                    );
                }
            }
            RefusalLine::TlsHello => {
                if let Some(before) = TLS_HELLOS.pass(Moment::now()) {
                    tracing::warn!(
                        peer = %peer,
                        others = others(before),
                        "an app speaks TLS to this port: use `http://`"
                    );
                }
            }
        }
    }
}

fn others(before: u64) -> Option<u64> {
    (before > 0).then_some(before)
}

static UNREADABLE: LineLimit<1> = LineLimit::in_each(Duration::from_secs(1));
static TLS_HELLOS: LineLimit<1> = LineLimit::in_each(Duration::from_secs(60));
