//! How far a new session comes, and whom it meets.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::dial;
use crate::files::{FileServer, LoginTimings};
use crate::transport::dial::DialNotes;
use crate::transport::{ConnectTimings, Connector, DialTarget, Error};

/// What became of it.
pub(crate) struct FileProbe {
    pub(crate) spent: ConnectTimings,
    pub(crate) login: LoginTimings,
    pub(crate) listed: Option<Duration>,
    /// The step that failed, and why.
    pub(crate) failure: Option<(FileStep, Error)>,
}

/// A step on the way to a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileStep {
    Lookup,
    Tcp,
    /// The server's key, or its certificate.
    Identity,
    Login,
    Listing,
}

/// Logs in and lists one folder, by the path of the service's URL; `None`: files are not what is asked for there.
pub(crate) async fn probe(connector: &Connector, folder: &str) -> Option<FileProbe> {
    let target = &*connector.0;
    let server = target.files.as_deref()?;
    let (notes, login, listed) = (DialNotes::default(), Cell::default(), Cell::default());
    let tried = timeout(LONGEST, try_all(target, server, folder, &notes, &login, &listed)).await;
    let outcome = tried.unwrap_or_else(|_| {
        let reason = format!("a probe waits for {LONGEST:?}");
        Err(Error::Timeout { address: target.address(), reason })
    });
    let (spent, login) = (notes.spent.get(), login.get());
    let step = || FileStep::after(spent, login);
    Some(FileProbe { spent, login, listed: listed.get(), failure: outcome.err().map(|error| (step(), error)) })
}

async fn try_all(
    target: &DialTarget,
    server: &FileServer,
    folder: &str,
    notes: &DialNotes,
    login: &Cell<LoginTimings>,
    listed: &Cell<Option<Duration>>,
) -> Result<(), Error> {
    let session = dial::log_in(target, server, notes, login).await?;
    let began = Instant::now();
    session.look_into(folder).await.map_err(Error::of_file)?;
    listed.set(Some(began.elapsed()));
    Ok(())
}

impl FileStep {
    /// The first that was not come through.
    fn after(spent: ConnectTimings, login: LoginTimings) -> Self {
        match (spent, login) {
            (ConnectTimings { lookup: None, .. }, _) => Self::Lookup,
            (ConnectTimings { tcp: None, .. }, _) => Self::Tcp,
            (_, LoginTimings { secured: None, .. }) => Self::Identity,
            (_, LoginTimings { login: None, .. }) => Self::Login,
            _ => Self::Listing,
        }
    }
}

/// Who waits for a probe wants to hear the end of it, even where `timeouts.connect` is off.
const LONGEST: Duration = Duration::from_secs(30);
