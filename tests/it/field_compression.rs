//! What a service that speaks HTTP/2 is told to remember of requests, by the word of a decoder that others wrote.

use serde_json::{Value, json};

use crate::lab::fault::{Fault, Reply};
use crate::lab::part::Part;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, bed};

async fn service(table: &str) -> Part {
    let arguments = if table.is_empty() { vec![] } else { vec![table.to_owned()] };
    Part::start(bed::python(), "tests/client/field_blocks.py", &arguments).await
}

/// One worker, so that all requests to a service go over one connection.
async fn sidekey(lab: &Lab, services: &[(&str, &Part, &str)]) -> Sidekey {
    let services: String = services
        .iter()
        .map(|(name, part, auth)| {
            let port = part.port("port").unwrap();
            format!("  {name}: {{ url: 'http://127.0.0.1:{port}', http_version: 2, auth: {auth} }}\n")
        })
        .collect();
    lab.sidekey(&format!("workers: 1\nservices:\n{services}")).await
}

/// What the service tells of a request.
async fn told(sidekey: &Sidekey, target: &str) -> Value {
    let answer = sidekey.get(target).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn bytes(told: &Value) -> u64 {
    told["bytes"].as_u64().unwrap()
}

fn has(told: &Value, what: &str, name: &str) -> bool {
    told[what].as_array().unwrap().contains(&json!(name))
}

fn long(token: &str) -> String {
    token.repeat(800 / token.len())
}

#[tokio::test]
async fn a_long_token_is_sent_once_on_a_connection() {
    let lab = Lab::start().await;
    let [one, other] = [service("").await, service("").await];
    let token = long("t0k3n");
    let auth = format!("{{ type: bearer, token: '{token}' }}");
    let sidekey = sidekey(&lab, &[("one", &one, &auth), ("other", &other, &auth)]).await;

    for service in ["/one/x", "/other/x"] {
        let first = told(&sidekey, service).await;
        let second = told(&sidekey, service).await;

        // Each service has a table of its own.
        assert!(bytes(&first) > 800 && bytes(&second) < 200, "{first} {second}");
        assert!(has(&second, "remembered", "authorization") && !has(&second, "never", "authorization"), "{second}");
        for seen in [first, second] {
            assert_eq!(seen["authorization"], format!("Bearer {token}"));
        }
    }
}

#[tokio::test]
async fn a_new_token_is_sent_once_in_place_of_the_last() {
    let lab = Lab::start().await;
    let service = service("").await;
    let token = |number| format!("{}{number}", long("t0k3n"));
    let idp = Fault::idp(move |request| Reply::token(&token(request.number), 300)).await;
    let grant = "type: oauth2_client_credentials, client_id: me, client_secret: s";
    let auth = format!("{{ {grant}, token_url: '{}' }}", idp.url());
    let sidekey = sidekey(&lab, &[("payments", &service, &auth)]).await;
    sidekey.until_token("payments", "valid").await;

    let old = told(&sidekey, "/payments/x").await;
    let refused = told(&sidekey, "/payments/expired").await;
    let after = told(&sidekey, "/payments/x").await;

    assert_eq!(old["authorization"], format!("Bearer {}0", long("t0k3n")));
    assert!(bytes(&refused) > 800 && bytes(&after) < 200, "{refused} {after}");
    for seen in [&refused, &after] {
        assert_eq!(seen["authorization"], format!("Bearer {}1", long("t0k3n")));
    }
    assert_ne!(old["stream"], after["stream"], "all of it goes over one connection");
}

#[tokio::test]
async fn a_secret_that_may_be_guessed_is_never_remembered() {
    let lab = Lab::start().await;
    let service = service("").await;
    let key = long("k3y");
    let sidekey = sidekey(
        &lab,
        &[
            ("short", &service, "{ type: bearer, token: 'only-31-bytes-long-token-012345' }"),
            ("basic", &service, &format!("{{ type: basic, username: me, password: '{}' }}", long("p4ssw0rd"))),
            ("key", &service, &format!("{{ type: api_key, key: '{key}', header: x-api-key }}")),
            ("cookie", &service, &format!("{{ type: api_key, key: '{key}', cookie: session }}")),
        ],
    )
    .await;

    for (target, field) in
        [("/short/x", "authorization"), ("/basic/x", "authorization"), ("/key/x", "x-api-key"), ("/cookie/x", "cookie")]
    {
        for _ in 0..3 {
            let seen = told(&sidekey, target).await;
            assert!(has(&seen, "never", field) && !has(&seen, "remembered", field), "{target}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_service_that_remembers_nothing_is_told_to_remember_nothing() {
    let lab = Lab::start().await;
    let service = service("0").await;
    let token = long("t0k3n");
    let sidekey = sidekey(&lab, &[("payments", &service, &format!("{{ type: bearer, token: '{token}' }}"))]).await;
    // The settings may come after the first request.
    told(&sidekey, "/payments/first").await;

    for _ in 0..3 {
        let seen = told(&sidekey, "/payments/x").await;
        assert!(bytes(&seen) > 800 && has(&seen, "never", "authorization"), "{seen}");
        assert_eq!(seen["remembered"], json!([]));
        assert_eq!(seen["authorization"], format!("Bearer {token}"));
    }
}

#[tokio::test]
async fn a_service_may_change_its_mind_about_how_much_it_remembers() {
    let lab = Lab::start().await;
    let service = service("").await;
    let token = long("t0k3n");
    let sidekey = sidekey(&lab, &[("payments", &service, &format!("{{ type: bearer, token: '{token}' }}"))]).await;

    for (size, remembers) in
        [("500", false), ("0", false), ("2000", true), ("65536", true), ("0", false), ("4096", true)]
    {
        told(&sidekey, &format!("/payments/table/{size}")).await;
        // In full at first, where there was no room for it.
        told(&sidekey, "/payments/x").await;
        let seen = told(&sidekey, "/payments/x").await;

        assert_eq!(has(&seen, "remembered", "authorization"), remembers, "{size}: {seen}");
        assert_eq!(bytes(&seen) > 800, !remembers, "{size}: {seen}");
        assert_eq!(seen["authorization"], format!("Bearer {token}"));
    }
}
