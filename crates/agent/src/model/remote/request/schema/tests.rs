use serde_json::{Value, json};

use super::reduce;
use crate::model::remote::ProviderWire;

fn argument(schema: &Value) -> Value {
    json!({ "type": "object", "properties": { "a": schema } })
}

#[test]
fn reduced_schemas_are_valid_and_references_have_targets() {
    let choice = |target: &str| {
        json!({ "oneOf": [
            { "type": "object", "properties": { "a": { "type": "integer" } } },
            { "type": "object", "properties": { "b": { "$ref": target } } },
        ] })
    };
    let named = |name: &str, target: &str| {
        json!({
            "type": "object",
            "properties": { "a": { "$ref": target } },
            "$defs": { name: { "type": "integer", "$anchor": "count" } },
        })
    };
    let schemas = [
        argument(&json!({ "type": ["string", "string", "any"] })),
        argument(&json!({ "type": "number", "minimum": "0", "maximum": null, "multipleOf": 0 })),
        argument(&json!({ "type": "string", "minLength": -1, "maxLength": "5", "format": null })),
        argument(&json!({ "type": "array", "maxItems": 1.5, "uniqueItems": "yes" })),
        argument(&json!({ "description": null, "title": 5, "$comment": [], "examples": "a" })),
        argument(&json!({ "type": "string", "pattern": "(?<name>[a" })),
        argument(&json!({ "type": "string", "pattern": 5, "readOnly": null })),
        argument(&json!({ "$id": 7, "$schema": null, "$dynamicRef": "#nowhere" })),
        argument(&json!({ "$ref": "#/$defs/None" })),
        argument(&json!({ "$ref": 5 })),
        argument(&json!({ "$ref": "#" })),
        choice("#/oneOf/0/properties/a"),
        named("count", "#/$defs/count"),
        named("a/b c", "#/$defs/a~1b%20c"),
        named("a/b", "#/$defs/a~1b"),
        named("x", "#count"),
        json!({ "type": "object", "$defs": [1], "definitions": null }),
        json!({ "type": "object", "properties": {
            "$ref": { "type": "string" }, "pattern": { "type": "string" }, "type": {},
        } }),
    ];
    for schema in &schemas {
        for wire in [
            ProviderWire::OpenAi,
            ProviderWire::Responses,
            ProviderWire::Anthropic,
            ProviderWire::Ollama,
        ] {
            let reduced = reduce(schema, wire).unwrap().unwrap();
            let valid = jsonschema::draft202012::new(&reduced);
            assert!(valid.is_ok(), "{schema} becomes {reduced}: {:?}", valid.err());
        }
    }
}

#[test]
fn valid_schemas_are_unchanged() {
    let valid = json!({ "type": "string", "pattern": "^[a-z]+$", "minLength": 1, "title": "A" });
    let numbers = json!({ "type": "number", "minimum": 0.5, "multipleOf": 0.01 });
    let schema = json!({
        "type": "object",
        "properties": { "a": valid, "b": numbers, "pattern": { "type": "integer" } },
    });
    for wire in [
        ProviderWire::OpenAi,
        ProviderWire::Responses,
        ProviderWire::Anthropic,
        ProviderWire::Ollama,
    ] {
        assert_eq!(reduce(&schema, wire).unwrap().unwrap(), schema);
    }
}
