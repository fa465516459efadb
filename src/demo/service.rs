//! The demo's service: takes nobody without a certificate and a token that is bound to it, and tells what it saw.

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde_json::json;

use super::endpoint::{Responder, json as answer_json};
use super::token::{DemoClaims, TokenVerifier, now};
use crate::tls::Leaf;

/// Answers every method and path.
pub(super) struct DemoService {
    pub(super) audience: String,
    pub(super) verifier: TokenVerifier,
}

impl Responder for DemoService {
    fn answer(&self, request: &Request<Bytes>, caller: Option<&CertificateDer<'static>>) -> Response<Full<Bytes>> {
        let Some(certificate) = caller else {
            return refuse("no client certificate was presented");
        };
        let Some((scheme, token)) = authorization(request) else {
            return refuse("the request has no Authorization");
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return refuse("the authorization is no bearer token");
        }
        match self.verifier.verify(token, &self.audience, certificate, now()) {
            Ok(claims) => tell(request, certificate, scheme, token, &claims),
            Err(refused) => refuse(&refused.to_string()),
        }
    }
}

fn authorization(request: &Request<Bytes>) -> Option<(&str, &str)> {
    request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')
}

/// What the service saw of a request; its answer.
#[derive(Serialize)]
struct SeenRequest {
    method: String,
    path: String,
    client_certificate: Option<String>,
    authorization: String,
    scope: String,
    lifetime: String,
    body_bytes: usize,
}

fn tell(
    request: &Request<Bytes>,
    certificate: &CertificateDer<'_>,
    scheme: &str,
    token: &str,
    claims: &DemoClaims,
) -> Response<Full<Bytes>> {
    let seen = SeenRequest {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        client_certificate: Leaf::read(certificate).map(|leaf| leaf.subject),
        authorization: format!("{scheme} {}", shortened(token)),
        scope: claims.scope.clone(),
        lifetime: format!("{} s", claims.exp - claims.iat),
        body_bytes: request.body().len(),
    };
    answer_json(StatusCode::OK, &seen)
}

/// Enough of a token to recognize it, too little to use it.
fn shortened(token: &str) -> String {
    let first: String = token.chars().take(SHOWN).collect();
    format!("{first}… ({} bytes)", token.len())
}

/// RFC 6750 §3.1.
fn refuse(why: &str) -> Response<Full<Bytes>> {
    let mut response =
        answer_json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token", "error_description": why }));
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

const SHOWN: usize = 12;
