//! How far a new session comes, and whom it meets: up to one listing.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{FileTarget, dial};
use crate::files::LoginTimings;
use crate::transport::dial::{DialNotes, Protocol};
use crate::transport::probe::{ConnectStep, ProbeResult, Probed};
use crate::transport::{ConnectTimings, DialTarget, Error};

/// How long it took beyond a connection, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileTimings {
    /// SSH up to where the server has shown its key; TLS is told of as of others.
    pub(crate) host_key: Option<Duration>,
    pub(crate) login: Option<Duration>,
    pub(crate) listing: Option<Duration>,
}

/// Logs in, lists the folder of the service's URL, and lets go of it.
pub(in crate::transport) async fn probe(target: &DialTarget, files: &FileTarget) -> Probed {
    let (notes, login, listing) = (DialNotes::default(), Cell::default(), Cell::default());
    let tried = timeout(LONGEST, try_all(target, files, &notes, &login, &listing)).await;
    let outcome = tried.unwrap_or_else(|_| {
        let reason = format!("a probe waits for {LONGEST:?}");
        Err(Error::Timeout { address: target.address(), reason })
    });
    let (spent, login): (_, LoginTimings) = (notes.spent.get(), login.get());
    let by_ssh = files.server.is_ssh();
    let timings =
        FileTimings { host_key: login.secured.filter(|_| by_ssh), login: login.login, listing: listing.get() };
    let outcome = match outcome {
        Ok(()) => Ok(ProbeResult { protocol: Protocol::File, tls_version: None, peer: None }),
        Err(error) => Err((step(spent, login, by_ssh), error)),
    };
    let spent = ConnectTimings { tls: login.secured.filter(|_| !by_ssh && files.server.is_secured()), ..spent };
    Probed { spent, client_certificate: notes.client_certificate.get(), outcome, files: Some(timings) }
}

async fn try_all(
    target: &DialTarget,
    files: &FileTarget,
    notes: &DialNotes,
    login: &Cell<LoginTimings>,
    listing: &Cell<Option<Duration>>,
) -> Result<(), Error> {
    let session = dial::log_in(target, &files.server, notes, login).await?;
    let began = Instant::now();
    session.look_into(&files.folder).await.map_err(Error::of_file)?;
    listing.set(Some(began.elapsed()));
    Ok(())
}

/// The first that was not come through.
fn step(spent: ConnectTimings, login: LoginTimings, by_ssh: bool) -> ConnectStep {
    match (spent, login) {
        // Where a login was refused a moment ago nothing is tried.
        (ConnectTimings { lookup: None, .. }, _) => ConnectStep::Lookup,
        (ConnectTimings { tcp: None, .. }, _) => ConnectStep::Tcp,
        (_, LoginTimings { secured: None, .. }) if by_ssh => ConnectStep::HostKey,
        (_, LoginTimings { secured: None, .. }) => ConnectStep::Tls,
        (_, LoginTimings { login: None, .. }) => ConnectStep::Login,
        _ => ConnectStep::Listing,
    }
}

/// Who waits for a probe wants to hear the end of it, even where `timeouts.connect` is off.
const LONGEST: Duration = Duration::from_secs(30);
