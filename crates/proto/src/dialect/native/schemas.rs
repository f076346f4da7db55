//! Generates JSON Schemas of the protocol from the server's types: those of frames for
//! `docs/schemas/native.json`, those that REST also uses for `docs/openapi.json`.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p thoughtwire-proto schemas` renews the committed files.

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::client::Verdict;
use super::wire::{ClientWire, ServerWire};
use crate::{
    AgentProfile, AgentSpec, Disposition, Event, HistoryEntry, Policy, Record, RefusalCode,
    SessionListing,
};

/// Makes optional keys absent instead of null.
#[derive(Clone)]
struct NeverNull;

impl Transform for NeverNull {
    fn transform(&mut self, schema: &mut Schema) {
        let of_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
        if let Some(Value::Array(kinds)) = schema.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [kind] = kinds.as_slice() {
                let kind = kind.clone();
                schema.insert("type".to_owned(), kind);
            }
        }
        if let Some(Value::Array(either)) = schema.get_mut("anyOf") {
            either.retain(|schema| !of_null(schema));
            if let [Value::Object(only)] = either.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                for (key, value) in only {
                    schema.insert(key, value);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

fn generator(definitions: &'static str) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(NeverNull);
    settings.with(|settings| settings.definitions_path = definitions.into()).into_generator()
}

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

/// The OpenAPI document with our own schemas in it.
fn openapi(mut document: Value) -> Value {
    fn want<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    let mut generator = generator("/components/schemas");
    want::<AgentProfile>(&mut generator);
    want::<AgentSpec>(&mut generator);
    want::<Disposition>(&mut generator);
    want::<HistoryEntry>(&mut generator);
    want::<Policy>(&mut generator);
    want::<Record>(&mut generator);
    want::<RefusalCode>(&mut generator);
    want::<SessionListing>(&mut generator);
    want::<Verdict>(&mut generator);
    for (name, schema) in generator.take_definitions(true) {
        document["components"]["schemas"][name] = schema;
    }
    document
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
    // Everything else in it is written by hand.
    let text = std::fs::read_to_string(docs("openapi.json")).expect("docs/openapi.json is there");
    let document = serde_json::from_str(&text).expect("docs/openapi.json is JSON");
    hold("openapi.json", &openapi(document));
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
