//! How the client shows who it is: in the form or in the head of the request, never in both (RFC 6749 §2.3).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;

use super::assertion::{self, AssertionMaker, KeyName};
use super::basic_pair::basic_pair;
use super::failure::NotAsked;
use super::form::TokenForm;
use crate::config::auth::oauth2::{ClientAuth, ClientKey, OAuth2};
use crate::config::{At, Inputs, Report};
use crate::credential::digest::Digest;
use crate::credential::jws::JwsSigner;
use crate::secret::Secret;
use crate::tls::{self, Certificate};

/// A client of a token endpoint.
pub(super) struct Client {
    /// Only a grant that needs none may lack it.
    id: Option<String>,
    proof: ClientProof,
}

/// What the client authenticates with.
enum ClientProof {
    Basic(Secret),
    Post(Secret),
    /// A JWT of our own (RFC 7523 §2.2).
    Jwt(Box<AssertionMaker>),
    /// A JWT that somebody else made, in this file.
    File(PathBuf),
    /// The connection has it (RFC 8705 §2).
    Certificate,
    None,
}

impl Client {
    /// `certificate` is the one that the endpoint sees. `None`: what is wrong has been reported, or can't be known
    /// without the secrets.
    pub(super) fn compile(
        written: &OAuth2,
        certificate: Option<&Certificate>,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let proof = match &written.client_auth {
            ClientAuth::Basic(secret) => ClientProof::Basic(secret.value.clone()),
            ClientAuth::Post(secret) => ClientProof::Post(secret.value.clone()),
            ClientAuth::SecretJwt(secret) => ClientProof::Jwt(Box::new(by_secret(secret, written, inputs, report))),
            ClientAuth::PrivateKeyJwt(key) => {
                ClientProof::Jwt(Box::new(by_key(key, written, certificate, inputs, report)?))
            }
            ClientAuth::Assertion(file) => ClientProof::File(file.value.clone()),
            ClientAuth::TlsClientAuth => ClientProof::Certificate,
            ClientAuth::None => ClientProof::None,
        };
        Some(Self { id: written.client_id.clone(), proof })
    }

    /// Digests all that decides who the endpoint takes it for.
    pub(super) fn digest(&self, digest: &mut Digest) {
        digest.list(self.id.iter().map(String::as_bytes));
        let (kind, secret) = match &self.proof {
            ClientProof::Basic(secret) => ("basic", secret.expose().as_bytes()),
            ClientProof::Post(secret) => ("post", secret.expose().as_bytes()),
            ClientProof::Jwt(_) => ("jwt", [].as_slice()),
            ClientProof::File(path) => ("assertion", path.as_os_str().as_encoded_bytes()),
            ClientProof::Certificate => ("tls_client_auth", [].as_slice()),
            ClientProof::None => ("none", [].as_slice()),
        };
        digest.list([kind.as_bytes(), secret].into_iter());
        if let ClientProof::Jwt(assertion) = &self.proof {
            assertion.digest(digest);
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Authenticates the request.
    ///
    /// # Errors
    /// When the JWT that does it can't be had.
    pub(super) async fn authenticate(&self, form: &mut TokenForm) -> Result<(), NotAsked> {
        match &self.proof {
            ClientProof::Basic(secret) => {
                let pair = basic_pair(self.id.as_deref().unwrap_or_default(), secret);
                let basic = Secret::of_parts(|| ["Basic ", pair.expose()].into_iter());
                form.set_field(&AUTHORIZATION, basic.expose(), [pair, secret.clone()]);
            }
            ClientProof::Post(secret) => {
                self.name(form);
                form.add_secret("client_secret", secret);
            }
            ClientProof::Jwt(assertion) => self.show(&assertion.make(SystemTime::now()).await?, form),
            ClientProof::File(path) => self.show(&assertion::read(path).await?, form),
            // The endpoint must know which client the certificate is to be of (RFC 8705 §2).
            ClientProof::Certificate | ClientProof::None => self.name(form),
        }
        Ok(())
    }

    fn name(&self, form: &mut TokenForm) {
        self.id.iter().for_each(|id| form.add("client_id", id));
    }

    /// Authenticates by a JWT. The name may go along (RFC 7521 §4.2), and some endpoints look for the client by it: a
    /// token that somebody else made may name a workload, and not the client.
    fn show(&self, jwt: &Secret, form: &mut TokenForm) {
        self.name(form);
        form.add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        form.add_secret("client_assertion", jwt);
    }
}

fn by_secret(secret: &At<Secret>, written: &OAuth2, inputs: &Inputs, report: &mut Report) -> AssertionMaker {
    if inputs.reads_secrets() && secret.value.expose().len() < SHORTEST_SECRET {
        report
            .warning(secret.span, "`client_secret` is shorter than HS256 wants: 32 bytes (RFC 7518 §3.2)")
            .help("an endpoint may refuse it; have a longer one issued");
    }
    of_client(JwsSigner::with_secret(&secret.value), &KeyName::default(), written)
}

fn by_key(
    key: &ClientKey,
    written: &OAuth2,
    certificate: Option<&Certificate>,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<AssertionMaker> {
    let mut name = KeyName { id: key.id.as_deref(), certificate: None };
    let signer = match &key.file {
        Some(file) => JwsSigner::compile(&*tls::private_key(file, inputs, report)?, key.algorithm, file.span, report)?,
        None => {
            let certificate = certificate?;
            name.certificate = Some(&certificate.leaf.sha256);
            JwsSigner::compile(&*certificate.presented.key, key.algorithm, key.span, report)?
        }
    };
    Some(of_client(signer, &name, written))
}

/// The JWT of a client that vouches for itself (RFC 7523 §3, OpenID Connect Core §9).
fn of_client(signer: JwsSigner, key: &KeyName<'_>, written: &OAuth2) -> AssertionMaker {
    let id = written.client_id.clone().unwrap_or_default();
    let audience = written.client_assertion_audience.clone().unwrap_or_else(|| assertion::audience(written));
    let claims = [("iss", id.clone()), ("sub", id), ("aud", audience)];
    AssertionMaker::new(signer, key, claims.map(|(name, claim)| (name.to_owned(), claim.into())), LIFE_OF_CLIENT_JWT)
}

/// Enough for one request on its way, with clocks that differ a little.
const LIFE_OF_CLIENT_JWT: Duration = Duration::from_secs(60);

/// As long as the digest, in bytes.
const SHORTEST_SECRET: usize = 32;
