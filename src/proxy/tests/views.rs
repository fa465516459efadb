//! A worker's view, and what a reload leaves of it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use super::lab::{Worker, until};
use crate::transport::tests::lab::Service;

const TWO: &str = "services: { a: { url: 'http://127.0.0.1:1' }, b: { url: 'http://127.0.0.1:2' } }";
const B_MOVED: &str = "services: { a: { url: 'http://127.0.0.1:1' }, b: { url: 'http://127.0.0.1:3' } }";

#[tokio::test(flavor = "local")]
async fn a_view_stays_until_another_snapshot_is_published() {
    let worker = Worker::start(TWO);
    let before = worker.context.view();

    assert!(Rc::ptr_eq(&before, &worker.context.view()));
    worker.publish(B_MOVED);

    assert!(!Rc::ptr_eq(&before, &worker.context.view()));
}

#[tokio::test(flavor = "local")]
async fn a_reload_keeps_the_halves_of_services_that_did_not_change() {
    let worker = Worker::start(TWO);
    let before = worker.context.view();

    worker.publish(B_MOVED);

    let after = worker.context.view();
    assert!(Rc::ptr_eq(&before.halves[0], &after.halves[0]), "a is as it was");
    assert!(!Rc::ptr_eq(&before.halves[1], &after.halves[1]), "b goes elsewhere now");
    assert!(Arc::ptr_eq(&before.halves[1].numbers, &after.halves[1].numbers), "its counters go on");
}

#[tokio::test(flavor = "local")]
async fn an_idle_worker_lets_go_of_connections_that_a_reload_dropped() {
    let service = Service::echoing_paths().await;
    let config = |path: &str| format!("services: {{ a: {{ url: 'http://{}{path}' }} }}", service.address);
    let worker = Worker::start(&config(""));
    let context = Rc::clone(&worker.context);
    spawn_local(async move { match context.follow().await {} });
    let ask = "GET /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(worker.app(ask).await.answer().await.ends_with("/x"));
    until(|| worker.totals("a").idle == 1).await;

    worker.publish(&config("/v2"));

    until(|| worker.totals("a").idle == 0).await;
}

#[tokio::test(flavor = "local")]
async fn an_app_that_leaves_ends_its_exchange() {
    let silent = Service::raw(|tcp, _| async move { drop((tcp, std::future::pending::<()>().await)) }).await;
    let worker = Worker::start(&format!("services: {{ a: {{ url: 'http://{}' }} }}", silent.address));
    let app = worker.app("GET /a/ HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(|| worker.exchanges() == 1).await;

    app.leave();

    until(|| worker.exchanges() == 0).await;
    assert_eq!(worker.totals("a").requests, 0, "it had no answer");
}

#[tokio::test(flavor = "local")]
async fn a_request_without_a_service_counts_under_no_name() {
    let worker = Worker::start(TWO);

    let answer = worker.app("GET /c HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.answer().await;

    assert!(answer.contains("urn:sidekey:error:no_route"), "{answer}");
    let totals = worker.totals("");
    assert_eq!((totals.requests, totals.errors), (1, 1));
}
