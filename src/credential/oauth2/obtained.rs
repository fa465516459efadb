//! A token that a command fetches for itself, to see whether that works and what it is.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use super::answer::Oddities;
use super::dpop::token_type;
use super::failure::TokenFailure;
use super::grant::Claim;
use super::slot::Slot;
use super::state_file::ClaimError;
use crate::secret::Secret;

/// A token, and all that is known of it.
pub(crate) struct Obtained {
    pub(crate) access_token: Secret,
    pub(crate) token_type: &'static str,
    /// Host and port of the token endpoint.
    pub(crate) endpoint: String,
    pub(crate) lifetime: Duration,
    pub(crate) expires_at: SystemTime,
    /// What it is good for, if the endpoint says so.
    pub(crate) scope: Option<String>,
    /// What people should know of it all the same.
    pub(crate) oddities: Oddities,
}

/// Why a command gets no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObtainError {
    /// What it is asked for with belongs to another process.
    #[error(transparent)]
    Unclaimed(#[from] ClaimError),
    #[error(transparent)]
    Failed(#[from] TokenFailure),
}

impl Slot {
    /// Fetches a token for the caller alone, where nothing keeps the slot fresh: one request, and the token is not kept.
    /// `all` are the slots of the config.
    ///
    /// # Errors
    /// When the endpoint gives none, or may not be asked by this process.
    pub(crate) async fn obtain(&self, all: &[Arc<Self>]) -> Result<Obtained, ObtainError> {
        // Another service with the same refresh token may keep a newer one in a file of its own. With an older one the
        // endpoint would take it for stolen, and end the whole family.
        let is_relative = |other: &&Arc<Self>| self.family().is_some() && other.family() == self.family();
        let claims: Result<Vec<_>, _> = all.iter().filter(is_relative).map(|other| other.claim()).collect();
        Claim::commit_all(claims?.into_iter().flatten(), &Handle::current());
        let begun = self.source.begin().await;
        let granted = begun(self.policies.attempt()).await?;
        let stated = granted.life.unwrap_or_else(|| self.policies.default_lifetime());
        let lifetime = self.source.ends().map_or(stated, |ends| stated.min(ends.since(granted.sent)));
        Ok(Obtained {
            access_token: granted.access_token,
            token_type: token_type(self.source.proof_key()),
            endpoint: self.source.host().to_owned(),
            lifetime,
            expires_at: (granted.sent + lifetime).wall(),
            scope: granted.scope,
            oddities: granted.oddities,
        })
    }
}

impl ObtainError {
    /// What happened.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Unclaimed(unclaimed) => unclaimed.to_string(),
            Self::Failed(failure) => failure.what(),
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &str {
        match self {
            Self::Unclaimed(_) => "end the process that has it, or ask its admin port for a probe",
            Self::Failed(failure) => failure.help(),
        }
    }
}
