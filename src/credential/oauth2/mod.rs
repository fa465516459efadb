//! OAuth 2.0 (RFC 6749): tokens that are fetched, cached and refreshed ahead.
//!
//! A service's [`Bearer`] puts the token on a request. It reads it from the [`Slot`] of its *entry*: all that decides
//! which token it is. Services that agree on all of an entry share its slot.
//!
//! ```text
//!  Bearer (per service) ──load──► Slot ◄──store── refresh ──► request ──► token endpoint
//!  Attachments (per worker)        ▲                 │           ▲            │
//!                                  └──── entry       └ schedule  └── answer ◄─┘
//! ```

mod answer;
mod bearer;
mod client;
mod crowd;
mod draft;
mod entry;
mod failure;
mod grant;
pub(crate) mod refresh;
mod request;
mod schedule;
mod slot;
mod terms;
#[cfg(test)]
mod tests;

pub(in crate::credential) use bearer::Bearer;
pub(crate) use crowd::Crowd;
pub(crate) use entry::Slots;
pub(crate) use failure::Failure;
pub(crate) use slot::{Slot, TokenState, TokenStatus};
