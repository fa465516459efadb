//! OAuth 2.0 (RFC 6749): tokens that are fetched, cached and refreshed ahead.
//!
//! A service's [`Bearer`] puts the token on a request. It reads it from the [`Slot`] of its *entry*: all that decides
//! which token it is. Services that agree on all of an entry share its slot.
//!
//! ```text
//!  Bearer (per service) ──load──► Slot ◄──store── refresh ──► request ──► place ──► token endpoint
//!  Attachments (per worker)        ▲                 │           ▲        (discovery)      │
//!  Prover (DPoP)                   └──── entry       └ schedule  └────── answer ◄── call ◄─┘
//! ```

mod answer;
mod bearer;
mod call;
mod challenge;
mod client;
mod discovery;
mod dpop;
mod draft;
mod entry;
mod failure;
mod grant;
mod metadata;
mod place;
pub(crate) mod refresh;
mod request;
mod schedule;
mod slot;
mod terms;
#[cfg(test)]
mod tests;

pub(in crate::credential) use bearer::Bearer;
pub(crate) use entry::Slots;
pub(crate) use failure::Failure;
pub(crate) use slot::{Slot, TokenState, TokenStatus};
