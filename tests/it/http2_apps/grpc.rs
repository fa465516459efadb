//! gRPC by grpcio on both sides: all four kinds of call, their statuses, metadata and deadlines.

use crate::lab::fault::{Fault, Reply};
use crate::lab::http2_app::{Http2App, request};
use crate::lab::part::Part;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, bed, free_port, program};

struct Calls {
    _lab: Lab,
    _service: Part,
    sidekey: Sidekey,
}

async fn start() -> Calls {
    let lab = Lab::start().await;
    let service = Part::start(bed::python(), "tests/client/grpc_service.py", &[]).await;
    let config = format!(
        "services:
  calls: {{ url: 'http://127.0.0.1:{}', http_version: 2, auth: {{ type: bearer, token: services-own }} }}
  dead: {{ url: 'http://127.0.0.1:{}', http_version: 2 }}
  forbidden: {{ url: 'http://127.0.0.1:{}', http_version: 2, allow: {{ paths: [/nothing] }} }}
",
        service.port("calls").unwrap(),
        free_port(),
        service.port("calls").unwrap()
    );
    let sidekey = lab.sidekey(&config).await;
    Calls { _lab: lab, _service: service, sidekey }
}

/// Runs one of the cases of `tests/client/grpc_app.py`, which says what is wrong.
#[track_caller]
fn check(calls: &Calls, case: &str) {
    let port = calls.sidekey.address.rsplit(':').next().unwrap();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/grpc_app.py");
    let output = program::output(bed::python().arg(script).args([port, case]));
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success() && out == "as it should be\n", "{case}: {out}{err}{}", calls.sidekey.log());
}

#[tokio::test]
async fn all_four_kinds_of_call_pass_with_their_messages_and_metadata() {
    let calls = start().await;
    for kind in ["unary", "down", "up", "both"] {
        check(&calls, kind);
    }
}

#[tokio::test]
async fn statuses_of_the_service_pass_as_they_are() {
    check(&start().await, "statuses");
}

#[tokio::test]
async fn a_call_that_waits_no_longer_ends_at_the_service_too() {
    let calls = start().await;
    check(&calls, "deadline");
    check(&calls, "cancel");
}

/// As a client that makes HTTP/2 itself may, and forget to end the call.
#[tokio::test]
async fn what_its_app_waits_for_no_longer_is_given_up() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::hang()).await;
    let sidekey = lab.sidekey(&format!("services: {{ s: {{ url: '{}' }} }}", service.url())).await;
    let mut app = Http2App::open(&sidekey.address).await;
    let mut call = request("POST", "/s/test.Calls/Hang");
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());

    let answer = app.send(call, b"\0\0\0\0\0").await.unwrap();

    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("14")), "{answer:?}");
    let message = answer.field("grpc-message").unwrap();
    assert!(message.starts_with("http_response_timeout: "), "{message}");
    assert_eq!(service.only().field("grpc-timeout").as_deref(), Some("300m"), "the service hears of it, too");
}

#[tokio::test]
async fn what_is_no_request_is_told_to_grpc_as_a_status_too() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE } }").await;
    let mut app = Http2App::open(&sidekey.address).await;
    let mut call = request("POST", "http://localhost/payments/a.b/C");
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("host", "elsewhere.example".parse().unwrap());

    let answer = app.send(call, b"\0\0\0\0\0").await.unwrap();

    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("13")), "{answer:?}");
    assert!(answer.field("grpc-message").unwrap().starts_with("bad_request: "), "{answer:?}");
}

#[tokio::test]
async fn answers_of_our_own_are_statuses() {
    check(&start().await, "own");
}

#[tokio::test]
async fn messages_of_megabytes_pass_both_ways_at_once() {
    check(&start().await, "large");
}
