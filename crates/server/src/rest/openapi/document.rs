//! The document, assembled from the routes, their handlers and their prose.
//!
//! `UPDATE_OPENAPI=1 cargo test -p thoughtwire-server openapi` renews it.

use std::path::Path;

use serde_json::{Map, Value, json};
use thoughtwire_proto::rest::ErrorBody;
use thoughtwire_proto::{CommandId, KeyId};

use super::describe::{self, Draft};
use super::prose::{Prose, native};
use super::sparky_prose::sparky;
use crate::rest::sparky::{SparkyError, is_route};
use crate::rest::{RequiredScope, handlers};

fn document() -> Value {
    let mut schemas = describe::generator();
    let prose: Vec<Prose> = native().into_iter().chain(sparky()).collect();
    let mut paths = Map::new();
    let mut described = 0;
    for (method, path, need, describe) in handlers() {
        let route = format!("{method} {path}");
        let prose = prose.iter().find(|prose| prose.route == route);
        let prose = prose.unwrap_or_else(|| panic!("{route} has no prose"));
        described += 1;
        let mut draft = Draft::new(&mut schemas);
        describe(&mut draft);
        let operation = operation(path, need, draft, prose);
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation;
    }
    assert_eq!(described, prose.len(), "there is prose of a route that is gone");
    let id = schemas.subschema_for::<CommandId>().to_value();
    let key = schemas.subschema_for::<KeyId>().to_value();
    let refused = schemas.subschema_for::<ErrorBody>().to_value();
    let sparky_refused = schemas.subschema_for::<SparkyError>().to_value();
    let mut schemas = schemas.take_definitions(true);
    schemas.sort_keys();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Thoughtwire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST interface of a Thoughtwire server: agents, their memory, \
                sessions, events, inputs and keys. PROTOCOL.md has its rules and the WebSocket \
                wires. Without keys (`--auth none`) the server ignores `security`.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "agents", "description": "Agents and their settings."},
            {"name": "memory", "description": "An agent's memory."},
            {"name": "sessions", "description": "Durable conversations with one agent."},
            {"name": "events", "description": "The log of a session."},
            {"name": "inputs", "description": "Inputs of a session, and decisions in it."},
            {"name": "keys", "description": "Keys, tickets and logins."},
            {"name": "server", "description": "The server itself."},
            {"name": "sparky", "description": "The interface of Sparky's web pages."},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "description": "A key, or a token of a configured issuer. The names are the \
                    scopes that it needs. A ticket (`?ticket=`) or the cookie of a login stands \
                    for one.",
            }},
            "parameters": parameters(&id, &key),
            "responses": {
                "Refused": {
                    "description": "A refusal. PROTOCOL.md has the status of each code.",
                    "headers": {"Retry-After": {
                        "description":
                            "Seconds after which the same request may succeed, unchanged.",
                        "schema": {"type": "integer", "minimum": 0},
                    }},
                    "content": {"application/json": {"schema": refused}},
                },
                "SparkyRefused": {
                    "description": "A refusal, in the form that Sparky's pages show.",
                    "content": {"application/json": {"schema": sparky_refused}},
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(path: &str, need: RequiredScope, mut draft: Draft<'_>, prose: &Prose) -> Value {
    let refused = if is_route(path) { "SparkyRefused" } else { "Refused" };
    let mut parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"$ref": format!("#/components/parameters/{name}")}))
        .collect();
    parameters.append(&mut draft.parameters);
    parameters.extend(prose.headers.iter().map(|(name, description)| {
        let schema = json!({"type": "string"});
        json!({"name": name, "in": "header", "description": description, "schema": schema})
    }));
    let mut operation = json!({
        "operationId": prose.id,
        "tags": [prose.tag],
        "summary": prose.summary,
    });
    if let Some(description) = prose.description {
        operation["description"] = json!(description);
    }
    operation["security"] = match need {
        RequiredScope::Open => json!([]),
        RequiredScope::Known => json!([{"key": []}]),
        RequiredScope::Chat => json!([{"key": ["chat"]}]),
        RequiredScope::Agents => json!([{"key": ["agents"]}]),
        RequiredScope::AgentsOrDefault => json!([{"key": ["agents"]}, {"key": ["chat"]}]),
        RequiredScope::AgentsAndChat => json!([{"key": ["agents", "chat"]}]),
        RequiredScope::Admin => json!([{"key": ["admin"]}]),
    };
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(mut request) = draft.request {
        if let Some(example) = &prose.example {
            request["content"]["application/json"]["example"] = example.clone();
        }
        operation["requestBody"] = request;
    } else {
        assert!(prose.example.is_none(), "{} takes no body", prose.route);
    }
    let mut responses = Map::new();
    for (status, description) in &prose.answers {
        let mut answer = json!({"description": description});
        let drafted = draft.answers.remove(&status.to_string());
        if let Some(Value::Object(drafted)) = drafted {
            answer.as_object_mut().expect("an object").extend(drafted);
        } else {
            // Only a handler that always refuses has an answer that its type does not tell.
            let schema = json!({"$ref": "#/components/schemas/SparkyError"});
            answer["content"] = json!({"application/json": {"schema": schema}});
        }
        if let Some((kind, schema)) = &prose.content {
            answer["content"] = json!({*kind: {"schema": schema}});
        }
        responses.insert(status.to_string(), answer);
    }
    assert!(draft.answers.is_empty(), "{} lacks prose: {:?}", prose.route, draft.answers);
    responses
        .insert("default".to_owned(), json!({"$ref": format!("#/components/responses/{refused}")}));
    operation["responses"] = Value::Object(responses);
    operation
}

/// Parameters of paths by their names, and the header of requests that take effect once.
fn parameters(id: &Value, key: &Value) -> Value {
    let text = json!({"type": "string"});
    let in_path = |name: &str, description: &str, schema: &Value| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": description,
            "schema": schema,
        })
    };
    json!({
        "agent": in_path("agent", "The agent's name or id.", &text),
        "label": in_path("label", "The block's label.", &text),
        "session": in_path("session", "The session's id.", id),
        "input": in_path("input", "The input's id.", id),
        "call": in_path("call", "The call's id.", id),
        "key": in_path("key", "The key's id.", key),
        "user": in_path("user", "A Sparky user: a name space of the caller.", &text),
        "chat": in_path("chat", "The chat's name.", &text),
        "Idempotency-Key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A name for this command, unique to the user in its session. With the \
                same content the command is answered as before, and nothing is done again. With \
                other content it is refused with `id_reused`.",
            "schema": id,
        },
    })
}

#[test]
fn the_openapi_document_is_that_of_the_handlers() {
    let text = format!("{:#}\n", document());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/openapi.json is stale: run \
         `UPDATE_OPENAPI=1 cargo test -p thoughtwire-server openapi`"
    );
}
