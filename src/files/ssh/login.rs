//! Who comes, and how that is shown: the key first, then the password, over one connection. A server that counts tries
//! (`MaxAuthTries`) counts two where it takes the key for none of its own.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};

use super::Judge;
use super::error::Error;
use crate::secret::Secret;

/// What a server is shown.
pub(crate) struct SshLogin {
    pub(crate) username: String,
    pub(crate) key: Option<Arc<PrivateKey>>,
    pub(crate) password: Option<Secret>,
}

impl SshLogin {
    pub(super) async fn log_in(&self, handle: &mut Handle<Judge>, allow_sha1: bool) -> Result<(), Error> {
        let mut offered = None;
        if let Some(key) = &self.key {
            match self.show_key(handle, key, allow_sha1).await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        let tried = if self.key.is_some() { "the key" } else { "nothing" };
        let Some(password) = &self.password else { return Err(refused(tried, offered.as_ref())) };
        // What was not asked yet may take either.
        let takes = |method| offered.as_ref().is_none_or(|offered: &MethodSet| offered.contains(&method));
        if takes(MethodKind::Password) {
            let said = handle.authenticate_password(&self.username, password.expose()).await?;
            match heard(handle, said)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, partial_success } => {
                    let asks = remaining_methods.contains(&MethodKind::KeyboardInteractive);
                    // A password that was wrong is not shown in another way: that would be a second try.
                    let was_not_taken = !partial_success && asks && !remaining_methods.contains(&MethodKind::Password);
                    if !was_not_taken {
                        return Err(refused(self.tried(), Some(&remaining_methods)));
                    }
                    offered = Some(remaining_methods);
                }
            }
        }
        let asks = offered.as_ref().is_some_and(|offered| offered.contains(&MethodKind::KeyboardInteractive));
        if asks { self.answer_prompts(handle, password).await } else { Err(refused(self.tried(), offered.as_ref())) }
    }

    async fn show_key(
        &self,
        handle: &mut Handle<Judge>,
        key: &Arc<PrivateKey>,
        allow_sha1: bool,
    ) -> Result<AuthResult, Error> {
        let hash = match key.algorithm().is_rsa() {
            false => None,
            // Who says nothing about it takes SHA-2, or is old.
            true => match handle.best_supported_rsa_hash().await? {
                Some(Some(hash)) => Some(hash),
                _ if allow_sha1 => None,
                _ => Some(HashAlg::Sha512),
            },
        };
        let said = handle.authenticate_publickey(&self.username, PrivateKeyWithHashAlg::new(key.clone(), hash)).await?;
        heard(handle, said)
    }

    /// A single prompt is for the password.
    async fn answer_prompts(&self, handle: &mut Handle<Judge>, password: &Secret) -> Result<(), Error> {
        let mut shown = false;
        let mut answer = handle.authenticate_keyboard_interactive_start(&self.username, None).await?;
        for _ in 0..MOST_ROUNDS {
            let responses = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(()),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    return Err(refused(self.tried(), Some(&remaining_methods)));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.len() {
                    0 => Vec::new(),
                    1 if !shown => {
                        shown = true;
                        vec![password.expose().to_owned()]
                    }
                    _ => return Err(refused("a password, where more is asked for", None)),
                },
            };
            answer = handle.authenticate_keyboard_interactive_respond(responses).await?;
        }
        Err(refused(self.tried(), None))
    }

    fn tried(&self) -> &'static str {
        if self.key.is_some() { "the key and the password" } else { "the password" }
    }
}

/// What the server has said. A connection that ends instead comes as a refusal that offers nothing.
fn heard(handle: &Handle<Judge>, said: AuthResult) -> Result<AuthResult, Error> {
    match said {
        AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() && handle.is_closed() => {
            Err(Error::Ended)
        }
        said => Ok(said),
    }
}

fn refused(tried: &'static str, offered: Option<&MethodSet>) -> Error {
    let names = offered.map(|offered| offered.iter().map(<&str>::from).collect::<Vec<_>>());
    let offered =
        names.filter(|names| !names.is_empty()).map_or_else(|| "nothing else".to_owned(), |names| names.join(", "));
    Error::Refused { tried, offered }
}

const MOST_ROUNDS: usize = 8;
