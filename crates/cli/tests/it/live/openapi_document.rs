//! `docs/openapi.json` as tests read it, and against the routes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use thoughtwire_server::{ROUTES, RequiredScope};

pub(super) fn document() -> Value {
    serde_json::from_str(include_str!("../../../../../docs/openapi.json")).unwrap()
}

/// Lists the operations with their paths and methods.
pub(super) fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Follows a `$ref`, if there is one.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value.get("$ref") else { return value };
    document
        .pointer(&reference.as_str().unwrap()[1..])
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

pub(super) fn parameters<'a>(
    document: &'a Value,
    operation: &'a Value,
) -> impl Iterator<Item = &'a Value> {
    operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| resolved(document, parameter))
}

pub(super) fn walk(value: &Value, see: &mut impl FnMut(&Value)) {
    see(value);
    match value {
        Value::Object(object) => object.values().for_each(|inner| walk(inner, see)),
        Value::Array(array) => array.iter().for_each(|inner| walk(inner, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes schemas refuse keys that they do not name.
pub(super) fn close(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object) {
                // The alternatives of an object with keys of its own describe the same object.
                for alternative in
                    object.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    alternative.as_object_mut().unwrap().remove("unevaluatedProperties");
                }
                object.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(array) => array.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn closed() -> Value {
    let mut document = document();
    close(&mut document);
    // An event of kind `usage` has its keys and one more.
    document["components"]["schemas"]["Usage"]
        .as_object_mut()
        .unwrap()
        .remove("unevaluatedProperties");
    document
}

pub(super) fn check(document: &Value, schema: &Value, value: &Value, what: &str) {
    let schema = json!({"allOf": [schema], "components": document["components"]});
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {value} is not as the document says: {errors:#?}");
}

#[test]
fn every_route_is_in_the_document_with_what_it_needs() {
    let document = document();
    let documented: BTreeSet<_> =
        operations(&document).map(|(path, method, _)| (path, method)).collect();
    assert_eq!(documented, ROUTES.iter().map(|(method, path, _)| (*path, *method)).collect());
    let mut names = BTreeSet::new();
    for (method, path, need) in ROUTES {
        let operation = &document["paths"][path][method];
        let needed = match need {
            RequiredScope::Open => json!([]),
            RequiredScope::Known => json!([{"key": []}]),
            RequiredScope::Chat => json!([{"key": ["chat"]}]),
            RequiredScope::Agents => json!([{"key": ["agents"]}]),
            RequiredScope::AgentsOrDefault => json!([{"key": ["agents"]}, {"key": ["chat"]}]),
            RequiredScope::AgentsAndChat => json!([{"key": ["agents", "chat"]}]),
            RequiredScope::Admin => json!([{"key": ["admin"]}]),
        };
        assert_eq!(operation["security"], needed, "{method} {path}");
        assert!(
            names.insert(operation["operationId"].as_str()),
            "{method} {path} has another one's name"
        );
        assert!(operation["responses"]["default"].is_object(), "{method} {path} can be refused");
        let places: BTreeSet<_> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let said = parameters(&document, operation).filter(|parameter| parameter["in"] == "path");
        assert_eq!(
            said.map(|parameter| parameter["name"].as_str().unwrap()).collect::<BTreeSet<_>>(),
            places,
            "{method} {path}"
        );
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn its_references_lead_somewhere_and_its_examples_are_what_they_show() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            resolved(&document, value);
            used.insert(reference.to_owned());
        }
    });
    for kind in ["parameters", "responses", "schemas"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(
                used.contains(&format!("#/components/{kind}/{name}")),
                "nothing refers to {name}"
            );
        }
    }
    let closed = closed();
    for (path, method, operation) in operations(&closed) {
        let content = &operation["requestBody"]["content"]["application/json"];
        if let Some(example) = content.get("example") {
            check(&closed, &content["schema"], example, &format!("the example of {method} {path}"));
        }
    }
}
