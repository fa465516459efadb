//! Proofs of possession (RFC 9449), as a server checks them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::super::dpop::{ProofKey, Prover, Resource};
use super::super::{Slots, refresh};
use crate::config::Scheme;
use crate::credential::jws::thumbprint;
use crate::credential::tests::{credential, outgoing, stamp};
use crate::credential::{SubjectTokens, Verdict};
use crate::secret::Secret;

/// A proof that was checked.
struct Proof {
    claims: Value,
    thumbprint: String,
}

/// Checks signature and form of a proof.
#[track_caller]
fn checked(proof: &HeaderValue) -> Proof {
    assert!(proof.is_sensitive(), "HTTP/2 must keep no copy");
    let text = proof.to_str().expect("ASCII");
    let (signed, signature) = text.rsplit_once('.').expect("a signature");
    let (head, claims) = signed.split_once('.').expect("a head");
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).expect("JSON");
    let head = json(head);
    assert_eq!((&head["typ"], &head["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
    let jwk = &head["jwk"];
    assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["d"]), (&json!("EC"), &json!("P-256"), &Value::Null));
    let [x, y] = ["x", "y"].map(|name| decoded(jwk[name].as_str().expect("a number")));
    let point = [&[4], x.as_slice(), &y].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decoded(signature))
        .expect("a good signature");
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    Proof { claims: json(claims), thumbprint: thumbprint(&jwk) }
}

#[track_caller]
fn proof(prover: &Prover, method: &str, path: &str, token: Option<&Secret>) -> Proof {
    checked(&prover.prove(method, resource(path), token).expect("a proof"))
}

fn prover() -> Prover {
    Prover::new(Arc::new(ProofKey::generate()))
}

fn resource(path: &str) -> Resource<'_> {
    Resource { scheme: Scheme::Https, authority: "api.example:8443", path }
}

/// Fields of an answer.
fn answer(fields: &[(&'static str, &str)]) -> HeaderMap {
    let value = |value: &str| HeaderValue::from_str(value).expect("a value");
    fields.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

#[test]
fn a_proof_says_what_it_is_for_and_when_it_was_made() {
    let prover = prover();

    let proof = proof(&prover, "POST", "/v1/orders;a=\"b\"", None);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let claims = &proof.claims;
    assert_eq!(
        (&claims["htm"], &claims["htu"]),
        (&json!("POST"), &json!("https://api.example:8443/v1/orders;a=\"b\""))
    );
    assert!(now - claims["iat"].as_u64().expect("a time") < 60, "{claims}");
    assert_eq!((&claims["ath"], &claims["nonce"]), (&Value::Null, &Value::Null));
    assert_eq!(proof.thumbprint, prover.key().thumbprint());
}

#[test]
fn no_two_proofs_are_the_same() {
    let prover = prover();

    let proofs: BTreeSet<String> =
        (0..100).map(|_| proof(&prover, "GET", "/", None).claims["jti"].as_str().expect("an id").to_owned()).collect();

    assert_eq!(proofs.len(), 100);
    assert!(proofs.iter().all(|id| id.len() == 22), "128 bits: {proofs:?}");
}

/// The examples of RFC 9449 §7.1 and §6.1.
#[test]
fn token_and_key_are_hashed_as_the_rfc_does() {
    let token = Secret::new("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU".to_owned());
    let jwk = r#"{"crv":"P-256","kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;

    let proof = proof(&prover(), "GET", "/", Some(&token));

    assert_eq!(proof.claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    assert_eq!(thumbprint(jwk), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_target_without_a_path_is_the_server() {
    assert_eq!(resource("*").to_string(), "https://api.example:8443");
    assert_eq!(Resource { scheme: Scheme::Http, ..resource("/") }.to_string(), "http://api.example:8443/");
}

#[test]
fn the_nonce_that_was_given_last_is_in_the_next_proof() {
    let prover = prover();
    let nonce = || proof(&prover, "GET", "/", None).claims["nonce"].clone();

    assert!(!prover.remember(&answer(&[])));
    assert_eq!(nonce(), Value::Null);
    for given in ["one", "two", "two"] {
        assert!(prover.remember(&answer(&[("dpop-nonce", given)])));
        assert_eq!(nonce(), given);
    }
    for broken in ["", "a b", "a\"b", "a\\b", &"x".repeat(1025)] {
        assert!(!prover.remember(&answer(&[("dpop-nonce", broken)])), "{broken}");
        assert_eq!(nonce(), "two");
    }
}

#[track_caller]
fn check_verdict(status: u16, fields: &[(&'static str, &str)], verdict: Option<Verdict>) {
    let status = StatusCode::from_u16(status).expect("a status");

    assert_eq!(prover().verdict(status, &answer(fields)), verdict, "{status} {fields:?}");
}

#[test]
fn a_service_that_wants_a_nonce_does_not_call_the_token_dead() {
    let wanted = ("www-authenticate", r#"DPoP error="use_dpop_nonce""#);
    let dead = ("www-authenticate", r#"DPoP error="invalid_token""#);
    let nonce = ("dpop-nonce", "n");

    check_verdict(401, &[wanted, nonce], Some(Verdict::Again));
    check_verdict(401, &[dead, wanted, nonce], Some(Verdict::Again));
    // Nothing would be other in the next proof.
    check_verdict(401, &[wanted], Some(Verdict::Pass));
    check_verdict(401, &[dead, nonce], None);
    check_verdict(403, &[wanted, nonce], None);
    check_verdict(200, &[nonce], None);
}

const METHOD: &str = "auth: { type: oauth2_client_credentials, token_url: 'http://127.0.0.1:1/t', client_id: a, \
                      client_secret: s, dpop: true }";

#[test]
fn a_credential_with_proofs_owns_both_fields_and_hears_of_nonces() {
    let slots = Slots::default();
    let bound = credential(METHOD, &slots);
    let wanted = answer(&[("www-authenticate", "DPoP error=\"use_dpop_nonce\""), ("dpop-nonce", "n")]);
    let verdict = |generation, fields: &HeaderMap| bound.verdict(&stamp(generation), StatusCode::UNAUTHORIZED, fields);

    assert_eq!(bound.owned().fields, ["authorization", "dpop"].map(HeaderName::from_static));
    assert_eq!(verdict(1, &wanted), Verdict::Again);
    assert_eq!(verdict(1, &HeaderMap::new()), Verdict::NewToken);
    assert_eq!(verdict(0, &wanted), Verdict::Pass, "of the app's own credential");
}

#[test]
fn services_share_the_key_with_the_entry() {
    let slots = Slots::default();
    let [one, same, plain] = [METHOD, METHOD, &METHOD.replace("true", "false")].map(|keys| credential(keys, &slots));
    let key = |slot: &Arc<super::super::Slot>| slot.source.proof_key().map(|key| key.thumbprint().to_owned());

    let [one, same, plain] = [&one, &same, &plain].map(|credential| credential.slot().expect("a slot"));
    assert!(Arc::ptr_eq(one, same) && !Arc::ptr_eq(one, plain));
    assert!(key(one).is_some());
    assert_eq!(key(plain), None);
}

#[tokio::test(flavor = "local")]
async fn an_app_that_shows_who_it_is_itself_gets_no_proof_of_ours() {
    let slots = Slots::default();
    let keeping = credential(&format!("on_client_authorization: keep, {METHOD}"), &slots);
    for slot in slots.take_new() {
        tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    }

    for field in ["authorization", "dpop"] {
        let mut request = outgoing("/", &[(field, "app")]);
        let stamp =
            keeping.authorize(&RefCell::default(), &SubjectTokens::default(), &mut request).await.expect("authorized");

        assert_eq!(stamp.generation, 0);
        let fields: Vec<_> = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [(field, b"app".as_slice())]);
    }
}
