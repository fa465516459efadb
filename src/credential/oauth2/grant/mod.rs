//! What a token is asked for with.

use super::draft::Draft;
use crate::config::Report;
use crate::config::auth::oauth2::{self as config, OAuth2};
use crate::credential::digest::Digest;
use crate::secret::Secret;

/// What a token is asked for with.
pub(super) enum Grant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3.
    Password { username: String, password: Secret },
}

impl Grant {
    /// `None`: what is wrong has been reported.
    pub(super) fn compile(written: &OAuth2, report: &mut Report) -> Option<Self> {
        match &written.grant {
            config::Grant::ClientCredentials => Some(Self::ClientCredentials),
            config::Grant::Password { username, password } => {
                Some(Self::Password { username: username.clone(), password: password.clone() })
            }
            config::Grant::RefreshToken { .. } | config::Grant::JwtBearer(_) | config::Grant::TokenExchange(_) => {
                report.error(written.endpoint.span, "this grant is not in this version yet");
                None
            }
        }
    }

    /// Digests all that decides which token it gets.
    pub(super) fn digest(&self, digest: &mut Digest) {
        digest.field(self.grant_type().as_bytes());
        match self {
            Self::ClientCredentials => {}
            Self::Password { username, password } => {
                digest.list([username.as_bytes(), password.expose().as_bytes()].into_iter());
            }
        }
    }

    /// Begins a request for a token.
    pub(super) fn draft(&self) -> Draft {
        let mut draft = Draft::new(self.grant_type());
        match self {
            Self::ClientCredentials => {}
            Self::Password { username, password } => {
                draft.add("username", username);
                draft.add_secret("password", password);
            }
        }
        draft
    }

    fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Password { .. } => "password",
        }
    }
}
