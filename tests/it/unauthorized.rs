//! When the service says 401: one replacement, one replay, and never more.

use crate::lab::client::Request;
use crate::lab::fault::{Fault, Gate, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// A token endpoint that numbers its tokens, a service that answers so, and Sidekey between them.
async fn with_service(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    with(|request| Reply::token(&format!("token-{}", request.number), 300), answer, "").await
}

async fn with(
    endpoint: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    fields: &str,
) -> Scene {
    let lab = Lab::start().await;
    let [idp, service] = [Fault::idp(endpoint).await, Fault::plain(answer).await];
    let config = format!(
        "
services:
  payments:
    url: {}
    auth: {{ type: oauth2_client_credentials, token_url: '{}', client_id: me, client_secret: s, {fields} }}
",
        service.url(),
        idp.url()
    );
    let sidekey = lab.sidekey(&config).await;
    sidekey.until_token("payments", "valid").await;
    Scene { _lab: lab, idp, service, sidekey }
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
        requests.iter().map(|request| request.field("authorization").unwrap().replace("Bearer ", "")).collect()
    }
}

/// A service that takes no token but the given one.
fn only(token: &'static str) -> impl Fn(&Received) -> Reply {
    move |request| {
        let dead = Reply::new(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], "dead token");
        let alive = request.field("authorization") == Some(format!("Bearer {token}"));
        if alive { Reply::ok("welcome") } else { dead }
    }
}

#[tokio::test]
async fn a_dead_token_is_replaced_and_the_request_sent_again() {
    let scene = with_service(only("token-1")).await;

    let answer = scene.sidekey.get("/payments/orders").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (200, "welcome"));
    assert_eq!(scene.tokens(), ["token-0", "token-1"]);
    assert_eq!(scene.idp.count(), 2);
}

#[tokio::test]
async fn of_two_tokens_on_a_request_both_are_replaced_and_it_is_sent_again() {
    let lab = Lab::start().await;
    let tokens = |name| move |request: &Received| Reply::token(&format!("{name}-{}", request.number), 300);
    let [one, other] = [Fault::idp(tokens("one")).await, Fault::idp(tokens("other")).await];
    let service = Fault::plain(|request| {
        let alive = request.field("authorization").as_deref() == Some("Bearer one-1");
        if alive { Reply::ok("welcome") } else { Reply::status(401) }
    })
    .await;
    let method = |idp: &Fault, field: &str| {
        let url = idp.url();
        format!(
            "{{ type: oauth2_client_credentials, token_url: '{url}', client_id: me, client_secret: s, token_header: {field} }}"
        )
    };
    let auth = format!("[{}, {}]", method(&one, "Authorization"), method(&other, "X-Token"));
    let sidekey = lab.sidekey(&format!("services: {{ payments: {{ url: {}, auth: {auth} }} }}", service.url())).await;

    let answer = sidekey.get("/payments/orders").await;

    assert_eq!(answer.text(), "welcome");
    let sent = service.received();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].field("x-token").as_deref(), Some("Bearer other-1"));
    assert_eq!((one.count(), other.count()), (2, 2));
}

#[tokio::test]
async fn a_small_post_is_sent_again_whole() {
    let scene = with_service(only("token-1")).await;
    let body = "x".repeat(60 * 1024);

    let answer = scene.sidekey.post("/payments/orders", body.clone()).await;

    assert_eq!(answer.status_of_service(), 200);
    let bodies: Vec<_> = scene.service.received().iter().map(Received::text).collect();
    assert!(bodies == [body.clone(), body], "{:?}", bodies.iter().map(String::len).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_post_over_64_kib_is_not_sent_again_and_its_401_passes_on() {
    let scene = with_service(only("token-1")).await;

    let answer = scene.sidekey.post("/payments/orders", "x".repeat(65 * 1024)).await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (401, "dead token"));
    assert_eq!(answer.field("www-authenticate").as_deref(), Some("Bearer error=\"invalid_token\""));
    assert_eq!(scene.tokens(), ["token-0"]);
    // The token is replaced all the same.
    scene.idp.until_received(2).await;
    until("the new token", async || (scene.sidekey.get("/payments/orders").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_burst_of_401s_makes_one_replacement() {
    let arrived = Gate::closed();
    let held = arrived.clone();
    let service = only("token-1");
    let scene = with_service(move |request| {
        // All of the burst carry the old token before any of them hears that it is dead.
        if request.number + 1 == BURST {
            held.open();
        }
        Reply::after(&held).then(service(request))
    })
    .await;

    let mut burst = Vec::new();
    for _ in 0..BURST {
        let mut connection = scene.sidekey.connect().await;
        connection.write(Request::get("/payments/orders").to_bytes("localhost")).await;
        burst.push(connection);
    }

    for connection in &mut burst {
        assert_eq!(connection.answer().await.status_of_service(), 200);
    }
    assert_eq!(scene.idp.count(), 2, "the first token and exactly one replacement");
}

const BURST: usize = 100;

#[tokio::test]
async fn a_second_401_goes_to_the_app_as_it_came() {
    let scene = with_service(only("none that is ever issued")).await;

    let answer = scene.sidekey.get("/payments/orders").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (401, "dead token"));
    assert_eq!(scene.tokens(), ["token-0", "token-1"]);
}

#[tokio::test]
async fn a_token_is_replaced_at_most_once_in_ten_seconds() {
    let scene = with_service(only("none that is ever issued")).await;

    for _ in 0..20 {
        assert_eq!(scene.sidekey.get("/payments/orders").await.status_of_service(), 401);
    }

    assert_eq!(scene.idp.count(), 2);
    assert_eq!(scene.service.count(), 21, "only the first was sent twice");
}

#[tokio::test]
async fn if_the_replacement_fails_the_401_goes_to_the_app() {
    let endpoint = |request: &Received| match request.number {
        0 => Reply::token("token-0", 300),
        _ => Reply::status(500),
    };
    let scene = with(endpoint, only("token-1"), "").await;

    assert_eq!(scene.sidekey.get("/payments/orders").await.status_of_service(), 401);
    assert_eq!(scene.tokens(), ["token-0"]);
}

#[tokio::test]
async fn another_status_can_mean_a_dead_token() {
    let refuses = |request: &Received| if request.number == 0 { Reply::status(403) } else { Reply::ok("") };
    let numbered = |request: &Received| Reply::token(&format!("token-{}", request.number), 300);
    let scene = with(numbered, refuses, "on_unauthorized: [403]").await;

    assert_eq!(scene.sidekey.get("/payments/orders").await.status_of_service(), 200);
    assert_eq!(scene.tokens(), ["token-0", "token-1"]);
}

#[tokio::test]
async fn a_401_without_a_token_of_ours_passes_untouched() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=x")], "who are you?")).await;
    let config =
        format!("services: {{ payments: {{ url: '{}', auth: {{ type: bearer, token: fixed }} }} }}", service.url());
    let sidekey = lab.sidekey(&config).await;

    let answer = sidekey.get("/payments/orders").await;

    assert_eq!((answer.status_of_service(), answer.text().as_str()), (401, "who are you?"));
    assert_eq!(service.only().field("authorization").as_deref(), Some("Bearer fixed"));
}

#[tokio::test]
async fn other_requests_go_on_with_the_old_token_while_it_is_replaced() {
    let gate = Gate::closed();
    let held = gate.clone();
    let endpoint = move |request: &Received| match request.number {
        0 => Reply::token("token-0", 300),
        _ => Reply::after(&held).then(Reply::token("token-1", 300)),
    };
    let refuses_once = |request: &Received| if request.number == 0 { Reply::status(401) } else { Reply::ok("") };
    let scene = with(endpoint, refuses_once, "").await;

    let mut waiting = scene.sidekey.raw(Request::get("/payments/orders").to_bytes("localhost")).await;
    scene.idp.until_received(2).await;
    let other = scene.sidekey.get("/payments/orders").await;
    gate.open();

    assert_eq!(other.status_of_service(), 200);
    assert_eq!(waiting.answer().await.status_of_service(), 200);
    assert_eq!(scene.tokens(), ["token-0", "token-0", "token-1"]);
}
