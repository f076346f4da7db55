//! Reduction of a schema's root to one plain object, because providers accept no choices there.

use serde_json::{Map, Value, json};

use super::lookup::SchemaLookup;

/// Largest nesting depth of choices; deeper ones are not merged.
const MAX_DEPTH: usize = 8;
/// Keys that providers refuse or ignore at the root.
const NOT_AT_THE_ROOT: [&str; 20] = [
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
    "const",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "unevaluatedProperties",
    "propertyNames",
    "discriminator",
    "nullable",
    "$ref",
    "$schema",
    "$id",
    "$dynamicRef",
];

/// The root as an object with `type`, `properties` and, if there are any, `required`.
pub(super) fn object(
    schema: &Value,
    lookup: &mut SchemaLookup<'_>,
) -> Result<Map<String, Value>, String> {
    let empty = || Map::from_iter([("type".to_owned(), json!("object"))]);
    let merged = match lookup.follow(schema) {
        Some(Value::Object(root)) => merge(root, lookup, MAX_DEPTH)?,
        // `true`, null and similar: the tool does not describe its arguments.
        Some(
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_),
        ) => empty(),
        None => return Err("the reference at the root of its schema has no target".to_owned()),
    };
    let mut root: Map<String, Value> = Map::from_iter([("type".to_owned(), json!("object"))]);
    let properties = match merged.get("properties") {
        Some(Value::Object(properties)) => properties.clone(),
        Some(_) | None => Map::new(),
    };
    let required = required(&merged, |name| properties.contains_key(name));
    root.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        root.insert("required".to_owned(), required.into());
    }
    for (key, value) in merged {
        if !NOT_AT_THE_ROOT.contains(&key.as_str()) && !root.contains_key(&key) && key != "required"
        {
            root.insert(key, value);
        }
    }
    Ok(root)
}

/// Merges the choices of a schema into it. A property is required if every choice requires it.
fn merge(
    mut schema: Map<String, Value>,
    lookup: &mut SchemaLookup<'_>,
    depth: usize,
) -> Result<Map<String, Value>, String> {
    if !lookup.visit() {
        return Ok(schema);
    }
    check_type(&schema)?;
    for key in ["allOf", "anyOf", "oneOf"] {
        let Some(Value::Array(branches)) = schema.shift_remove(key) else { continue };
        let had_branches = !branches.is_empty();
        let mut objects = Vec::new();
        for branch in branches {
            let Some(Value::Object(branch)) = lookup.follow(&branch) else { continue };
            if depth == 0 {
                continue;
            }
            // A choice that is not an object is skipped; in `allOf` it is an error.
            match merge(branch, lookup, depth - 1) {
                Ok(object) => objects.push(object),
                Err(why) if key == "allOf" => return Err(why),
                Err(_) => {}
            }
        }
        if had_branches && objects.is_empty() && key != "allOf" && depth > 0 {
            return Err("none of the choices in its schema is an object".to_owned());
        }
        let mut common: Option<Vec<Value>> = None;
        for object in &objects {
            let here = required(object, |_| true);
            common = Some(match (key, common) {
                (_, None) => here,
                ("allOf", Some(mut all)) => {
                    all.extend(here);
                    all
                }
                (_, Some(all)) => all.into_iter().filter(|name| here.contains(name)).collect(),
            });
        }
        let mut all = required(&schema, |_| true);
        all.extend(common.into_iter().flatten());
        all.dedup();
        schema.insert("required".to_owned(), all.into());
        for object in objects {
            absorb(&mut schema, object);
        }
    }
    Ok(schema)
}

/// Refuses a schema whose type is not an object.
fn check_type(schema: &Map<String, Value>) -> Result<(), String> {
    let fits = match schema.get("type") {
        Some(Value::String(name)) => name.eq_ignore_ascii_case("object"),
        Some(Value::Array(names)) => names.is_empty() || names.iter().any(|name| name == "object"),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => true,
    };
    match schema.get("type") {
        Some(other) if !fits => Err(format!("its arguments are {other}, not an object")),
        Some(_) | None => Ok(()),
    }
}

/// Adds the properties of a merged choice, and its description if there is none.
fn absorb(schema: &mut Map<String, Value>, mut choice: Map<String, Value>) {
    if let Some(Value::Object(theirs)) = choice.shift_remove("properties") {
        if !schema.get("properties").is_some_and(Value::is_object) {
            schema.insert("properties".to_owned(), Map::new().into());
        }
        if let Some(Value::Object(ours)) = schema.get_mut("properties") {
            for (name, property) in theirs {
                match ours.get_mut(&name) {
                    None => drop(ours.insert(name, property)),
                    Some(known) if *known == property => {}
                    Some(known) => either(known, property),
                }
            }
        }
    }
    for (key, value) in choice {
        if matches!(key.as_str(), "description" | "$defs" | "definitions") {
            schema.entry(key).or_insert(value);
        }
    }
}

/// Combines different descriptions of one property into a choice.
fn either(known: &mut Value, other: Value) {
    let is_choice = known.as_object().is_some_and(|known| known.len() == 1);
    if is_choice && let Some(Value::Array(choices)) = known.get_mut("anyOf") {
        if !choices.contains(&other) {
            choices.push(other);
        }
        return;
    }
    *known = json!({ "anyOf": [known.take(), other] });
}

/// The names in `required`, each once, if they pass the filter.
pub(super) fn required(schema: &Map<String, Value>, passes: impl Fn(&str) -> bool) -> Vec<Value> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let mut required: Vec<Value> = Vec::new();
    for name in names {
        if name.as_str().is_some_and(&passes) && !required.contains(name) {
            required.push(name.clone());
        }
    }
    required
}
