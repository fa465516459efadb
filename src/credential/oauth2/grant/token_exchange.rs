//! Another token in exchange (RFC 8693).

use http::HeaderName;

use super::super::form::TokenForm;
use crate::config::auth::oauth2::{ExchangeConfig, SubjectToken};
use crate::credential::digest::Digest;
use crate::secret::Secret;

/// What is exchanged, and for what.
pub(in crate::credential::oauth2) struct TokenExchange {
    subject: SubjectSource,
    subject_type: String,
    /// The token and its type.
    actor: Option<(Secret, String)>,
    requested_type: String,
}

/// On whose behalf.
enum SubjectSource {
    Fixed(Secret),
    /// Whoever this field of each request says.
    Named(HeaderName),
}

impl TokenExchange {
    pub(super) fn of(written: &ExchangeConfig) -> Self {
        Self {
            subject: match &written.subject_token {
                SubjectToken::Fixed(token) => SubjectSource::Fixed(token.clone()),
                SubjectToken::FromHeader(name) => SubjectSource::Named(name.clone()),
            },
            subject_type: written.subject_token_type.clone(),
            actor: written.actor_token.clone().map(|token| (token, written.actor_token_type.clone())),
            requested_type: written.requested_token_type.clone(),
        }
    }

    /// The field of a request that names its subject; `None`: it is the same for all.
    pub(super) fn field(&self) -> Option<&HeaderName> {
        match &self.subject {
            SubjectSource::Fixed(_) => None,
            SubjectSource::Named(name) => Some(name),
        }
    }

    pub(super) fn digest(&self, digest: &mut Digest) {
        let (kind, subject) = match &self.subject {
            SubjectSource::Fixed(token) => ("fixed", token.expose()),
            SubjectSource::Named(name) => ("named", name.as_str()),
        };
        digest.list([kind, subject, &self.subject_type, &self.requested_type].into_iter().map(str::as_bytes));
        let actor = self.actor.iter();
        digest.list(actor.flat_map(|(token, kind)| [token.expose().as_bytes(), kind.as_bytes()]));
    }

    /// Writes it into a request, on behalf of `subject` where requests say who that is.
    pub(super) fn write(&self, subject: Option<&Secret>, form: &mut TokenForm) {
        let fixed = match &self.subject {
            SubjectSource::Fixed(token) => Some(token),
            SubjectSource::Named(_) => None,
        };
        fixed.or(subject).into_iter().for_each(|token| form.add_secret("subject_token", token));
        form.add("subject_token_type", &self.subject_type);
        if let Some((token, kind)) = &self.actor {
            form.add_secret("actor_token", token);
            form.add("actor_token_type", kind);
        }
        form.add("requested_token_type", &self.requested_type);
    }
}
