//! JWTs of token requests: for the client (RFC 7523 §2.2), or as what a token is asked for with (§2.1).
//!
//! One is made anew for each request, with a time, an end and a name of its own, so that one that was seen is worth
//! nothing a minute later; or it is read anew from a file where somebody else renews it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;

use super::as_used;
use super::failure::NotAsked;
use crate::config::auth::oauth2::OAuth2;
use crate::credential::digest::Digest;
use crate::credential::jws::{JwsSigner, SigningError};
use crate::secret::Secret;

/// Makes JWTs that differ in their times and names only.
pub(super) struct AssertionMaker {
    signer: Arc<JwsSigner>,
    /// JSON.
    head: String,
    /// All that stay the same.
    claims: Map<String, Value>,
    lifetime: Duration,
}

/// How an endpoint finds the key that verifies.
#[derive(Default)]
pub(super) struct KeyName<'a> {
    /// `kid`.
    pub(super) id: Option<&'a str>,
    /// Fingerprint of the certificate whose key it is: `x5t#S256` (RFC 7515 §4.1.8).
    pub(super) certificate: Option<&'a [u8; 32]>,
}

impl AssertionMaker {
    /// Makes JWTs that `signer` signs, with these claims and a life of `lifetime`.
    pub(super) fn new(
        signer: JwsSigner,
        key: &KeyName<'_>,
        claims: impl IntoIterator<Item = (String, Value)>,
        lifetime: Duration,
    ) -> Self {
        let head = head(&signer, key);
        Self { signer: Arc::new(signer), head, claims: claims.into_iter().collect(), lifetime }
    }

    /// One JWT, issued at `now`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) async fn make(&self, now: SystemTime) -> Result<Secret, NotAsked> {
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Whole seconds: not everybody reads others, though a NumericDate may have a fraction.
        let expires = issued.as_secs() + self.lifetime.as_secs() + u64::from(self.lifetime.subsec_nanos() > 0);
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), issued.as_secs().into());
        claims.insert("exp".to_owned(), expires.into());
        claims.insert("jti".to_owned(), fresh_name()?.into());
        let (signer, head) = (Arc::clone(&self.signer), self.head.clone());
        let claims = Value::Object(claims).to_string();
        if !signer.takes_long() {
            return Ok(signer.sign(&head, &claims)?);
        }
        // RSA takes milliseconds, and a thousand subjects may ask at once: all that is shared waits on this thread.
        let signed = spawn_blocking(move || signer.sign(&head, &claims)).await;
        Ok(signed.map_err(|_| SigningError)??)
    }

    /// Digests all that decides whom the endpoint takes it to be from, and how long it lives.
    pub(super) fn digest(&self, digest: &mut Digest) {
        let claims = Value::Object(self.claims.clone()).to_string();
        let lifetime = self.lifetime.as_nanos().to_be_bytes();
        let identity = self.signer.identity();
        digest.list([&identity[..], self.head.as_bytes(), claims.as_bytes(), &lifetime].into_iter());
    }
}

/// The audience that a JWT has if none is written: who issues the tokens, in one string. That an endpoint has another
/// address for mutual TLS does not count.
pub(super) fn audience(written: &OAuth2) -> String {
    written.endpoint.value.name()
}

/// Reads a JWT that somebody else made, as it is now.
///
/// # Errors
/// When there is none.
pub(super) async fn read(path: &Path) -> Result<Secret, NotAsked> {
    let jwt = as_used::read(path).await.map_err(|reason| unreadable(path, &reason))?;
    match std::str::from_utf8(&jwt) {
        Ok("") => Err(unreadable(path, "it is empty")),
        Ok(jwt) if jwt.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(jwt.to_owned())),
        _ => Err(unreadable(path, "a JWT is visible ASCII without spaces, and this is not")),
    }
}

fn head(signer: &JwsSigner, key: &KeyName<'_>) -> String {
    let mut head = Map::new();
    head.insert("alg".to_owned(), signer.algorithm.into());
    head.insert("typ".to_owned(), "JWT".into());
    if let Some(id) = key.id {
        head.insert("kid".to_owned(), id.into());
    }
    if let Some(certificate) = key.certificate {
        head.insert("x5t#S256".to_owned(), URL_SAFE_NO_PAD.encode(certificate).into());
    }
    Value::Object(head).to_string()
}

/// A `jti` that nobody had before.
pub(super) fn fresh_name() -> Result<String, SigningError> {
    let mut name = [0; 16];
    rand::fill(&mut name).map_err(|_| SigningError)?;
    Ok(URL_SAFE_NO_PAD.encode(name))
}

impl From<SigningError> for NotAsked {
    fn from(unsigned: SigningError) -> Self {
        Self { what: format!("its JWT could not be made: {unsigned}"), help: "it will be tried again" }
    }
}

fn unreadable(path: &Path, reason: &str) -> NotAsked {
    let what = format!("`client_assertion` at `{}` can't be used: {reason}", path.display());
    NotAsked { what, help: "check that whoever puts the JWT there is running; it is read anew at each attempt" }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Head and claims of a JWT.
    fn decoded(jwt: &Secret) -> [Value; 2] {
        let mut parts = jwt.expose().split('.');
        [(); 2].map(|()| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap())
    }

    fn assertion(key: &KeyName<'_>, lifetime: Duration) -> AssertionMaker {
        let signer = JwsSigner::with_secret(&Secret::new("s".repeat(32)));
        AssertionMaker::new(signer, key, [("iss".to_owned(), "app".into()), ("n".to_owned(), 1.into())], lifetime)
    }

    #[tokio::test]
    async fn each_one_has_a_time_an_end_and_a_name_of_its_own() {
        let assertion = assertion(&KeyName::default(), Duration::from_secs(60));
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);

        let [first, second] = [assertion.make(now).await.unwrap(), assertion.make(now).await.unwrap()]
            .map(|jwt| decoded(&jwt)[1].clone());

        assert_eq!((&first["iss"], &first["n"]), (&Value::from("app"), &Value::from(1)));
        assert_eq!((&first["iat"], &first["exp"]), (&Value::from(1_700_000_000), &Value::from(1_700_000_060)));
        assert_eq!(URL_SAFE_NO_PAD.decode(first["jti"].as_str().unwrap()).unwrap().len(), 16);
        assert_ne!(first["jti"], second["jti"]);
    }

    #[tokio::test]
    async fn a_life_of_part_of_a_second_ends_with_the_next() {
        let jwt =
            assertion(&KeyName::default(), Duration::from_millis(500)).make(SystemTime::UNIX_EPOCH).await.unwrap();

        assert_eq!(decoded(&jwt)[1]["exp"], 1);
    }

    #[tokio::test]
    async fn the_head_names_the_key() {
        let key = KeyName { id: Some("k\"1"), certificate: Some(&[7; 32]) };
        let jwt = assertion(&key, Duration::from_secs(60)).make(SystemTime::now()).await.unwrap();

        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        let expected = serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": "k\"1", "x5t#S256": thumbprint });
        assert_eq!(decoded(&jwt)[0], expected);
    }

    #[tokio::test]
    async fn a_file_is_read_as_it_is_now_without_the_white_space_around() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt");

        for (content, jwt) in [("ey.J.w\n", "ey.J.w"), ("  ey.K.w\r\n\n", "ey.K.w")] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).await.unwrap().expose(), jwt);
        }
    }

    #[tokio::test]
    async fn what_is_no_jwt_is_told_by_what_is_wrong_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt");
        let refused = async || read(&path).await.unwrap_err().what.split_once("can't be used: ").unwrap().1.to_owned();

        assert_eq!(refused().await, "no such file");
        for (content, reason) in [
            (" \n".to_owned(), "it is empty"),
            ("two words".to_owned(), "a JWT is visible ASCII without spaces, and this is not"),
            ("é".to_owned(), "a JWT is visible ASCII without spaces, and this is not"),
            ("e".repeat((64 << 10) + 1), "larger than 64 KiB"),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(refused().await, reason);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refused().await, "not a regular file");
    }
}
