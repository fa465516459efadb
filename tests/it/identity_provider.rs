//! The identity provider itself, with no Sidekey between: every way of a client to say who it is, every grant, and the
//! ways of partners.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lab::certificates::Pair;
use crate::lab::client::field;
use crate::lab::idp::Idp;
use crate::lab::keys::Key;
use crate::lab::{Lab, opinion};

/// Asks for a token; what the provider answers.
fn token(lab: &Lab, idp: &Idp, path: &str, arguments: &str) -> Value {
    let text = lab.curl(&format!("{arguments} {}", idp.url(path)));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn access_token(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
}

#[track_caller]
fn assert_refused(answer: &Value, why: &str) {
    assert!(answer["access_token"].is_null() && answer.to_string().contains(why), "{why:?} in {answer}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A client's assertion, or an issuer's; `claims` may replace any claim.
fn assertion(key: &Key, issuer: &str, audience: &str, claims: &Value) -> String {
    let mut all = json!({ "iss": issuer, "sub": issuer, "aud": audience, "iat": now(), "exp": now() + 60 });
    all["jti"] = format!("{issuer}-{:?}", SystemTime::now()).into();
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let header = json!({ "alg": key.jwk["alg"], "kid": key.jwk["kid"] });
    opinion::sign(&header, &all, &json!(key.pem))
}

fn signed(assertion: &str) -> String {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    format!("-d grant_type=client_credentials -d client_assertion_type={kind} -d client_assertion={assertion}")
}

fn bearing(assertion: &str) -> String {
    format!("-d grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer -d assertion={assertion}")
}

fn proof(key: &Key, idp: &Idp, nonce: Option<&str>) -> String {
    let mut claims =
        json!({ "htm": "POST", "htu": idp.url("/token"), "iat": now(), "jti": format!("{:?}", SystemTime::now()) });
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    let mut jwk = key.jwk.clone();
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    opinion::sign(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }), &claims, &json!(key.pem))
}

#[tokio::test]
async fn the_identity_provider_knows_three_client_authentications() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let token = |client: &str| {
        lab.curl(&format!("-d grant_type=client_credentials {client} https://localhost:{}/token", idp.port))
    };

    for client in [
        "-u by-basic:basic-secret",
        "-d client_id=by-post -d client_secret=post-secret",
        "-d client_id=by-certificate --cert tls/partner.pem --key tls/partner.key",
    ] {
        assert!(token(client).contains("\"access_token\":\"ey"), "{client}");
    }
    for client in [
        "-u by-basic:wrong",
        "-d client_id=by-certificate",
        "-d client_id=by-certificate --cert tls/other.pem --key tls/other.key",
    ] {
        assert!(token(client).contains("invalid_client"), "{client}");
    }
    let statuses: Vec<_> = idp.token_requests().await.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [200, 200, 200, 401, 401, 401]);
}

#[tokio::test]
async fn the_identity_provider_checks_what_clients_sign() {
    let lab = Lab::start().await;
    let keys = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(|algorithm| lab.key(algorithm, algorithm));
    let name = |key: &Key| format!("by-{}", key.jwk["alg"].as_str().unwrap().to_lowercase());
    let jwks: Value = keys.iter().map(|key| (name(key), key.set())).collect::<serde_json::Map<_, _>>().into();
    let idp = lab.idp_with(json!({ "jwks": jwks })).await;
    let url = idp.url("/token");

    for key in &keys {
        let form = signed(&assertion(key, &name(key), &url, &json!({})));
        access_token(&token(&lab, &idp, "/token", &form));
        assert_refused(&token(&lab, &idp, "/token", &form), "invalid_client");
    }
    let stranger = lab.key("stranger", "ES256");
    assert_refused(
        &token(&lab, &idp, "/token", &signed(&assertion(&stranger, "by-es256", &url, &json!({})))),
        "invalid_client",
    );
    let secret = json!({ "secret": "a secret that is long enough to be a key of HS256" });
    let claims = json!({ "iss": "by-secret-jwt", "sub": "by-secret-jwt", "aud": url, "exp": now() + 60, "jti": "1" });
    access_token(&token(&lab, &idp, "/token", &signed(&opinion::sign(&json!({ "alg": "HS256" }), &claims, &secret))));
    access_token(&token(&lab, &idp, "/token", "-d grant_type=client_credentials -d client_id=by-name"));
    let requests = idp.token_requests().await;
    assert_eq!(requests[0]["assertion"]["payload"]["iss"], "by-rs256");
    assert_eq!(requests[1]["detail"], "client assertion tokens must only be used once");
}

#[tokio::test]
async fn the_identity_provider_binds_tokens_to_certificates_and_names_a_port_for_them() {
    let lab = Lab::start().await;
    let own = Pair::self_signed("own");
    lab.write_pair("own", &own);
    let settings =
        json!({ "mtls_aliases": true, "jwks": { "by-own-certificate": { "keys": [own.jwk()] } }, "lifetime": 60 });
    let idp = lab.idp_with(settings).await;
    let document: Value = serde_json::from_str(&lab.curl(&idp.url("/.well-known/oauth-authorization-server"))).unwrap();
    let alias = document["mtls_endpoint_aliases"]["token_endpoint"].as_str().unwrap();
    let ask = |url: &str, client: &str, pair: &str| -> Value {
        let form = format!("-d grant_type=client_credentials -d client_id={client}");
        let certificate = format!("--cert tls/{pair}.pem --key tls/{pair}.key");
        serde_json::from_str(&lab.curl(&format!("{form} {certificate} {url}"))).unwrap()
    };

    let theirs = access_token(&ask(alias, "by-certificate", "partner"));
    let ours = access_token(&ask(alias, "by-own-certificate", "own"));

    assert_eq!(alias, format!("https://localhost:{}/token", idp.mtls().unwrap()));
    assert_eq!(idp.introspect(&theirs).await["cnf"]["x5t#S256"], lab.partner.thumbprint());
    assert_eq!(idp.introspect(&ours).await["cnf"]["x5t#S256"], own.thumbprint());
    assert_eq!(idp.token_requests().await[1]["certificate"], own.sha256());
    assert_refused(&ask(alias, "by-own-certificate", "partner"), "invalid_client");
    assert_refused(&ask(&idp.url("/token"), "by-certificate", "partner"), "invalid_client");
}

#[tokio::test]
async fn the_identity_provider_wants_proofs_and_nonces() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let key = lab.key("dpop", "ES256");
    let ask = |client: &str, proof: &str| {
        lab.curl(&format!(
            "--include -u {client}:dpop-secret -d grant_type=client_credentials -H DPoP:{proof} {}",
            idp.url("/token")
        ))
    };

    let bound = ask("by-dpop", &proof(&key, &idp, None));
    let first = ask("by-dpop-nonce", &proof(&key, &idp, None));
    let nonce = field(&first, "dpop-nonce").unwrap();
    let second = ask("by-dpop-nonce", &proof(&key, &idp, Some(&nonce)));

    assert!(bound.contains(r#""token_type":"DPoP""#), "{bound}");
    assert!(first.starts_with("HTTP/1.1 400") && first.contains("use_dpop_nonce"), "{first}");
    assert!(second.starts_with("HTTP/1.1 200") && second.contains(r#""token_type":"DPoP""#), "{second}");
    let without = token(&lab, &idp, "/token", "-u by-dpop:dpop-secret -d grant_type=client_credentials");
    assert_refused(&without, "invalid_grant");
    let question = json!({ "proof": proof(&key, &idp, Some("n")), "method": "POST", "url": idp.url("/token?x") });
    assert!(opinion::dpop(&question).unwrap_err().contains("nonce"));
    let mut question = question;
    question["nonce"] = "n".into();
    let requests = idp.token_requests().await;
    let bound = access_token(&requests[0]["answer"]);
    assert_eq!(idp.introspect(&bound).await["cnf"]["jkt"], opinion::dpop(&question).unwrap()["jkt"]);
}

#[tokio::test]
async fn the_identity_provider_rotates_refresh_tokens() {
    let lab = Lab::start().await;
    let idp = lab.idp().await;
    let ask = |client: &str, refresh: &str| {
        let form = format!("-u {client}:refresh-secret -d grant_type=refresh_token -d refresh_token={refresh}");
        token(&lab, &idp, "/token", &form)
    };
    let [first, kept] = [idp.refresh_token("by-refresh").await, idp.refresh_token("by-refresh-kept").await];

    let rotated = ask("by-refresh", &first);
    let same = ask("by-refresh-kept", &kept);

    assert_eq!(idp.introspect(&access_token(&rotated)).await["sub"], "alice");
    assert_eq!(same["refresh_token"], kept);
    let second = rotated["refresh_token"].as_str().unwrap();
    assert_ne!(second, first);
    // A used one that comes again was stolen: nothing that came of it is good any more.
    for refresh in [&first, second] {
        assert_refused(&ask("by-refresh", refresh), "invalid_grant");
    }
}

#[tokio::test]
async fn the_identity_provider_takes_passwords_assertions_and_other_tokens() {
    let lab = Lab::start().await;
    let key = lab.key("issuer", "RS256");
    let idp = lab.idp_with(json!({ "issuers": { "https://issuer.example": key.set() } })).await;
    let url = idp.url("/token");
    let ask = |form: &str| token(&lab, &idp, "/token", form);
    let access = "urn:ietf:params:oauth:token-type:access_token";
    let exchange = format!(
        "-d grant_type=urn:ietf:params:oauth:grant-type:token-exchange -d subject_token_type={access} -d subject_token"
    );

    let by_password = ask("-u by-basic:basic-secret -d grant_type=password -d username=bob -d password=builder");
    let by_assertion =
        ask(&bearing(&assertion(&key, "https://issuer.example", &url, &json!({ "sub": "carol", "jti": "1" }))));
    let by_token = ask(&format!("{exchange}={}", access_token(&by_password)));
    let acting = ask(&format!(
        "{exchange}=a-token-of-alice -d actor_token=a-token-of-bob -d actor_token_type={access} -d audience=urn:b"
    ));

    for (answer, subject) in [(&by_password, "bob"), (&by_assertion, "carol"), (&by_token, "bob"), (&acting, "alice")] {
        assert_eq!(idp.introspect(&access_token(answer)).await["sub"], subject);
    }
    let claims = idp.introspect(&access_token(&acting)).await;
    assert_eq!(
        (&acting["issued_token_type"], &claims["aud"], &claims["act"]["sub"]),
        (&json!(access), &json!("urn:b"), &json!("bob"))
    );
    for (form, why) in [
        (
            "-u by-basic:basic-secret -d grant_type=password -d username=bob -d password=wrong".to_owned(),
            "invalid_grant",
        ),
        (bearing(&assertion(&key, "https://issuer.example", &url, &json!({ "jti": "1" }))), "invalid_grant"),
        (bearing(&assertion(&key, "https://issuer.example", "https://elsewhere.example", &json!({}))), "invalid_grant"),
        (bearing(&assertion(&key, "https://stranger.example", &url, &json!({}))), "invalid_grant"),
        (bearing(&assertion(&key, "https://issuer.example", &url, &json!({ "exp": now() - 60 }))), "invalid_grant"),
        (format!("{exchange}=a-token-of-nobody"), "invalid_request"),
    ] {
        assert_refused(&ask(&form), why);
    }
}

/// Starts the provider as this partner and checks one request that is as the partner wants it, and others that are not.
async fn as_partner(lab: &Lab, settings: Value, path: &str, good: &[&str], bad: &[(&str, &str)]) -> Value {
    let partner = settings["partner"].to_string();
    let idp = lab.idp_with(settings).await;
    let fill = |form: &str| form.replace("$BASE", &idp.url(""));
    let mut answer = Value::Null;
    for form in good {
        answer = token(lab, &idp, path, &fill(form));
        assert!(answer["access_token"].is_string(), "{partner}: {form}: {answer}");
    }
    for (form, why) in bad {
        let answer = token(lab, &idp, path, &fill(form));
        assert!(answer["access_token"].is_null() && answer.to_string().contains(why), "{partner}: {why:?} in {answer}");
    }
    answer
}

#[tokio::test]
async fn partners_of_client_credentials_want_what_they_document() {
    let lab = Lab::start().await;
    let post = "-d grant_type=client_credentials -d client_id=by-post -d client_secret=post-secret";
    let with = |more: &str| format!("{post} {more}");

    let entra = as_partner(
        &lab,
        json!({ "partner": "entra" }),
        "/contoso/oauth2/v2.0/token",
        &[&with("-d scope=api://payments/.default")],
        &[
            (post, "AADSTS900144"),
            (&with("-d scope=payments.read"), "AADSTS1002012"),
            (&with("-d scope=a/.default").replace("post-secret", "wrong"), "AADSTS7000215"),
        ],
    )
    .await;
    let v1 = as_partner(
        &lab,
        json!({ "partner": "entra-v1" }),
        "/contoso/oauth2/token",
        &[&with("-d resource=https://payments.example")],
        &[(post, "AADSTS900144")],
    )
    .await;
    as_partner(
        &lab,
        json!({ "partner": "okta" }),
        "/oauth2/default/v1/token",
        &[&with("-d scope=payments.read")],
        &[(post, "invalid_scope")],
    )
    .await;
    as_partner(
        &lab,
        json!({ "partner": "okta-org" }),
        "/oauth2/v1/token",
        &[],
        &[(post, "must use the private_key_jwt")],
    )
    .await;
    as_partner(
        &lab,
        json!({ "partner": "auth0" }),
        "/oauth/token",
        &[&with("-d audience=https://payments.example")],
        &[(post, "No audience parameter"), (&with("-d audience=a").replace("post-secret", "wrong"), "Unauthorized")],
    )
    .await;
    let certificate =
        "-d grant_type=client_credentials -d client_id=by-certificate --cert tls/partner.pem --key tls/partner.key";
    as_partner(&lab, json!({ "partner": "ping" }), "/as/token.oauth2", &[certificate], &[(post, "invalid_client")])
        .await;
    as_partner(
        &lab,
        json!({ "partner": "keycloak" }),
        "/realms/x/protocol/openid-connect/token",
        &[post],
        &[(&post.replace("post-secret", "wrong"), "unauthorized_client")],
    )
    .await;

    assert_eq!((&entra["expires_in"], &v1["expires_in"]), (&json!(600), &json!("600")));
}

#[tokio::test]
async fn partners_that_take_a_clients_signature_want_what_they_document() {
    let lab = Lab::start().await;
    let key = lab.key("okta", "RS256");
    let scope = "-d scope=payments.read";
    let settings = |name: &str| json!({ "partner": name, "jwks": { "by-key": key.set() } });
    // The provider's port is part of what is signed, so each is started first.
    for (partner, path) in [("okta", "/oauth2/default/v1/token"), ("okta-org", "/oauth2/v1/token")] {
        let idp = lab.idp_with(settings(partner)).await;
        let ask = |audience: &str| {
            let form = signed(&assertion(&key, "by-key", audience, &json!({})));
            token(&lab, &idp, path, &format!("{form} {scope}"))
        };
        access_token(&ask(&idp.url(path)));
        assert_refused(&ask(&idp.url("/oauth2/default")), "audience claim");
    }

    let pair = lab.ca.client_with_rsa("entra");
    lab.write_pair("entra", &pair);
    let settings = json!({ "partner": "entra", "jwks": { "by-key": { "keys": [pair.jwk()] } } });
    let idp = lab.idp_with(settings).await;
    let url = idp.url("/contoso/oauth2/v2.0/token");
    let ask = |header: Value| {
        let claims = json!({ "iss": "by-key", "sub": "by-key", "aud": url, "exp": now() + 60, "jti": format!("{:?}", SystemTime::now()) });
        let form = signed(&opinion::sign(&header, &claims, &json!(pair.key)));
        token(&lab, &idp, "/contoso/oauth2/v2.0/token", &format!("{form} -d client_id=by-key -d scope=a:b/.default"))
    };

    access_token(&ask(json!({ "alg": "PS256", "x5t#S256": pair.thumbprint() })));
    assert_refused(&ask(json!({ "alg": "PS256" })), "AADSTS5002723");
    assert_refused(&ask(json!({ "alg": "PS256", "x5t#S256": lab.partner.thumbprint() })), "AADSTS700027");
}

#[tokio::test]
async fn partners_of_assertions_want_what_they_document() {
    let lab = Lab::start().await;
    let key = lab.key("account", "RS256");
    let settings = |partner: &str| json!({ "partner": partner, "issuers": { "me": key.set() } });
    let bearing = |issuer: &str, audience: &str, claims: Value| bearing(&assertion(&key, issuer, audience, &claims));
    let user = json!({ "sub": "user@contoso.example" });

    let login = "https://login.salesforce.com";
    let salesforce = as_partner(
        &lab,
        settings("salesforce"),
        "/services/oauth2/token",
        &[&bearing("me", login, user.clone())],
        &[
            (&bearing("me", "https://elsewhere.example", user.clone()), "audience is invalid"),
            (&bearing("you", login, user.clone()), "client identifier invalid"),
            (&bearing("me", login, json!({})), "user hasn't approved"),
            (&bearing("me", login, json!({ "sub": "a@b", "exp": now() + 3000 })), "invalid assertion"),
        ],
    )
    .await;
    let host = "account-d.docusign.com";
    let user = |scope: &str| json!({ "sub": "464f7988-4c7d-4c3a-9a3e-1f2b3c4d5e6f", "scope": scope });
    let docusign = as_partner(
        &lab,
        settings("docusign"),
        "/oauth/token",
        &[&bearing("me", host, user("signature impersonation"))],
        &[
            (&bearing("me", host, user("signature")), "consent_required"),
            (&bearing("you", host, user("signature impersonation")), "issuer_not_found"),
            (&bearing("me", &format!("https://{host}"), user("signature impersonation")), "invalid_audience"),
            (&bearing("me", host, json!({ "sub": "me", "scope": "signature impersonation" })), "user_not_found"),
        ],
    )
    .await;
    let google = lab.idp_with(settings("google")).await;
    let scope = json!({ "scope": "https://www.googleapis.com/auth/cloud-platform" });
    let ask = |audience: &str, claims: Value| token(&lab, &google, "/token", &bearing("me", audience, claims));

    assert!(salesforce["expires_in"].is_null() && salesforce["instance_url"].is_string(), "{salesforce}");
    assert_eq!(docusign["scope"], "signature impersonation");
    assert_eq!(ask(&google.url("/token"), scope.clone())["expires_in"], 600);
    assert_refused(&ask(&google.url("/token"), json!({})), "invalid_scope");
    assert_refused(&ask("https://oauth2.googleapis.com/token", scope), "audience");
    assert_refused(&ask(&google.url("/token"), json!({ "scope": "a", "exp": now() + 9999 })), "short-lived");
}

#[tokio::test]
async fn a_partner_is_discovered_where_it_documents_it() {
    let lab = Lab::start().await;
    let discover = |idp: &Idp, path: &str| lab.curl(&idp.url(path));
    for (partner, issuer, token, elsewhere) in [
        ("entra", "/contoso/v2.0", "/contoso/oauth2/v2.0/token", "/.well-known/openid-configuration"),
        (
            "keycloak",
            "/realms/x",
            "/realms/x/protocol/openid-connect/token",
            "/.well-known/oauth-authorization-server/realms/x",
        ),
        (
            "okta",
            "/oauth2/default",
            "/oauth2/default/v1/token",
            "/.well-known/oauth-authorization-server/oauth2/default",
        ),
        ("auth0", "/", "/oauth/token", "/openid-configuration"),
    ] {
        let idp = lab.idp_with(json!({ "partner": partner })).await;

        let path = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document: Value = serde_json::from_str(&discover(&idp, &path)).unwrap();

        assert_eq!(
            (&document["issuer"], &document["token_endpoint"]),
            (&json!(idp.url(issuer)), &json!(idp.url(token)))
        );
        assert!(!discover(&idp, elsewhere).contains("token_endpoint"), "{partner}");
    }
}
