//! The demo's token endpoint: client credentials by `basic` and `post` (RFC 6749 §2.3.1, §4.4).
//!
//! A client that presents a certificate gets a token that is bound to it (RFC 8705 §3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::endpoint::{Responder, json as answer_json};
use super::token::{Confirmation, DemoClaims, TokenSigner, now};
use crate::secret::Secret;

/// Answers `POST /token`.
pub(super) struct Idp {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    /// What a token's `aud` is.
    pub(super) audience: String,
    /// The scope that may be asked for, and that is given if none is.
    pub(super) scope: String,
    pub(super) signer: TokenSigner,
}

/// An error of RFC 6749 §5.2, or one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejection {
    InvalidRequest(&'static str),
    InvalidClient,
    UnsupportedGrantType,
    InvalidScope,
    ServerError,
}

impl Responder for Idp {
    fn answer(&self, request: &Request<Bytes>, caller: Option<&CertificateDer<'static>>) -> Response<Full<Bytes>> {
        if request.uri().path() != TOKEN_PATH {
            return answer_json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }));
        }
        if request.method() != Method::POST {
            return answer_json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "invalid_request" }));
        }
        match self.grant(request, caller) {
            Ok(token) => token,
            Err(rejection) => reject(rejection),
        }
    }
}

impl Idp {
    fn grant(
        &self,
        request: &Request<Bytes>,
        caller: Option<&CertificateDer<'static>>,
    ) -> Result<Response<Full<Bytes>>, Rejection> {
        let form = FormFields::read(request.body())?;
        self.authenticate(request, &form)?;
        match form.one("grant_type")? {
            Some("client_credentials") => {}
            Some(_) => return Err(Rejection::UnsupportedGrantType),
            None => return Err(Rejection::InvalidRequest("grant_type is missing")),
        }
        match form.one("scope")? {
            Some(scope) if scope != self.scope => Err(Rejection::InvalidScope),
            _ => self.issue(caller),
        }
    }

    fn authenticate(&self, request: &Request<Bytes>, form: &FormFields) -> Result<(), Rejection> {
        let field = request.headers().get(AUTHORIZATION);
        let (id, secret) = match (field, form.one("client_secret")?) {
            (Some(_), Some(_)) => return Err(Rejection::InvalidRequest("the client authenticates twice")),
            (Some(field), None) => basic(field).ok_or(Rejection::InvalidClient)?,
            (None, Some(secret)) => (form.one("client_id")?.unwrap_or_default().to_owned(), secret.to_owned()),
            (None, None) => return Err(Rejection::InvalidClient),
        };
        let known = id == self.client_id && self.client_secret.is(secret.as_bytes());
        known.then_some(()).ok_or(Rejection::InvalidClient)
    }

    fn issue(&self, caller: Option<&CertificateDer<'static>>) -> Result<Response<Full<Bytes>>, Rejection> {
        let issued_at = now();
        let claims = DemoClaims {
            iss: "sidekey-demo".to_owned(),
            sub: self.client_id.clone(),
            aud: self.audience.clone(),
            scope: self.scope.clone(),
            iat: issued_at,
            exp: issued_at + LIFETIME_SECONDS,
            cnf: caller.and_then(Confirmation::of),
        };
        let token = self.signer.sign(&claims).map_err(|_| Rejection::ServerError)?;
        let answer = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": self.scope,
        });
        Ok(answer_json(StatusCode::OK, &answer))
    }
}

fn reject(rejection: Rejection) -> Response<Full<Bytes>> {
    let (status, error, description) = match rejection {
        Rejection::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
        Rejection::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client", "unknown client or wrong secret"),
        Rejection::UnsupportedGrantType => {
            (StatusCode::BAD_REQUEST, "unsupported_grant_type", "only client_credentials is granted here")
        }
        Rejection::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope", "this scope is not given here"),
        Rejection::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "no token can be signed"),
    };
    let mut response = answer_json(status, &json!({ "error": error, "error_description": description }));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sidekey-demo\""));
    }
    response
}

/// Id and secret of `Basic`, which were form-encoded before they were joined (RFC 6749 §2.3.1).
fn basic(field: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = field.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // A value without its name is a name without a value.
    form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// The fields of a form.
struct FormFields(Vec<(String, String)>);

impl FormFields {
    fn read(body: &[u8]) -> Result<Self, Rejection> {
        std::str::from_utf8(body).map_err(|_| Rejection::InvalidRequest("the form is no UTF-8"))?;
        Ok(Self(form_urlencoded::parse(body).into_owned().collect()))
    }

    /// A field that may be there once (RFC 6749 §3.2).
    fn one(&self, name: &str) -> Result<Option<&str>, Rejection> {
        let mut values = self.0.iter().filter(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(Rejection::InvalidRequest("a field is there twice"));
        }
        Ok(first)
    }
}

/// The path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/token";
const LIFETIME_SECONDS: u64 = 300;
