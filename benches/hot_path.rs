//! What a request costs us beside the system calls, part by part: `cargo bench --features bench --bench hot_path`.

#![allow(missing_docs, reason = "criterion's macros make functions")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use sidekey::bench;

/// One service with a token of 800 bytes.
fn config() -> String {
    let token = "t".repeat(800);
    format!("services:\n  payments:\n    url: http://127.0.0.1:1/v1\n    auth: {{ type: bearer, token: {token} }}\n")
}

fn config_with_routes(count: usize) -> String {
    let mut text = config() + "routes:\n";
    for number in 0..count {
        let _ = writeln!(text, "  - {{ path: /tenants/{number}/orders, service: payments }}");
    }
    text
}

/// What curl and a browser send, about.
fn fields() -> HeaderMap {
    let sent = [
        ("host", "localhost:9800"),
        ("user-agent", "orders/1.4 (linux; amd64)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("x-request-id", "6f1c2f3e-9a31-4d0e-8f57-0c2f6a6f2b11"),
        ("connection", "keep-alive"),
        ("authorization", "Bearer of-the-app-itself"),
    ];
    sent.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into_iter().collect()
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10, 1_000, 10_000] {
        let find = bench::route(&config_with_routes(count), &format!("/tenants/{}/orders/4711", count / 2));
        assert!(find());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(&find));
    }
}

fn request_fields(criterion: &mut Criterion) {
    let pass = bench::fields(&config());
    assert!(!pass(fields()).contains_key("authorization"));
    let sent = fields();
    criterion.bench_function("request fields", |bencher| {
        bencher.iter_batched(|| sent.clone(), &pass, BatchSize::SmallInput);
    });
}

fn attach(criterion: &mut Criterion) {
    let attach = bench::attach(&config());
    let sent = fields();
    assert_eq!(attach(sent.clone())["authorization"].len(), "Bearer ".len() + 800);
    criterion.bench_function("attach a bearer token", |bencher| {
        bencher.iter_batched(|| sent.clone(), &attach, BatchSize::SmallInput);
    });
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load a config");
    for count in [10, 1_000] {
        let text = config_with_routes(count);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| black_box(bench::load(black_box(&text))));
        });
    }
}

/// All of them together take less than a minute.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
}

criterion_group! {
    name = hot_path;
    config = short();
    targets = route, request_fields, attach, load
}
criterion_main!(hot_path);
