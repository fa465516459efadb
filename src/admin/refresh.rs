//! Another token for a service, now: for each of its identities, if it has several.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use http::header::RETRY_AFTER;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Refusal;
use crate::clock::rfc3339;
use crate::code::Code;
use crate::credential::{Credential, Slot, WaitError};
use crate::snapshot::{Identity, Service};

/// A new token, of which everything is said but the token.
#[derive(Serialize)]
pub(super) struct Refreshed {
    #[serde(flatten)]
    token: DescribedRefresh,
    /// Of a service that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identities: Vec<IdentityOutcome>,
}

/// A token, without itself.
#[derive(Default, Serialize)]
struct DescribedRefresh {
    r#type: Option<String>,
    expires_at: Option<String>,
    /// Seconds.
    lifetime: Option<u64>,
}

/// What became of one identity.
#[derive(Serialize)]
struct IdentityOutcome {
    number: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `refreshed`, or the code of the error.
    outcome: &'static str,
    #[serde(flatten)]
    result: RefreshResult,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RefreshResult {
    Token(DescribedRefresh),
    Failure {
        detail: String,
        /// Seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

/// What became of each slot.
type Outcomes = HashMap<*const Slot, Result<(), WaitError>>;

/// Gets another token for each identity of the service, some at a time, in no more than one token request may take.
///
/// # Errors
/// When the service has none to refresh; when any of them gets none, with what became of all.
pub(super) async fn refresh(service: &Service) -> Result<Refreshed, Refusal> {
    let first = &service.identities.first().credential;
    if let Some(reason) = first.unavailable() {
        return Err(Refusal::new(Code::CredentialUnavailable, reason));
    }
    if first.slot().is_none() {
        return Err(nothing_to_refresh(first));
    }
    // Identities that agree on all of an entry share a slot: it is asked once.
    let slots: HashMap<_, _> = service.slots().map(|slot| (Arc::as_ptr(slot), Arc::clone(slot))).collect();
    let outcomes = demand_all(slots.into_values().collect()).await;

    let identities = service.identities.all();
    let failures: Vec<_> = identities.iter().map(|identity| failure(identity, &outcomes)).collect();
    let lone = service.identities.is_lone();
    let of_each = if lone { Vec::new() } else { tell(service, &failures) };
    match worst(&failures) {
        None => Ok(Refreshed { token: DescribedRefresh::of(first), identities: of_each }),
        Some((_, failure)) if lone => Err(failure.clone().into()),
        Some((number, failure)) => {
            let count = failures.iter().flatten().count();
            let all = failures.len();
            let what = format!("{count} of {all} identities have no other token; the first is {number}: {failure}");
            Err(Refusal { detail: what, more: Some(Box::new(members(&of_each))), ..failure.clone().into() })
        }
    }
}

fn nothing_to_refresh(credential: &Credential) -> Refusal {
    let many = credential.subjects().next().is_some();
    let what = if many { "many tokens, one for each subject" } else { "no token" };
    let detail = format!("this service has {what}: its method is `{}`", credential.method());
    Refusal::new(Code::Conflict, detail)
}

/// Demands another token of each slot.
async fn demand_all(slots: Vec<Arc<Slot>>) -> Outcomes {
    // Of all together: who asked waits for one answer, and it must not take as long as ten thousand requests do.
    let limit = slots.iter().map(|slot| slot.timeout()).max().unwrap_or_default();
    // What is not known by then is told like this.
    let too_late = |slot| (Arc::as_ptr(slot), Err(WaitError::TooLate { limit }));
    let mut outcomes: Outcomes = slots.iter().map(too_late).collect();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut demands = JoinSet::new();
    for slot in slots {
        // Here, and not when its turn comes: a second is counted from when all of them were asked for.
        if let Err(too_soon) = slot.may_demand() {
            outcomes.insert(Arc::as_ptr(&slot), Err(too_soon));
            continue;
        }
        let places = Arc::clone(&places);
        demands.spawn_local(async move {
            // An error would mean that it was closed, which nobody does.
            let _place = places.acquire().await;
            (Arc::as_ptr(&slot), slot.demand().await)
        });
    }
    let gathering = async {
        while let Some(demanded) = demands.join_next().await {
            // An error is a panic, of which the log has the place.
            outcomes.extend(demanded);
        }
    };
    // What is under way when the time is over goes on: its token will be used all the same.
    timeout(limit, gathering).await.ok();
    outcomes
}

/// Why this identity has no other token; `None`: it has one.
fn failure(identity: &Identity, outcomes: &Outcomes) -> Option<WaitError> {
    let mut of_slots = identity.credential.slots().map(|slot| outcomes.get(&Arc::as_ptr(slot)));
    of_slots.find_map(|outcome| outcome?.as_ref().err().cloned())
}

/// The failure that the answer is named for: that it was asked for too soon says least.
fn worst(failures: &[Option<WaitError>]) -> Option<(usize, &WaitError)> {
    let numbered = || failures.iter().enumerate().filter_map(|(number, failure)| Some((number, failure.as_ref()?)));
    numbered().find(|(_, failure)| !matches!(failure, WaitError::TooSoon)).or_else(|| numbered().next())
}

fn tell(service: &Service, failures: &[Option<WaitError>]) -> Vec<IdentityOutcome> {
    let identities = service.identities.all().iter().zip(service.identities.names()).zip(failures).enumerate();
    identities
        .map(|(number, ((identity, name), failure))| {
            let name = name.map(str::to_owned);
            let (outcome, result) = match failure {
                None => ("refreshed", RefreshResult::Token(DescribedRefresh::of(&identity.credential))),
                Some(failure) => {
                    let result =
                        RefreshResult::Failure { detail: failure.to_string(), retry_after: failure.retry_after() };
                    (failure.code().word(), result)
                }
            };
            IdentityOutcome { number, name, outcome, result }
        })
        .collect()
}

/// As members of a problem.
fn members(identities: &[IdentityOutcome]) -> Map<String, Value> {
    // Numbers and words: nothing in it can fail to be written.
    let identities = serde_json::to_value(identities).unwrap_or_default();
    Map::from_iter([("identities".to_owned(), identities)])
}

impl DescribedRefresh {
    fn of(credential: &Credential) -> Self {
        let Some(status) = credential.slot().map(|slot| slot.status()) else { return Self::default() };
        Self {
            // A key to sign with has none.
            r#type: credential.token_slots().next().and_then(|slot| slot.status().token_type),
            expires_at: status.expires_at.map(rfc3339),
            lifetime: status.lifetime.map(|lifetime| lifetime.as_secs()),
        }
    }
}

impl From<WaitError> for Refusal {
    fn from(undelivered: WaitError) -> Self {
        let field = undelivered.retry_after().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        Self { field, ..Self::new(undelivered.code(), undelivered.to_string()) }
    }
}

/// As many as first tokens are.
const AT_ONCE: usize = 10;
