//! What the room promises to those above it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::{Authority as HttpAuthority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::oauth2::refresh;
use super::*;
use crate::config::auth::oauth2::{ClientAuth, EndpointCertificate, EndpointConfig, GrantConfig, OAuth2, RefreshAhead};
use crate::config::{self, At, Config, ConfigSource, Inputs, Scheme, Secrets, Url, UrlAuthority};
use crate::name::ServiceName;
use crate::secret::Secret;
use crate::transport::{ProtocolSwitch, RequestBody};

/// A method with nothing in it that need not be.
pub(super) fn oauth2() -> OAuth2 {
    let authority = UrlAuthority { host: "idp.example".to_owned(), port: 443, default_port: true };
    let url = Url { scheme: Scheme::Https, authority, path: "/token".to_owned(), query: None };
    OAuth2 {
        names_its_type: false,
        grant: GrantConfig::ClientCredentials,
        endpoint: At::nowhere(EndpointConfig::Token(url)),
        client_id: Some("app".to_owned()),
        client_auth: ClientAuth::Basic(At::nowhere(Secret::new("secret".to_owned()))),
        client_assertion_audience: None,
        scope: None,
        audience: None,
        resource: Vec::new(),
        params: Vec::new(),
        headers: Vec::new(),
        certificate: EndpointCertificate::OfService,
        tls: None,
        dpop: false,
        token_header: header::AUTHORIZATION,
        token_prefix: "Bearer".to_owned(),
        refresh_ahead: RefreshAhead::Share(0.2),
        default_lifetime: Duration::from_secs(300),
        on_unauthorized: vec![StatusCode::UNAUTHORIZED],
        timeout: Duration::from_secs(10),
    }
}

/// Loads a config that has no errors.
pub(super) fn load(text: String) -> (Config, Report) {
    let (config, report) = config::load(&ConfigSource::Text(text), &Inputs::new(Secrets::Read));
    let messages: Vec<_> = report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
    (config.unwrap_or_else(|| panic!("{messages:?}")), report)
}

/// Compiles the credential of a service with these keys beside its `url`.
pub(super) fn credential(keys: &str, slots: &Slots) -> Credential {
    let (config, mut report) = load(format!("services: {{ api: {{ url: 'https://api.example', {keys} }} }}"));
    let service = &config.services["api"].value;
    let material = Material {
        inputs: &Inputs::new(Secrets::Read),
        name: &ServiceName::parse("api").expect("a name"),
        service,
        certificate: None,
        certificates: &BTreeMap::new(),
        slots,
        first_tokens: None,
        tls_cache: &<_>::default(),
        proxies: &<_>::default(),
    };
    Credential::compile(&material, &mut report).expect("a credential")
}

/// A request as it stands before it gets its credential.
pub(super) fn outgoing(target: &'static str, fields: &[(&'static str, &'static str)]) -> Outgoing {
    Outgoing {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: HttpAuthority::from_static("api.example"),
        target: PathAndQuery::from_static(target),
        fields: fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect(),
        body: RequestBody::Empty,
        switch: ProtocolSwitch::NotAsked,
    }
}

fn sent(outgoing: &Outgoing) -> (String, Vec<(String, String)>) {
    let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
    let fields = outgoing.fields.iter().map(|(name, value)| (name.to_string(), text(value)));
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    (outgoing.target.to_string(), fields)
}

#[track_caller]
fn check(found: &Outgoing, target: &str, fields: &[(&str, &str)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();

    assert_eq!(sent(found), (target.to_owned(), fields));
}

const ALL_PLACES: &str = "auth: [
    { type: basic, username: u, password: p },
    { type: api_key, key: k1, header: x-key },
    { type: api_key, key: k2, query: key },
    { type: api_key, key: k3, cookie: key, prefix: p- },
    { type: headers, set: { x-one: '1', x-two: '2' } } ]";

#[tokio::test]
async fn all_methods_of_a_list_are_put_on_each_sending() {
    let credential = credential(ALL_PLACES, &Slots::default());
    let own = RefCell::default();

    for _ in 0..2 {
        let mut request = outgoing("/p?x=1", &[("accept", "*/*"), ("x-one", "app"), ("cookie", "a=1")]);
        let stamp = credential.authorize(&own, &SubjectTokens::default(), &mut request).await.expect("authorized");

        let fields = [
            ("accept", "*/*"),
            ("authorization", "Basic dTpw"),
            ("cookie", "a=1; key=p-k3"),
            ("x-key", "k1"),
            ("x-one", "1"),
            ("x-two", "2"),
        ];
        check(&request, "/p?x=1&key=k2", &fields);
        assert_eq!(stamp.generation, 0);
    }
}

#[tokio::test]
async fn what_the_app_sent_may_be_kept_place_by_place() {
    let credential = credential(&format!("on_client_authorization: keep, {ALL_PLACES}"), &Slots::default());
    let mut request = outgoing("/p?%6bey=app", &[("authorization", "app"), ("cookie", "key=app"), ("x-one", "app")]);

    credential.authorize(&RefCell::default(), &SubjectTokens::default(), &mut request).await.expect("authorized");

    let fields = [("authorization", "app"), ("cookie", "key=app"), ("x-key", "k1"), ("x-one", "app"), ("x-two", "2")];
    check(&request, "/p?%6bey=app", &fields);
}

#[test]
fn a_credential_says_what_it_owns_and_what_it_is() {
    let credential = credential(ALL_PLACES, &Slots::default());
    let none = super::tests::credential("title: API", &Slots::default());

    let fields = ["authorization", "x-key", "x-one", "x-two"].map(HeaderName::from_static).to_vec();
    let (query, cookies) = (vec!["key".to_owned()], vec!["key".to_owned()]);
    let owned = Owned { fields, subjects: Vec::new(), query, cookies };
    assert_eq!(credential.owned(), &owned);
    assert_eq!(credential.method(), "basic + api_key + api_key + api_key + headers");
    assert_eq!((none.owned(), none.method()), (&Owned::default(), "none"));
}

#[test]
fn no_secret_is_printed() {
    let printed = format!("{:?}", credential(ALL_PLACES, &Slots::default()));

    for secret in ["dTpw", "k1", "k2", "k3", "\"1\""] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn credentials_are_interchangeable_if_they_do_the_same() {
    let slots = Slots::default();
    let fingerprint = |keys: &str| credential(keys, &slots).fingerprint();
    let oauth2 = |rest: &str| fingerprint(&token_method(rest));

    assert_eq!(fingerprint(ALL_PLACES), fingerprint(ALL_PLACES));
    assert_ne!(fingerprint(ALL_PLACES), fingerprint(&ALL_PLACES.replace("k2", "k9")));
    assert_ne!(fingerprint("auth: { type: bearer, token: a }"), fingerprint("auth: { type: bearer, token: b }"));
    assert_eq!(oauth2(""), oauth2(""));
    for difference in ["client_id: b", "token_header: x-token", "refresh_ahead: 30s", "on_unauthorized: [403]"] {
        assert_ne!(oauth2(""), oauth2(difference), "{difference}");
    }
}

fn token_method(rest: &str) -> String {
    let client_id = if rest.contains("client_id") { "" } else { "client_id: a, " };
    let secret = if rest.contains("client_secret") || rest.contains("client_auth") { "" } else { "client_secret: s, " };
    let url = if rest.contains("token_url") { "" } else { "token_url: 'http://127.0.0.1:1/token', " };
    format!("auth: {{ type: oauth2_client_credentials, {url}{client_id}{secret}{rest} }}")
}

#[track_caller]
fn check_sharing(first: &str, second: &str, shared: bool) {
    let slots = Slots::default();
    let (first_one, second_one) = (credential(first, &slots), credential(second, &slots));

    let same = Arc::ptr_eq(first_one.slot().expect("a slot"), second_one.slot().expect("a slot"));
    assert_eq!(same, shared, "{first} and {second}");
    assert_eq!(slots.take_new().len(), if shared { 1 } else { 2 });
    assert!(slots.take_new().is_empty(), "each is new once");
}

#[test]
fn services_that_agree_on_all_of_an_entry_share_it() {
    check_sharing(&token_method(""), &token_method(""), true);
    // These say how the token is used, not which one it is.
    for same in ["token_header: x-token", "token_prefix: Token", "refresh_ahead: 50%", "default_lifetime: 1m"] {
        check_sharing(&token_method(""), &token_method(same), true);
    }
    for same in ["timeout: 3s", "on_unauthorized: [401, 403]", "params: {}"] {
        check_sharing(&token_method(""), &token_method(same), true);
    }
}

#[test]
fn services_that_differ_in_any_part_of_an_entry_never_share_it() {
    for other in [
        "token_url: 'http://127.0.0.1:2/token'",
        "token_url: 'http://127.0.0.1:1/token/'",
        "token_url: 'http://127.0.0.1:1/token?a'",
        "token_url: 'http://localhost:1/token'",
        "client_id: b",
        "client_secret: t",
        "client_auth: post, client_secret: s",
        "client_auth: none",
        "scope: read",
        "audience: read",
        "resource: read",
        "params: { scopes: read }",
        "headers: { scopes: read }",
    ] {
        check_sharing(&token_method(""), &token_method(other), false);
    }
    check_sharing(&token_method("scope: a b"), &token_method("scope: b a"), false);
    check_sharing(&token_method("resource: [a, b]"), &token_method("resource: [ab]"), false);
    check_sharing(&token_method("params: { a: bc }"), &token_method("params: { ab: c }"), false);
}

#[test]
fn the_slots_of_a_refused_config_are_not_taken_up() {
    let slots = Slots::default();

    drop(credential(&token_method(""), &slots));

    assert!(slots.take_new().is_empty());
}

/// Of a request with a token of this generation.
pub(super) fn stamp(generation: u64) -> SentToken {
    SentToken { generation, ..SentToken::default() }
}

#[track_caller]
fn check_verdict(keys: &str, status: u16, grpc_status: Option<&'static str>, verdict: Verdict) {
    let credential = credential(keys, &Slots::default());
    let status = StatusCode::from_u16(status).expect("a status");
    let mut fields = HeaderMap::new();
    if let Some(code) = grpc_status {
        fields.insert("grpc-status", HeaderValue::from_static(code));
    }

    assert_eq!(credential.verdict(&stamp(1), status, &fields), verdict, "{status} {grpc_status:?} for {keys}");
}

#[test]
fn a_token_is_dead_when_the_service_says_so() {
    let usual = token_method("");
    check_verdict(&usual, 401, None, Verdict::NewToken);
    check_verdict(&usual, 403, None, Verdict::Pass);
    check_verdict(&usual, 200, Some("16"), Verdict::NewToken);
    check_verdict(&usual, 200, Some("0"), Verdict::Pass);

    let odd = token_method("on_unauthorized: [403]");
    check_verdict(&odd, 401, None, Verdict::Pass);
    check_verdict(&odd, 403, None, Verdict::NewToken);

    check_verdict("auth: { type: bearer, token: t }", 401, None, Verdict::Pass);
    check_verdict("title: API", 401, Some("16"), Verdict::Pass);
}

#[tokio::test(flavor = "local")]
async fn a_request_without_its_token_is_not_sent() {
    let slots = Slots::default();
    // Nobody listens on port 1.
    let credential = credential(&token_method(""), &slots);
    for slot in slots.take_new() {
        tokio::task::spawn_local(refresh::run(Arc::downgrade(&slot)));
    }

    let mut request = outgoing("/", &[]);
    let error =
        credential.authorize(&RefCell::default(), &SubjectTokens::default(), &mut request).await.expect_err("no token");

    assert_eq!(error.code(), crate::code::Code::TokenUnavailable);
    let text = error.to_string();
    assert!(text.starts_with("127.0.0.1:1 gave no answer: no connection to 127.0.0.1:1"), "{text}");
    assert!(text.ends_with("; check that it is up, and host and port of `token_url`"), "{text}");
    assert!(!request.fields.contains_key(header::AUTHORIZATION));
}

#[tokio::test(flavor = "local")]
async fn a_refusal_of_the_apps_own_credential_concerns_no_token_of_ours() {
    let credential = credential(&format!("on_client_authorization: keep, {}", token_method("")), &Slots::default());
    let mut request = outgoing("/", &[("authorization", "app")]);

    let stamp =
        credential.authorize(&RefCell::default(), &SubjectTokens::default(), &mut request).await.expect("authorized");

    assert_eq!(stamp.generation, 0);
    assert!(!credential.replace(&stamp).await);
}

const SIGNED: &str = "{ type: hmac, key: k, header: x-sig, template: '{query}{header:x-key}' }";

#[tokio::test]
async fn what_signs_goes_last_wherever_it_stands() {
    let others = "{ type: api_key, key: k1, header: x-key }, { type: api_key, key: k2, query: key }";
    let signatures = [format!("{SIGNED}, {others}"), format!("{others}, {SIGNED}")].map(async |list| {
        let credential = credential(&format!("auth: [{list}]"), &Slots::default());
        let mut request = outgoing("/p?x=1", &[]);
        credential.authorize(&RefCell::default(), &SubjectTokens::default(), &mut request).await.expect("authorized");
        (request.target.to_string(), request.fields["x-sig"].clone(), credential.method().to_owned())
    });
    let [first, last] = signatures;
    let [first, last] = [first.await, last.await];

    // Over `x=1&key=k2` and `k1`.
    assert_eq!(first.1, last.1);
    assert_eq!(first.0, "/p?x=1&key=k2");
    assert_eq!((first.2.as_str(), last.2.as_str()), ("hmac + api_key + api_key", "api_key + api_key + hmac"));
}

#[test]
fn only_what_signs_depends_on_the_request_and_needs_its_body() {
    let slots = Slots::default();
    let body = "{ type: hmac, key: k, header: x-body, template: '{body_sha256}', max_signed_body: 1MiB }";
    let s3 = "{ type: aws_sigv4, region: r, service: s3, access_key_id: A, secret_access_key: s }";
    let found = |keys: String| {
        let credential = credential(&keys, &slots);
        (credential.depends_on_request(), credential.body_needed())
    };

    assert_eq!(found(ALL_PLACES.to_owned()), (false, None));
    assert_eq!(found(token_method("")), (false, None));
    assert_eq!(found(format!("auth: {SIGNED}")), (true, None));
    assert_eq!(found(format!("auth: [{SIGNED}, {body}]")), (true, Some(BodyNeed::Whole { most: 1 << 20 })));
    assert_eq!(found(format!("auth: {s3}")), (true, Some(BodyNeed::IfShort { most: 64 << 10 })));
    assert_eq!(found(format!("auth: [{s3}, {body}]")), (true, Some(BodyNeed::Whole { most: 1 << 20 })));
}

#[test]
fn signers_differ_if_anything_of_theirs_does() {
    let slots = Slots::default();
    let fingerprint = |auth: &str| credential(&format!("auth: {auth}"), &slots).fingerprint();
    let hmac = "{ type: hmac, key: k, header: x-sig, template: '{path}' }";
    let aws = "{ type: aws_sigv4, region: r, service: s, access_key_id: A, secret_access_key: s }";

    assert_eq!((fingerprint(hmac), fingerprint(aws)), (fingerprint(hmac), fingerprint(aws)));
    for (written, other) in [
        ("key: k", "key: l"),
        ("x-sig", "x-signature"),
        ("{path}", "{query}"),
        (" }", ", algorithm: sha512 }"),
        (" }", ", encoding: base64 }"),
        (" }", ", prefix: a }"),
        (" }", ", timestamp_header: date }"),
        (" }", ", nonce_header: date }"),
        (" }", ", timestamp_format: unix_ms }"),
        (" }", ", max_signed_body: 1MiB }"),
    ] {
        assert_ne!(fingerprint(hmac), fingerprint(&hmac.replace(written, other)), "{other}");
    }
    for (written, other) in [
        ("region: r", "region: q"),
        ("service: s", "service: t"),
        ("id: A", "id: B"),
        ("key: s", "key: t"),
        (" }", ", session_token: t }"),
        (" }", ", max_signed_body: 1MiB }"),
    ] {
        assert_ne!(fingerprint(aws), fingerprint(&aws.replace(written, other)), "{other}");
    }
}

#[test]
fn lent_keys_are_shared_by_who_agrees_on_all_of_them() {
    let lent = |role: &str, file: &str, region: &str| {
        let lender = format!("{{ role_arn: '{role}', token_file: {file}, sts_url: 'http://127.0.0.1:1/' }}");
        format!("auth: {{ type: aws_sigv4, region: {region}, service: s3, web_identity: {lender} }}")
    };

    check_sharing(&lent("r", "t", "here"), &lent("r", "t", "there"), true);
    check_sharing(&lent("r", "t", "here"), &lent("other", "t", "here"), false);
    check_sharing(&lent("r", "t", "here"), &lent("r", "other", "here"), false);
}
