//! JWTs in token requests: what stands in the form, what is wrong with a key, and who shares a token.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::client::Client;
use super::super::form::TokenForm;
use super::super::grant::{Families, Grant, Input};
use crate::config::auth::oauth2::OAuth2;
use crate::config::{self, Auth, Color, ConfigSource, Inputs, Report, Secrets};
use crate::credential::{Credential, Material, Slots};
use crate::demo::certificates::{CertificateAuthority, certificate_pem};
use crate::name::CertificateName;
use crate::name::ServiceName;
use crate::tls::Certificate;

/// A folder with a certificate, its key, and others' keys; configs are compiled in it.
struct Folder {
    folder: TempDir,
    certificate: Arc<Certificate>,
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = CertificateAuthority::new("CA").unwrap();
        let (client, other) = (authority.client("app").unwrap(), authority.client("other").unwrap());
        for (name, content) in [
            ("app.pem", certificate_pem(&client.certificate)),
            ("app.key", client.key_pem()),
            ("other.key", other.key_pem()),
            ("ca.pem", certificate_pem(authority.certificate())),
            ("jwt", "ey.J.w\n".to_owned()),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let text = "certificates: { app: { chain: app.pem, key: app.key } }\nservices: {}";
        let (config, mut report) = Self::load_in(&folder, text);
        let inputs = Inputs::new(Secrets::Read);
        let (name, written) = config.certificates.first_key_value().unwrap();
        let certificate = Certificate::compile(name, written, &inputs, &mut report).unwrap();
        Self { folder, certificate }
    }

    fn load_in(folder: &TempDir, text: &str) -> (config::Config, Report) {
        let path = folder.path().join("sidekey.yaml");
        fs::write(&path, text).unwrap();
        // It has secrets in it, and that others can read them is another test's matter.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (config, report) = config::load(&ConfigSource::Path(path), &Inputs::new(Secrets::Read));
        let drawn = report.render(Color::Plain);
        (config.unwrap_or_else(|| panic!("{drawn}")), report)
    }

    /// A config whose only service has this method.
    fn load(&self, method: &str) -> (config::Config, Report) {
        Self::load_in(
            &self.folder,
            &format!(
                "certificates: {{ app: {{ chain: app.pem, key: app.key }} }}
services:
  api:
    url: https://api.example
    certificate: app
    tls: {{ ca: ca.pem }}
    auth: {{ {method} }}
"
            ),
        )
    }

    /// The fields of the form that this method sends.
    async fn form(&self, method: &str) -> Vec<(String, String)> {
        let (config, mut report) = self.load(method);
        let (method, inputs) = (oauth2(&config), Inputs::new(Secrets::Read));
        let client = Client::compile(method, Some(&self.certificate), &inputs, &mut report);
        let grant = Grant::compile(method, &Families::default(), &inputs, &mut report);
        let (client, grant) = (client.expect("a client"), grant.expect("a grant"));
        let mut form: TokenForm = grant.form(&Input::Nothing).await.unwrap();
        client.authenticate(&mut form).await.unwrap();
        let written = form.finish();

        assert_eq!(report.render(Color::Plain), "");
        assert!(!written.fields.contains_key("authorization"), "one way is enough");
        for (name, value) in form_urlencoded::parse(&written.body) {
            let told = written.secrets.quote(&value, 4_000);
            assert!(!name.ends_with("assertion") || told == "***", "{name} would be repeated to people: {told}");
        }
        form_urlencoded::parse(&written.body).into_owned().collect()
    }

    /// What compiling this method reports.
    fn refusal(&self, method: &str) -> String {
        let (config, mut report) = self.load(method);
        assert!(self.compile(&config, &Slots::default(), &mut report).is_none());
        // The folder is another each time.
        report.render(Color::Plain).replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn compile(&self, config: &config::Config, slots: &Slots, report: &mut Report) -> Option<Credential> {
        let service = &config.services["api"].value;
        let certificates = BTreeMap::from([(CertificateName::parse("app").unwrap(), Arc::clone(&self.certificate))]);
        let certificate = Some(&self.certificate);
        Credential::compile(
            &Material {
                inputs: &Inputs::new(Secrets::Read),
                name: &ServiceName::parse("api").unwrap(),
                service,
                certificate,
                certificates: &certificates,
                slots,
                first_tokens: None,
                tls_cache: &<_>::default(),
                proxies: &<_>::default(),
            },
            report,
        )
    }

    /// Whether two methods get the same token.
    #[track_caller]
    fn check_sharing(&self, first: &str, second: &str, shared: bool) {
        let slots = Slots::default();
        let credentials = [first, second].map(|method| {
            let (config, mut report) = self.load(method);
            self.compile(&config, &slots, &mut report).unwrap_or_else(|| panic!("{}", report.render(Color::Plain)))
        });

        let [first_slot, second_slot] = credentials.each_ref().map(|credential| credential.slot().unwrap());
        assert_eq!(Arc::ptr_eq(first_slot, second_slot), shared, "{first}\nand {second}");
    }
}

fn oauth2(config: &config::Config) -> &OAuth2 {
    let Auth::OAuth2(method) = &config.services["api"].value.auth[0].value else { panic!("another method") };
    method
}

fn names(form: &[(String, String)]) -> Vec<&str> {
    form.iter().map(|(name, _)| name.as_str()).collect()
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    &form.iter().find(|(field, _)| field == name).unwrap().1
}

/// Head, claims (without those that are fresh, which are checked), what was signed, and the signature.
fn taken_apart(jwt: &str) -> (Value, Value, String, Vec<u8>) {
    let parts: Vec<_> = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let [head, mut claims] = [0, 1].map(|part| serde_json::from_slice::<Value>(&parts[part]).unwrap());
    let members = claims.as_object_mut().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let issued = members.remove("iat").unwrap().as_u64().unwrap();
    let name = members.remove("jti").unwrap();
    assert!(now - issued < 60, "issued {issued}, now {now}");
    assert_eq!(URL_SAFE_NO_PAD.decode(name.as_str().unwrap()).unwrap().len(), 16);
    members["exp"] = json!(members["exp"].as_u64().unwrap() - issued);
    (head, claims, jwt.rsplit_once('.').unwrap().0.to_owned(), parts[2].clone())
}

const CLIENT_FIELDS: [&str; 4] = ["grant_type", "client_id", "client_assertion_type", "client_assertion"];
const CLIENT: &str = "type: oauth2_client_credentials, token_url: 'https://idp.example/token', client_id: app";
const BEARER: &str = "type: oauth2_jwt_bearer, token_url: 'https://idp.example/token'";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SECRET: &str = "a secret of thirty-two characters";

#[tokio::test]
async fn client_secret_jwt_authenticates_by_a_jwt_under_the_secret_which_is_not_sent() {
    let folder = Folder::new();
    let method = format!("{CLIENT}, client_auth: client_secret_jwt, client_secret: {SECRET}");

    let form = folder.form(&method).await;

    assert_eq!(names(&form), CLIENT_FIELDS);
    assert_eq!((field(&form, "client_id"), field(&form, "client_assertion_type")), ("app", JWT_BEARER));
    let (head, claims, signed, signature) = taken_apart(field(&form, "client_assertion"));
    assert_eq!(head, json!({ "alg": "HS256", "typ": "JWT" }));
    assert_eq!(claims, json!({ "iss": "app", "sub": "app", "aud": "https://idp.example/token", "exp": 60 }));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn private_key_jwt_signs_with_the_key_of_its_file() {
    let folder = Folder::new();
    let method = format!(
        "{CLIENT}, client_key: app.key, client_key_id: k1, client_assertion_audience: 'https://idp.example', \
         client_key_algorithm: ES256"
    );

    let form = folder.form(&method).await;

    assert_eq!(names(&form), CLIENT_FIELDS);
    let (head, claims, signed, signature) = taken_apart(field(&form, "client_assertion"));
    assert_eq!(head, json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" }));
    assert_eq!(claims, json!({ "iss": "app", "sub": "app", "aud": "https://idp.example", "exp": 60 }));
    let public = folder.certificate.presented.key.public_key().unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.as_ref()).verify(signed.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn private_key_jwt_without_a_file_signs_with_the_key_of_the_certificate_and_names_it() {
    let folder = Folder::new();

    let form = folder.form(&format!("{CLIENT}, client_auth: private_key_jwt")).await;

    let (head, _, signed, signature) = taken_apart(field(&form, "client_assertion"));
    let thumbprint = URL_SAFE_NO_PAD.encode(folder.certificate.leaf.sha256);
    assert_eq!(head, json!({ "alg": "ES256", "typ": "JWT", "x5t#S256": thumbprint }));
    let public = folder.certificate.presented.key.public_key().unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.as_ref()).verify(signed.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn the_audience_is_the_issuer_where_that_is_what_is_written() {
    let folder = Folder::new();
    let method = CLIENT.replace("token_url: 'https://idp.example/token'", "issuer: 'https://idp.example/realm/'");

    let form = folder.form(&format!("{method}, client_key: app.key")).await;

    assert_eq!(taken_apart(field(&form, "client_assertion")).1["aud"], "https://idp.example/realm/");
}

#[tokio::test]
async fn an_assertion_is_sent_as_it_stands_in_its_file() {
    let folder = Folder::new();
    let method = format!("{CLIENT}, client_auth: assertion, client_assertion: {{ file: jwt }}");

    let form = folder.form(&method).await;

    assert_eq!(names(&form), CLIENT_FIELDS);
    assert_eq!(field(&form, "client_assertion"), "ey.J.w");
}

#[tokio::test]
async fn the_grant_sends_a_jwt_with_the_claims_as_they_were_written() {
    let folder = Folder::new();
    let method = format!(
        "{BEARER}, certificate: none, assertion: {{ key: app.key, key_id: k1, issuer: robot@example, subject: user@example, \
         audience: 'https://account.example', lifetime: 1h, claims: {{ scope: signature, admin: true, n: [1, 2] }} }}"
    );

    let form = folder.form(&method).await;

    assert_eq!(names(&form), ["grant_type", "assertion"]);
    assert_eq!(field(&form, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (head, claims, signed, signature) = taken_apart(field(&form, "assertion"));
    assert_eq!(head, json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" }));
    let expected = json!({
        "iss": "robot@example", "sub": "user@example", "aud": "https://account.example", "exp": 3600,
        "scope": "signature", "admin": true, "n": [1, 2]
    });
    assert_eq!(claims, expected);
    let public = folder.certificate.presented.key.public_key().unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.as_ref()).verify(signed.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn the_grant_speaks_for_the_client_where_no_issuer_is_written_and_goes_with_any_client_auth() {
    let folder = Folder::new();
    let grant = format!("{BEARER}, client_id: app, assertion: {{ key: other.key }}");

    let nameless = folder.form(&format!("{grant}, client_auth: none")).await;
    let two_keys = folder.form(&format!("{grant}, client_key: app.key")).await;

    assert_eq!(names(&nameless), ["grant_type", "assertion", "client_id"]);
    let claims = taken_apart(field(&nameless, "assertion")).1;
    assert_eq!(claims, json!({ "iss": "app", "aud": "https://idp.example/token", "exp": 60 }));
    let expected = ["grant_type", "assertion", "client_id", "client_assertion_type", "client_assertion"];
    assert_eq!(names(&two_keys), expected);
    assert_ne!(field(&two_keys, "assertion"), field(&two_keys, "client_assertion"));
}

#[test]
fn services_that_sign_alike_share_a_token_and_others_never_do() {
    let folder = Folder::new();
    let with = |rest: &str| format!("{CLIENT}, {rest}");
    let by_key = "client_key: app.key";
    folder.check_sharing(&with(by_key), &with(by_key), true);
    for other in [
        "client_key: other.key",
        "client_key: app.key, client_key_id: k1",
        "client_key: app.key, client_assertion_audience: 'https://idp.example'",
        "client_auth: private_key_jwt",
        "client_auth: assertion, client_assertion: { file: jwt }",
        "client_auth: tls_client_auth",
    ] {
        folder.check_sharing(&with(by_key), &with(other), false);
    }
    let by_secret = format!("client_auth: client_secret_jwt, client_secret: {SECRET}");
    folder.check_sharing(&with(&by_secret), &with(&by_secret), true);
    folder.check_sharing(&with(&by_secret), &with(&by_secret.replace("a secret", "no secret")), false);
    folder.check_sharing(&with(&by_secret), &with(&by_secret.replace("client_secret_jwt", "post")), false);
    let by_file = "client_auth: assertion, client_assertion: { file: jwt }";
    folder.check_sharing(&with(by_file), &with(by_file), true);
    folder.check_sharing(&with(by_file), &with(&by_file.replace("jwt }", "jwt2 }")), false);
}

#[test]
fn grants_that_differ_in_any_part_of_their_jwt_never_share_a_token() {
    let folder = Folder::new();
    let with = |rest: &str| format!("{BEARER}, client_id: app, client_auth: none, assertion: {{ {rest} }}");
    let one = "key: app.key, claims: { a: 1 }";
    folder.check_sharing(&with(one), &with(one), true);
    for other in [
        "key: other.key, claims: { a: 1 }",
        "key: app.key",
        "key: app.key, claims: { a: '1' }",
        "key: app.key, claims: { a: 1 }, key_id: k",
        "key: app.key, claims: { a: 1 }, issuer: other",
        "key: app.key, claims: { a: 1 }, subject: user",
        "key: app.key, claims: { a: 1 }, audience: idp",
        "key: app.key, claims: { a: 1 }, lifetime: 61s",
    ] {
        folder.check_sharing(&with(one), &with(other), false);
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_a_config_error() {
    let refusal = Folder::new().refusal(&format!("{CLIENT}, client_key: app.key, client_key_algorithm: PS256"));

    insta::assert_snapshot!(refusal, @r#"
    error: `PS256` does not fit the key
     --> sidekey.yaml:7:145
      |
    7 | ...oken', client_id: app, client_key: app.key, client_key_algorithm: PS256 }
      |                                       ------- the key                ^^^^^ the key signs by ES256
      |
      = help: write what the key can do, or nothing: each kind of key has a usual algorithm
    "#);
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_of_the_certificate_is_a_config_error() {
    let method = format!("{CLIENT}, client_auth: private_key_jwt, client_key_algorithm: RS256");

    insta::assert_snapshot!(Folder::new().refusal(&method), @r#"
    error: `RS256` does not fit the key
     --> sidekey.yaml:7:154
      |
    7 | ..., client_id: app, client_auth: private_key_jwt, client_key_algorithm: RS256 }
      |                                   --------------- the key                ^^^^^ the key signs by ES256
      |
      = help: write what the key can do, or nothing: each kind of key has a usual algorithm
    "#);
}

#[test]
fn a_key_file_without_a_key_is_a_config_error() {
    let refusal = Folder::new().refusal(&format!("{CLIENT}, client_key: app.pem"));

    insta::assert_snapshot!(refusal, @r#"
    error: no private key in this file
     --> sidekey.yaml:7:114
      |
    7 |     auth: { type: oauth2_client_credentials, token_url: 'https://idp.example/token', client_id: app, client_key: app.pem }
      |                                                                                                                  ^^^^^^^
      |
      = help: what it holds is a CERTIFICATE
    "#);
}

#[test]
fn an_encrypted_key_is_a_config_error_that_says_how_to_open_it() {
    let folder = Folder::new();
    let openssl = |line: &str| {
        let done = std::process::Command::new("openssl").args(line.split(' ')).current_dir(&folder.folder).status();
        assert!(done.unwrap().success(), "openssl {line}");
    };
    openssl("pkcs8 -topk8 -in app.key -passout pass:horse -out secret.key");

    let refusal =
        folder.refusal(&format!("{BEARER}, client_id: app, assertion: {{ key: secret.key }}, client_auth: none"));

    insta::assert_snapshot!(refusal, @r#"
    error: the private key is encrypted, and nothing here takes a passphrase
     --> sidekey.yaml:7:112
      |
    7 |     auth: { type: oauth2_jwt_bearer, token_url: 'https://idp.example/token', client_id: app, assertion: { key: secret.key }, client_a...
      |                                                                                                                ^^^^^^^^^^
      |
      = help: keep it unencrypted, for this user alone: openssl pkey -in secret.key -out NEW
    "#);
}

#[test]
fn a_missing_key_file_is_a_config_error() {
    insta::assert_snapshot!(Folder::new().refusal(&format!("{CLIENT}, client_key: none.key")), @r#"
    error: `none.key` can't be read: no such file
     --> sidekey.yaml:7:114
      |
    7 |     auth: { type: oauth2_client_credentials, token_url: 'https://idp.example/token', client_id: app, client_key: none.key }
      |                                                                                                                  ^^^^^^^^
    "#);
}

#[test]
fn a_secret_that_is_too_short_to_sign_with_is_warned_of() {
    let folder = Folder::new();
    let (config, mut report) = folder.load(&format!("{CLIENT}, client_auth: client_secret_jwt, client_secret: short"));

    assert!(folder.compile(&config, &Slots::default(), &mut report).is_some());

    let said: Vec<_> = report.diagnostics().into_iter().map(|said| said.message.as_str()).collect();
    assert_eq!(said, ["`client_secret` is shorter than HS256 wants: 32 bytes (RFC 7518 §3.2)"]);
    assert!(!report.has_errors());
}
