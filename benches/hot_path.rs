//! What a request costs us beside the system calls, part by part, and what a reload costs:
//! `cargo bench --features bench --bench hot_path`.

#![allow(missing_docs, reason = "criterion's macros make functions")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use sidekey::bench;

/// Finding a route costs as much among ten thousand as among ten.
fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a route among");
    for count in [10, 1_000, 10_000] {
        let find = bench::route(&with_routes(count), &format!("/tenants/{}/orders/4711", count / 2));
        assert!(find());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(&find));
    }
}

fn fields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fields");
    let (request, answer) = (bench::request_fields(&config()), bench::answer_fields(&config()));
    let (sent, answered) = (sent(), answered());
    assert!(!request(sent.clone()).contains_key("authorization"));
    assert!(!answer(answered.clone()).contains_key("connection"));
    group.bench_function("of a request", |bencher| {
        bencher.iter_batched(|| sent.clone(), &request, BatchSize::SmallInput);
    });
    group.bench_function("of an answer", |bencher| {
        bencher.iter_batched(|| answered.clone(), &answer, BatchSize::SmallInput);
    });
}

fn attach(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attach");
    let (fixed, token) = (bench::attach(&config()), bench::attach_token());
    let sent = sent();
    assert_eq!(fixed(sent.clone())["authorization"].len(), "Bearer ".len() + 800);
    assert_ne!(token(sent.clone())["authorization"], sent["authorization"]);
    group.bench_function("a static token", |bencher| {
        bencher.iter_batched(|| sent.clone(), &fixed, BatchSize::SmallInput);
    });
    group.bench_function("an OAuth 2.0 token", |bencher| {
        bencher.iter_batched(|| sent.clone(), &token, BatchSize::SmallInput);
    });
}

/// Loading costs as much for each service or route, however many there are.
fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load a config");
    for count in [1, 10, 200, 1_000] {
        let text = with_services(count, "/v1");
        group.bench_function(BenchmarkId::new("services", count), |bencher| bencher.iter(|| bench::load(&text)));
    }
    for count in [10, 1_000, 10_000] {
        let text = with_routes(count);
        group.bench_function(BenchmarkId::new("routes", count), |bencher| bencher.iter(|| bench::load(&text)));
    }
    let text = with_services(1_000, "/v1") + &routes(10_000, |number| format!("service-{:04}", number % 1_000));
    group.bench_function("1000 services and 10000 routes", |bencher| bencher.iter(|| bench::load(&text)));
}

/// One of so many services changes: the first request after a reload waits for this.
fn swap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swap a snapshot with services");
    for count in [1, 200, 1_000] {
        let swap = bench::swap(&with_services(count, "/v1"), &with_services(count, "/v2"));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(|| black_box(&swap)()));
    }
}

/// One service with a token of 800 bytes.
fn config() -> String {
    let token = "t".repeat(800);
    format!("services:\n  payments:\n    url: http://127.0.0.1:1/v1\n    auth: {{ type: bearer, token: {token} }}\n")
}

fn with_routes(count: usize) -> String {
    config() + &routes(count, |_| "payments".to_owned())
}

fn routes(count: usize, service: impl Fn(usize) -> String) -> String {
    let mut text = "routes:\n".to_owned();
    for number in 0..count {
        let _ = writeln!(text, "  - {{ path: /tenants/{number}/orders, service: {} }}", service(number));
    }
    text
}

/// `base_path` is of the last one alone.
fn with_services(count: usize, base_path: &str) -> String {
    let mut text = "services:\n".to_owned();
    for number in 0..count {
        let base_path = if number + 1 == count { base_path } else { "/v1" };
        let _ = writeln!(text, "  service-{number:04}:\n    url: http://127.0.0.1:{}{base_path}", 10_000 + number);
        let _ = writeln!(text, "    auth: {{ type: bearer, token: token-{number} }}");
    }
    text
}

/// What curl and a browser send, about.
fn sent() -> HeaderMap {
    map([
        ("host", "localhost:9800"),
        ("user-agent", "orders/1.4 (linux; amd64)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("x-request-id", "6f1c2f3e-9a31-4d0e-8f57-0c2f6a6f2b11"),
        ("connection", "keep-alive"),
        ("authorization", "Bearer of-the-app-itself"),
    ])
}

fn answered() -> HeaderMap {
    map([
        ("date", "Wed, 25 Nov 2026 02:49:49 GMT"),
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("cache-control", "no-store"),
        ("etag", "\"33a64df551425fcc\""),
        ("x-request-id", "6f1c2f3e-9a31-4d0e-8f57-0c2f6a6f2b11"),
        ("connection", "keep-alive"),
    ])
}

fn map<const N: usize>(fields: [(&'static str, &'static str); N]) -> HeaderMap {
    fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into_iter().collect()
}

/// All of them together take about a minute.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
}

criterion_group! {
    name = hot_path;
    config = short();
    targets = route, fields, attach, load, swap
}
criterion_main!(hot_path);
