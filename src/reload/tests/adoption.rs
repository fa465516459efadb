//! What a load takes over from the last one, and what its difference says of the rest.

use std::sync::Arc;

use super::lab::{Lab, run};
use crate::credential::Slots;
use crate::snapshot::difference::Difference;

const CERTIFICATES: &str = "certificates: { partner: { chain: partner.pem, key: partner.key } }\n";
const PAYMENTS: &str = "url: https://localhost/v1, certificate: partner, tls: { ca: ca.pem }";
const TOKEN: &str = "{ type: oauth2_client_credentials, token_url: $IDP/token, client_id: me, client_secret: s }";

fn one(payments: &str) -> String {
    format!("{CERTIFICATES}services:\n  payments: {{ {payments} }}\n")
}

/// What a change from one config to another is told as.
#[track_caller]
fn check(lab: &Lab, old: &str, new: &str, expected: &[&str]) {
    let slots = Slots::default();
    lab.config(old);
    let before = lab.load(None, &slots);
    lab.config(new);
    let after = lab.load(Some(&before), &slots);

    let difference = Difference::between(&before, &after);

    assert_eq!(difference.lines(), expected);
    assert_eq!(difference.is_empty(), expected.is_empty());
}

#[test]
fn what_is_written_elsewhere_in_the_file_changes_nothing() {
    run(async || {
        let lab = Lab::start().await;
        let text = one(PAYMENTS);

        check(&lab, &text, &text, &[]);
        check(&lab, &text, &format!("# a comment\n\n{text}"), &[]);
        check(&lab, &text, &format!("{text}workers: 1\nx-note: 7\n").replace("workers: 1\n", ""), &[]);
    });
}

#[test]
fn services_are_told_of_one_by_one() {
    run(async || {
        let lab = Lab::start().await;
        let two = format!("{}  orders: {{ url: 'http://localhost' }}\n", one(PAYMENTS));
        let timeouts = format!("{PAYMENTS}, timeouts: {{ connect: 1s }}, title: Payments");

        check(&lab, &one(PAYMENTS), &two, &["service `orders` added"]);
        check(&lab, &two, &one(PAYMENTS), &["service `orders` removed"]);
        check(&lab, &one(PAYMENTS), &one(&timeouts), &["service `payments` changed (title, timeouts)"]);
        check(
            &lab,
            &two,
            &two.replace("/v1", "/v2").replace("orders", "invoices"),
            &["service `invoices` added", "service `payments` changed (url)", "service `orders` removed"],
        );
    });
}

#[test]
fn a_token_is_kept_unless_its_entry_changes() {
    run(async || {
        let lab = Lab::start().await;
        let old = one(&format!("{PAYMENTS}, auth: {TOKEN}"));
        let to = |from: &str, to: &str| old.replace(from, to);

        check(&lab, &old, &to("/v1", "/v2"), &["service `payments` changed (url), token kept"]);
        check(
            &lab,
            &old,
            &to("client_id: me", "client_id: you"),
            &["service `payments` changed (auth), token dropped"],
        );
        check(
            &lab,
            &old,
            &to("client_secret: s", "client_secret: other"),
            &["service `payments` changed (auth), token dropped"],
        );
        check(&lab, &old, &one(PAYMENTS), &["service `payments` changed (auth), token dropped"]);
        check(&lab, &one(PAYMENTS), &old, &["service `payments` changed (auth)"]);
    });
}

#[test]
fn top_level_keys_are_named_and_workers_need_a_restart() {
    run(async || {
        let lab = Lab::start().await;
        let old = one(PAYMENTS);
        let with = |key: &str| format!("{old}{key}\n");

        check(&lab, &old, &with("listen: localhost:9801"), &["`listen` changed"]);
        check(&lab, &old, &with("admin: off"), &["`admin` changed"]);
        check(&lab, &old, &with("access: { hosts: [ops.example] }"), &["`access` changed"]);
        check(&lab, &old, &with("log: { level: debug }"), &["`log` changed"]);
        check(&lab, &old, &with("limits: { connections: 10 }"), &["`limits` changed"]);
        check(&lab, &old, &with("shutdown: { drain: 1s }"), &["`shutdown` changed"]);
        check(&lab, &old, &with("routes: [{ path: /pay, service: payments }]"), &["`routes` changed"]);
        check(&lab, &with("workers: 1"), &with("workers: 2"), &["`workers` changed, which needs a restart"]);
    });
}

#[test]
fn a_file_with_other_content_is_a_change_of_the_key_that_names_it() {
    run(async || {
        let lab = Lab::start().await;
        let slots = Slots::default();
        lab.config(&one(&format!("{PAYMENTS}, auth: {{ type: bearer, token: {{ file: token }} }}")));
        lab.write("token", "one");
        let first = lab.load(None, &slots);
        let told = |before, after| Difference::between(before, after).lines();

        lab.write("token", "two");
        let second = lab.load(Some(&first), &slots);
        assert_eq!(told(&first, &second), ["service `payments` changed (auth)"]);

        lab.rotate("partner");
        let third = lab.load(Some(&second), &slots);
        assert_eq!(
            told(&second, &third),
            ["service `payments` changed (certificate)", "certificate `partner` rotated"]
        );

        // Another authority's certificate, in the place of the one that was trusted.
        lab.write("ca.pem", &std::fs::read_to_string(lab.path("partner.pem")).unwrap());
        let fourth = lab.load(Some(&third), &slots);
        assert_eq!(told(&third, &fourth), ["service `payments` changed (tls)"]);
    });
}

#[test]
fn an_unchanged_service_is_the_same_one_and_a_rotated_certificate_makes_another() {
    run(async || {
        let lab = Lab::start().await;
        let slots = Slots::default();
        lab.config(&format!("{}  orders: {{ url: 'http://localhost' }}\n", one(PAYMENTS)));
        let before = lab.load(None, &slots);

        lab.rotate("partner");
        let after = lab.load(Some(&before), &slots);

        let is_same = |name| Arc::ptr_eq(before.service(name).unwrap(), after.service(name).unwrap());
        assert!(is_same("orders"));
        assert!(!is_same("payments"), "its pools must not outlive its certificate");
        assert_eq!(after.generation, before.generation + 1);
    });
}

#[test]
fn a_difference_shows_no_secret() {
    run(async || {
        let lab = Lab::start().await;
        let slots = Slots::default();
        let with = |secret: &str| one(&format!("{PAYMENTS}, auth: {{ type: bearer, token: {secret} }}"));
        lab.config(&with("hunter2"));
        let before = lab.load(None, &slots);

        lab.config(&with("hunter3"));
        let after = lab.load(Some(&before), &slots);

        let shown = format!("{:?}", Difference::between(&before, &after));
        assert!(shown.contains("auth") && !shown.contains("hunter"), "{shown}");
    });
}

#[test]
fn every_problem_is_told_at_once_and_no_service_is_built_without_its_certificate() {
    run(async || {
        let lab = Lab::start().await;
        lab.write("partner.pem", "half a certif");
        lab.config(&one(&PAYMENTS.replace("ca.pem", "missing.pem")));

        let complaints = lab.complaints();

        assert!(complaints.contains("certificate `partner`"), "{complaints}");
        assert!(complaints.contains("missing.pem"), "{complaints}");
    });
}
