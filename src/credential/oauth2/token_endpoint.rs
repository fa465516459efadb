//! Where token requests go: to the endpoint that the config names, or to the one that its issuer names.

use std::sync::Arc;

use super::call::{Address, Heard, TimeBudget};
use super::discovery::Discovery;
use super::failure::TokenFailure;

/// Where token requests go.
pub(super) enum TokenEndpoint {
    /// `token_url`.
    Configured(Arc<Address>),
    /// `issuer`.
    Discovered(Box<Discovery>),
}

impl TokenEndpoint {
    /// Host and port of what is written, for people.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Configured(address) => address.host(),
            Self::Discovered(discovery) => discovery.host(),
        }
    }

    /// Where the next token request goes, for these services.
    ///
    /// # Errors
    /// When the issuer does not say, and never has.
    pub(super) async fn find(&self, patience: TimeBudget, services: &str) -> Result<Arc<Address>, TokenFailure> {
        match self {
            Self::Configured(address) => Ok(Arc::clone(address)),
            Self::Discovered(discovery) => discovery.find(patience, services).await,
        }
    }

    /// Learns from what came of a token request: an endpoint that is not there may have moved.
    pub(super) fn learn(&self, outcome: &Result<Heard, TokenFailure>) {
        let Self::Discovered(discovery) = self else { return };
        let gone = outcome.as_ref().map_or(true, |heard| matches!(heard.status.as_u16(), 404 | 405 | 410));
        if gone {
            discovery.doubt();
        }
    }
}
