//! The log: what strangers send can't fill it.

use std::time::Instant;

use crate::lab::Lab;
use crate::lab::client::Request;
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::until;

/// The lines about requests.
fn lines(sidekey: &Sidekey) -> Vec<String> {
    let log = sidekey.log();
    // The last one may not have come as a whole.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().filter(|line| line.contains(" request service=")).map(str::to_owned).collect()
}

/// How many lines before it were left out.
fn left_out(line: &str) -> u64 {
    line.split_once(" others=").map_or(0, |(_, count)| count.trim().parse().unwrap())
}

#[tokio::test]
async fn no_value_is_quoted_beyond_200_bytes() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let services =
        format!("services: {{ payments: {{ url: '{}', allow: {{ methods: [GET], paths: [/v1] }} }} }}", service.url());
    let sidekey = lab.sidekey(&services).await;
    let (long, kept) = ("x".repeat(60_000), "x".repeat(150));
    let requests = [
        (Request::get(&format!("/{long}")), "no_route"),
        (Request::get(&format!("/payments/{long}")), "forbidden"),
        (Request::get("/payments/v1").host(&format!("{long}.example")), "bad_request"),
        (Request::get("/payments/v1").host(&["abcdefgh."; 27].concat()), "forbidden"),
        (Request::get("/payments/v1").field("Origin", &format!("https://{long}")), "forbidden"),
        (Request::get("/payments/v1").field("Sec-Fetch-Site", &long), "forbidden"),
        (Request::get("/payments/v1").field("Connection", &long).field("Origin", "null"), "forbidden"),
        (Request::new(&long, "/payments/v1"), "forbidden"),
    ];

    for (at, (request, code)) in requests.into_iter().enumerate() {
        let answer = sidekey.send(request.clone()).await;

        let detail = answer.problem(code);
        assert!(detail.len() < 1_000, "{at}: {detail}");
        // What was sent can be seen, as far as it goes.
        assert!([&*kept, "abcdefgh", "null"].iter().any(|sent| detail.contains(sent)), "{at}: {detail}");
    }
    until("every line", async || (lines(&sidekey).len() == 8).then_some(())).await;
    assert!(lines(&sidekey).iter().all(|line| line.len() < 2_000), "{:?}", lines(&sidekey));
}

#[tokio::test]
async fn refusals_without_a_service_are_ten_lines_a_second_and_the_rest_is_counted() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("")).await;
    let services = format!("services: {{ payments: {{ url: '{}' }} }}", service.url());
    let sidekey = lab.sidekey(&format!("{services}\nlog: {{ access: all, format: text }}")).await;
    let began = Instant::now();

    let mut sent = 0;
    until("a line that says how many were left out", async || {
        sidekey.get("/nowhere").await.problem("no_route");
        sent += 1;
        lines(&sidekey).iter().any(|line| left_out(line) > 0).then_some(())
    })
    .await;

    let seconds = began.elapsed().as_secs() as usize + 1;
    let lines = lines(&sidekey);
    assert!(lines.len() <= 10 * seconds, "{} lines in {seconds} s", lines.len());
    let told = lines.len() as u64 + lines.iter().map(|line| left_out(line)).sum::<u64>();
    assert!(told <= sent && sent > 10, "{told} of {sent}");
    // What a service answers is told as ever.
    let before = lines.len();
    for _ in 0..30 {
        assert_eq!(sidekey.get("/payments/x").await.status_of_service(), 200);
    }
    until("a line for each", async || (self::lines(&sidekey).len() >= before + 30).then_some(())).await;
}
