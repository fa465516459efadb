//! Nothing that is typed makes the loader panic, and no secret gets out of it.

use proptest::prelude::*;

use super::super::{Color, ConfigSource, Inputs, Report, Secrets, load};

/// All that is ever shown of a report.
fn shown(report: &Report) -> String {
    let findings = serde_json::to_string(&report.findings()).unwrap();
    format!("{}{}{findings}{report:?}", report.render(Color::Plain), report.render(Color::Colored))
}

fn show(text: &str) -> String {
    shown(&load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Skip)).1)
}

/// Configs with a secret in one place and a mistake in another, on the same line where that is possible.
const TEMPLATES: [&str; 27] = [
    "services: { a: { url: 5, auth: { type: bearer, SECRET } } }",
    "services: { a: { url: 5, auth: { type: bearer, SECRET, SECRET } } }",
    "services: { a: { url: 5, auth: { type: bearer, token: SECRET } } }",
    "services: { a: { url: 5, auth: { type: bearer, tokn: SECRET } } }",
    "services: { a: { url: 5, auth: { type: bearer, Token: SECRET, x: 1 } } }",
    "services: { a: { url: 5, auth: { type: basic, username: 'a:b', password: SECRET } } }",
    "services: { a: { url: 5, auth: SECRET } }",
    "services: { a: { url: 5, auth: [SECRET] } }",
    "services: { a: { url: 5, auth: { type: bearer, token: { SECRET } } } }",
    "services: { a: { url: 5, auth: { type: bearer, token: [SECRET] } } }",
    "services: { a: { url: 5, auth: { type: bearer, token: { value: SECRET } } } }",
    "services: { a: { url: 5, auth: { type: bearer, token: { env: X, default: SECRET, y: 1 } } } }",
    "services: { a: { url: 5, auth: { type: api_key, key: SECRET } } }",
    "services: { a: { url: 5, auth: { type: headers, set: { X-Key: SECRET, Host: x } } } }",
    "services: { a: { url: 5, auth: { type: hmac, key: SECRET } } }",
    "services: { a: { url: 5, auth: { type: oauth2_client_credentials, client_secret: SECRET, headers: SECRET } } }",
    "services: { a: { url: 5, auth: { type: oauth2_client_credentials, params: { p: SECRET } } } }",
    "services: { a: { url: 5, headers: { set: { Authorization: SECRET, Host: x } } } }",
    "x-a: &a { auth: { type: bearer, token: SECRET, token: SECRET } }\nservices: { a: { <<: *a } }",
    "x-a: &a SECRET\nservices: { a: { url: *a, auth: { type: bearer, token: *a } } }\nx-a: SECRET",
    "access: { token: SECRET, allow_remote: yes }\nadmin: { token: SECRET, port: 1 }\nservices: {}",
    "certificates: { c: { passphrase: SECRET, chain: a.pem } }\nservices: {}",
    "services: { a: { url: 'https://me:SECRET@a.example' } }",
    "services: { a: { url: 'https://a.example/?key=SECRET' } }",
    "services: { a: { auth: { type: bearer, token: SECRET, b: ] } } }",
    "services:\n  a:\n    auth:\n      type: bearer\n      token: SECRET\n     url: x",
    "services:\n  a:\n    auth:\n      type: bearer\n      token: |\n        SECRET\n       x: [",
];

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
        show(&text);
    }

    #[test]
    fn no_text_that_looks_like_yaml_makes_the_loader_panic(
        tokens in proptest::collection::vec(token(), 0..60),
    ) {
        show(&tokens.concat());
    }

    #[test]
    fn no_damage_makes_the_loader_panic(
        at in 0_usize..4000,
        length in 0_usize..40,
        junk in "[\\[\\]{}:,*&!|>'\"#%@\\-\\n \t\\x00é]{0,4}",
    ) {
        let text = std::fs::read_to_string("tests/fixtures/config/valid/everything.yaml").unwrap();
        let mut letters: Vec<char> = text.chars().collect();
        let at = at.min(letters.len());
        let end = (at + length).min(letters.len());
        letters.splice(at..end, junk.chars());
        show(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn no_secret_is_ever_shown(
        template in 0..TEMPLATES.len(),
        quote in prop::sample::select(vec!["", "'", "\""]),
        secret in "[A-Za-z0-9+/=_.~-]{8,40}",
    ) {
        let text = fill(TEMPLATES[template], quote, &secret);

        let shown = show(&text);

        prop_assert!(!shown.contains(&secret), "{text}\n{shown}");
    }
}

/// Puts a secret into a template; one inside of a URL has its quotes already.
fn fill(template: &str, quote: &str, secret: &str) -> String {
    let quote = if template.contains("'https") { "" } else { quote };
    template.replace("SECRET", &format!("{quote}{secret}{quote}"))
}

#[test]
fn every_template_has_a_mistake_that_is_shown() {
    for template in TEMPLATES {
        let text = fill(template, "", "hunter2");
        assert!(show(&text).contains("error"), "{text}");
    }
}

/// Pieces of YAML, and keys of ours.
fn token() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "services:",
        "a:",
        "url:",
        "auth:",
        "type:",
        "bearer",
        "token:",
        "env:",
        "file:",
        "default:",
        "routes:",
        "certificates:",
        "listen:",
        "admin:",
        "off",
        "&a ",
        "*a",
        "<<:",
        " ",
        "  ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "'",
        "\"",
        "|",
        ">",
        "# ",
        "!x ",
        "!!int ",
        "~",
        "1",
        "1.5",
        "true",
        "https://a.example",
        "%",
        "?",
        "---\n",
        "\t",
        "\u{feff}",
        "é",
        "\u{0}",
    ]);
    pieces.prop_map(str::to_owned)
}
