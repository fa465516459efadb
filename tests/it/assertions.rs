//! JWTs that authenticate a client, and one that a token is asked for with: taken by a real identity provider, and looked
//! at by a library of others.

use serde_json::{Map, Value, json};

use crate::lab::fault::{Fault, Reply};
use crate::lab::idp::Idp;
use crate::lab::{Lab, opinion, until};

/// A service whose token comes by this method.
fn config(method: &str) -> String {
    format!(
        "
services:
  payments:
    url: $SERVICE/v1
    certificate: partner
    auth: {{ {method} }}
"
    )
}

fn client_credentials(token_url: &str, fields: &str) -> String {
    config(&format!("type: oauth2_client_credentials, token_url: '{token_url}', {fields}"))
}

fn jwt_bearer(token_url: &str, fields: &str) -> String {
    config(&format!("type: oauth2_jwt_bearer, token_url: '{token_url}', {fields}"))
}

/// Has one token fetched; what the provider saw, and what it answered.
async fn asked(lab: &Lab, idp: &Idp, config: &str) -> Value {
    let sidekey = lab.sidekey(config).await;
    let answer = sidekey.get("/payments/orders").await;
    let requests = idp.token_requests().await;
    assert_eq!(answer.status, 200, "{answer:?}\n{requests:#?}");
    let seen = answer.at_service();
    assert!(seen.authorization.starts_with("Bearer "), "{}", seen.authorization);
    requests.into_iter().last().unwrap()
}

#[tokio::test]
async fn private_key_jwt_of_every_kind_of_key_is_taken() {
    let lab = Lab::start().await;
    let keys = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(|algorithm| lab.key(algorithm, algorithm));
    let client = |algorithm: &str| format!("by-{}", algorithm.to_lowercase());
    let algorithm = |key: &Value| key["alg"].as_str().unwrap().to_owned();
    let jwks: Map<_, _> = keys.iter().map(|key| (client(&algorithm(&key.jwk)), key.set())).collect();
    let idp = lab.idp_with(json!({ "jwks": jwks })).await;

    for key in &keys {
        let algorithm = algorithm(&key.jwk);
        // The usual algorithm of its key goes without saying.
        let way = if algorithm == "PS256" { ", client_key_algorithm: PS256" } else { "" };
        let fields =
            format!("client_id: {}, client_key: {}, client_key_id: {algorithm}{way}", client(&algorithm), key.file);

        let request = asked(&lab, &idp, &client_credentials(&idp.url("/token"), &fields)).await;

        assert_eq!(request["client"], client(&algorithm), "{request}");
        assert_eq!(request["authorization"], Value::Null, "one client authentication only: {request}");
        let jwt = request["fields"]["client_assertion"].as_str().unwrap();
        let told = opinion::jwt(jwt, &key.jwk, &algorithm).unwrap();
        assert_eq!(told["header"], json!({ "alg": algorithm, "typ": "JWT", "kid": algorithm }));
        assert_eq!(told["claims"]["aud"], idp.url("/token"));
        let lifetime = told["claims"]["exp"].as_u64().unwrap() - told["claims"]["iat"].as_u64().unwrap();
        assert_eq!(lifetime, 60);
    }
}

#[tokio::test]
async fn client_secret_jwt_is_taken_and_shows_no_secret() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let secret = "a secret that is long enough to be a key of HS256";
    let fields = format!("client_id: by-secret-jwt, client_auth: client_secret_jwt, client_secret: {secret}");

    let request = asked(&lab, &idp, &client_credentials(&idp.url("/token"), &fields)).await;

    assert_eq!(request["client"], "by-secret-jwt");
    assert_eq!(request["fields"]["client_secret"], Value::Null, "{request}");
    let jwt = request["fields"]["client_assertion"].as_str().unwrap();
    opinion::jwt(jwt, &json!({ "secret": secret }), "HS256").unwrap();
}

#[tokio::test]
async fn the_key_of_the_certificate_signs_and_the_jwt_names_the_certificate() {
    let lab = Lab::start().await;
    let rsa = lab.ca.client_with_rsa("partner");
    lab.write_pair("partner", &rsa);
    // Entra finds the key by the certificate, and the client by its name in the form.
    let settings = json!({ "partner": "entra", "jwks": { "by-key": { "keys": [rsa.jwk()] } } });
    let idp = lab.idp_with(settings).await;
    let url = idp.url("/contoso/oauth2/v2.0/token");
    let fields = "client_id: by-key, client_auth: private_key_jwt, client_key_algorithm: PS256, scope: 'a:b/.default'";

    let request = asked(&lab, &idp, &client_credentials(&url, fields)).await;

    assert_eq!(request["assertion"]["header"]["x5t#S256"], rsa.thumbprint());
    assert_eq!(request["fields"]["client_id"], "by-key");
    let jwt = request["fields"]["client_assertion"].as_str().unwrap();
    opinion::jwt(jwt, &rsa.jwk(), "PS256").unwrap();
}

#[tokio::test]
async fn the_audience_can_be_written() {
    let lab = Lab::start().await;
    let key = lab.key("okta", "RS256");
    let idp = lab.idp_with(json!({ "jwks": { "by-key": key.set() } })).await;
    let fields = format!("client_id: by-key, client_key: {}, client_assertion_audience: '{}'", key.file, idp.url(""));

    let request = asked(&lab, &idp, &client_credentials(&idp.url("/token"), &fields)).await;

    assert_eq!(request["assertion"]["payload"]["aud"], idp.url(""));
}

#[tokio::test]
async fn the_grant_with_a_jwt_is_taken_as_partners_document_it() {
    let lab = Lab::start().await;
    let key = lab.key("account", "RS256");
    let settings = |partner: Value| json!({ "partner": partner, "issuers": { "me": key.set() } });
    let assertion = |rest: &str| format!("assertion: {{ key: {}, issuer: me, {rest} }}", key.file);
    let google = "claims: { scope: 'https://www.googleapis.com/auth/cloud-platform' }, lifetime: 1h, key_id: account";
    let salesforce = "subject: user@contoso.example, audience: 'https://login.salesforce.com', lifetime: 3m";
    let docusign = "subject: 464f7988-4c7d-4c3a-9a3e-1f2b3c4d5e6f, audience: account-d.docusign.com, lifetime: 1h, \
        claims: { scope: signature impersonation }";

    for (partner, path, rest) in [
        (json!("google"), "/token", google),
        (json!("salesforce"), "/services/oauth2/token", salesforce),
        (json!("docusign"), "/oauth/token", docusign),
    ] {
        let idp = lab.idp_with(settings(partner)).await;
        // The service's certificate identifies nobody here.
        let fields = format!("certificate: none, {}", assertion(rest));

        let request = asked(&lab, &idp, &jwt_bearer(&idp.url(path), &fields)).await;

        let names: Vec<_> = request["fields"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 2, "{request}");
        assert_eq!(request["fields"]["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        opinion::jwt(request["fields"]["assertion"].as_str().unwrap(), &key.jwk, "RS256").unwrap();
    }
}

#[tokio::test]
async fn the_grant_with_a_jwt_goes_with_the_authentication_of_a_client() {
    let lab = Lab::start().await;
    let key = lab.key("issuer", "ES256");
    let idp = lab.idp_with(json!({ "issuers": { "https://issuer.example": key.set() } })).await;
    let fields = format!(
        "client_id: by-basic, client_secret: basic-secret, scope: payments.read, \
         assertion: {{ key: {}, issuer: 'https://issuer.example', subject: carol }}",
        key.file
    );

    let request = asked(&lab, &idp, &jwt_bearer(&idp.url("/token"), &fields)).await;

    assert_eq!((&request["client"], &request["scheme"]), (&json!("by-basic"), &json!("Basic")));
    let token = request["answer"]["access_token"].as_str().unwrap();
    assert_eq!(idp.introspect(token).await["sub"], "carol");
}

#[tokio::test]
async fn each_request_has_a_jwt_of_its_own() {
    let lab = Lab::start().await;
    let key = lab.key("client", "ES256");
    let idp = Fault::idp(|request| Reply::token(&format!("t{}", request.number), 2)).await;
    let fields = format!("client_id: me, client_key: {}", key.file);
    let _sidekey = lab.sidekey(&client_credentials(&idp.url(), &fields)).await;

    idp.until_received(2).await;

    let names = idp.received().into_iter().take(2).map(|request| {
        let jwt = request.form("client_assertion").unwrap();
        opinion::jwt(&jwt, &key.jwk, "ES256").unwrap()["claims"]["jti"].as_str().unwrap().to_owned()
    });
    let names: Vec<_> = names.collect();
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_key_that_is_replaced_signs_the_next_request() {
    let lab = Lab::start().await;
    lab.key("client", "ES256");
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let sidekey = lab.sidekey(&client_credentials(&idp.url(), "client_id: me, client_key: keys/client.pem")).await;
    idp.until_received(1).await;

    let new = lab.key("new", "ES256");
    lab.write("keys/client.pem", &new.pem);

    idp.until_received(2).await;
    let jwt = idp.received()[1].form("client_assertion").unwrap();
    opinion::jwt(&jwt, &new.jwk, "ES256").unwrap();
    assert_eq!(sidekey.get("/payments/orders").await.at_service().authorization, "Bearer abc");
}

#[tokio::test]
async fn an_assertion_of_somebody_else_is_taken() {
    let lab = Lab::start().await;
    let key = lab.key("workload", "RS256");
    let idp = lab.idp_with(json!({ "jwks": { "by-key": key.set() } })).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "iss": "by-key", "sub": "by-key", "aud": idp.url("/token"), "exp": now + 60, "jti": "1" });
    lab.write("tokens/idp", &(opinion::sign(&json!({ "alg": "RS256" }), &claims, &json!(key.pem)) + "\n"));
    let fields = "client_id: by-key, client_auth: assertion, client_assertion: { file: tokens/idp }";

    let request = asked(&lab, &idp, &client_credentials(&idp.url("/token"), fields)).await;

    assert_eq!(request["client"], "by-key");
}

#[tokio::test]
async fn an_assertion_is_read_anew_for_each_request_and_is_no_reload() {
    let lab = Lab::start().await;
    lab.write("tokens/idp", "ey.one.w\n");
    let idp = Fault::idp(|request| Reply::token(&format!("t{}", request.number), 2)).await;
    let fields = "client_id: me, client_auth: assertion, client_assertion: { file: tokens/idp }";
    let sidekey = lab.sidekey(&client_credentials(&idp.url(), fields)).await;
    idp.until_received(1).await;
    let generation = sidekey.generation().await;

    lab.write("tokens/idp", "ey.two.w\n");

    let sent = || idp.received().iter().map(|request| request.form("client_assertion").unwrap()).collect::<Vec<_>>();
    until("the new assertion", async || sent().contains(&"ey.two.w".to_owned()).then_some(())).await;
    assert_eq!(sent()[0], "ey.one.w");
    assert_eq!(sidekey.generation().await, generation);
}

#[tokio::test]
async fn a_missing_assertion_is_503_and_nobody_is_asked_until_it_is_there() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::token("abc", 300)).await;
    let fields = "client_id: me, client_auth: assertion, client_assertion: { file: tokens/idp }";
    let sidekey = lab.sidekey(&client_credentials(&idp.url(), fields)).await;

    let answer = sidekey.get("/payments/orders").await;

    let detail = answer.problem("credential_unavailable");
    assert!(detail.contains("was not asked: `client_assertion` at `"), "{detail}");
    assert!(detail.contains("tokens/idp` can't be used: no such file; "), "{detail}");
    assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(idp.count(), 0);
    let token = sidekey.service("payments").await["token"].clone();
    assert_eq!(token["state"], "failed", "{token}");

    lab.write("tokens/idp", "ey.J.w");
    until("the token", async || (sidekey.get("/payments/orders").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn what_the_endpoint_repeats_of_a_jwt_is_not_shown() {
    let lab = Lab::start().await;
    lab.write("tokens/idp", "ey.hunter2.w");
    let body = json!({ "error": "invalid_client", "error_description": "no: ey.hunter2.w" }).to_string();
    let idp = Fault::idp(move |_| Reply::new(401, &[], &body)).await;
    let fields = "client_id: me, client_auth: assertion, client_assertion: { file: tokens/idp }";
    let sidekey = lab.sidekey(&client_credentials(&idp.url(), fields)).await;

    let detail = sidekey.get("/payments/orders").await.problem("token_rejected");

    assert!(detail.contains("`invalid_client` (no: ***)"), "{detail}");
    assert!(!sidekey.log().contains("hunter2"), "{}", sidekey.log());
}

#[tokio::test]
async fn a_clock_that_differs_is_told() {
    let lab = Lab::start().await;
    let key = lab.key("client", "ES256");
    let date = [("Date", "Mon, 01 Jan 2024 00:00:00 GMT")];
    let idp = Fault::idp(move |_| Reply::new(401, &date, r#"{"error": "invalid_client"}"#)).await;
    let fields = format!("client_id: me, client_key: {}", key.file);
    let sidekey = lab.sidekey(&client_credentials(&idp.url(), &fields)).await;

    let detail = sidekey.get("/payments/orders").await.problem("token_rejected");

    assert!(detail.contains("its clock and ours are more than a minute apart"), "{detail}");
}

#[test]
fn a_key_that_does_not_fit_is_found_by_check() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::start());
    let key = lab.key("client", "ES256");
    let fields = format!("client_id: me, client_key: {}, client_key_algorithm: RS256", key.file);
    lab.write("sidekey.yaml", &lab.fill_in(&(client_credentials("https://idp.example/token", &fields) + CERTIFICATES)));

    let finished = lab.run("check --config sidekey.yaml");

    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("error: `RS256` does not fit the key"), "{finished:?}");
    assert_eq!(lab.run("check --no-secrets --config sidekey.yaml").code, Some(0));
}

const CERTIFICATES: &str = "certificates: { partner: { chain: tls/partner.pem, key: tls/partner.key } }\n";
