//! The JSON Schema of the file, made from the declarations that the loader reads by.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::read::FromNode;
use super::schema::Config;

/// The JSON Schema (draft 2020-12) of a config file.
#[must_use]
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Described<Config>>();
    // A place for anchors; the loader does not look inside.
    schema.insert("patternProperties".to_owned(), serde_json::json!({ "^x-": true }));
    schema.to_value()
}

/// A key of a section.
#[derive(Clone)]
pub(super) struct Property {
    pub(super) key: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: Schema,
    pub(super) required: bool,
}

/// A section that has these keys and no others.
pub(super) fn object(properties: Vec<Property>) -> Schema {
    let required: Vec<&str> =
        properties.iter().filter(|property| property.required).map(|property| property.key).collect();
    let described: Map<String, Value> = properties.iter().map(describe).collect();
    let mut schema = json_schema!({ "type": "object", "properties": described, "additionalProperties": false });
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn describe(property: &Property) -> (String, Value) {
    let mut schema = property.schema.clone();
    let about = property.about.split_whitespace().collect::<Vec<_>>().join(" ");
    if !about.is_empty() {
        schema.insert("description".to_owned(), about.into());
    }
    (property.key.to_owned(), schema.to_value())
}

/// Lets the schema generator see what the loader reads.
struct Described<T>(PhantomData<T>);

impl<T: FromNode> JsonSchema for Described<T> {
    fn schema_name() -> Cow<'static, str> {
        "Sidekey config".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}
