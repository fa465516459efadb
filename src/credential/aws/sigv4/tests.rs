//! Signatures that AWS has published, and what is signed.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method};

use super::*;
use crate::config::auth::Signature;
use crate::config::{Auth, Inputs, Secrets};
use crate::credential::Slots;
use crate::credential::tests::{load, outgoing};
use crate::name::ServiceName;

/// The signer of a service at this url, with these fields in its `auth`.
fn signer(url: &str, fields: &str) -> SigV4Signer {
    compile(url, fields).expect("a signer")
}

/// As [`signer`]; or what is wrong.
fn compile(url: &str, fields: &str) -> Result<SigV4Signer, String> {
    let text = format!("services: {{ api: {{ url: '{url}', auth: {{ type: aws_sigv4, {fields} }} }} }}");
    let (config, mut report) = load(text);
    let service = &config.services["api"].value;
    let slots = Slots::default();
    let material = Material {
        inputs: &Inputs::new(Secrets::Read),
        name: &ServiceName::parse("api").expect("a name"),
        service,
        certificate: None,
        certificates: &BTreeMap::new(),
        slots: &slots,
        first_tokens: None,
        tls_cache: &<_>::default(),
        proxies: &<_>::default(),
    };
    let Auth::Signs(Signature::AwsSigV4(written)) = &service.auth[0].value else { panic!("another method") };
    let signer = SigV4Signer::compile(written, &material, &mut report);
    signer.ok_or_else(|| report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect())
}

/// A request to `host`, signed at this second.
fn signed(signer: &SigV4Signer, second: u64, mut request: Outgoing, host: &'static str) -> HeaderMap {
    request.authority = Authority::from_static(host);
    let KeySource::Fixed { credentials, .. } = &signer.keys else { panic!("no key of its own") };
    let now = UNIX_EPOCH + Duration::from_secs(second);
    signer.sign_with(credentials, now, &mut request).expect("a signature");
    request.fields
}

fn signature(fields: &HeaderMap) -> &str {
    let text = fields["authorization"].to_str().expect("ASCII");
    text.split_once("Signature=").expect("a signature").1
}

/// The key, time and host of AWS's test suite.
fn suite(fields: &str, request: Outgoing) -> HeaderMap {
    const KEY: &str = "access_key_id: AKIDEXAMPLE, secret_access_key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let signer =
        signer("https://example.amazonaws.com", &format!("region: us-east-1, service: service, {KEY}{fields}"));
    signed(&signer, 1_440_938_160, request, "example.amazonaws.com")
}

#[test]
fn a_request_of_the_test_suite_gets_its_fields() {
    let fields = suite("", outgoing("/", &[]));

    assert_eq!(
        fields["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
    assert_eq!(fields["x-amz-date"], "20150830T123600Z");
    assert_eq!(fields.len(), 2);
    assert!(fields["authorization"].is_sensitive());
}

#[track_caller]
fn check(method: Method, target: &'static str, expected: &str) {
    let fields = suite("", Outgoing { method, ..outgoing(target, &[]) });

    assert_eq!(signature(&fields), expected, "{target}");
}

#[test]
fn paths_and_queries_are_signed_as_the_test_suite_has_them() {
    check(Method::POST, "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    check(Method::GET, "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84");
    check(
        Method::GET,
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    );
    check(Method::GET, "/?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
    check(Method::POST, "/?Param1=value1", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11");
    check(Method::GET, "/?%E1%88%B4=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04");
    check(
        Method::GET,
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    );
}

#[test]
fn a_body_and_its_type_are_signed() {
    let body = RequestBody::Whole(Some(Bytes::from_static(b"Param1=value1")));
    let form = [("content-type", "application/x-www-form-urlencoded"), ("accept", "*/*")];

    let fields = suite("", Outgoing { method: Method::POST, body, ..outgoing("/", &form) });

    assert_eq!(signature(&fields), "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

#[test]
fn a_session_token_goes_along_and_is_signed() {
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";

    let fields = suite(&format!(", session_token: '{token}'"), outgoing("/", &[]));

    assert_eq!(fields["x-amz-security-token"], token);
    assert_eq!(signature(&fields), "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
}

const S3: &str = "region: us-east-1, service: s3, access_key_id: AKIAIOSFODNN7EXAMPLE, \
                  secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[track_caller]
fn check_s3(target: &'static str, expected: &str) {
    let host = "examplebucket.s3.amazonaws.com";
    let signer = signer(&format!("https://{host}"), S3);

    let fields = signed(&signer, 1_369_353_600, outgoing(target, &[]), host);

    assert_eq!(signature(&fields), expected, "{target}");
    assert_eq!(fields["x-amz-content-sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn requests_to_s3_are_signed_as_its_documentation_has_them() {
    check_s3("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    check_s3("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    check_s3("/?prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

#[test]
fn s3_reads_a_key_and_all_others_read_a_path() {
    let s3 = |target| {
        signature(&signed(&signer("https://s3.example", S3), 0, outgoing(target, &[]), "s3.example")).to_owned()
    };
    let other = |target| signature(&suite("", outgoing(target, &[]))).to_owned();

    assert_eq!(s3("/b/day=1"), s3("/b/day%3d1"));
    assert_ne!(s3("/b//k"), s3("/b/k"));
    assert_ne!(other("/b/day=1"), other("/b/day%3d1"));
    assert_eq!(other("/b//k"), other("/b/k"));
}

#[track_caller]
fn check_need(url: &str, fields: &str, need: BodyNeed) {
    let key = "region: r, access_key_id: A, secret_access_key: s";

    assert_eq!(signer(url, &format!("{key}, {fields}")).body_needed(), Some(need), "{url} {fields}");
}

#[test]
fn only_what_goes_to_s3_in_tls_need_not_be_kept_whole() {
    check_need("https://api.example", "service: es", BodyNeed::Whole { most: 8 << 20 });
    check_need("https://api.example", "service: es, max_signed_body: 64KiB", BodyNeed::Whole { most: 64 << 10 });
    check_need("http://localhost", "service: s3", BodyNeed::Whole { most: 8 << 20 });
    check_need("https://api.example", "service: s3", BodyNeed::IfShort { most: 64 << 10 });
}

#[test]
fn a_body_is_not_signed_where_the_config_says_so_and_at_lattice() {
    let key = "region: us-east-1, access_key_id: A, secret_access_key: s";
    let unsigned = |url: &str, fields: &str| {
        let signer = signer(url, &format!("{key}, {fields}"));
        let request = Outgoing { body: RequestBody::Whole(Some("body".into())), ..outgoing("/", &[]) };
        let told = signed(&signer, 0, request, "api.example").get("x-amz-content-sha256").cloned();
        signer.body_needed().is_none() && told.expect("the body is told of") == "UNSIGNED-PAYLOAD"
    };

    for fields in ["service: vpc-lattice-svcs", "service: es, payload: unsigned", "service: s3, payload: unsigned"] {
        assert!(unsigned("https://api.example", fields), "{fields}");
    }
    for fields in ["service: vpc-lattice-svcs, payload: signed", "service: s3", "service: s3, payload: signed"] {
        assert!(!unsigned("https://api.example", fields), "{fields}");
    }
    assert!(!unsigned("http://localhost", "service: vpc-lattice-svcs"));
    let refused = compile("http://localhost", &format!("{key}, service: s3, payload: unsigned")).expect_err("no TLS");
    assert_eq!(refused, "a body that is not signed needs TLS");
}

#[test]
fn what_has_no_canonical_form_is_not_signed() {
    let signer = signer("https://api.example", S3);
    let KeySource::Fixed { credentials, .. } = &signer.keys else { panic!("no key of its own") };
    let refused = |mut request: Outgoing| {
        let error = signer.sign_with(credentials, UNIX_EPOCH, &mut request).expect_err("no signature");
        assert!(!request.fields.contains_key("authorization"));
        error.to_string()
    };

    let mut meta = outgoing("/", &[]);
    meta.fields.insert("x-amz-meta-a", HeaderValue::from_bytes(b"\xff").expect("a value"));

    assert_eq!(refused(outgoing("/?a=%FF", &[])), "the request can't be signed: its query is not UTF-8");
    assert_eq!(refused(meta), "the request can't be signed: its `x-amz-meta-a` is not UTF-8");
    assert_eq!(
        refused(outgoing("/", &[("content-encoding", "gzip, aws-chunked")])),
        "the request can't be signed: its body is `aws-chunked`: let the app send it as it is"
    );
    let star = Outgoing { target: PathAndQuery::from_static("*"), ..outgoing("/", &[]) };
    assert_eq!(refused(star), "the request can't be signed: its target is no URI");
}
