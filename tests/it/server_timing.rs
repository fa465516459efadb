//! `Server-Timing`: what an app can see of where the time went.

use std::time::Duration;

use crate::lab::Lab;
use crate::lab::client::Answer;
use crate::lab::fault::{Fault, Reply};

/// The names and milliseconds of the field that is ours, the last one.
#[track_caller]
fn timing(answer: &Answer) -> Vec<(String, f64)> {
    let fields = answer.fields("server-timing");
    let ours = fields.last().expect("a Server-Timing");
    let entry = |entry: &str| {
        let (name, milliseconds) = entry.split_once(";dur=").expect("a duration");
        (name.trim().to_owned(), milliseconds.parse().expect("a number"))
    };
    ours.split(',').map(entry).collect()
}

#[tokio::test]
async fn the_app_sees_where_the_time_of_its_request_went() {
    let lab = Lab::start().await;
    let idp = Fault::idp(|_| Reply::default().pause(Duration::from_millis(200)).then(Reply::token("abc", 300))).await;
    let service = Fault::plain(|_| Reply::default().pause(Duration::from_millis(50)).then(Reply::ok("welcome"))).await;
    let auth =
        format!("{{ type: oauth2_client_credentials, token_url: '{}', client_id: me, client_secret: s }}", idp.url());
    let config = format!("services: {{ payments: {{ url: '{}', server_timing: true, auth: {auth} }} }}", service.url());
    let sidekey = lab.sidekey(&format!("workers: 1\n{config}")).await;

    let first = timing(&sidekey.get("/payments/x").await);
    let second = timing(&sidekey.get("/payments/x").await);

    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sidekey", "token", "connect", "upstream"]);
    assert!(first[2].1 > 0.0, "a connection was made: {first:?}");
    assert!(first[3].1 >= 45.0, "the service took its time: {first:?}");
    assert_eq!((second[1].1, second[2].1), (0.0, 0.0), "token and connection were there: {second:?}");
    assert!(second[0].1 > 0.0 && second[3].1 >= 45.0, "{second:?}");
}

#[tokio::test]
async fn ours_follows_the_services_own_field_and_is_there_only_if_asked_for() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::new(200, &[("Server-Timing", "db;dur=53")], "welcome")).await;
    let url = service.url();
    let config =
        format!("services: {{ timed: {{ url: '{url}', server_timing: true }}, plain: {{ url: '{url}/plain' }} }}");
    let sidekey = lab.sidekey(&config).await;

    let (timed, plain) = (sidekey.get("/timed/x").await, sidekey.get("/plain/x").await);

    assert_eq!(timed.fields("server-timing").len(), 2);
    assert_eq!(timed.fields("server-timing")[0], "db;dur=53");
    assert_eq!(timing(&timed)[0].0, "sidekey");
    assert_eq!(plain.fields("server-timing"), ["db;dur=53"]);
}
