//! Generates the JSON Schemas of the frames in `docs/schemas/native.json` from the server's types.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p thoughtwire-proto schemas` renews the committed file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Value, json};

use super::wire::{ClientWire, ServerWire};
use crate::schema::generator;
use crate::{Event, RefusalCode};

fn native() -> Value {
    let mut generator = generator("/$defs");
    let (client, server) =
        (generator.subschema_for::<ClientWire<'_>>(), generator.subschema_for::<ServerWire<'_>>());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The frames of thoughtwire.v1",
        "description": "A newer server may send other types, kinds and keys: ignore unknown ones.",
        "anyOf": [client, server],
        "$defs": generator.take_definitions(true),
    })
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Compares a file with its expected content, or renews it.
fn hold(name: &str, wanted: &Value) {
    let text = format!("{wanted:#}\n");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(docs(name), &text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(docs(name)).unwrap_or_default();
    assert!(
        written == text,
        "docs/{name} is out of date: run `UPDATE_SCHEMAS=1 cargo test -p thoughtwire-proto \
         schemas`"
    );
}

#[test]
fn the_schemas_are_those_of_the_server() {
    hold("schemas/native.json", &native());
}

/// Forbids the additional keys and kinds that schemas allow for newer versions.
#[derive(Clone, Default)]
struct Closed {
    /// Definitions of objects that are flattened into others, beside their `type` or `kind`.
    parts: Vec<String>,
}

impl Transform for Closed {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("properties").is_none() {
            return;
        }
        if let Some(Value::String(part)) = schema.get("$ref") {
            self.parts.push(part.replace("#/$defs/", ""));
        }
        if let Some(Value::Array(branches)) = schema.get_mut("oneOf") {
            // They are parts of this object as well.
            branches
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|branch| drop(branch.remove("unevaluatedProperties")));
        }
        schema.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
    }
}

/// A validator for one definition that allows nothing newer.
fn validator(definition: &Value) -> jsonschema::Validator {
    let mut schema = Schema::try_from(native()).expect("a schema");
    let mut closed = Closed::default();
    closed.transform(&mut schema);
    let definitions = schema.get_mut("$defs").expect("definitions");
    for part in closed.parts {
        definitions[part].as_object_mut().expect("an object").remove("unevaluatedProperties");
    }
    let schema = json!({"allOf": [definition], "$defs": definitions});
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn is_newer(event: &Value) -> bool {
    event["kind"].as_str().is_some_and(|kind| !Event::knows(kind))
}

#[test]
fn every_frame_and_event_of_the_vectors_is_as_its_schema_says() {
    let rows = |vectors: &'static str| {
        vectors.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row"))
    };
    let frames = validator(
        &json!({"anyOf": [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}]}),
    );
    for row in rows(include_str!("../../../../../vectors/native.jsonl")) {
        if let Some(frame) = row.get("ok").filter(|frame| !is_newer(&frame["event"])) {
            assert!(frames.is_valid(frame), "{frame}");
        }
    }
    let events = validator(&json!({"$ref": "#/$defs/Event"}));
    for event in
        rows(include_str!("../../../../../vectors/events.jsonl")).filter(|event| !is_newer(event))
    {
        let errors: Vec<_> = events.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{event}: {errors:?}");
    }
}

/// Every value of a string constant below a schema: of the key `key`, or of the schema itself.
fn constants(schema: &Value, key: Option<&str>, found: &mut BTreeSet<String>) {
    let constant = key.map_or(&schema["const"], |key| &schema["properties"][key]["const"]);
    found.extend(constant.as_str().map(str::to_owned));
    if key.is_none() {
        let listed = schema["enum"].as_array().into_iter().flatten();
        found.extend(listed.filter_map(Value::as_str).map(str::to_owned));
    }
    for branch in ["oneOf", "anyOf"].into_iter().flat_map(|of| schema[of].as_array()).flatten() {
        constants(branch, key, found);
    }
}

/// Lists that are written by hand have every variant: the compiler does not check them.
#[test]
fn lists_of_names_are_complete() {
    let described = |schema: &Schema, key| {
        let mut found = BTreeSet::new();
        constants(schema.as_value(), key, &mut found);
        found
    };
    let event = <Event as schemars::JsonSchema>::json_schema(&mut generator("/$defs"));
    let kinds: BTreeSet<String> = Event::known_kinds().map(str::to_owned).collect();
    assert_eq!(described(&event, Some("kind")), kinds, "KINDS of the groups of events");
    let code = <RefusalCode as schemars::JsonSchema>::json_schema(&mut generator("/$defs"));
    let codes: BTreeSet<String> =
        RefusalCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(described(&code, None), codes, "RefusalCode::ALL");
}
