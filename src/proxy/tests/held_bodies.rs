//! Bodies held in memory to be signed: how much of them there may be at a time.

use super::lab::{App, Worker, until};
use crate::transport::tests::lab::{Service, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BODY: usize = 20_000;

/// A service that signs bodies, and a budget for three of them.
fn config(service: &Service, held_bodies: &str) -> String {
    format!(
        "limits: {{ held_bodies: {held_bodies} }}\n\
         services: {{ a: {{ url: 'http://{}', auth: {{ type: hmac, key: 0123456789abcdef, algorithm: sha256, \
         encoding: hex, header: x-signature, template: '{{body_sha256}}' }} }} }}",
        service.address
    )
}

/// Reads all of each request, and says how long it was.
async fn counting() -> Service {
    Service::raw(|mut tcp, _| async move {
        while let Some(length) = read_head(&mut tcp).await.split("content-length: ").nth(1).map(number) {
            let mut body = vec![0; length];
            tcp.read_exact(&mut body).await.unwrap();
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await
}

fn number(text: &str) -> usize {
    text.split("\r\n").next().unwrap().parse().unwrap()
}

/// An app that has sent its head, and nothing of its body.
async fn begun(worker: &Worker) -> App {
    let head = format!("POST /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {BODY}\r\n\r\n");
    worker.app(&head).await
}

#[tokio::test(flavor = "local")]
async fn bodies_beyond_the_budget_are_told_to_come_again_and_an_app_that_leaves_makes_room() {
    let service = counting().await;
    let worker = Worker::start(&config(&service, "64KiB"));
    let held = || worker.published.held_bodies().held_bytes();

    let mut three = [begun(&worker).await, begun(&worker).await, begun(&worker).await];
    until(|| held() == 3 * BODY).await;
    let refused = begun(&worker).await.answer().await;
    let [leaves, ..] = &mut three;
    leaves.send("some of it").await;
    let [leaves, mut second, mut third] = three;
    leaves.leave();
    until(|| held() == 2 * BODY).await;
    let mut after = begun(&worker).await;
    until(|| held() == 3 * BODY).await;

    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("urn:sidekey:error:overloaded") && refused.contains("limits.held_bodies"), "{refused}");
    for app in [&mut second, &mut third, &mut after] {
        app.send(&"b".repeat(BODY)).await;
        assert!(app.answer().await.starts_with("HTTP/1.1 204 "));
    }
    until(|| held() == 0).await;
}

#[tokio::test(flavor = "local")]
async fn however_many_come_at_once_no_more_is_held_than_the_budget_allows() {
    let service = counting().await;
    let worker = Worker::start(&config(&service, "64KiB"));
    let held = || worker.published.held_bodies().held_bytes();
    let mut apps = Vec::new();
    for _ in 0..40 {
        apps.push(begun(&worker).await);
        assert!(held() <= 64 * 1024, "{}", held());
    }
    until(|| held() == 3 * BODY).await;

    let mut signed = 0;
    for mut app in apps {
        // A refused one does not read this.
        app.send_as_far_as_it_goes(&"b".repeat(BODY)).await;
        signed += usize::from(app.answer().await.starts_with("HTTP/1.1 204 "));
        assert!(held() <= 64 * 1024, "{}", held());
    }

    assert_eq!(signed, 3);
    assert_eq!(held(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_body_of_unknown_length_is_counted_as_it_comes() {
    let service = counting().await;
    let worker = Worker::start(&config(&service, "64KiB"));
    let held = || worker.published.held_bodies().held_bytes();
    let three = [begun(&worker).await, begun(&worker).await, begun(&worker).await];
    until(|| held() == 3 * BODY).await;
    let head = "POST /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut app = worker.app(&format!("{head}400\r\n{}\r\n", "b".repeat(0x400))).await;
    until(|| held() > 3 * BODY).await;

    app.send_as_far_as_it_goes(&format!("2000\r\n{}\r\n", "b".repeat(0x2000))).await;

    let answer = app.answer().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    until(|| held() == 3 * BODY).await;
    three.into_iter().for_each(App::leave);
    until(|| held() == 0).await;
}

#[tokio::test(flavor = "local")]
async fn a_body_for_which_there_will_never_be_room_is_too_large() {
    let service = counting().await;
    let worker = Worker::start(&config(&service, "64KiB"));
    let head = "POST /a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 65537\r\n\r\n";

    let answer = worker.app(head).await.answer().await;

    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("limits.held_bodies"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn a_reload_changes_the_budget() {
    let service = counting().await;
    let worker = Worker::start(&config(&service, "64KiB"));
    let held = || worker.published.held_bodies().held_bytes();
    let _three = [begun(&worker).await, begun(&worker).await, begun(&worker).await];
    until(|| held() == 3 * BODY).await;

    worker.publish(&config(&service, "1MiB"));
    let mut fourth = begun(&worker).await;
    fourth.send(&"b".repeat(BODY)).await;

    assert!(fourth.answer().await.starts_with("HTTP/1.1 204 "));
}
