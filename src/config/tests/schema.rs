//! The JSON Schema and the loader say the same.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;

use super::super::node::{Node, ScalarKind, Value};
use super::super::{Report, json_schema, yaml};

const EVERYTHING: &str = "tests/fixtures/config/valid/everything.yaml";
const METHODS: &str = "tests/fixtures/config/valid/methods.yaml";
const FILES: &str = "tests/fixtures/config/valid/files.yaml";

/// A text as JSON, without the keys that are ignored.
fn json(text: &str) -> Json {
    let mut report = Report::default();
    let file = report.add_text("test".to_owned(), "".into(), text.to_owned().into());
    let mut tree = convert(&yaml::parse(file, &mut report).unwrap());
    tree.as_object_mut().unwrap().retain(|key, _| !key.starts_with("x-"));
    tree
}

fn convert(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(scalar) if scalar.kind == ScalarKind::Text => Json::from(scalar.text.as_str()),
        Value::Scalar(scalar) => {
            serde_json::from_str(&scalar.text).unwrap_or_else(|_| Json::from(scalar.text.as_str()))
        }
        Value::Sequence(items) => items.iter().map(convert).collect(),
        Value::Mapping(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.key.text.clone(), convert(&entry.value))).collect())
        }
    }
}

/// Whether a value has the structure that a schema asks for: kinds, keys and choices, but no patterns.
fn fits(schema: &Json, value: &Json, root: &Json) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root.pointer(name.trim_start_matches('#')).unwrap(), value, root);
    }
    let any =
        |key: &str| schema[key].as_array().is_none_or(|schemas| schemas.iter().any(|schema| fits(schema, value, root)));
    let choice = schema["enum"].as_array().is_none_or(|choices| choices.contains(value));
    let constant = schema.get("const").is_none_or(|constant| constant == value);
    any("anyOf")
        && any("oneOf")
        && choice
        && constant
        && is_of_kind(&schema["type"], value)
        && contents_fit(schema, value, root)
}

fn is_of_kind(kinds: &Json, value: &Json) -> bool {
    let is = |kind: &Json| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{other}"),
    };
    match kinds {
        Json::Null => true,
        Json::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

fn contents_fit(schema: &Json, value: &Json, root: &Json) -> bool {
    match value {
        Json::Array(items) => {
            items.iter().all(|item| schema.get("items").is_none_or(|schema| fits(schema, item, root)))
        }
        Json::Object(entries) => {
            let required = schema["required"].as_array().into_iter().flatten();
            required.into_iter().all(|key| entries.contains_key(key.as_str().unwrap()))
                && entries.iter().all(|(key, value)| {
                    match schema["properties"].get(key).or_else(|| schema.get("additionalProperties")) {
                        None => true,
                        Some(Json::Bool(allowed)) => *allowed,
                        Some(schema) => fits(schema, value, root),
                    }
                })
        }
        _ => true,
    }
}

/// The names of all keys in the schema's sections.
fn keys(schema: &Json, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.extend(properties.keys().cloned());
    }
    let inner = match schema {
        Json::Object(entries) => entries.values().collect::<Vec<_>>(),
        Json::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    inner.into_iter().for_each(|schema| keys(schema, found));
}

#[test]
fn the_schema_accepts_what_the_loader_accepts() {
    let schema = json_schema();
    let mut checked = 0;

    for entry in fs::read_dir("tests/fixtures/config/valid").unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert!(fits(&schema, &json(&fs::read_to_string(&path).unwrap()), &schema), "{}", path.display());
            checked += 1;
        }
    }

    assert!(checked > 0, "no fixture");
}

#[test]
fn the_schema_refuses_a_key_that_the_loader_does_not_know() {
    let schema = json_schema();
    let text = fs::read_to_string(EVERYTHING).unwrap();

    for (known, unknown) in [("\nworkers:", "\nworker:"), ("    ready:", "    readi:"), ("client_id:", "client:")] {
        assert!(text.contains(known), "{known}");
        assert!(!fits(&schema, &json(&text.replacen(known, unknown, 1)), &schema), "{unknown}");
    }
}

#[test]
fn every_key_of_the_schema_is_accepted_by_the_loader() {
    let mut known = BTreeSet::new();
    keys(&json_schema(), &mut known);
    let text = [EVERYTHING, METHODS, FILES].map(|path| fs::read_to_string(path).unwrap()).concat();

    // The fixtures load: a key that stands in one is one that the loader knows.
    let missing: Vec<&String> = known
        .iter()
        .filter(|key| !text.contains(&format!("{key}:")))
        .filter(|key| !matches!(key.as_str(), "file" | "credential"))
        .collect();

    assert_eq!(missing, [""; 0], "keys of the schema that no valid fixture uses");
}

#[test]
fn the_schema_says_which_draft_it_is_and_describes_every_key() {
    let schema = json_schema();

    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let service = &schema["properties"]["services"]["additionalProperties"]["properties"];
    assert_eq!(
        service["retry"]["properties"]["attempts"]["description"],
        "How many times a request is sent again, where that is safe."
    );
    assert_eq!(schema["required"], serde_json::json!(["services"]));
}
