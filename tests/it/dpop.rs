//! Proof of possession (RFC 9449): at the token endpoint, at the service, and with the nonces of both.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::idp::Idp;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, opinion};

/// A token endpoint that gives out bound tokens, a service that answers so, and Sidekey between them.
async fn with_service(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static, keys: &str) -> Scene {
    let lab = Lab::start().await;
    let idp = Fault::idp(|request| bound(&format!("token-{}", request.number))).await;
    let service = Fault::plain(answer).await;
    let config = format!(
        "
services:
  payments:
    url: {}/v1
    auth: {{ type: oauth2_client_credentials, token_url: '{}/token?v=1', client_id: me, client_secret: s, dpop: true }}
    {keys}
",
        service.url(),
        idp.url()
    );
    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;
    Scene { _lab: lab, idp, service, sidekey }
}

fn bound(token: &str) -> Reply {
    Reply::json(&json!({ "access_token": token, "token_type": "DPoP", "expires_in": 300 }))
}

struct Scene {
    _lab: Lab,
    idp: Fault,
    service: Fault,
    sidekey: Sidekey,
}

impl Scene {
    /// The tokens that the service saw, in order.
    fn tokens(&self) -> Vec<String> {
        let requests = self.service.received();
        requests.iter().map(|request| request.field("authorization").unwrap().replace("DPoP ", "")).collect()
    }

    /// The nonces of the proofs that the service saw, in order.
    fn nonces(&self) -> Vec<Value> {
        self.service.received().iter().map(|request| claims(request)["nonce"].clone()).collect()
    }
}

/// What the proof on a request says.
#[track_caller]
pub fn claims(request: &Received) -> Value {
    let proof = request.field("dpop").unwrap_or_else(|| panic!("no proof: {request:?}"));
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// A service that wants this nonce in each proof.
fn only(nonce: &'static str) -> impl Fn(&Received) -> Reply {
    move |request| if claims(request)["nonce"] == nonce { Reply::ok("welcome") } else { wants(nonce) }
}

/// RFC 9449 §9.
fn wants(nonce: &str) -> Reply {
    let challenge = "Bearer realm=\"a, b\", DPoP error=\"use_dpop_nonce\", error_description=\"nonce, please\"";
    Reply::new(401, &[("WWW-Authenticate", challenge), ("DPoP-Nonce", nonce)], "nonce, please")
}

fn dead() -> Reply {
    Reply::new(401, &[("WWW-Authenticate", "DPoP error=\"invalid_token\"")], "dead token")
}

#[tokio::test]
async fn a_token_of_a_real_endpoint_is_bound_to_the_key_that_proves_it() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey = lab.sidekey(&real(&idp, "by-dpop")).await;

    let seen = sidekey.get("/payments/orders?a=b").await.at_service();

    let token = seen.authorization.strip_prefix("DPoP ").unwrap();
    let proof = crate::lab::client::field(&seen.head, "dpop").unwrap();
    let url = lab.fill_in("$SERVICE/v1/orders?a=b");
    let at_service = opinion::dpop(&json!({ "proof": proof, "method": "GET", "url": url, "access_token": token }));
    let requests = idp.token_requests().await;
    let asked = Idp::only(&requests);
    let at_endpoint = opinion::dpop(&json!({ "proof": asked["dpop"], "method": "POST", "url": idp.url("/token") }));
    let key = at_service.unwrap()["jkt"].clone();
    assert_eq!(key, at_endpoint.unwrap()["jkt"]);
    assert_eq!(key, idp.introspect(token).await["cnf"]["jkt"]);
    assert_eq!(sidekey.until_token("payments", "valid").await["type"], "DPoP");
}

fn real(idp: &Idp, client: &str) -> String {
    format!(
        "
services:
  payments:
    url: $SERVICE/v1
    certificate: partner
    auth: {{ type: oauth2_client_credentials, token_url: '{}', client_id: {client}, client_secret: dpop-secret, dpop: true }}
",
        idp.url("/token")
    )
}

#[tokio::test]
async fn a_real_endpoint_that_wants_a_nonce_is_asked_again_at_once() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let sidekey = lab.sidekey(&real(&idp, "by-dpop-nonce")).await;

    assert!(sidekey.get("/payments/orders").await.at_service().authorization.starts_with("DPoP "));

    let requests = idp.token_requests().await;
    let statuses: Vec<_> = requests.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [400, 200]);
    let token = sidekey.until_token("payments", "valid").await;
    assert_eq!((&token["requests"], &token["failures"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn an_endpoint_that_wants_nonces_without_end_is_asked_twice() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|request| {
        let nonce = format!("nonce-{}", request.number);
        Reply::new(400, &[("DPoP-Nonce", &nonce)], r#"{"error":"use_dpop_nonce"}"#)
    })
    .await;
    let config = format!(
        "services: {{ payments: {{ url: $SERVICE, certificate: partner, auth: {{ type: oauth2_client_credentials, \
         token_url: '{}', client_id: me, client_secret: s3cret, dpop: true }} }} }}",
        idp.url()
    );
    let sidekey = lab.sidekey(&config).await;

    let detail = sidekey.get("/payments/orders").await.problem("token_rejected");

    assert!(detail.contains("use_dpop_nonce"), "{detail}");
    let nonces: Vec<_> = idp.received().iter().map(|request| claims(request)["nonce"].clone()).collect();
    assert_eq!(nonces, [Value::Null, "nonce-0".into()]);
}

#[tokio::test]
async fn a_token_that_is_not_bound_is_not_used() {
    for answer in [
        json!({ "access_token": "abc", "token_type": "Bearer" }),
        json!({ "access_token": "abc" }),
        json!({ "access_token": "e30.eyJjbmYiOnsiamt0IjoiQUFBQSJ9fQ.c2ln", "token_type": "DPoP" }),
    ] {
        let lab = Lab::start().await;
        let idp = Fault::idp(move |_| Reply::json(&answer)).await;
        let config = format!(
            "services: {{ payments: {{ url: $SERVICE, certificate: partner, auth: {{ type: oauth2_client_credentials, \
             token_url: '{}', client_id: me, client_secret: s3cret, dpop: true }} }} }}",
            idp.url()
        );
        let sidekey = lab.sidekey(&config).await;

        let detail = sidekey.get("/payments/orders").await.problem("token_unavailable");

        assert!(detail.contains("let the endpoint bind tokens"), "{detail}");
    }
}

#[tokio::test]
async fn each_sending_has_a_proof_of_its_own() {
    let refuses_once = |request: &Received| if request.number == 0 { Reply::status(503) } else { Reply::ok("") };
    let scene = with_service(refuses_once, "retry: { attempts: 1, on: [503] }").await;

    assert_eq!(scene.sidekey.get("/payments/orders?q").await.status_of_service(), 200);
    assert_eq!(scene.sidekey.post("/payments/%7Ea", "x").await.status_of_service(), 200);

    let proofs: Vec<_> = scene.service.received().iter().map(claims).collect();
    assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
    let said: Vec<_> = proofs.iter().map(|claims| (claims["htm"].clone(), claims["htu"].clone())).collect();
    let url = |path: &str| json!(format!("{}/v1{path}", scene.service.url()));
    assert_eq!(said[0], said[1]);
    assert_eq!(said[1..], [(json!("GET"), url("/orders")), (json!("POST"), url("/%7Ea"))]);
    assert_eq!(claims(&scene.idp.only())["htu"], format!("{}/token", scene.idp.url()), "without the query");
}

#[tokio::test]
async fn a_service_that_wants_a_nonce_gets_the_same_token_with_it() {
    let scene = with_service(only("n1"), "").await;
    let body = "x".repeat(60 * 1024);

    let answer = scene.sidekey.post("/payments/orders", body.clone()).await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (200, "welcome"));
    assert_eq!(scene.tokens(), ["token-0", "token-0"]);
    assert_eq!(scene.nonces(), [Value::Null, "n1".into()]);
    assert!(scene.service.received().iter().all(|request| request.text() == body));
    assert_eq!(scene.idp.count(), 1, "the token is not to blame");
    // Whichever worker carries it: the nonce is known now.
    for _ in 0..8 {
        scene.sidekey.get("/payments/orders").await.status_of_service();
    }
    assert_eq!(scene.service.count(), 10);
}

#[tokio::test]
async fn the_nonce_of_any_answer_is_in_the_next_proof_and_the_app_sees_it_too() {
    let numbered = |request: &Received| Reply::new(200, &[("DPoP-Nonce", &format!("n{}", request.number))], "");
    let scene = with_service(numbered, "").await;

    let first = scene.sidekey.get("/payments/orders").await;
    scene.sidekey.get("/payments/orders").await;

    assert_eq!(first.field("dpop-nonce").as_deref(), Some("n0"));
    assert_eq!(scene.nonces(), [Value::Null, "n0".into()]);
}

#[tokio::test]
async fn a_second_demand_for_a_nonce_goes_to_the_app_as_it_came() {
    let scene = with_service(|request| wants(&format!("n{}", request.number)), "").await;

    let answer = scene.sidekey.get("/payments/orders").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (401, "nonce, please"));
    assert_eq!(answer.field("dpop-nonce").as_deref(), Some("n1"));
    assert_eq!((scene.nonces(), scene.idp.count()), (vec![Value::Null, "n0".into()], 1));
}

#[tokio::test]
async fn a_body_that_is_gone_is_not_sent_again_but_the_nonce_is_kept() {
    let scene = with_service(only("n1"), "").await;

    let answer = scene.sidekey.post("/payments/orders", "x".repeat(65 * 1024)).await;
    let next = scene.sidekey.get("/payments/orders").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (401, "nonce, please"));
    assert_eq!(next.status_of_service(), 200);
    assert_eq!((scene.nonces(), scene.idp.count()), (vec![Value::Null, "n1".into()], 1));
}

#[tokio::test]
async fn a_dead_token_is_replaced_after_the_nonce_was_found() {
    let answer = |request: &Received| match (claims(request)["nonce"].as_str(), request.field("authorization")) {
        (Some("n1"), Some(token)) if token == "DPoP token-1" => Reply::ok("welcome"),
        (Some("n1"), _) => dead(),
        _ => wants("n1"),
    };
    let scene = with_service(answer, "").await;

    assert_eq!(scene.sidekey.get("/payments/orders").await.status_of_service(), 200);

    assert_eq!(scene.tokens(), ["token-0", "token-0", "token-1"]);
    assert_eq!(scene.idp.count(), 2);
}

#[tokio::test]
async fn a_proof_of_the_apps_own_is_replaced_or_kept_with_its_token() {
    let request = || Request::get("/payments/orders").field("DPoP", "app");
    let replacing = with_service(|_| Reply::ok(""), "").await;
    let keeping = with_service(|_| wants("n1"), "on_client_authorization: keep").await;

    assert_eq!(replacing.sidekey.send(request()).await.status_of_service(), 200);
    let kept = keeping.sidekey.send(request().field("Authorization", "DPoP app")).await;
    keeping.sidekey.send(Request::get("/payments/orders").field("Authorization", "Bearer app")).await;

    assert_eq!(claims(&replacing.service.only())["htm"], "GET");
    assert_eq!((kept.status_of_service(), keeping.service.count()), (401, 2), "ours was not refused");
    let seen: Vec<_> = keeping.service.received();
    assert_eq!((seen[0].field("authorization"), seen[0].field("dpop")), (Some("DPoP app".into()), Some("app".into())));
    assert_eq!((seen[1].field("authorization"), seen[1].field("dpop")), (Some("Bearer app".into()), None));
}

#[tokio::test]
async fn tokens_of_many_subjects_are_bound_to_the_key_of_their_entry() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|request| bound(&format!("token-{}", request.number))).await;
    let service = Fault::plain(only("n1")).await;
    let config = format!(
        "
services:
  payments:
    url: {}
    auth:
      type: oauth2_token_exchange
      token_url: {}
      client_id: me
      subject_token: {{ from_header: x-subject }}
      dpop: true
",
        service.url(),
        idp.url()
    );
    let sidekey = lab.sidekey(&config).await;

    for subject in ["alice", "bob", "alice"] {
        let request = Request::get("/payments/orders").field("X-Subject", subject);
        assert_eq!(sidekey.send(request).await.status_of_service(), 200);
    }

    let received = service.received();
    let tokens: Vec<_> = received.iter().map(|request| request.field("authorization").unwrap()).collect();
    assert_eq!(tokens, ["DPoP token-0", "DPoP token-0", "DPoP token-1", "DPoP token-0"]);
    let mut keys: Vec<_> = received.iter().chain(&idp.received()).map(key).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

/// The head of the proof on a request, which has the key.
#[track_caller]
fn key(request: &Received) -> String {
    request.field("dpop").unwrap().split('.').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_on_a_request_is_explained_with_its_proof() {
    let lab = Lab::start().await;
    let config = "
services:
  payments:
    url: https://api.example
    auth: { type: oauth2_client_credentials, token_url: 'https://idp.example/t', client_id: a, client_secret: s, dpop: true }
";
    lab.write("sidekey.yaml", config);

    let explained = lab.run("explain --config sidekey.yaml /payments/orders").stdout;

    assert!(explained.contains("authorization: DPoP *** (a token from https://idp.example/t)"), "{explained}");
    assert!(explained.contains("dpop: *** (a proof of its own for each sending)"), "{explained}");
}
