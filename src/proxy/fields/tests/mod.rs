//! What goes on of a head, in both directions; hostile spellings included.

mod answers;
mod naming;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::*;
use crate::config::OnClientAuthorization::{Keep, Reject, Replace};
use crate::proxy::Error;

/// The rules of a service whose credential sets these fields.
fn rules(owned: &[&'static str], on_client_authorization: OnClientAuthorization) -> Rules {
    rules_on_behalf(owned, &[], on_client_authorization)
}

/// The rules of a service whose credential sets these fields, for the subjects that those name.
fn rules_on_behalf(owned: &[&'static str], subjects: &[&'static str], on_client: OnClientAuthorization) -> Rules {
    Rules::of(terms_on_behalf(owned, subjects, on_client))
}

fn terms_on_behalf(
    owned: &[&'static str],
    subjects: &[&'static str],
    on_client: OnClientAuthorization,
) -> FieldRuleInputs {
    let contested = owned.iter().filter(|name| !subjects.contains(name));
    FieldRuleInputs {
        owned: owned.iter().chain(subjects).map(|name| HeaderName::from_static(name)).collect(),
        contested: contested.map(|name| HeaderName::from_static(name)).collect(),
        renaming: Vec::new(),
        owns_fields_only: true,
        on_client_authorization: on_client,
        forwarded: Forwarded::Drop,
        signs: true,
        cookies: Cookies::Map,
        request: Changes::default(),
        answer: Changes::default(),
    }
}

fn terms(owned: &[&'static str]) -> FieldRuleInputs {
    terms_on_behalf(owned, &[], Replace)
}

/// `headers` that set one field, and remove another.
fn changes(set: (&'static str, &'static str), remove: &'static str) -> Changes {
    let (name, value) = (HeaderName::from_static(set.0), HeaderValue::from_static(set.1));
    Changes::new([(&name, &value)].into_iter(), [HeaderName::from_static(remove)].iter())
}

/// `name: value` lines.
fn fields(lines: &str) -> HeaderMap {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').expect("a field");
        (HeaderName::from_bytes(name.trim().as_bytes()).unwrap(), HeaderValue::from_str(value.trim()).unwrap())
    };
    let mut map = HeaderMap::new();
    lines.lines().filter(|line| !line.trim().is_empty()).map(field).for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

fn lines(fields: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// Of a request with these fields, to a proxy without routes by fields.
fn upward<'a>(method: &'a Method, instance: &'a Instance, fields: &HeaderMap) -> RequestContext<'a> {
    let present = Present::of(fields);
    RequestContext { method, version: Version::HTTP_11, chunked: false, instance, present, routed_by: &NO_NAMES }
}

static NO_NAMES: std::sync::LazyLock<FieldNames> = std::sync::LazyLock::new(FieldNames::default);

fn up(rules: &Rules, sent: &str) -> Result<(HeaderMap, AppsCredential), Error> {
    let mut map = fields(sent);
    let instance = Instance::new("0a1b2c3d");
    let upward = upward(&Method::GET, &instance, &map);
    let kept = request(&mut map, upward, rules)?;
    Ok((map, kept))
}

/// Checks what is sent of a request; our `Via` comes last and is left out.
#[track_caller]
fn check_with(rules: &Rules, sent: &str, expected: &[&str]) {
    let (mut map, _) = up(rules, sent).unwrap_or_else(|error| panic!("{sent:?}: {error}"));
    assert_eq!(map.remove("via").unwrap(), "1.1 sidekey-0a1b2c3d");
    assert_eq!(lines(&map), expected, "{sent:?}");
}

#[track_caller]
fn check(sent: &str, expected: &[&str]) {
    check_with(&rules(&["authorization"], Replace), sent, expected);
}

#[track_caller]
fn check_refused(rules: &Rules, sent: &str, why: &str) {
    let error = up(rules, sent).expect_err(sent);
    assert_eq!(error.to_string(), why, "{sent:?}");
}

#[test]
fn hop_by_hop_fields_are_dropped() {
    check(
        "accept: */*\nconnection: keep-alive\nkeep-alive: timeout=5\nupgrade: websocket\nte: gzip\n\
         proxy-connection: keep-alive\nproxy-authorization: Bearer x\nproxy-authenticate: Basic\ntransfer-encoding: chunked\n\
         http2-settings: AAMAAABk",
        &["accept: */*"],
    );
}

#[test]
fn what_connection_names_is_dropped_with_it() {
    check("connection: close, X-Hop\nx-hop: 1\nx-end: 2", &["x-end: 2"]);
    check("connection: x-one\nconnection: connection ,, X-TWO\nx-one: 1\nx-two: 2", &[]);
    check("connection: upgrade\nupgrade: websocket", &[]);
    check("connection: via\nvia: 1.1 edge", &[]);
    check("connection: not a name, x-hop\nx-hop: 1", &[]);
    check("connection: X-Hop\nx_hop: 1\nX.Hop: 2\nxhop: 3", &["xhop: 3"]);
}

#[test]
fn proxy_fields_are_for_us_under_any_spelling() {
    check("proxy_authorization: Bearer x\nproxy-anything: 1\nproxying: 2\nproxy: 3", &["proxy: 3", "proxying: 2"]);
}

#[test]
fn the_app_does_not_speak_for_others() {
    check(
        "forwarded: for=1.2.3.4\nx-forwarded-for: 1.2.3.4\nx-forwarded-host: a\nx_forwarded_proto: https\nx-forwarded: 1",
        &["x-forwarded: 1"],
    );
}

#[test]
fn a_field_that_the_credential_owns_is_dropped_under_any_spelling() {
    let rules = rules(&["authorization", "x-api-key"], Replace);

    check_with(&rules, "Authorization: Bearer a\nauthorization: Bearer b", &[]);
    check_with(&rules, "x-api-key: 1\nx_api_key: 2\nx-api_key: 3\nX_Api-Key: 4\nx-api-keys: 5", &["x-api-keys: 5"]);
    check_with(&rules, "x.api.key: 1\nX.Api_Key: 2\nx!api~key: 3\nxapikey: 4", &["xapikey: 4"]);
}

#[test]
fn a_field_with_an_underscore_is_owned_under_a_dash_too() {
    check_with(&rules(&["x_key"], Replace), "x-key: 1\nx_key: 2", &[]);
}

#[test]
fn trailers_are_welcome_anew_if_they_were() {
    check("te: trailers", &["te: trailers"]);
    check("te: gzip;q=0.5, Trailers\nconnection: te", &["te: trailers"]);
    check("te: deflate\nconnection: te", &[]);
}

#[test]
fn no_trailer_is_announced_that_a_head_alone_may_have() {
    let rules = rules(&["authorization", "x-api-key"], Replace);

    check_with(&rules, "trailer: X-Sum", &["trailer: X-Sum"]);
    check_with(&rules, "trailer: X-Sum, Content-Length\ntrailer: x_api_key, x-more", &["trailer: X-Sum, x-more"]);
    check_with(&rules, "trailer: authorization", &[]);
}

#[test]
fn the_length_is_said_by_the_body() {
    check("content-length: 5", &[]);

    let mut map = fields("content-length: 5");
    let instance = Instance::new("0a1b2c3d");
    let chunked = RequestContext { chunked: true, ..upward(&Method::GET, &instance, &map) };
    request(&mut map, chunked, &rules(&[], Replace)).unwrap();
    assert_eq!(lines(&map), ["transfer-encoding: chunked", "via: 1.1 sidekey-0a1b2c3d"]);
}

#[test]
fn http_1_0_waits_for_no_interim_answer() {
    let instance = Instance::new("0a1b2c3d");
    let mut map = fields("expect: 100-continue");
    let old = RequestContext { version: Version::HTTP_10, ..upward(&Method::POST, &instance, &map) };

    request(&mut map, old, &rules(&[], Replace)).unwrap();

    assert_eq!(lines(&map), ["via: 1.0 sidekey-0a1b2c3d"]);
    check("expect: 100-continue", &["expect: 100-continue"]);
}

#[test]
fn via_is_added_to_the_vias_that_are_there() {
    let (map, _) = up(&rules(&[], Replace), "via: 1.0 edge").unwrap();

    assert_eq!(lines(&map), ["via: 1.0 edge", "via: 1.1 sidekey-0a1b2c3d"]);
}

#[test]
fn an_options_may_go_one_hop_less_far() {
    #[track_caller]
    fn check(method: Method, sent: &str, expected: &str) {
        let instance = Instance::new("0a1b2c3d");
        let mut map = fields(&format!("max-forwards: {sent}"));
        let upward = upward(&method, &instance, &map);
        request(&mut map, upward, &rules(&[], Replace)).unwrap();
        assert_eq!(map["max-forwards"], expected, "{method} {sent}");
    }

    check(Method::OPTIONS, "7", "6");
    check(Method::OPTIONS, "99999999999999999999999", "18446744073709551614");
    check(Method::OPTIONS, "-1", "-1");
    check(Method::GET, "7", "7");
}

#[test]
fn a_rejected_field_counts_however_it_was_sent() {
    let rules = rules(&["authorization", "x-api-key"], Reject);
    let why =
        |name| format!("`{name}` is set by Sidekey, and `on_client_authorization: reject` is set: do not send it");

    check_refused(&rules, "authorization: Bearer a", &why("authorization"));
    check_refused(&rules, "x_api_key: a", &why("x_api_key"));
    check_refused(&rules, "connection: X-API-Key\nx-api-key: a", &why("x-api-key"));
    check_refused(&rules, "connection: Authorization", &why("authorization"));
    check_with(&rules, "accept: */*", &["accept: */*"]);
}

#[test]
fn a_kept_field_goes_through_and_ours_is_not_added() {
    let rules = rules(&["authorization"], Keep);

    let (mut map, kept) = up(&rules, "authorization: Bearer app's").unwrap();
    assert_eq!(map["authorization"], "Bearer app's");
    assert!(kept.is_all_of(&rules), "the app brought all that the credential sets");
    map.insert("authorization", HeaderValue::from_static("Bearer ours"));
    kept.put_back(&mut map);

    assert_eq!(map["authorization"], "Bearer app's");
}

#[test]
fn what_is_kept_is_one_field_and_no_other_spelling() {
    let rules = rules(&["authorization", "x-api-key"], Keep);

    let (map, kept) = up(&rules, "x_api_key: 1\nauthorization: Basic a").unwrap();
    assert_eq!(lines(&map), ["authorization: Basic a", "via: 1.1 sidekey-0a1b2c3d"]);
    assert!(!kept.is_all_of(&rules), "the key is still ours to set");
    check_refused(&rules, "authorization: a\nauthorization: b", "`authorization` was sent more than once");
}

#[test]
fn what_is_kept_is_there_and_goes_on() {
    let rules = rules(&["authorization", "x-api-key"], Keep);
    let nominated = "is named in `Connection`, which says that it goes no further than here: leave it out there";
    let empty = "is empty, and `on_client_authorization: keep` is set: send it with a value, or not at all";

    for sent in ["connection: authorization\nauthorization: Basic a", "connection: close, Authorization"] {
        check_refused(&rules, sent, &format!("`authorization` {nominated}"));
    }
    check_refused(&rules, "connection: X_Api_Key\nx-api-key: 1", &format!("`x_api_key` {nominated}"));
    check_refused(&rules, "authorization:", &format!("`authorization` {empty}"));
    check_with(&rules, "connection: x-hop\nx-hop: 1\nx-api-key: 1", &["x-api-key: 1"]);
}

#[test]
fn framing_passes_under_no_spelling() {
    check(
        "content_length: 5\ntransfer.encoding: chunked\nKeep_Alive: 1\nhttp2_settings: a\nx_other: 1",
        &["x_other: 1"],
    );
}

#[test]
fn another_method_or_path_passes_where_any_does() {
    let sent = "x-http-method: PUT\nx_http_method_override: PUT\nx-method-override: PUT\n\
                x-original-url: /admin\nX.Rewrite.Url: /admin";
    let of = |renaming: Vec<&HeaderName>| {
        let renaming = renaming.into_iter().cloned().collect();
        Rules::of(FieldRuleInputs { renaming, ..terms(&[]) })
    };

    check_with(&of(METHODS.iter().chain(&PATHS).collect()), sent, &[]);
    check_with(&of(METHODS.iter().collect()), sent, &["x-original-url: /admin", "x.rewrite.url: /admin"]);
    let methods = ["x-http-method: PUT", "x-method-override: PUT", "x_http_method_override: PUT"];
    check_with(&of(PATHS.iter().collect()), sent, &methods);
}

#[test]
fn without_a_credential_of_its_own_a_service_gets_the_apps() {
    for on_client_authorization in [Replace, Keep, Reject] {
        check_with(&rules(&[], on_client_authorization), "authorization: Basic a", &["authorization: Basic a"]);
    }
}

#[test]
fn the_configs_changes_come_after_hygiene() {
    let rules = Rules::of(FieldRuleInputs { request: changes(("x-set", "ours"), "x-gone"), ..terms(&[]) });

    check_with(&rules, "connection: x-set\nx-set: app's\nx-gone: 1\nX.Gone: 2\nx_set: 3", &["x-set: ours"]);
}

#[test]
fn trailers_lose_framing_routing_and_credential_fields() {
    let rules = rules(&["x-api-key"], Replace);
    let mut trailers = fields(
        "x-sum: 1\ncontent-length: 3\ntransfer_encoding: chunked\nhost: a\nx_api_key: k\nauthorization: b\ncookie: c\n\
         location: /d\nContent_Location: /e\nalt-svc: f\nhttp2_settings: g",
    );

    (rules.screen)(&mut trailers);

    assert_eq!(lines(&trailers), ["x-sum: 1"]);
}

#[test]
fn trailers_walk_round_nothing_that_a_head_is_told() {
    let (request, answer) = (changes(("x-set", "ours"), "x-gone"), changes(("x-by", "us"), "server"));
    let renaming = METHODS.to_vec();
    let rules = Rules::of(FieldRuleInputs { request, answer, renaming, ..terms(&["x-api-key"]) });
    let sent = "x-set: 1\nX_Gone: 2\nx-by: them\nserver: a\nforwarded: for=a\nx_forwarded_for: a\nproxy-status: b\n\
                x-http-method-override: PUT\nx-sum: 1";

    let mut trailers = fields(sent);
    (rules.screen)(&mut trailers);
    assert_eq!(lines(&trailers), ["server: a", "x-by: them", "x-sum: 1"]);

    let mut trailers = fields(sent);
    (rules.answer_screen)(&mut trailers);
    let stay = ["proxy-status: b", "x-http-method-override: PUT", "x-set: 1", "x-sum: 1"];
    assert_eq!(lines(&trailers), [&stay[..], &["x_forwarded_for: a", "x_gone: 2"]].concat());

    let announced = "trailer: X_Set, x-gone, Forwarded, Proxy-Authorization, X-HTTP-Method, x-by, x-sum";
    check_with(&rules, announced, &["trailer: x-by, x-sum", "x-set: ours"]);
}

#[test]
fn an_option_of_connection_that_is_no_text_hides_none_of_the_others() {
    let mut map = fields("x-hop: 1\nx-end: 2");
    map.insert("connection", HeaderValue::from_bytes(b"caf\xe9, x-hop").unwrap());

    let present = Present::of(&map);
    remove_hop_by_hop(&mut map, present);

    assert_eq!(lines(&map), ["x-end: 2"]);
}

#[test]
fn a_subjects_token_goes_no_further_and_is_no_credential_of_the_apps() {
    for (on_client, own) in [(Replace, None), (Keep, Some("own")), (Reject, None)] {
        let rules = rules_on_behalf(&["authorization"], &["x-user"], on_client);
        let sent = if own.is_some() { "x-user: alice\nX_User: bob\nauthorization: own" } else { "x-user: alice" };
        let mut fields = fields(sent);
        let instance = Instance::new("0a1b2c3d");
        let upward = upward(&Method::GET, &instance, &fields);

        let kept = request(&mut fields, upward, &rules).expect("not refused");

        assert_eq!(kept.is_all_of(&rules), own.is_some());
        assert!(!fields.contains_key("x-user") && !fields.contains_key("x_user"), "{fields:?}");
        assert_eq!(fields.get("authorization").map(|value| value.to_str().unwrap()), own);
    }
}

#[test]
fn the_field_of_the_token_may_bring_the_subjects() {
    for on_client in [Replace, Keep, Reject] {
        let rules = rules_on_behalf(&["authorization"], &["authorization"], on_client);
        let mut fields = fields("authorization: Bearer alice");
        let instance = Instance::new("0a1b2c3d");
        let upward = upward(&Method::GET, &instance, &fields);

        let kept = request(&mut fields, upward, &rules).expect("not refused");

        assert!(!kept.is_all_of(&rules) && !fields.contains_key("authorization"), "{fields:?}");
    }
}

#[test]
fn no_trailer_contradicts_what_a_request_was_routed_by() {
    let rules = rules(&[], Replace);
    let routed_by: Rc<FieldNames> = Rc::new([HeaderName::from_static("x-tier")].into_iter().collect());
    let instance = Instance::new("0a1b2c3d");

    let mut trailers = fields("x-tier: gold\nX_Tier: gold\nx-sum: 1");
    screen_routed(&rules.screen, &routed_by)(&mut trailers);
    let mut head = fields("trailer: X_Tier, x-sum");
    let upward = RequestContext { routed_by: &routed_by, ..upward(&Method::GET, &instance, &head) };
    request(&mut head, upward, &rules).unwrap();

    assert_eq!(lines(&trailers), ["x-sum: 1"]);
    assert_eq!(head["trailer"], "x-sum");
}
