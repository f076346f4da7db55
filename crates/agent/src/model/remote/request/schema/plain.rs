//! JSON Schema as OpenAI, Anthropic and Ollama take it: valid in its newest draft.

use serde_json::{Map, Value, json};

use super::DEEPEST;
use super::lookup::Lookup;
use super::root::required;

/// The types there are; others, such as `any` or `file`, are refused.
pub(super) const TYPES: [&str; 7] =
    ["object", "array", "string", "number", "integer", "boolean", "null"];

/// What becomes of references.
#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    Stay,
    Inline,
}

/// Puts right what is not valid, and leaves the rest as it is.
pub(super) fn clean(root: Map<String, Value>, lookup: &mut Lookup<'_>) -> Value {
    Cleaning { lookup, references: References::Stay }.object(root, 0)
}

/// The same, with what references name in their place.
pub(super) fn inline(mut root: Map<String, Value>, lookup: &mut Lookup<'_>) -> Value {
    root.shift_remove("$defs");
    root.shift_remove("definitions");
    Cleaning { lookup, references: References::Inline }.object(root, 0)
}

struct Cleaning<'l, 'a> {
    lookup: &'l mut Lookup<'a>,
    references: References,
}

impl Cleaning<'_, '_> {
    /// A schema that may be anything; what is no schema becomes one that takes all.
    fn schema(&mut self, value: Value, depth: usize) -> Value {
        if depth > DEEPEST || !self.lookup.visit() {
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

    fn reference(&mut self, schema: Map<String, Value>, depth: usize) -> Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        let is_known = target.is_some_and(|target| self.lookup.find(target).is_some());
        if is_known && self.references == References::Stay {
            return self.object(schema, depth);
        }
        match self.lookup.follow(&Value::Object(schema)) {
            // A reference costs more depth than what stands in its place: recursion ends soon.
            Some(Value::Object(found)) => self.object(found, depth + DEEPEST / 6),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
            | Some(Value::Array(_))
            | None => json!({}),
        }
    }

    fn object(&mut self, mut schema: Map<String, Value>, depth: usize) -> Value {
        clean_type(&mut schema);
        clean_bounds(&mut schema);
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

    /// A list has one schema for its items; older drafts write several as a list.
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

/// Leaves only types that there are.
fn clean_type(schema: &mut Map<String, Value>) {
    let known = |name: &Value| -> Option<Value> {
        let name = name.as_str()?.to_ascii_lowercase();
        TYPES.contains(&name.as_str()).then(|| name.into())
    };
    let cleaned = match schema.get("type") {
        None => return,
        Some(Value::Array(names)) => {
            let names: Vec<Value> = names.iter().filter_map(known).collect();
            (!names.is_empty()).then(|| names.into())
        }
        Some(name) => known(name),
    };
    match cleaned {
        Some(cleaned) => drop(schema.insert("type".to_owned(), cleaned)),
        None => drop(schema.shift_remove("type")),
    }
}

/// Draft 4 says with `true` that a bound does not belong to what is allowed.
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
