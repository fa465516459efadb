//! OAuth 2.0 (RFC 6749): tokens that are fetched, cached and refreshed ahead.
//!
//! A service's [`Bearer`] puts the token on a request. It reads it from the [`Slot`] of its *entry*: all that decides
//! which token it is. Services that agree on all of an entry share its slot.
//!
//! ```text
//!  Bearer (per service) ──load──► Slot ◄──store── refresh ──► source ─ ─ ► request ──► token_endpoint ──► call
//!  Attachments (per worker)        ▲                 │      (TokenSource)     ▲          (discovery)        │
//!  Prover (DPoP)                   └──── entry       └ schedule               └──────────── answer ◄────────┘
//!
//!  who imports whom: state ◄── schedule, signals, source ◄── slot ◄── refresh ◄── subjects ◄── entry ◄── bearer
//! ```
//!
//! Where each request says on whose behalf it is made, the entry has a slot for each subject: [`Subjects`].

mod advice;
pub(in crate::credential) mod answer;
pub(in crate::credential) mod as_used;
mod assertion;
pub(in crate::credential) mod attempt;
mod basic_pair;
mod bearer;
pub(in crate::credential) mod call;
mod challenge;
mod client;
mod complaint;
mod connections;
mod counts;
mod discovery;
mod dpop;
pub(in crate::credential) mod entry;
pub(in crate::credential) mod failure;
pub(in crate::credential) mod first_tokens;
mod form;
mod grant;
mod hint;
mod latest;
mod metadata;
mod obtained;
pub(in crate::credential) mod origin;
pub(in crate::credential) mod policy;
pub(crate) mod refresh;
mod refusal;
mod request;
mod request_limiter;
mod schedule;
mod signals;
pub(in crate::credential) mod slot;
pub(in crate::credential) mod source;
pub(in crate::credential) mod spellings;
mod state;
mod state_file;
mod subject_tokens;
mod subjects;
mod sync;
#[cfg(test)]
mod tests;
mod tls_cache;
mod token_endpoint;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;

pub(in crate::credential) use bearer::Bearer;
pub(crate) use entry::Slots;
pub(in crate::credential) use entry::Tokens;
pub(crate) use failure::TokenFailure;
pub(crate) use first_tokens::FirstTokenLimiter;
pub(crate) use grant::Claim;
pub(crate) use obtained::{ObtainError, Obtained};
pub(crate) use slot::{Slot, WaitError};
pub(crate) use state::{TokenState, TokenStatus};
pub(crate) use state_file::ClaimError;
pub(crate) use subject_tokens::SubjectTokens;
pub(crate) use subjects::Subjects;
pub(crate) use tls_cache::TlsCache;
