//! How the client shows who it is: in the form or in the head of the request, never in both (RFC 6749 §2.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::byte_serialize;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::draft::Draft;
use crate::config::Report;
use crate::config::auth::oauth2::{ClientAuth, OAuth2};
use crate::credential::digest::Digest;
use crate::secret::Secret;

/// A client of a token endpoint.
pub(super) struct Client {
    /// Only a grant that needs none may lack it.
    id: Option<String>,
    proof: Proof,
}

/// What the client authenticates with.
enum Proof {
    Basic(Secret),
    Post(Secret),
    /// The connection has it (RFC 8705 §2).
    Certificate,
    None,
}

impl Client {
    /// `None`: what is wrong has been reported.
    pub(super) fn compile(written: &OAuth2, report: &mut Report) -> Option<Self> {
        let proof = match &written.client_auth {
            ClientAuth::Basic(secret) => Proof::Basic(secret.value.clone()),
            ClientAuth::Post(secret) => Proof::Post(secret.value.clone()),
            ClientAuth::TlsClientAuth => Proof::Certificate,
            ClientAuth::None => Proof::None,
            ClientAuth::SecretJwt(_) | ClientAuth::PrivateKeyJwt(_) | ClientAuth::Assertion(_) => {
                report.error(written.endpoint.span, "this `client_auth` is not in this version yet");
                return None;
            }
        };
        Some(Self { id: written.client_id.clone(), proof })
    }

    /// Digests all that decides who the endpoint takes it for.
    pub(super) fn digest(&self, digest: &mut Digest) {
        digest.list(self.id.iter().map(String::as_bytes));
        let (kind, secret) = match &self.proof {
            Proof::Basic(secret) => ("basic", secret.expose()),
            Proof::Post(secret) => ("post", secret.expose()),
            Proof::Certificate => ("tls_client_auth", ""),
            Proof::None => ("none", ""),
        };
        digest.list([kind.as_bytes(), secret.as_bytes()].into_iter());
    }

    /// Authenticates the request.
    pub(super) fn authenticate(&self, draft: &mut Draft) {
        let id = self.id.as_deref();
        match &self.proof {
            Proof::Basic(secret) => {
                let pair = basic_pair(id.unwrap_or_default(), secret);
                let basic = Zeroizing::new(format!("Basic {}", pair.expose()));
                draft.set_field(&AUTHORIZATION, &basic, [pair, secret.clone()]);
            }
            Proof::Post(secret) => {
                id.into_iter().for_each(|id| draft.add("client_id", id));
                draft.add_secret("client_secret", secret);
            }
            // The endpoint must know which client the certificate is to be of (RFC 8705 §2).
            Proof::Certificate | Proof::None => id.into_iter().for_each(|id| draft.add("client_id", id)),
        }
    }
}

/// Id and secret as RFC 6749 §2.3.1 wants them: each encoded as a form's value is, and only then joined.
fn basic_pair(id: &str, secret: &Secret) -> Secret {
    let form_encoded = |text: &str| Secret::new(byte_serialize(text.as_bytes()).collect());
    let (id, secret) = (form_encoded(id), form_encoded(secret.expose()));
    let pair = Secret::new(format!("{}:{}", id.expose(), secret.expose()));
    Secret::new(STANDARD.encode(pair.expose()))
}
