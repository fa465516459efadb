//! What somebody pasted where the path of a file, or the name of a variable, is wanted is never shown: at every key of the
//! schema that takes one, by itself, from the environment and in a reference.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::super::{Color, ConfigSource, Inputs, Report, Secrets, json_schema, load};

/// What a path can't be, and what is said of it.
const PASTED: [(&str, &str); 8] = [
    ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHunter2Hunter2Hunter2\n-----END EC PRIVATE KEY-----\n", "PEM text"),
    ("-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIHunter2\\n-----END PRIVATE KEY-----", "PEM text"),
    ("MHcCAQEEIHunter2Hunter2Hunter2Hunter2Hunter2Hunter2Hu+/==", "a key or a certificate in base64"),
    ("MIIKHunter2AgEDMIIJHunter2Hunter2Hunter2Hunter2Hunter2", "text of several lines"),
    ("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1DNEhunter2", "a key or a certificate in base64"),
    ("{\"kty\": \"EC\", \"d\": \"Hunter2Hunter2\"}", "JSON text"),
    ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJIdW50ZXIyIn0.Hunter2Hunter2", "a JWT"),
    ("Hunter2", "too long"),
];

/// `text` number `number` of the table, as long or broken as its name says.
fn pasted(number: usize) -> (String, &'static str) {
    let (text, what) = PASTED[number];
    match what {
        "text of several lines" => (text.replace("Hunter2A", "\nHunter2A"), what),
        "too long" => (text.repeat(40), what),
        _ => (text.to_owned(), what),
    }
}

/// All that is ever shown of a report, with and without escapes.
fn shown(report: &Report) -> String {
    let findings = serde_json::to_string(&report.findings()).unwrap();
    format!("{}{}{findings}{report:?}", report.render(Color::Plain), report.render(Color::Colored))
}

fn load_json(config: &Json, secrets: Secrets) -> (String, Vec<String>) {
    let (_, report) = load(&ConfigSource::Text(config.to_string()), &Inputs::new(secrets));
    let messages = report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
    (shown(&report), messages)
}

/// A key of the config, by what leads there.
#[derive(Clone)]
struct Place(Vec<Step>);

#[derive(Clone)]
enum Step {
    /// What must stand beside it is there too.
    Key(String, Vec<(String, Json)>),
    Item,
}

impl Place {
    fn with(&self, value: Json) -> Json {
        self.0.iter().rev().fold(value, |inner, step| match step {
            Step::Key(key, beside) => {
                let mut object: serde_json::Map<String, Json> = beside.iter().cloned().collect();
                object.insert(key.clone(), inner);
                Json::Object(object)
            }
            Step::Item => json!([inner]),
        })
    }

    fn name(&self) -> String {
        let step = |step: &Step| match step {
            Step::Key(key, beside) => {
                let method = beside.iter().find(|(key, _)| key == "type");
                format!(".{}{key}", method.map(|(_, method)| format!("{method} ")).unwrap_or_default())
            }
            Step::Item => "[]".to_owned(),
        };
        self.0.iter().map(step).collect()
    }

    fn then(&self, step: Step) -> Self {
        Self([&self.0[..], &[step]].concat())
    }
}

/// Every place of the schema that takes one of these references.
fn places(references: &[&str]) -> Vec<Place> {
    let schema = json_schema();
    let mut found = Vec::new();
    walk(&schema, &schema, &Place(Vec::new()), references, &mut found);
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|place| seen.insert(place.name())).collect()
}

fn walk(schema: &Json, root: &Json, place: &Place, references: &[&str], found: &mut Vec<Place>) {
    if let Some(name) = schema["$ref"].as_str() {
        if references.iter().any(|reference| name.ends_with(&format!("/{reference}"))) {
            found.push(place.clone());
        } else if !name.ends_with("Reference") && !name.ends_with("OverriddenMethod") {
            walk(root.pointer(name.trim_start_matches('#')).unwrap(), root, place, references, found);
        }
        return;
    }
    for choice in ["anyOf", "oneOf"].iter().flat_map(|key| schema[*key].as_array()).flatten() {
        walk(choice, root, place, references, found);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], root, &place.then(Step::Item), references, found);
    }
    let named = schema["additionalProperties"].is_object().then(|| ("a".to_owned(), &schema["additionalProperties"]));
    let properties = schema["properties"].as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value));
    for (key, property) in properties.chain(named) {
        let beside = beside(schema, root);
        walk(property, root, &place.then(Step::Key(key, beside)), references, found);
    }
}

/// The keys that a mapping must have, as far as one value fits them.
fn beside(schema: &Json, root: &Json) -> Vec<(String, Json)> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    required.map(|key| (key.to_owned(), least(&schema["properties"][key], root))).collect()
}

fn least(schema: &Json, root: &Json) -> Json {
    if let Some(name) = schema["$ref"].as_str() {
        return least(root.pointer(name.trim_start_matches('#')).unwrap(), root);
    }
    if let Some(choice) = schema["enum"].as_array().or(schema["anyOf"].as_array()).and_then(|choices| choices.first()) {
        return if choice.is_object() { least(choice, root) } else { choice.clone() };
    }
    match schema["type"].as_str() {
        Some("object") => Json::Object(beside(schema, root).into_iter().collect()),
        Some("array") => json!([]),
        _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("://")) => json!("http://localhost:1"),
        _ => json!("words"),
    }
}

#[test]
fn what_is_pasted_where_a_path_is_wanted_is_told_and_never_shown() {
    let paths = places(&["EnvReference"]);
    let names: Vec<_> = paths.iter().map(Place::name).collect();
    assert!(paths.len() >= 12, "{names:#?}");

    for place in &paths {
        for number in 0..PASTED.len() {
            let (text, what) = pasted(number);
            let from_elsewhere = json!({ "env": "SIDEKEY_TEST_UNSET_PATH", "default": text.clone() });
            for value in [json!(text.clone()), from_elsewhere, json!({ "file": text.clone() })] {
                let (shown, messages) = load_json(&place.with(value.clone()), Secrets::Read);

                let told =
                    messages.iter().any(|message| message.contains(what) || message.contains("names a file itself"));
                assert!(told, "{}: {what}, {value}: {messages:#?}", place.name());
                assert!(!shown.contains("unter2"), "{}, {value}: {shown}", place.name());
            }
            let (shown, _) = load_json(&place.with(json!(text)), Secrets::Skip);
            assert!(!shown.contains("unter2"), "{}: {shown}", place.name());
        }
    }
}

#[test]
fn what_is_pasted_into_a_reference_is_told_and_never_shown() {
    let places = places(&["EnvReference", "Reference", "SecretReference"]);
    let names: Vec<_> = places.iter().map(Place::name).collect();
    assert!(places.len() >= 60, "{names:#?}");

    for place in &places {
        for text in ["Hunter2-Hunter2", "5Hunter2="] {
            let (shown, messages) = load_json(&place.with(json!({ "env": text })), Secrets::Read);

            let told = messages.iter().any(|message| message == "this is not the name of an environment variable");
            assert!(told, "{}: {messages:#?}", place.name());
            assert!(!shown.contains("unter2"), "{}, {text}: {shown}", place.name());
        }
    }
    for place in &places {
        for number in [0, 2] {
            let (text, _) = pasted(number);
            for kind in ["file", "credential", "command"] {
                let value =
                    if kind == "command" { json!({ kind: [text.clone()] }) } else { json!({ kind: text.clone() }) };

                let (shown, messages) = load_json(&place.with(value), Secrets::Read);

                assert!(!messages.is_empty(), "{}", place.name());
                assert!(!shown.contains("unter2"), "{}, {kind}: {shown}", place.name());
            }
        }
    }
}

#[test]
fn what_is_pasted_into_a_text_that_is_no_yaml_is_never_shown() {
    for key in ["key", "chain", "ca", "pkcs12", "x"] {
        for number in [0, 1, 2, 4] {
            let (text, _) = pasted(number);
            let indented = text.replace('\n', "\n        ");
            for config in [
                format!("certificates: {{ c: {{ {key}: '{text}', b: ] }} }}"),
                format!("certificates:\n  c:\n    {key}: |\n        {indented}\n       x: ["),
            ] {
                let (_, report) = load(&ConfigSource::Text(config.clone()), &Inputs::new(Secrets::Skip));

                assert!(report.has_errors(), "{config}");
                assert!(!shown(&report).contains("unter2"), "{config}\n{}", shown(&report));
            }
        }
    }
}

#[test]
fn what_stands_beside_a_method_that_is_missing_or_unknown_is_never_shown() {
    for written in [
        "{ bearer: Hunter2-7 }",
        "{ Hunter2-7 }",
        "{ Hunter2-7, a: b }",
        "{ type: , bearer: Hunter2-7 }",
        "{ type: bearrer, bearer: Hunter2-7 }",
        "{ type: nobody_knows, value: [Hunter2-7], other: { x: Hunter2-7 } }",
        "[{ value: Hunter2-7 }, { type: none }]",
        "{ value: Hunter2-7 }, auth: { type: x, value: Hunter2-7 }",
        "{ value: Hunter2-7 }, identities: { sets: [{ name: a }] }",
        "{ type: x, value: Hunter2-7 }, identities: { sets: [{ name: a }] }",
    ] {
        let config = format!("services: {{ a: {{ url: 'http://localhost', auth: {written} }} }}");
        let (_, report) = load(&ConfigSource::Text(config.clone()), &Inputs::new(Secrets::Read));

        assert!(report.has_errors(), "{config}");
        assert!(!shown(&report).contains("unter2"), "{config}\n{}", shown(&report));
    }
}
