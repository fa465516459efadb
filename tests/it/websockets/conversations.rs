//! Conversations of real clients with a real service: the `websockets` library at both ends, over mutual TLS, and Node's client.

use std::path::Path;
use std::process::Command;

use super::{Asking, BOTH, Dialect, Finish, opened};
use crate::lab::part::Part;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, bed, free_port, program};

struct Talks {
    _lab: Lab,
    service: Part,
    sidekey: Sidekey,
}

async fn start() -> Talks {
    start_with("").await
}

/// `settings` are the service's further keys.
async fn start_with(settings: &str) -> Talks {
    let lab = Lab::start().await;
    let files = ["tls/server.pem", "tls/server.key", "tls/ca.pem"].map(|file| lab.path(file).display().to_string());
    let service = Part::start(bed::python(), "tests/client/websocket_service.py", &files).await;
    let url = format!("https://localhost:{}/v1", service.port("port").unwrap());
    let auth = format!("auth: {{ type: bearer, token: services-own }}, {settings}");
    let sidekey =
        lab.sidekey(&format!("services: {{ talks: {{ url: '{url}', certificate: partner, {auth} }} }}")).await;
    Talks { _lab: lab, service, sidekey }
}

impl Talks {
    fn port(&self) -> &str {
        self.sidekey.address.rsplit(':').next().unwrap()
    }

    /// Runs one of the cases of `tests/client/websocket_app.py`, over both dialects, which says what is wrong.
    #[track_caller]
    fn check(&self, case: &str) {
        let far = self.service.port("port").unwrap().to_string();
        for dialect in ["1.1", "2"] {
            self.run(bed::python(), "tests/client/websocket_app.py", &[self.port(), dialect, case, &far]);
        }
    }

    #[track_caller]
    fn run(&self, mut interpreter: Command, script: &str, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let output = program::output(interpreter.arg(script).args(arguments));
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        let is_right = output.status.success() && out == "as it should be\n";
        assert!(is_right, "{arguments:?}: {out}{err}{}", self.sidekey.log());
    }
}

#[tokio::test]
async fn thousands_of_messages_of_all_sizes_come_back_as_they_went_while_others_go() {
    start().await.check("messages");
}

#[tokio::test]
async fn the_service_is_asked_over_http_1_with_its_credential_and_our_certificate_whatever_it_agrees_to_speak() {
    start().await.check("told");
}

#[tokio::test]
async fn codes_and_reasons_of_an_end_pass_both_ways() {
    start().await.check("closing");
}

#[tokio::test]
async fn pings_are_answered_by_the_other_end() {
    start().await.check("pings");
}

#[tokio::test]
async fn the_subprotocol_that_the_service_chooses_is_the_apps() {
    start().await.check("subprotocols");
}

#[tokio::test]
async fn a_refusal_of_the_service_is_the_apps_with_its_body() {
    start().await.check("refused");
}

#[tokio::test]
async fn nodes_client_of_http_2_opens_one() {
    let talks = start().await;
    talks.run(bed::node(), "tests/client/websocket_app.js", &[talks.port(), "/talks/echo"]);
}

#[tokio::test]
async fn one_beside_http_2_has_a_connection_of_its_own_and_the_others_go_on() {
    let lab = Lab::start().await;
    let files = ["tls/server.pem", "tls/server.key"].map(|file| lab.path(file).display().to_string());
    let service = Part::start(bed::node(), "tests/client/websocket_beside_http2.js", &files).await;
    let url = format!("https://localhost:{}", service.port("port").unwrap());
    let sidekey = lab.sidekey(&format!("workers: 1\nservices: {{ s: {{ url: '{url}' }} }}")).await;
    let asked = async |connections: u64| {
        let answer = sidekey.get("/s/x").await.json();
        assert_eq!((answer["version"].as_str(), answer["connections"].as_u64()), (Some("2.0"), Some(connections)));
    };
    asked(1).await;
    for (dialect, connections) in BOTH.into_iter().zip(2..) {
        let asking = Asking::begin(dialect, &sidekey, "/s/talk", &[]).await;
        let mut answer = asking.answer().await;
        assert_eq!(answer.status, opened(dialect), "{dialect:?}");
        for piece in ["one", "two"] {
            answer.end.say(piece.as_bytes()).await;
            assert_eq!(answer.end.hear(3).await, piece.as_bytes(), "{dialect:?}");
            asked(connections).await;
        }
        answer.end.finish().await;
        assert_eq!(answer.end.ended().await, Finish::Whole(Vec::new()), "{dialect:?}");
    }
    asked(3).await;
}

#[tokio::test]
async fn a_connection_for_one_is_among_those_that_there_may_be() {
    let talks = start_with("pool: { max_connections: 1 }, timeouts: { connect: 500ms }").await;
    for dialect in BOTH {
        let first = Asking::begin(dialect, &talks.sidekey, "/talks/echo", &[]).await.answer().await;
        assert_eq!(first.status, opened(dialect), "{dialect:?}");

        let second = Asking::begin(dialect, &talks.sidekey, "/talks/echo", &[]).await.answer().await;

        assert_eq!(second.status, 503, "{dialect:?} {:?}", second.fields);
        // Whoever waits gets the place of one that ends.
        let third = Asking::begin(dialect, &talks.sidekey, "/talks/echo", &[]).await;
        drop(first);
        assert_eq!(third.answer().await.status, opened(dialect), "{dialect:?}");
        talks.sidekey.until_metric("sidekey_requests_in_flight{service=\"talks\"}", 0.0).await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_as_to_any_request() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: 'https://localhost:{}' }} }}", free_port())).await;
    for dialect in [Dialect::One, Dialect::Two, Dialect::One] {
        let answer = Asking::begin(dialect, &sidekey, "/s/talk", &[]).await.answer().await;

        assert_eq!(answer.fields["proxy-status"], "sidekey; error=connection_refused", "{dialect:?}");
    }
}
