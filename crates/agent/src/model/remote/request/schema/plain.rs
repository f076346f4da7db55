//! Cleaning of JSON Schema for OpenAI, Anthropic and Ollama: the result is valid in the newest
//! draft.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::MAX_DEPTH;
use super::lookup::SchemaLookup;
use super::root::required;

/// All valid types. Others, such as `any` or `file`, are refused.
pub(super) const TYPES: [&str; 7] =
    ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Treatment of references.
enum ReferencePolicy {
    /// References to these definitions and to the root stay. Any other target may change or
    /// disappear in the result, so it is inlined.
    Stay(HashSet<String>),
    Inline,
}

/// Keys of definitions, in newer and older drafts.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keys whose value is a string.
const TEXTS: [&str; 6] = ["title", "description", "format", "pattern", "$comment", "$anchor"];
/// Keys whose value is a number.
const NUMBERS: [&str; 5] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
/// Keys whose value is a count.
const COUNTS: [&str; 8] = [
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
];
/// Keys whose value is a boolean.
const FLAGS: [&str; 4] = ["uniqueItems", "deprecated", "readOnly", "writeOnly"];
/// Keys that change the targets of references.
const ADDRESSES: [&str; 6] =
    ["$schema", "$id", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];

/// Repairs invalid parts of a schema and leaves the rest unchanged.
pub(super) fn clean(root: Map<String, Value>, lookup: &mut SchemaLookup<'_>) -> Value {
    let definitions =
        DEFINITIONS.iter().filter_map(|key| Some((key, root.get(*key)?.as_object()?)));
    let definitions = definitions.flat_map(|(key, all)| {
        all.keys()
            .map(move |name| format!("#/{key}/{}", name.replace('~', "~0").replace('/', "~1")))
    });
    let references = ReferencePolicy::Stay(definitions.collect());
    SchemaCleaner { lookup, references }.object(root, 0)
}

/// Does the same, and inlines all references.
pub(super) fn inline(mut root: Map<String, Value>, lookup: &mut SchemaLookup<'_>) -> Value {
    for key in DEFINITIONS {
        root.shift_remove(key);
    }
    SchemaCleaner { lookup, references: ReferencePolicy::Inline }.object(root, 0)
}

struct SchemaCleaner<'l, 'a> {
    lookup: &'l mut SchemaLookup<'a>,
    references: ReferencePolicy,
}

impl SchemaCleaner<'_, '_> {
    /// Cleans any value; a value that is not a schema becomes one that accepts everything.
    fn schema(&mut self, value: Value, depth: usize) -> Value {
        if depth > MAX_DEPTH || !self.lookup.visit() {
            return json!({});
        }
        match value {
            Value::Object(schema) if schema.contains_key("$ref") => self.reference(schema, depth),
            Value::Object(schema) => self.object(schema, depth),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                json!({})
            }
        }
    }

    fn stays(&self, reference: &str) -> bool {
        match &self.references {
            ReferencePolicy::Stay(definitions) => {
                reference == "#" || definitions.contains(reference)
            }
            ReferencePolicy::Inline => false,
        }
    }

    fn reference(&mut self, schema: Map<String, Value>, depth: usize) -> Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        if target.is_some_and(|target| self.stays(target)) {
            return self.object(schema, depth);
        }
        match self.lookup.follow(&Value::Object(schema)) {
            // A reference costs more depth than its target, so that recursion ends soon.
            Some(Value::Object(found)) => self.object(found, depth + MAX_DEPTH / 6),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
            | Some(Value::Array(_))
            | None => json!({}),
        }
    }

    fn object(&mut self, mut schema: Map<String, Value>, depth: usize) -> Value {
        clean_type(&mut schema);
        clean_bounds(&mut schema);
        clean_plain_keys(&mut schema);
        for key in ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"] {
            match schema.get_mut(key).map(Value::take) {
                None => {}
                Some(Value::Object(parts)) => {
                    let parts =
                        parts.into_iter().map(|(name, part)| (name, self.schema(part, depth + 1)));
                    schema.insert(key.to_owned(), parts.collect::<Map<_, _>>().into());
                }
                Some(_) => drop(schema.shift_remove(key)),
            }
        }
        for key in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            match schema.get_mut(key).map(Value::take) {
                None => {}
                Some(Value::Array(parts)) if !parts.is_empty() => {
                    let parts: Vec<Value> =
                        parts.into_iter().map(|part| self.schema(part, depth + 1)).collect();
                    schema.insert(key.to_owned(), parts.into());
                }
                Some(_) => drop(schema.shift_remove(key)),
            }
        }
        self.items(&mut schema, depth);
        for key in
            ["additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"]
        {
            match schema.get_mut(key).map(Value::take) {
                None => {}
                Some(flag @ Value::Bool(_)) => drop(schema.insert(key.to_owned(), flag)),
                Some(part @ Value::Object(_)) => {
                    let part = self.schema(part, depth + 1);
                    schema.insert(key.to_owned(), part);
                }
                Some(_) => drop(schema.shift_remove(key)),
            }
        }
        let names = required(&schema, |_| true);
        if names.is_empty() {
            schema.shift_remove("required");
        } else {
            schema.insert("required".to_owned(), names.into());
        }
        if schema.get("enum").is_some_and(|all| all.as_array().is_none_or(Vec::is_empty)) {
            schema.shift_remove("enum");
        }
        schema.into()
    }

    /// Cleans `items`: a list has one schema for its items, but older drafts allow several.
    fn items(&mut self, schema: &mut Map<String, Value>, depth: usize) {
        let is_list = schema.get("type").is_some_and(|name| {
            name == "array" || name.as_array().is_some_and(|names| names.contains(&json!("array")))
        });
        let items = match schema.get_mut("items").map(Value::take) {
            None if is_list => json!({}),
            None => return,
            Some(Value::Array(tuple)) => {
                let tuple: Vec<Value> =
                    tuple.into_iter().map(|part| self.schema(part, depth + 1)).collect();
                json!({ "anyOf": tuple })
            }
            Some(items) => self.schema(items, depth + 1),
        };
        let is_empty = items.get("anyOf").and_then(Value::as_array).is_some_and(Vec::is_empty);
        schema.insert("items".to_owned(), if is_empty { json!({}) } else { items });
    }
}

/// Keeps only valid types.
fn clean_type(schema: &mut Map<String, Value>) {
    let known = |name: &Value| -> Option<Value> {
        let name = name.as_str()?.to_ascii_lowercase();
        TYPES.contains(&name.as_str()).then(|| name.into())
    };
    let cleaned = match schema.get("type") {
        None => return,
        Some(Value::Array(names)) => {
            let mut listed: Vec<Value> = Vec::new();
            for name in names.iter().filter_map(known) {
                if !listed.contains(&name) {
                    listed.push(name);
                }
            }
            let names = listed;
            (!names.is_empty()).then(|| names.into())
        }
        Some(name) => known(name),
    };
    match cleaned {
        Some(cleaned) => drop(schema.insert("type".to_owned(), cleaned)),
        None => drop(schema.shift_remove("type")),
    }
}

/// Converts exclusive bounds: draft 4 writes them as a flag beside the bound.
fn clean_bounds(schema: &mut Map<String, Value>) {
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match schema.get(flag) {
            Some(Value::Bool(true)) => match schema.shift_remove(bound) {
                Some(number) => drop(schema.insert(flag.to_owned(), number)),
                None => drop(schema.shift_remove(flag)),
            },
            Some(Value::Number(_)) | None => {}
            Some(Value::Null | Value::Bool(false) | Value::String(_))
            | Some(Value::Array(_) | Value::Object(_)) => drop(schema.shift_remove(flag)),
        }
    }
}

/// Removes keys whose value has a wrong type, and keys that change the targets of references.
fn clean_plain_keys(schema: &mut Map<String, Value>) {
    schema.retain(|key, value| {
        let key = key.as_str();
        if ADDRESSES.contains(&key) {
            false
        } else if key == "pattern" {
            value.as_str().is_some_and(is_pattern)
        } else if TEXTS.contains(&key) {
            value.is_string()
        } else if NUMBERS.contains(&key) {
            value.is_number() && (key != "multipleOf" || value.as_f64() > Some(0.0))
        } else if COUNTS.contains(&key) {
            value.is_u64()
        } else if FLAGS.contains(&key) {
            value.is_boolean()
        } else {
            key != "examples" || value.is_array()
        }
    });
}

/// Whether a text is a valid regular expression.
fn is_pattern(text: &str) -> bool {
    jsonschema::validator_for(&json!({ "pattern": text })).is_ok()
}
