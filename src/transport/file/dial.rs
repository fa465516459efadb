//! A new session: name look-up, TCP, and all that comes before files can be asked for, within one limit.

use std::cell::Cell;
use std::sync::Arc;

use tokio::time::Instant;

use super::FileConnection;
use crate::files::{FileServer, FileSession, FileSocket, LoginDeadline, LoginError, LoginFailureKind, LoginTimings};
use crate::tls::{self, Observation, TlsFailure, TlsOrigin};
use crate::transport::SerialConnection;
use crate::transport::dial::{DialNotes, by, connect_too_long, open, resolve};
use crate::transport::http::{Connected, Sender};
use crate::transport::proxy::Tunnel;
use crate::transport::{ConnectTimings, DialTarget, Error};

/// A session that waits for its first request.
pub(in crate::transport) async fn connect(target: &DialTarget, server: &Arc<FileServer>) -> Result<Connected, Error> {
    let notes = DialNotes::default();
    let session = log_in(target, server, &notes, &Cell::default()).await?;
    let connection = FileConnection::new(Arc::clone(server), session);
    let sender = Sender::Serial(SerialConnection::File(Box::new(connection)));
    Ok(Connected { sender, driver: None, spent: notes.spent.get() })
}

/// Tries one address, and so one login: what the next would say to a wrong password is no different.
pub(super) async fn log_in(
    target: &DialTarget,
    server: &FileServer,
    notes: &DialNotes,
    timings: &Cell<LoginTimings>,
) -> Result<FileSession, Error> {
    // Others are in line before: that is not the server's time.
    let _entry = server.enter().await;
    if let Some(failure) = server.refusal() {
        return Err(failure.into());
    }
    let (addresses, deadline) = resolve(target, notes).await?;
    let mut unfit = Vec::new();
    let mut began;
    let outcome = loop {
        let opened = by(deadline, open(target, &addresses, &notes.spent)).await;
        let socket = socket(opened.unwrap_or_else(|| Err(connect_too_long(target)))?);
        began = Instant::now();
        let deadline = LoginDeadline::new(deadline);
        let logging_in = tls::observed(TlsOrigin::FileServer, server.log_in(socket, &deadline, timings, &mut unfit));
        match deadline.keep(logging_in).await {
            // Each time there are fewer kinds of keys to be asked for.
            Some((Err(error), _)) if error.wants_another_key() => {}
            Some((outcome, seen)) => {
                notes.client_certificate.set(seen.client_certificate);
                break outcome.map_err(|error| failure(error, &seen));
            }
            None => break Err(server.refusal().map_or_else(|| connect_too_long(target), Error::from)),
        }
    };
    if let (Err(error), Some(reached)) = (&outcome, notes.spent.get().reached)
        && is_of_this_machine(error)
    {
        target.pass_over(reached);
    }
    notes.spent.set(ConnectTimings { tls: Some(began.elapsed()), ..notes.spent.get() });
    outcome
}

fn socket(tunnel: Tunnel) -> FileSocket {
    match tunnel {
        Tunnel::Tcp(tcp) => FileSocket::Tcp(tcp),
        Tunnel::Tls(proxied) => FileSocket::Tunnel(proxied),
    }
}

fn failure(error: LoginError, seen: &Observation) -> Error {
    match error.into_tls() {
        Ok(error) => TlsFailure::of_first_use(error, seen).into(),
        Err(error) => error.as_failure().into(),
    }
}

/// Whether another machine behind the same name may do better.
fn is_of_this_machine(error: &Error) -> bool {
    match error {
        Error::Login(failure) => failure.kind == LoginFailureKind::Ended,
        Error::Terminated(_) | Error::Timeout { .. } => true,
        _ => false,
    }
}
