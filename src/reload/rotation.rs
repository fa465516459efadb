//! A certificate and the token that was obtained with it switch together.
//!
//! ```text
//!  reload ─► publish: the service keeps its old certificate, connections and token
//!            the new slot asks for a token, with the new certificate
//!            it holds one, or the old token has expired ─► publish: the new pair
//! ```
//!
//! The token endpoint may bind a token to the certificate it saw (RFC 8705 §3), and the service then refuses the token on
//! a connection with another. A later reload supersedes a switch that is still waiting.

use std::sync::Arc;
use std::time::Duration;

use super::{ChangeProcess, Changed};
use crate::credential::{Credential, Slot};
use crate::snapshot::{Published, Service, Snapshot};

/// A service that is ready to switch once its new slots hold tokens.
pub(crate) struct Switch {
    /// Of each identity whose certificate is another: the old slot and the new one. They switch all at once, so that
    /// nobody has to know which of ten thousand did already.
    pairs: Vec<(Arc<Slot>, Arc<Slot>)>,
    /// The service to publish then.
    service: Arc<Service>,
    generation: u64,
}

/// What to publish first, and the switches that are to follow it: from what serves now to what is wanted.
pub(crate) fn hold_back(serving: &Snapshot, wanted: &Arc<Snapshot>) -> (Arc<Snapshot>, Vec<Switch>) {
    let between =
        |service: &Arc<Service>| Switch::between(serving.service(service.name.as_str())?, service, wanted.generation);
    let switches: Vec<_> = wanted.services.iter().filter_map(between).collect();
    if switches.is_empty() {
        return (Arc::clone(wanted), switches);
    }
    let first = wanted.with_services(|service| {
        let waits = switches.iter().any(|switch| Arc::ptr_eq(&switch.service, service));
        let kept = serving.service(service.name.as_str()).filter(|_| waits);
        Arc::clone(kept.unwrap_or(service))
    });
    (Arc::new(first), switches)
}

impl Switch {
    /// `None`: nothing has to wait.
    fn between(old: &Arc<Service>, new: &Arc<Service>, generation: u64) -> Option<Self> {
        let identities = old.identities.all().iter().zip(new.identities.all());
        let pairs: Vec<_> = identities.flat_map(|(had, has)| pairs(&had.credential, &has.credential)).collect();
        // Whatever else has changed must not wait for a token.
        let alone = || old.has_sets_of(new) && old.changed_keys(new).iter().all(|key| PAIRED.contains(key));
        if pairs.is_empty() || !alone() {
            return None;
        }
        Some(Self { pairs, service: Arc::clone(new), generation })
    }

    /// Waits until each new slot holds a token or the old one no longer does, and publishes the service; not if a
    /// later reload has published meanwhile, or the process has begun to end: the old pair serves what is left then.
    pub(crate) async fn carry_out(self, published: Arc<Published>, change: ChangeProcess) {
        let is_superseded = || published.current().load().generation != self.generation;
        while let Some((_, new)) = self.pairs.iter().find(|(old, new)| old.is_live() && !new.is_live()) {
            // Else a token that never comes would be asked for until the process ends, for a config that is gone.
            if is_superseded() {
                return;
            }
            tokio::select! {
                () = new.first_attempt(), if !new.is_live() => tokio::time::sleep(LOOK_AGAIN).await,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        let current = published.current().load_full();
        if current.generation != self.generation {
            return;
        }
        let name = &self.service.name;
        let next =
            current.with_services(|service| Arc::clone(if service.name == *name { &self.service } else { service }));
        let next = Arc::new(next);
        match change(Changed::Services, &mut |right| published.publish(Arc::clone(&next), right)) {
            Ok(()) => tracing::info!(service = %name, "certificate and token switched together"),
            Err(ending) => tracing::debug!(service = %name, "certificate and token are not switched: {ending}"),
        }
    }
}

/// The slots of one identity before and after, of each token that was obtained with a certificate that is another now.
fn pairs(had: &Credential, has: &Credential) -> impl Iterator<Item = (Arc<Slot>, Arc<Slot>)> {
    let rotated = |old: &Slot, new: &Slot| old.certificate().is_some() && old.certificate() != new.certificate();
    had.slots()
        .zip(has.slots())
        .filter(move |(old, new)| rotated(old, new) && old.is_live() && !new.is_live())
        .map(|(old, new)| (Arc::clone(old), Arc::clone(new)))
}

/// The keys that a rotation alone changes.
const PAIRED: [&str; 3] = ["certificate", "identities", "title"];
/// How late the expiry of an old token may be seen.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
