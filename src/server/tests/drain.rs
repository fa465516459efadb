use http::StatusCode;

use super::lab::{Lab, assert_status, get, settle};
use crate::config::Limits;

#[tokio::test(flavor = "local")]
async fn idle_connections_close_when_the_drain_begins() {
    let lab = Lab::default();
    let (mut parked, mut steady) = (lab.client().await, lab.client().await);
    parked.get("/one").await;
    for _ in 0..3 {
        steady.get("/one").await;
    }

    lab.shared.close();

    assert_eq!(parked.rest().await.unwrap(), "");
    assert_eq!(steady.rest().await.unwrap(), "");
}

#[tokio::test(flavor = "local")]
async fn what_is_asked_or_begun_before_the_drain_is_answered_with_connection_close() {
    let lab = Lab::default();
    let (mut held, mut begun) = (lab.client().await, lab.client().await);
    held.send(&get("/held")).await;
    begun.get("/one").await;
    let second = get("/two");
    begun.send(&second[..10]).await;
    lab.until_asked(2).await;
    settle().await;

    lab.shared.close();
    settle().await;
    lab.port.gate.notify_one();
    begun.send(&second[10..]).await;

    for (client, asked) in [(&mut held, "/held"), (&mut begun, "/two")] {
        let answer = client.rest().await.unwrap();
        assert!(answer.contains("connection: close") && answer.ends_with(&format!("GET {asked} ")), "{answer:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_on_its_way_as_the_drain_begins_is_answered() {
    let lab = Lab::default();
    let (mut fresh, mut parked) = (lab.client().await, lab.client().await);
    parked.get("/one").await;
    lab.until_parked(1).await;

    // Not yet seen by us when the drain begins.
    for client in [&mut fresh, &mut parked] {
        client.socket.try_write(get("/two").as_bytes()).unwrap();
    }
    lab.shared.close();

    for client in [&mut fresh, &mut parked] {
        assert!(client.rest().await.unwrap().ends_with("GET /two "));
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_has_asked_nothing_yet_has_a_second_to_do_so() {
    let lab = Lab::default();
    let (mut quick, mut silent) = (lab.client().await, lab.client().await);

    lab.shared.close();
    settle().await;
    let answer = quick.get("/one").await;
    lab.pass(std::time::Duration::from_secs(1)).await;

    assert_status(&answer, StatusCode::OK);
    assert_eq!(silent.rest().await.unwrap(), "");
    assert!(Limits::default().idle_timeout > Some(std::time::Duration::from_secs(1)));
}
