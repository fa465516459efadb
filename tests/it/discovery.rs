//! Issuers: where their metadata are looked for, what of them is followed, and for how long.

use serde_json::{Value, json};

use crate::lab::client::field;
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::idp::Idp;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

fn config(issuer: &str, fields: &str) -> String {
    format!(
        "
services:
  payments:
    url: $SERVICE/v1
    certificate: partner
    auth: {{ type: oauth2_client_credentials, issuer: '{issuer}', {fields} }}
"
    )
}

/// The server that was asked, as a URL.
fn own_url(request: &Received) -> String {
    format!("http://{}", field(&request.head, "host").unwrap())
}

/// Metadata of the issuer at `path` of the server that was asked, whose token endpoint is that server's `endpoint`.
fn metadata(request: &Received, path: &str, endpoint: &str) -> Reply {
    let url = own_url(request);
    Reply::json(&json!({ "issuer": format!("{url}{path}"), "token_endpoint": format!("{url}{endpoint}") }))
}

/// What came to the server, by its targets.
fn targets(issuer: &Fault) -> Vec<String> {
    issuer.received().iter().map(|request| request.target().to_owned()).collect()
}

const CLIENT: &str = "client_id: me, client_secret: s3cret";

/// A Sidekey whose service has the issuer at `path` of a server that answers so.
async fn with_issuer(path: &str, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    let lab = Lab::start().await;
    let issuer = Fault::plain(answer).await;
    let sidekey = lab.sidekey(&config(&format!("{}{path}", issuer.url()), CLIENT)).await;
    Scene { _lab: lab, issuer, sidekey }
}

struct Scene {
    _lab: Lab,
    issuer: Fault,
    sidekey: Sidekey,
}

impl Scene {
    async fn authorization(&self) -> String {
        self.sidekey.get("/payments/orders").await.at_service().authorization
    }
}

#[tokio::test]
async fn metadata_are_found_before_the_path_of_the_issuer() {
    let scene = with_issuer("/realms/x", |request| match request.target() {
        "/.well-known/oauth-authorization-server/realms/x" => metadata(request, "/realms/x", "/realms/x/token"),
        "/realms/x/token" => Reply::token("abc", 300),
        _ => Reply::status(500),
    })
    .await;

    assert_eq!(scene.authorization().await, "Bearer abc");

    assert_eq!(targets(&scene.issuer), [&format!("{OAUTH}/realms/x"), "/realms/x/token"]);
    let asked = &scene.issuer.received()[0];
    assert_eq!((asked.method(), asked.field("authorization")), ("GET", None), "no credential is sent for metadata");
}

#[tokio::test]
async fn metadata_are_found_where_openid_connect_has_them_if_not_there() {
    for nothing in [Reply::status(404), Reply::ok("<html>"), Reply::status(500), Reply::json(&json!([]))] {
        let scene = with_issuer("/realms/x/", move |request| match request.target() {
            "/realms/x/.well-known/openid-configuration" => metadata(request, "/realms/x/", "/token"),
            "/token" => Reply::token("abc", 300),
            _ => nothing.clone(),
        })
        .await;

        assert_eq!(scene.authorization().await, "Bearer abc");

        assert_eq!(targets(&scene.issuer), [&format!("{OAUTH}/realms/x"), &format!("/realms/x{OPENID}"), "/token"]);
    }
}

#[tokio::test]
async fn metadata_are_found_where_they_do_not_belong_if_nowhere_else() {
    let third = format!("/x{OAUTH}");
    let place = third.clone();
    let scene = with_issuer("/x", move |request| match request.target() {
        target if target == place => metadata(request, "/x", "/token"),
        "/token" => Reply::token("abc", 300),
        _ => Reply::status(404),
    })
    .await;

    assert_eq!(scene.authorization().await, "Bearer abc");

    assert_eq!(targets(&scene.issuer), [&format!("{OAUTH}/x"), &format!("/x{OPENID}"), &third, "/token"]);
}

#[tokio::test]
async fn metadata_are_read_once_for_many_tokens() {
    let scene = with_issuer("", |request| match request.target() {
        OAUTH => metadata(request, "", "/token"),
        _ => Reply::token(&format!("token-{}", request.number), 1),
    })
    .await;

    until("three tokens", async || (targets(&scene.issuer).len() >= 4).then_some(())).await;

    assert_eq!(targets(&scene.issuer)[..4], [OAUTH, "/token", "/token", "/token"]);
}

/// Checks that requests fail with this code and all `words`, and that no credential went anywhere.
async fn check_fails(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static, code: &str, words: &[&str]) {
    let scene = with_issuer("/x", answer).await;

    let detail = scene.sidekey.get("/payments/orders").await.problem(code);

    for word in words {
        assert!(detail.contains(word), "{word:?} in {detail:?}");
    }
    let received = scene.issuer.received();
    assert!(!received.is_empty() && received.iter().all(|request| request.method() == "GET"), "{received:#?}");
}

#[tokio::test]
async fn an_issuer_that_speaks_for_another_is_rejected() {
    for (path, cure) in
        [("/x/", "exactly as its metadata"), ("/y", "set `token_url: http://"), ("", "set `token_url: http://")]
    {
        let answer = move |request: &Received| metadata(request, path, "/token");
        check_fails(answer, "token_rejected", &["has the metadata of the issuer", cure]).await;
    }
}

#[tokio::test]
async fn an_issuer_without_metadata_is_rejected() {
    let words = [&format!("neither at {OAUTH}/x nor at /x{OPENID} nor at /x{OAUTH}"), "check `issuer`"];
    check_fails(|_| Reply::status(404), "token_rejected", &words).await;
    let nameless = |request: &Received| Reply::json(&json!({ "issuer": format!("{}/x", own_url(request)) }));
    check_fails(nameless, "token_rejected", &["names no `token_endpoint`"]).await;
}

#[tokio::test]
async fn an_issuer_that_is_ill_is_unavailable() {
    check_fails(|_| Reply::status(503), "token_unavailable", &["answered 503"]).await;
    check_fails(|_| Reply::ok(&"x".repeat(70_000)), "token_unavailable", &["64 KiB"]).await;
    let redirect = |_: &Received| Reply::new(302, &[("Location", "/elsewhere")], "");
    check_fails(redirect, "token_unavailable", &["redirects are not followed"]).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_is_given_up_in_time() {
    let lab = Lab::start().await;
    let issuer = Fault::plain(|_| Reply::hang()).await;
    let sidekey = lab.sidekey(&config(&issuer.url(), &format!("{CLIENT}, timeout: 1s"))).await;

    let detail = sidekey.get("/payments/orders").await.problem("token_unavailable");

    assert!(detail.contains("`timeout` (1s)") && detail.contains("`issuer`"), "{detail}");
}

#[tokio::test]
async fn credentials_go_from_an_https_issuer_to_no_place_without_tls() {
    let lab = Lab::start().await;
    let plain = Fault::idp(|_| Reply::token("abc", 300)).await;
    let endpoint = format!("{}/token", plain.url());
    let issuer = Fault::tls(&lab, move |request| {
        let url = format!("https://{}", field(&request.head, "host").unwrap());
        Reply::json(&json!({ "issuer": url, "token_endpoint": endpoint }))
    })
    .await;
    let sidekey = lab.sidekey(&config(&issuer.url(), CLIENT)).await;

    let detail = sidekey.get("/payments/orders").await.problem("token_rejected");

    assert!(detail.contains("names a `token_endpoint` without TLS"), "{detail}");
    assert_eq!(plain.count(), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_looked_for_anew() {
    let scene = with_issuer("", |request| match (request.target(), request.number) {
        (OAUTH, 0) => metadata(request, "", "/old"),
        (OAUTH, _) => metadata(request, "", "/new"),
        ("/old", 1) => Reply::token("old", 1),
        ("/old", _) => Reply::status(410),
        _ => Reply::token("new", 300),
    })
    .await;

    until("the new endpoint", async || {
        (scene.sidekey.get("/payments/orders").await.text().contains("Bearer new")).then_some(())
    })
    .await;

    assert_eq!(targets(&scene.issuer), [OAUTH, "/old", "/old", OAUTH, "/new"]);
}

#[tokio::test]
async fn the_endpoint_that_is_known_serves_while_the_issuer_is_down() {
    let scene = with_issuer("", |request| match (request.target(), request.number) {
        (OAUTH, 0) => metadata(request, "", "/token"),
        ("/token", 2) => Reply::status(410),
        ("/token", 1) => Reply::token("first", 1),
        ("/token", _) => Reply::token("second", 300),
        _ => Reply::status(503),
    })
    .await;

    until("the second token", async || {
        (scene.sidekey.get("/payments/orders").await.text().contains("Bearer second")).then_some(())
    })
    .await;

    assert_eq!(targets(&scene.issuer), [OAUTH, "/token", "/token", OAUTH, OPENID, "/token"]);
    scene.sidekey.until_logged("the token endpoint known so far is used").await;
}

#[tokio::test]
async fn a_way_to_authenticate_that_the_issuer_does_not_know_is_warned_of_once() {
    let scene = with_issuer("", |request| match request.target() {
        OAUTH => {
            let url = own_url(request);
            Reply::json(&json!({
                "issuer": url, "token_endpoint": format!("{url}/token"),
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            }))
        }
        // Doubted each time, and so discovered each time.
        _ if request.number < 4 => Reply::raw("HTTP/1.1 200 OK\r\n").then_close(),
        _ => Reply::token("abc", 300),
    })
    .await;

    until("a token", async || (scene.sidekey.get("/payments/orders").await.status == 200).then_some(())).await;

    let warning = "clients authenticate there by client_secret_post, private_key_jwt, says the issuer; \
                   ours by client_secret_basic";
    assert_eq!(scene.sidekey.log().matches(warning).count(), 1, "{}", scene.sidekey.log());
}

#[tokio::test]
async fn the_token_of_a_real_issuer_reaches_the_service() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let client = "client_id: by-basic, client_secret: basic-secret, scope: payments.read";
    let sidekey = lab.sidekey(&config(&idp.url(""), client)).await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    let token = seen.authorization.strip_prefix("Bearer ").unwrap();
    assert_eq!(idp.introspect(token).await["client_id"], "by-basic");
    let explained = lab.run("explain --config sidekey.yaml /payments/orders").stdout;
    assert!(explained.contains(&format!("(a token from {})", idp.url(""))), "{explained}");
}

#[tokio::test]
async fn the_jwt_of_a_client_is_for_the_issuer_whatever_address_it_goes_to() {
    let lab = Lab::start().await;
    let key = lab.key("client", "ES256");
    let idp = lab.idp_with(json!({ "mtls_aliases": true, "jwks": { "by-es256": key.set() } })).await;
    let client = "client_id: by-es256, client_key: keys/client.pem";
    let sidekey = lab.sidekey(&config(&idp.url(""), client)).await;

    assert!(sidekey.get("/payments/orders").await.at_service().authorization.starts_with("Bearer "));

    let requests = idp.token_requests().await;
    let asked = Idp::only(&requests);
    assert_eq!((&asked["assertion"]["payload"]["aud"], &asked["port"]), (&json!(idp.url("")), &json!(idp.mtls())));
}

/// An issuer that asks for certificates on a port of its own, and what its tokens are bound to.
async fn with_aliases(lab: &Lab, fields: &str) -> (Idp, Sidekey) {
    let idp = lab.idp_with(json!({ "mtls_aliases": true })).await;
    let sidekey = lab.sidekey(&config(&idp.url(""), fields)).await;
    (idp, sidekey)
}

/// A service that asks what the token is bound to holds it against the certificate that it sees (RFC 8705 §3).
async fn bound_to(idp: &Idp, authorization: &str) -> Value {
    idp.introspect(authorization.strip_prefix("Bearer ").unwrap()).await["cnf"]["x5t#S256"].clone()
}

#[tokio::test]
async fn a_client_with_a_certificate_goes_to_the_mtls_alias() {
    let lab = Lab::start().await;
    for client in ["client_id: by-certificate", "client_id: by-secret-bound, client_secret: bound-secret"] {
        let (idp, sidekey) = with_aliases(&lab, client).await;

        let seen = sidekey.get("/payments/orders").await.at_service();

        let requests = idp.token_requests().await;
        assert_eq!(Idp::only(&requests)["port"], idp.mtls().unwrap());
        assert_eq!(bound_to(&idp, &seen.authorization).await, lab.partner.thumbprint());
        assert_eq!(seen.fingerprint, lab.partner.fingerprint());
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_stays_away_from_the_mtls_alias() {
    let lab = Lab::start().await;
    let (idp, sidekey) =
        with_aliases(&lab, "client_id: by-basic, client_secret: basic-secret, certificate: none").await;

    let seen = sidekey.get("/payments/orders").await.at_service();

    assert_eq!(Idp::only(&idp.token_requests().await)["port"], idp.port);
    assert_eq!(bound_to(&idp, &seen.authorization).await, Value::Null);
}

#[tokio::test]
async fn a_token_of_the_mtls_alias_and_its_certificate_rotate_together() {
    let lab = Lab::start().await;
    let (idp, sidekey) = with_aliases(&lab, "client_id: by-certificate").await;
    sidekey.get("/payments/orders").await.at_service();

    let rotated = lab.rotate("partner");

    until("the new certificate", async || {
        let seen = sidekey.get("/payments/orders").await.at_service();
        let new = seen.fingerprint == rotated.fingerprint();
        let presented = if new { &rotated } else { &lab.partner };
        assert_eq!(bound_to(&idp, &seen.authorization).await, presented.thumbprint(), "a pair of two halves");
        new.then_some(())
    })
    .await;
}
