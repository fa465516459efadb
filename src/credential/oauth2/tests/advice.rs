//! What to do about a refusal, for each thing that a config may have.

use http::HeaderMap;

use super::super::advice::Given;
use super::answers::read_with;
use crate::config::auth::Auth;
use crate::credential::tests::load;

/// What is told of this answer to an entry with these keys.
#[track_caller]
fn check(keys: &str, status: u16, body: &str, help: &str) {
    let auth = format!("token_url: 'https://idp.example/token', {keys}");
    let (config, _) = load(format!("services: {{ api: {{ url: 'https://api.example', auth: {{ {auth} }} }} }}"));
    let Auth::OAuth2(method) = &config.services["api"].value.auth[0].value else { panic!("another method") };
    let given = Given::of(method, false);

    let refused = read_with(status, &HeaderMap::new(), Some(body.as_bytes()), |asked| asked.given = &given);

    assert_eq!(refused.expect_err("no token").help, help, "{keys}: {body}");
}

/// An answer of 400 with this description.
fn said(words: &str) -> String {
    format!(r#"{{"error":"invalid_request","error_description":"{words}"}}"#)
}

const BASIC: &str = "type: oauth2_client_credentials, client_id: app, client_secret: plain-secret";
const POST: &str = "type: oauth2_client_credentials, client_id: app, client_secret: plain-secret, client_auth: post";
const NAME: &str = "type: oauth2_client_credentials, client_id: app";
const PASSWORD: &str =
    "type: oauth2_password, client_id: app, client_secret: plain-secret, username: bob, password: builder";
const REFRESH: &str = "type: oauth2_refresh_token, client_id: app, client_secret: plain-secret, refresh_token: of-old";

#[test]
fn a_refused_client_is_told_what_it_showed() {
    let refused = r#"{"error":"invalid_client"}"#;
    let checked = "check `client_id` and `client_secret`";

    check(BASIC, 401, refused, &format!("{checked}, and whether the endpoint wants `client_auth: post`"));
    check(POST, 401, refused, &format!("{checked}, and whether the endpoint wants `client_auth: basic`"));
    let odd = "type: oauth2_client_credentials, client_id: app, client_secret: 'a plain%secret'";
    let encoded = "; `client_auth: post` sends them as they are, while Basic has to percent-encode some of their characters, \
                   which not every endpoint decodes";
    check(odd, 401, refused, &format!("{checked}{encoded}"));
    let nothing = "check `client_id`; the client shows nothing but its name, add `client_secret` or another proof";
    check(NAME, 401, refused, nothing);
}

#[test]
fn a_method_that_the_endpoint_names_is_what_to_use() {
    let refused = |words: &str| format!(r#"{{"error":"invalid_client","error_description":"{words}"}}"#);
    let other = |wanted: &str, ours: &str| {
        format!("authenticate as it says there: {wanted}; or have this client registered for {ours}")
    };
    let basic = other("`client_auth: basic`", "client_secret_post");
    let post = other("`client_auth: post`", "client_secret_basic");
    let plain = "check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: post`";

    check(POST, 401, &refused("The client cannot authenticate with methods: ['client_secret_basic']"), &basic);
    check(BASIC, 400, &refused("client registered for client_secret_post cannot use client_secret_basic"), &post);
    check(BASIC, 401, &refused("use private_key_jwt"), &other("`client_auth: private_key_jwt`", "client_secret_basic"));
    // Lists in which ours stands: it is not the method that is wrong.
    check(BASIC, 401, &refused("supported: client_secret_basic, client_secret_post"), plain);
    check(BASIC, 401, &refused("supported: client_secret_basic"), plain);
    // Who shows nothing needs a proof first.
    let nothing = "check `client_id`; the client shows nothing but its name, add `client_secret` or another proof";
    check(NAME, 401, &refused("client registered for client_secret_basic cannot use none"), nothing);
}

#[test]
fn what_a_sentence_is_about_is_told_where_the_code_says_nothing() {
    let grant = "let this client use the grant of `auth.type` at the endpoint";
    let user = "check `username` and `password`, and that this user may sign in without a second step";
    let refresh =
        "the refresh token is used up, expired or revoked: have a new one issued, and replace `refresh_token`";
    let scope = "check `scope`, and which scopes this client may have";
    let plaintext = "it speaks TLS there: write https:// where the config has http://";

    check(BASIC, 400, &said("the grant type is not allowed"), grant);
    check(BASIC, 400, &said("No such scope"), "add `scope`: the endpoint wants one to be named");
    check(&format!("{BASIC}, scope: read"), 400, &said("No such scope"), scope);
    check(&format!("{BASIC}, scope: read"), 400, r#"{"error":"unknown_scope"}"#, scope);
    check(
        BASIC,
        400,
        &said("No audience parameter was provided"),
        "add `resource` or `audience`: the endpoint wants one to be named",
    );
    check(&format!("{BASIC}, audience: x"), 400, &said("the audience is unknown"), "check `resource` and `audience`");
    check(PASSWORD, 400, &said("Invalid 'username' or 'password'"), user);
    check(PASSWORD, 400, r#"{"error":"invalid_grant"}"#, user);
    check(REFRESH, 400, &said("Cannot decrypt the refresh token"), refresh);
    check(REFRESH, 400, r#"{"error":"invalid_grant"}"#, refresh);
    check(BASIC, 400, "400 The plain HTTP request was sent to HTTPS port", plaintext);
    // Of what the config has not, nothing is told.
    let fields = "check the fields of `auth` against the endpoint's documentation; it may want `scope` or `audience` or \
                  `resource`, which is not set";
    for words in ["Invalid 'username' or 'password'", "the refresh token is unknown", "no"] {
        check(BASIC, 400, &said(words), fields);
    }
}

#[test]
fn a_refusal_without_a_word_may_be_of_all_that_was_shown() {
    let client = "check `client_id` and `client_secret`, and whether the endpoint wants `client_auth: post`";
    let elsewhere = "; or the token endpoint is elsewhere: check `token_url`";
    let user = "check `username` and `password`, and that this user may sign in without a second step";
    let grant = "let this client use the grant of `auth.type` at the endpoint";

    check(BASIC, 401, "", &format!("{client}{elsewhere}"));
    check(BASIC, 403, "{}", &format!("{client}{elsewhere}"));
    check(PASSWORD, 403, "", &format!("{client}; or {user}; or {grant}{elsewhere}"));
    check(PASSWORD, 401, r#"{"error":"denied"}"#, &format!("{client}; or {user}; or {grant}"));
    check(BASIC, 404, "", "check that `token_url` is a token endpoint");
}
