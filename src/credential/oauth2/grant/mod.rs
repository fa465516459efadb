//! What a token is asked for with.

mod claim;
mod family;
mod file;
mod jwt_bearer;
mod refresh_token;
mod saving;
mod token_exchange;

use std::time::SystemTime;

use http::HeaderName;

pub(crate) use claim::Claim;
pub(super) use family::{Families, RefreshTokenLease};

use super::assertion::AssertionMaker;
use super::failure::NotAsked;
use super::form::TokenForm;
use crate::config::auth::oauth2::{self as config, OAuth2};
use crate::config::{Inputs, Report};
use crate::credential::digest::Digest;
use crate::secret::Secret;
use refresh_token::RefreshToken;
use token_exchange::TokenExchange;

/// What a token is asked for with.
pub(super) enum Grant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3.
    Password { username: String, password: Secret },
    /// RFC 6749 §6.
    RefreshToken(RefreshToken),
    /// RFC 7523 §2.1.
    JwtBearer(Box<AssertionMaker>),
    /// RFC 8693.
    TokenExchange(TokenExchange),
}

/// What one request is made with that is another the next time.
pub(super) enum Input<'a> {
    Nothing,
    RefreshToken(RefreshTokenLease),
    Subject(&'a Secret),
}

impl Grant {
    /// `None`: what is wrong has been reported, or can't be known without the secrets.
    pub(super) fn compile(written: &OAuth2, families: &Families, inputs: &Inputs, report: &mut Report) -> Option<Self> {
        match &written.grant {
            config::GrantConfig::ClientCredentials => Some(Self::ClientCredentials),
            config::GrantConfig::Password { username, password } => {
                Some(Self::Password { username: username.clone(), password: password.clone() })
            }
            config::GrantConfig::RefreshToken { refresh_token, state_file } => {
                RefreshToken::compile(written, refresh_token, state_file.as_ref(), families, inputs, report)
                    .map(Self::RefreshToken)
            }
            config::GrantConfig::JwtBearer(assertion) => jwt_bearer::compile(assertion, written, inputs, report)
                .map(|assertion| Self::JwtBearer(Box::new(assertion))),
            config::GrantConfig::TokenExchange(exchange) => Some(Self::TokenExchange(TokenExchange::of(exchange))),
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
            Self::RefreshToken(token) => token.digest(digest),
            Self::JwtBearer(assertion) => assertion.digest(digest),
            Self::TokenExchange(exchange) => exchange.digest(digest),
        }
    }

    /// The field of a request that says on whose behalf a token is asked for; `None`: it is one for all requests.
    pub(super) fn subject_field(&self) -> Option<&HeaderName> {
        match self {
            Self::TokenExchange(exchange) => exchange.field(),
            Self::ClientCredentials | Self::Password { .. } | Self::RefreshToken(_) | Self::JwtBearer(_) => None,
        }
    }

    /// The refresh token that it asks with.
    pub(super) fn refresh_token(&self) -> Option<&RefreshToken> {
        match self {
            Self::RefreshToken(token) => Some(token),
            Self::ClientCredentials | Self::Password { .. } | Self::JwtBearer(_) | Self::TokenExchange(_) => None,
        }
    }

    /// What the next request is made with. Waits while somebody else's is under way with the same refresh token.
    pub(super) async fn input<'a>(&self, subject: Option<&'a Secret>) -> Input<'a> {
        match (self.refresh_token(), subject) {
            (Some(token), _) => Input::RefreshToken(token.family().lease().await),
            (None, Some(subject)) => Input::Subject(subject),
            (None, None) => Input::Nothing,
        }
    }

    /// Begins a request for a token.
    ///
    /// # Errors
    /// When what it is asked for with can't be made.
    pub(super) async fn form(&self, input: &Input<'_>) -> Result<TokenForm, NotAsked> {
        let mut form = TokenForm::new(self.grant_type());
        match (self, input) {
            (Self::Password { username, password }, _) => {
                form.add("username", username);
                form.add_secret("password", password);
            }
            (_, Input::RefreshToken(lease)) => form.add_secret("refresh_token", lease.token()),
            (Self::JwtBearer(assertion), _) => form.add_secret("assertion", &assertion.make(SystemTime::now()).await?),
            (Self::TokenExchange(exchange), input) => exchange.write(input.subject(), &mut form),
            (Self::ClientCredentials | Self::RefreshToken(_), _) => {}
        }
        Ok(form)
    }

    fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Password { .. } => "password",
            Self::RefreshToken(_) => "refresh_token",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

impl<'a> Input<'a> {
    /// The endpoint gave this refresh token: it is on the disk, where it has a place there, when this returns.
    pub(super) async fn replace(&mut self, refresh_token: Secret) {
        if let Self::RefreshToken(lease) = self {
            lease.replace(refresh_token).await;
        }
    }

    fn subject(&self) -> Option<&'a Secret> {
        match self {
            Self::Subject(subject) => Some(subject),
            Self::Nothing | Self::RefreshToken(_) => None,
        }
    }
}
