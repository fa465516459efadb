//! The servers, the configs that are right, and what a person might write instead.

use crate::lab::servers::Kind;

/// Those that `./test` installs.
pub const SERVERS: [Kind; 3] = [
    Kind { name: "oidc-provider", script: "tests/idp/server.js", token: "/token", issuer: Some(""), user: BOB },
    Kind {
        name: "django-oauth-toolkit",
        script: "tests/servers/django_oauth_toolkit.py",
        token: "/o/token/",
        issuer: Some("/o"),
        user: BOB,
    },
    Kind {
        name: "Authlib",
        script: "tests/servers/authlib_server.py",
        token: "/oauth/token",
        issuer: Some(""),
        user: BOB,
    },
];

/// Those that `./test field` installs beside them.
pub const IN_THE_FIELD: [Kind; 6] = [
    Kind {
        name: "canaille",
        script: "tests/servers/canaille_server.py",
        token: "/oauth/token",
        issuer: Some(""),
        user: BOB,
    },
    Kind {
        name: "@node-oauth/oauth2-server",
        script: "tests/servers/node_oauth.js",
        token: "/oauth/token",
        issuer: None,
        user: BOB,
    },
    Kind { name: "@jmondi/oauth2-server", script: "tests/servers/jmondi.js", token: "/token", issuer: None, user: BOB },
    Kind {
        name: "better-auth",
        script: "tests/servers/better.js",
        token: "/api/auth/oauth2/token",
        issuer: Some("/api/auth"),
        user: BOB,
    },
    Kind {
        name: "glewlwyd",
        script: "tests/servers/glewlwyd.py",
        token: "/api/oidc/token",
        issuer: Some("/api/oidc"),
        user: BOB,
    },
    Kind {
        name: "LemonLDAP::NG",
        script: "tests/servers/lemonldap.py",
        token: "/oauth2/token",
        issuer: Some("/"),
        user: ("dwho", "dwho"),
    },
];

/// What somebody might write instead of what is right.
pub struct Wrong {
    /// As the page calls it.
    pub what: &'static str,
    /// The right one that it is wrong of: it is tried where that works.
    pub of: &'static str,
    pub auth: &'static str,
    /// Words that name the true cause; one of them has to be told.
    pub named_by: &'static [&'static str],
}

const fn wrong(what: &'static str, of: &'static str, auth: &'static str, named_by: &'static [&'static str]) -> Wrong {
    Wrong { what, of, auth, named_by }
}

/// A config that is right, and the column of the page that it stands in.
pub const GOOD: [(&str, &str); 9] = [
    ("issuer", "type: oauth2_client_credentials, issuer: '$ISSUER', $BASIC, scope: read"),
    ("basic", "type: oauth2_client_credentials, $URL, $BASIC, scope: read"),
    (
        "basic, odd secret",
        "type: oauth2_client_credentials, $URL, client_id: by-odd, client_secret: '$ODD', scope: read",
    ),
    ("post", "type: oauth2_client_credentials, $URL, $POST, scope: read"),
    ("JWT", "type: oauth2_client_credentials, $URL, $KEY, scope: read"),
    (
        "certificate",
        "type: oauth2_client_credentials, $URL, client_id: by-certificate, certificate: partner, scope: read",
    ),
    ("DPoP", "type: oauth2_client_credentials, $URL, $BASIC, dpop: true, scope: read"),
    ("password", "type: oauth2_password, $URL, $BOB, username: $USER, password: '$PASSWORD', scope: read"),
    ("refresh token", "type: oauth2_refresh_token, $URL, $BOB, refresh_token: '$REFRESH'"),
];

/// What a server may not have, as a column of [`GOOD`], and words that name that.
pub const LACKING: [(&str, &str, &[&str]); 6] = [
    (
        "basic, odd secret",
        "Basic with such characters in the secret, where they are not decoded",
        &["`client_auth: post`"],
    ),
    ("post", "`client_auth: post`, where the server does not have it", &["`client_auth: basic`"]),
    (
        "JWT",
        "`client_key`, where the server does not have it",
        &["`client_key` is registered there", "authenticate as it says there"],
    ),
    (
        "certificate",
        "`client_auth: tls_client_auth`, where the server does not have it",
        &["that the certificate is registered for this client", "authenticate as it says there"],
    ),
    ("DPoP", "`dpop: true`, where the server does not have it", &["remove `dpop: true`"]),
    ("password", "`oauth2_password`, where the server does not have it", &["the grant of `auth.type`"]),
];

/// What is wrong, of what, how it is written, and what has to be told.
pub const WRONG: [Wrong; 19] = [
    wrong(
        "A wrong secret, by Basic",
        "basic",
        "$CREDENTIALS, $URL, client_id: by-basic, client_secret: of-another-client, scope: read",
        &["`client_secret`"],
    ),
    wrong(
        "A wrong secret, by `client_auth: post`",
        "post",
        "$CREDENTIALS, $URL, client_id: by-post, client_secret: of-another-client, client_auth: post, scope: read",
        &["`client_secret`"],
    ),
    wrong(
        "A client that is not registered",
        "basic",
        "$CREDENTIALS, $URL, client_id: nobody, client_secret: $SECRET, scope: read",
        &["`client_id`"],
    ),
    wrong(
        "A client that shows no secret",
        "basic",
        "$CREDENTIALS, $URL, client_id: by-basic, scope: read",
        &["add `client_secret`"],
    ),
    wrong(
        "Basic, where the client is registered for `post`",
        "basic",
        "$CREDENTIALS, $URL, client_id: by-post, client_secret: '$ODD', scope: read",
        &["`client_auth: post`"],
    ),
    wrong(
        "`post`, where the client is registered for Basic",
        "basic",
        "$CREDENTIALS, $URL, $BASIC, client_auth: post, scope: read",
        &["`client_auth: basic`"],
    ),
    wrong(
        "A scope that there is not",
        "basic",
        "$CREDENTIALS, $URL, $BASIC, scope: no-such-scope",
        &["`scope`", "`no-such-scope`"],
    ),
    wrong(
        "A grant that the client may not use",
        "basic",
        "type: oauth2_password, $URL, $BASIC, username: $USER, password: '$PASSWORD'",
        &["the grant of `auth.type`"],
    ),
    wrong(
        "A user's wrong password",
        "password",
        "type: oauth2_password, $URL, $BOB, username: $USER, password: not-the-password, scope: read",
        &["`username` and `password`"],
    ),
    wrong(
        "A refresh token that is used up",
        "refresh token",
        "type: oauth2_refresh_token, $URL, $BOB, refresh_token: used-up-long-ago",
        &["the refresh token"],
    ),
    wrong(
        "A JWT signed by a key that is not registered",
        "JWT",
        "$CREDENTIALS, $URL, client_id: by-key, client_key: keys/stranger.pem, client_key_id: client, scope: read",
        &["`client_key`"],
    ),
    wrong(
        "A JWT for another audience",
        "JWT",
        "$CREDENTIALS, $URL, $KEY, client_assertion_audience: 'https://elsewhere.example', scope: read",
        &["`client_assertion_audience`"],
    ),
    wrong(
        "Another certificate than the registered one",
        "certificate",
        "$CREDENTIALS, $URL, client_id: by-certificate, certificate: other, scope: read",
        &["the certificate is registered"],
    ),
    wrong(
        "A path where no token endpoint is",
        "basic",
        "$CREDENTIALS, token_url: '$TOKENx', $BASIC, scope: read",
        &["`token_url`"],
    ),
    wrong(
        "The start page instead of the token endpoint",
        "basic",
        "$CREDENTIALS, token_url: '$BASE/', $BASIC, scope: read",
        &["`token_url`"],
    ),
    wrong(
        "A slash too many, or too few",
        "basic",
        "$CREDENTIALS, token_url: '$SLASH', $BASIC, scope: read",
        &["`token_url`"],
    ),
    wrong(
        "`http://` where TLS is spoken",
        "basic",
        "$CREDENTIALS, token_url: '$PLAIN', $BASIC, scope: read",
        &["https://"],
    ),
    wrong(
        "An issuer that there is not",
        "issuer",
        "$CREDENTIALS, issuer: '$BASE/elsewhere', $BASIC, scope: read",
        &["`issuer`", "`token_url"],
    ),
    wrong(
        "An issuer with a slash too many, or too few",
        "issuer",
        "$CREDENTIALS, issuer: '$OTHER_ISSUER', $BASIC, scope: read",
        &["`issuer`", "`token_url"],
    ),
];

const BOB: (&str, &str) = ("bob", "builder");
