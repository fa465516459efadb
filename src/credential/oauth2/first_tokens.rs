//! What the identities of one service have together, so that ten thousand of them are neither a storm at the token
//! endpoint nor ten thousand copies of the same TLS settings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Slots;
use crate::config::{At, Tls};
use crate::name::ServiceName;
use crate::tls::ClientTls;

/// What the identities of one service have together while they are compiled.
#[derive(Default)]
pub(crate) struct Crowd {
    /// `None`: a service that is itself alone, and waits for nobody.
    pub(in crate::credential) entrance: Option<Arc<FirstTokenLimiter>>,
    known: RefCell<Known>,
}

/// By host and fingerprint of the certificate that is presented, then by trust.
type Known = HashMap<(String, Option<[u8; 32]>), Vec<(Option<Tls>, ClientTls)>>;

impl Crowd {
    /// Those of a service that has `identities`.
    pub(crate) fn of(service: &ServiceName, slots: &Slots) -> Self {
        Self { entrance: Some(slots.entrance(service)), known: RefCell::default() }
    }

    /// The TLS of a token endpoint, made once for all who trust and present the same there.
    pub(super) fn tls(
        &self,
        trust: Option<&At<Tls>>,
        host: &str,
        certificate: Option<[u8; 32]>,
        compile: impl FnOnce() -> Option<ClientTls>,
    ) -> Option<ClientTls> {
        let trust = trust.map(|trust| &trust.value);
        let mut known = self.known.borrow_mut();
        let alike = known.entry((host.to_owned(), certificate)).or_default();
        if let Some((_, tls)) = alike.iter().find(|(known, _)| known.as_ref() == trust) {
            return Some(tls.clone());
        }
        let tls = compile()?;
        alike.push((trust.cloned(), tls.clone()));
        Some(tls)
    }
}

/// The way in for first tokens: a few at a time, in line, and those first that a request waits for.
///
/// ```text
///  nobody waits ──► line (one at a time) ──┐
///                                          ├──► places (ten) ──► token request
///  a request waits ────────────────────────┘
/// ```
///
/// So whoever is waited for has at most one before it that is not, whatever the length of the line.
#[derive(Debug)]
pub(in crate::credential) struct FirstTokenLimiter {
    line: Semaphore,
    places: Arc<Semaphore>,
}

impl Default for FirstTokenLimiter {
    fn default() -> Self {
        Self { line: Semaphore::new(1), places: Arc::new(Semaphore::new(FIRST_AT_A_TIME)) }
    }
}

impl FirstTokenLimiter {
    /// A place, held until it is dropped. `wanted` resolves when a request waits for the token.
    pub(super) async fn enter(&self, wanted: Pin<&mut impl Future<Output = ()>>) -> Option<OwnedSemaphorePermit> {
        let _first_in_line = tokio::select! {
            biased;
            () = wanted => None,
            line = self.line.acquire() => line.ok(),
        };
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// First tokens of one service's identities.
const FIRST_AT_A_TIME: usize = 10;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn who_is_waited_for_goes_before_the_line() {
        let entrance = FirstTokenLimiter::default();
        let mut inside = Vec::new();
        for _ in 0..FIRST_AT_A_TIME {
            inside.push(entrance.enter(pin!(std::future::pending())).await);
        }
        let mut line: Vec<_> =
            (0..10).map(|_| Box::pin(async { entrance.enter(pin!(std::future::pending())).await })).collect();
        assert!(line.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
        let mut hasty = Box::pin(async { entrance.enter(pin!(std::future::ready(()))).await });
        assert!(poll(hasty.as_mut()).is_pending());

        inside.truncate(FIRST_AT_A_TIME - 2);

        let [hasty, first] = [poll(hasty.as_mut()), poll(line[0].as_mut())];
        assert!(hasty.is_ready() && first.is_ready());
        assert!(line[1..].iter_mut().all(|one| poll(one.as_mut()).is_pending()));
    }
}
