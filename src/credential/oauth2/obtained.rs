//! A token that a command fetches for itself, to see whether that works and what it is.

use std::time::{Duration, SystemTime};

use super::failure::Failure;
use super::slot::Slot;
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
}

impl Slot {
    /// Fetches a token for the caller alone, where nothing keeps the slot fresh: one request, and nothing is stored.
    ///
    /// # Errors
    /// When the endpoint gives none.
    pub(crate) async fn obtain(&self) -> Result<Obtained, Failure> {
        let granted = self.endpoint.fetch(self.sharers.timeout()).await?;
        let lifetime = granted.life.unwrap_or_else(|| self.sharers.default_lifetime());
        Ok(Obtained {
            access_token: granted.access_token,
            token_type: "Bearer",
            endpoint: self.endpoint.host().to_owned(),
            lifetime,
            expires_at: (granted.sent + lifetime).wall(),
            scope: granted.scope,
        })
    }
}
