//! Reduction to Gemini's subset of OpenAPI schemas.

use serde_json::{Map, Value, json};

use super::MAX_DEPTH;
use super::lookup::SchemaLookup;
use super::plain::TYPES;
use super::root::required;

/// Formats that the API accepts, by type.
const FORMATS: [(&str, &[&str]); 3] = [
    ("string", &["enum", "date-time"]),
    ("number", &["float", "double"]),
    ("integer", &["int32", "int64"]),
];
/// Keys that are passed on unchanged if they are numbers.
const BOUNDS: [&str; 4] = ["minimum", "maximum", "minItems", "maxItems"];

/// Reduces a root. Absent if it has no properties, which the API refuses.
pub(super) fn reduce(root: Map<String, Value>, lookup: &mut SchemaLookup<'_>) -> Option<Value> {
    let has_properties =
        root.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
    has_properties.then(|| GeminiReducer { lookup }.object(root, 0))
}

struct GeminiReducer<'l, 'a> {
    lookup: &'l mut SchemaLookup<'a>,
}

impl GeminiReducer<'_, '_> {
    fn schema(&mut self, value: &Value, depth: usize) -> Value {
        if depth > MAX_DEPTH || !self.lookup.visit() {
            return json!({ "type": "string" });
        }
        // A reference costs more depth than its target, so that recursion ends soon.
        let depth = depth + if value.get("$ref").is_some() { MAX_DEPTH / 4 } else { 0 };
        match self.lookup.follow(value) {
            Some(Value::Object(schema)) if depth <= MAX_DEPTH => self.object(schema, depth),
            Some(Value::Object(schema)) => cut(&schema),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
            | Some(Value::Array(_))
            | None => json!({ "type": "string" }),
        }
    }

    fn object(&mut self, mut schema: Map<String, Value>, depth: usize) -> Value {
        self.merge_all(&mut schema);
        let (mut names, mut is_nullable) = types(&schema);
        is_nullable |= schema.get("nullable") == Some(&Value::Bool(true));
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.shift_remove(key) {
                match self.choice(&branches, depth, &mut is_nullable) {
                    SchemaChoice::None => {}
                    // A single choice replaces the choice.
                    SchemaChoice::One(only) => {
                        for (key, value) in only {
                            schema.entry(key).or_insert(value);
                        }
                        names = types(&schema).0;
                    }
                    SchemaChoice::Many(choices) => return described(&schema, choices, is_nullable),
                }
            }
        }
        if names.len() > 1 {
            let choices = names.iter().map(|name| {
                let mut one = schema.clone();
                one.insert("type".to_owned(), json!(name));
                self.typed(&one, name, depth)
            });
            let choices = choices.collect();
            return described(&schema, choices, is_nullable);
        }
        let name = names.pop().unwrap_or_else(|| guess(&schema));
        let mut reduced = self.typed(&schema, name, depth);
        if is_nullable {
            reduced.insert("nullable".to_owned(), true.into());
        }
        reduced.into()
    }

    /// Merges the schemas in `allOf` into the schema itself.
    fn merge_all(&mut self, schema: &mut Map<String, Value>) {
        let Some(Value::Array(parts)) = schema.shift_remove("allOf") else { return };
        for part in parts {
            let Some(Value::Object(part)) = self.lookup.follow(&part) else { continue };
            for (key, value) in part {
                match (schema.get_mut(&key), value) {
                    (Some(Value::Object(ours)), Value::Object(theirs)) if key == "properties" => {
                        ours.extend(theirs);
                    }
                    (Some(Value::Array(ours)), Value::Array(theirs)) if key == "required" => {
                        ours.extend(theirs);
                    }
                    (Some(_), _) => {}
                    (None, value) => drop(schema.insert(key, value)),
                }
            }
        }
    }

    fn choice(&mut self, branches: &[Value], depth: usize, is_nullable: &mut bool) -> SchemaChoice {
        let mut choices: Vec<Map<String, Value>> = Vec::new();
        for branch in branches {
            let is_null = branch.get("type") == Some(&json!("null"))
                || branch.get("const") == Some(&Value::Null);
            if is_null {
                *is_nullable = true;
            } else if let Value::Object(choice) = self.schema(branch, depth + 1)
                && !choices.contains(&choice)
            {
                choices.push(choice);
            }
        }
        match choices.len() {
            0 => SchemaChoice::None,
            1 => choices.pop().map_or(SchemaChoice::None, SchemaChoice::One),
            _ => SchemaChoice::Many(choices),
        }
    }

    /// A schema of one type, without nullability.
    fn typed(
        &mut self,
        schema: &Map<String, Value>,
        name: &'static str,
        depth: usize,
    ) -> Map<String, Value> {
        let mut reduced = Map::from_iter([("type".to_owned(), json!(name))]);
        if let Some(description) = description(schema) {
            reduced.insert("description".to_owned(), description.into());
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && FORMATS.iter().any(|(of, formats)| *of == name && formats.contains(&format))
        {
            reduced.insert("format".to_owned(), format.into());
        }
        for bound in BOUNDS {
            if let Some(number @ Value::Number(_)) = schema.get(bound) {
                reduced.insert(bound.to_owned(), number.clone());
            }
        }
        match name {
            "object" => self.properties(schema, &mut reduced, depth),
            "array" => {
                let items = match schema.get("items").or_else(|| schema.get("prefixItems")) {
                    Some(Value::Array(tuple)) => {
                        tuple.first().cloned().unwrap_or_else(|| json!({}))
                    }
                    Some(items) => items.clone(),
                    None => json!({}),
                };
                let items = self.schema(&items, depth + 1);
                reduced.insert("items".to_owned(), items);
            }
            "string" => {
                let texts: Vec<&Value> = values(schema)
                    .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
                    .collect();
                if !texts.is_empty() {
                    reduced.insert("enum".to_owned(), json!(texts));
                }
            }
            _ => {}
        }
        reduced
    }

    fn properties(
        &mut self,
        schema: &Map<String, Value>,
        reduced: &mut Map<String, Value>,
        depth: usize,
    ) {
        let Some(Value::Object(properties)) = schema.get("properties") else { return };
        if properties.is_empty() {
            return;
        }
        let parts =
            properties.iter().map(|(name, part)| (name.clone(), self.schema(part, depth + 1)));
        let parts: Map<String, Value> = parts.collect();
        reduced.insert("properties".to_owned(), parts.into());
        let names = required(schema, |name| properties.contains_key(name));
        if !names.is_empty() {
            reduced.insert("required".to_owned(), names.into());
        }
    }
}

enum SchemaChoice {
    None,
    One(Map<String, Value>),
    Many(Vec<Map<String, Value>>),
}

/// Builds a choice: the API accepts no keys beside `anyOf`, so each choice gets the description.
fn described(
    schema: &Map<String, Value>,
    mut choices: Vec<Map<String, Value>>,
    is_nullable: bool,
) -> Value {
    for choice in &mut choices {
        if let Some(description) = schema.get("description") {
            choice.entry("description").or_insert_with(|| description.clone());
        }
        if is_nullable {
            choice.insert("nullable".to_owned(), true.into());
        }
    }
    json!({ "anyOf": choices })
}

/// The types that a schema names, without null, and whether null is among them.
fn types(schema: &Map<String, Value>) -> (Vec<&'static str>, bool) {
    let named: Vec<String> = match schema.get("type") {
        Some(Value::String(name)) => vec![name.to_ascii_lowercase()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(|name| Some(name.as_str()?.to_ascii_lowercase())).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => vec![],
    };
    let mut known = Vec::new();
    for name in named {
        known.extend(TYPES.into_iter().find(|known| **known == name));
    }
    let is_nullable = known.contains(&"null") || values(schema).any(Value::is_null);
    known.retain(|name| *name != "null");
    known.dedup();
    (known, is_nullable)
}

/// The most likely type of a schema without one.
fn guess(schema: &Map<String, Value>) -> &'static str {
    let of_values = || match values(schema).find(|value| !value.is_null())? {
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_f64() => Some("number"),
        Value::Number(_) => Some("integer"),
        Value::Array(_) => Some("array"),
        Value::Object(_) => Some("object"),
        Value::Null | Value::String(_) => Some("string"),
    };
    if schema.contains_key("properties") || schema.contains_key("additionalProperties") {
        "object"
    } else if schema.contains_key("items") || schema.contains_key("prefixItems") {
        "array"
    } else {
        of_values().unwrap_or("string")
    }
}

/// The values that a schema allows, if it lists them.
fn values(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    listed.chain(schema.get("const"))
}

/// A schema's description, with allowed values other than strings, for which the API has no key.
fn description(schema: &Map<String, Value>) -> Option<String> {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let others: Vec<String> = values(schema)
        .filter(|value| !value.is_string() && !value.is_null())
        .map(Value::to_string)
        .collect();
    let allowed =
        if others.is_empty() { String::new() } else { format!("One of: {}.", others.join(", ")) };
    let whole = format!("{text} {allowed}");
    Some(whole.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The remainder of a schema that is too deep.
fn cut(schema: &Map<String, Value>) -> Value {
    let name = types(schema).0.pop().unwrap_or_else(|| guess(schema));
    match name {
        "array" => json!({ "type": "array", "items": { "type": "string" } }),
        name => json!({ "type": name }),
    }
}
