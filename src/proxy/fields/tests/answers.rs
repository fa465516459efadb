//! What goes on of an answer's head, and of its trailers.

use super::*;

#[track_caller]
fn check_answer(via: Option<&Instance>, sent: &str, expected: &[&str]) {
    let mut map = fields(sent);
    let rules = Rules::of(FieldRuleInputs { answer: changes(("x-by", "us"), "server"), ..terms(&[]) });

    answer(&mut map, ResponseContext { status: StatusCode::OK, version: Version::HTTP_2, via, way_back: None }, &rules)
        .unwrap();

    map.remove("x-by").expect("what the config sets");
    map.remove("date").expect("the service's, or ours");
    assert_eq!(lines(&map), expected, "{sent:?}");
}

#[test]
fn an_answer_loses_its_hop_by_hop_fields_and_no_other() {
    check_answer(
        None,
        "content-length: 3\netag: a\nset-cookie: a\nset-cookie: b\nkeep-alive: 1\nconnection: x-hop\nx-hop: 1\n\
         upgrade: h2c\nproxy-authenticate: Basic\nserver: nginx\ndate: now\nvia: 1.1 edge\ntrailer: x-sum",
        &["content-length: 3", "etag: a", "set-cookie: a", "set-cookie: b", "trailer: x-sum", "via: 1.1 edge"],
    );
}

#[test]
fn an_answer_does_not_speak_in_our_name() {
    check_answer(
        None,
        "proxy-status: cdn; error=x, sidekey; error=y\nproxy-status: sidekey\nserver-timing: sidekey;dur=1,db;dur=2",
        &["proxy-status: cdn; error=x", "server-timing: db;dur=2"],
    );
    check_answer(
        None,
        "proxy_status: cdn; error=x, sidekey; error=y\nProxy.Status: sidekey\nserver_timing: sidekey;dur=1,db;dur=2",
        &["proxy_status: cdn; error=x", "server_timing: db;dur=2"],
    );
}

#[test]
fn an_answers_trailers_do_not_speak_in_our_name_and_send_nobody_elsewhere() {
    let mut trailers = fields(
        "proxy_status: cdn, sidekey; error=x\nserver_timing: sidekey;dur=1\nserver-timing: db, sidekey\n\
         location: /a\nContent_Location: /b\nalt_svc: c\nproxy-authentication-info: d\nx-sum: 1",
    );

    (rules(&[], Replace).answer_screen)(&mut trailers);

    assert_eq!(lines(&trailers), ["proxy_status: cdn", "server-timing: db", "x-sum: 1"]);
}

#[test]
fn an_answers_fields_go_under_any_spelling() {
    check_answer(
        None,
        "connection: X-Hop\nx_hop: 1\nKeep_Alive: 1\nproxy_connection: a\nproxy.authenticate: Basic\nalt_svc: b\n\
         transfer_encoding: gzip\nhttp2.settings: c\nx_other: 2",
        &["x_other: 2"],
    );
}

#[test]
fn an_answer_in_forward_proxy_form_says_who_passed_it_on() {
    let instance = Instance::new("0a1b2c3d");

    check_answer(Some(&instance), "etag: a", &["etag: a", "via: 2 sidekey-0a1b2c3d"]);
}

#[test]
fn an_answer_has_a_date_and_names_no_way_round_us() {
    check_answer(None, "date: now\nalt-svc: h3=\":443\"\nalt-svc: clear", &[]);
    for (sent, expected) in [("date: theirs", "theirs"), ("etag: a", " GMT")] {
        let mut map = fields(sent);
        let downward = ResponseContext { status: StatusCode::OK, version: Version::HTTP_11, via: None, way_back: None };

        answer(&mut map, downward, &rules(&[], Replace)).unwrap();

        let date = map["date"].to_str().unwrap();
        assert!(date.ends_with(expected) && map.get_all("date").iter().count() == 1, "{map:?}");
    }
}

#[test]
fn the_length_of_what_is_not_sent_stays_on_http_1_alone() {
    for (status, version, stays) in [
        (StatusCode::NOT_MODIFIED, Version::HTTP_2, false),
        (StatusCode::NOT_MODIFIED, Version::HTTP_11, true),
        (StatusCode::OK, Version::HTTP_2, true),
    ] {
        let mut map = fields("content-length: 3");

        answer(&mut map, ResponseContext { status, version, via: None, way_back: None }, &rules(&[], Replace)).unwrap();

        assert_eq!(map.contains_key("content-length"), stays, "{status} {version:?}");
    }
}

#[test]
fn an_answer_in_another_coding_is_not_passed_on() {
    for coding in ["gzip, chunked", "gzip", "identity"] {
        let mut map = fields(&format!("transfer-encoding: {coding}"));
        let downward = ResponseContext { status: StatusCode::OK, version: Version::HTTP_11, via: None, way_back: None };

        let error = answer(&mut map, downward, &rules(&[], Replace)).expect_err(coding);

        assert_eq!(error.to_string(), "the service's answer has a `Transfer-Encoding` other than `chunked`");
    }
}

#[test]
fn a_length_beside_chunked_is_dropped() {
    check_answer(None, "transfer-encoding: chunked\ncontent-length: 3", &[]);
}
