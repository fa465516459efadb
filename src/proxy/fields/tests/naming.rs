//! Fields of answers that name the service, and what is said of who called the app.

use super::*;
use crate::config::{At, Report, Scheme, Span, Url, UrlAuthority};
use crate::name::ServiceName;
use crate::route::{Destination, Question, RouteTable, TargetForm};

/// The table of one service, `payments`.
fn table(host: &str, path: &str) -> RouteTable {
    let authority = UrlAuthority { host: host.to_owned(), port: 443, default_port: true };
    let url = Url { scheme: Scheme::Https, authority, path: path.to_owned(), query: None };
    let (name, url) = (ServiceName::parse("payments").expect("a name"), At { value: url, span: Span::NOWHERE });
    let service = Destination { name: &name, url: &url, default_routes: true };
    RouteTable::compile(&[service], &[], &mut Report::default())
}

/// How an answer's fields come to an app that asked like this: `//localhost/payments/x`, or a whole URL.
fn answered(asked: &str, sent: &str, terms: FieldRuleInputs) -> Vec<(String, String)> {
    let table = table("api.example", "/v1");
    let (scheme, rest) = asked.split_once("//").expect("a host");
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    let form = if scheme.is_empty() { TargetForm::Origin } else { TargetForm::Absolute };
    let (local, fields_asked) = (scheme.is_empty(), HeaderMap::new());
    let question = Question { form, host, port: None, local, method: &Method::GET, path, fields: &fields_asked };
    let found = table.find(&question).expect(asked);
    let way_back = Some(table.way_back(&found, Scheme::Https));
    let mut map = fields(sent);

    let context = ResponseContext { status: StatusCode::OK, version: Version::HTTP_11, via: None, way_back };
    answer(&mut map, context, &Rules::of(terms)).expect("an answer");

    map.remove("date").expect("ours");
    map.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned())).collect()
}

#[track_caller]
fn check_mapped(asked: &str, name: &str, sent: &[&str], expected: &[&str]) {
    let lines: String = sent.iter().map(|value| format!("{name}: {value}\n")).collect();
    let values: Vec<_> = answered(asked, &lines, terms(&[])).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, expected, "{asked}");
}

const BY_PATH: &str = "//localhost/payments/x";
const BY_HOST: &str = "//payments.localhost/x";
const AS_PROXY: &str = "http://api.example/v1/x";

#[test]
fn where_the_answer_leads_is_told_in_the_apps_words() {
    for name in ["location", "content-location"] {
        check_mapped(BY_PATH, name, &["https://api.example/v1/a?b#c"], &["/payments/a?b#c"]);
        check_mapped(BY_HOST, name, &["/v1/a"], &["/a"]);
        check_mapped(AS_PROXY, name, &["https://api.example/v1/a"], &["http://api.example/v1/a"]);
        check_mapped(
            BY_PATH,
            name,
            &["a", "/v2", "https://other.example/v1"],
            &["a", "/v2", "https://other.example/v1"],
        );
    }
}

#[test]
fn the_targets_of_links_are_told_likewise_and_nothing_else_of_them() {
    check_mapped(
        BY_PATH,
        "link",
        &[
            "<https://api.example/v1/x?page=2>; rel=\"next\", </v1/a,b>;rel=\"a\\\" <, </v1/c>\";title=x ,\t<y>, ,</v1>",
            "</v1/z>; anchor=\"/v1/x\"; rel=/v1/rel",
            "</v2>",
            "malformed </v1/x>",
            "</v1/x",
            "</v1/y>, malformed, </v1/x>",
        ],
        &[
            "</payments/x?page=2>; rel=\"next\", </payments/a,b>;rel=\"a\\\" <, </v1/c>\";title=x ,\t<y>, ,</payments>",
            "</payments/z>; anchor=\"/v1/x\"; rel=/v1/rel",
            "</v2>",
            "malformed </v1/x>",
            "</v1/x",
            "</payments/y>, malformed, </v1/x>",
        ],
    );
    check_mapped(AS_PROXY, "link", &["</v1/x>; rel=next"], &["<http://api.example/v1/x>; rel=next"]);
}

#[test]
fn cookies_are_those_of_the_route_each_in_its_place() {
    check_mapped(
        BY_PATH,
        "set-cookie",
        &[
            "a=1; Path=/; Secure; HttpOnly",
            "b=2",
            "c=\"x y\";path=/v1/orders;DOMAIN=api.example; SameSite=Lax ;secure",
            "d=4; Expires=Wed, 21 Oct 2099 07:28:00 GMT; Path=/other",
            "e=5; Path=\"/v1/q\"; Max-Age=5",
            "f=6; Path; Domain=; Path=/v1/last",
            "g=7; securex; pathx=/v1; Priority=High",
            "__Host-h=8; Secure; Path=/",
            "i=9; Path = /v1 ",
            "=; ; Secure=",
        ],
        &[
            "a=1; Path=/payments; HttpOnly",
            "b=2; Path=/payments",
            "c=\"x y\"; Path=/payments/orders; SameSite=Lax ",
            "d=4; Expires=Wed, 21 Oct 2099 07:28:00 GMT; Path=/other",
            "e=5; Path=/payments/q; Max-Age=5",
            "f=6; Path=/payments; Path=/payments/last",
            "g=7; securex; pathx=/v1; Priority=High; Path=/payments",
            "__Host-h=8; Path=/payments",
            "i=9; Path=/payments",
            "=; ; Path=/payments",
        ],
    );
    check_mapped(
        BY_HOST,
        "set-cookie",
        &["a=1; Path=/; Secure", "b=2", "c=3; Path=/v1/o; Domain=example", "d=4;path=\"/\""],
        &["a=1; Path=/", "b=2; Path=/", "c=3; Path=/o", "d=4; Path=/"],
    );
    check_mapped(
        AS_PROXY,
        "set-cookie",
        &["a=1; Path=/v1; Domain=example; Secure", "b=2", "c=3; Path=/;secure; HttpOnly"],
        &["a=1; Path=/v1; Domain=example", "b=2", "c=3; Path=/; HttpOnly"],
    );
}

#[test]
fn cookies_that_are_kept_stay_byte_for_byte() {
    let kept =
        answered(BY_PATH, "set-cookie: a=1; Path=/; Secure", FieldRuleInputs { cookies: Cookies::Keep, ..terms(&[]) });

    assert_eq!(kept, [("set-cookie".to_owned(), "a=1; Path=/; Secure".to_owned())]);
}

#[test]
fn what_the_config_sets_is_written_for_the_app_already() {
    let answer = changes(("location", "/v1/x"), "set-cookie");
    let set = answered(BY_PATH, "location: /v1/y\nset-cookie: a=1", FieldRuleInputs { answer, ..terms(&[]) });

    assert_eq!(set, [("location".to_owned(), "/v1/x".to_owned())]);
}

const OF_CALLERS: &str =
    "forwarded: for=1\nx-forwarded-for: 2\nX_Forwarded_Proto: 3\nproxy-x: 4\nproxy-authorization: a";

#[test]
fn who_called_the_app_is_told_where_the_config_says_so() {
    check(OF_CALLERS, &[]);
    let keeping = Rules::of(FieldRuleInputs { forwarded: Forwarded::Keep, ..terms(&[]) });
    check_with(&keeping, OF_CALLERS, &["forwarded: for=1", "x-forwarded-for: 2", "x_forwarded_proto: 3"]);
    check_with(&keeping, "connection: forwarded\nforwarded: for=1\nx-forwarded-host: a", &["x-forwarded-host: a"]);

    let mut trailers = fields("forwarded: for=1\nx-forwarded-for: 2\nx-sum: 3");
    (keeping.screen)(&mut trailers);
    assert_eq!(lines(&trailers), ["x-sum: 3"]);
}

#[test]
fn without_via_nobody_learns_of_us_and_the_apps_own_goes_on() {
    let silent = Rules::of(FieldRuleInputs { signs: false, ..terms(&[]) });

    let (sent, _) = up(&silent, "via: 1.1 edge").expect("a request");
    let mut came = fields("via: 1.1 other");
    let instance = Instance::new("0a1b2c3d");
    let context =
        ResponseContext { status: StatusCode::OK, version: Version::HTTP_11, via: Some(&instance), way_back: None };
    answer(&mut came, context, &silent).expect("an answer");
    came.remove("date");

    assert_eq!(lines(&sent), ["via: 1.1 edge"]);
    assert_eq!(lines(&came), ["via: 1.1 other"]);
}
