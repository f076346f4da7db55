//! JSON Schemas of the vocabulary, for the documents that tests generate: `docs/schemas` and
//! `docs/openapi.json`.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// The mark of an optional property for which `null` means something else than absence.
pub const NULLABLE: &str = "x-nullable";

/// Returns a generator that describes types as they are written.
///
/// An optional property is absent rather than null, except where it bears [`NULLABLE`].
/// `definitions` is the JSON pointer below which named types are referred to.
#[must_use]
pub fn generator(definitions: &'static str) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(AbsentNotNull);
    settings.with(|settings| settings.definitions_path = definitions.into()).into_generator()
}

/// Describes a property as one that a request may leave out.
pub fn optional(name: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|required| required != name);
        }
    }
}

/// Removes `null` from the types of properties that may be absent.
#[derive(Clone)]
struct AbsentNotNull;

impl Transform for AbsentNotNull {
    fn transform(&mut self, schema: &mut Schema) {
        let required: Vec<String> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, property) in properties {
                let Value::Object(property) = property else { continue };
                if property.remove(NULLABLE).is_none() && !required.contains(name) {
                    remove_null(property);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

fn remove_null(schema: &mut serde_json::Map<String, Value>) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(either)) = schema.get_mut("anyOf") {
        either.retain(|schema| schema.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = either.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            schema.extend(only);
        }
    }
}
