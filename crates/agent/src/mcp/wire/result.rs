//! Conversion of a server's results to the library's types.
//!
//! The library refuses a whole result because of one odd field. Unused fields are left out. The
//! result of a call is passed through unread, for [`crate::mcp::McpOutput`] to read.

use rmcp::model::{CallToolResult, ServerResult};
use serde_json::{Map, Value, json};

use super::open_requests::RequestKind;

/// Key under which the result of a call is passed through.
const WHOLE: &str = "thoughtwire/result";

/// Converts the result of a request to the library's type.
pub(super) fn fitted(asked: &RequestKind, result: Value) -> ServerResult {
    let plain = match asked {
        RequestKind::CallTool if is_no_result(&result) => result,
        RequestKind::CallTool => json!({"content": [], "structuredContent": {WHOLE: result}}),
        RequestKind::ListTools => tools(result),
        RequestKind::Initialize { version } => greeting(&result, version),
        RequestKind::Other => result,
    };
    // Goes through text: a number of more than 64 bits is lost between a `Value` and the library's
    // types.
    serde_json::from_str(&plain.to_string()).unwrap_or_else(|_| ServerResult::empty(()))
}

/// The result of a call, as its server sent it.
pub(in crate::mcp) fn whole(result: CallToolResult) -> Value {
    match result.structured_content {
        Some(Value::Object(mut wrapped)) => wrapped.remove(WHOLE).unwrap_or_default(),
        Some(_) | None => Value::Null,
    }
}

/// Whether a server answers a call with a question or a task instead of a result.
fn is_no_result(result: &Value) -> bool {
    let kind = result.get("resultType").and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "complete") && result.get("content").is_none()
}

/// A page of tools, without those that have no name.
fn tools(mut result: Value) -> Value {
    let mut page = Map::new();
    let listed = match result.get_mut("tools").map(Value::take) {
        Some(Value::Array(tools)) => tools,
        Some(tool @ Value::Object(_)) => vec![tool],
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {
            // Some servers answer with the bare list.
            if let Value::Array(tools) = result {
                return tools_page(tools, page);
            } else {
                Vec::new()
            }
        }
    };
    match result.get("nextCursor") {
        Some(Value::String(cursor)) if !cursor.is_empty() => {
            page.insert("nextCursor".to_owned(), Value::String(cursor.clone()));
        }
        Some(Value::Number(cursor)) => {
            page.insert("nextCursor".to_owned(), Value::String(cursor.to_string()));
        }
        Some(_) | None => {}
    }
    tools_page(listed, page)
}

fn tools_page(listed: Vec<Value>, mut page: Map<String, Value>) -> Value {
    let count = listed.len();
    let tools: Vec<Value> = listed.into_iter().filter_map(tool).collect();
    if tools.len() < count {
        tracing::warn!(
            tools = count - tools.len(),
            "an MCP server lists tools without a name; they are left out"
        );
    }
    page.insert("tools".to_owned(), Value::Array(tools));
    Value::Object(page)
}

/// A tool with only the fields in use. A schema that is not an object is replaced by an empty one.
fn tool(listed: Value) -> Option<Value> {
    let Value::Object(mut listed) = listed else { return None };
    let mut tool = Map::new();
    let name =
        listed.remove("name").filter(|name| name.as_str().is_some_and(|name| !name.is_empty()))?;
    tool.insert("name".to_owned(), name);
    for key in ["title", "description"] {
        if let Some(text) = listed.remove(key).filter(Value::is_string) {
            tool.insert(key.to_owned(), text);
        }
    }
    let schema = listed.remove("inputSchema").or_else(|| listed.remove("input_schema"));
    let schema = match schema {
        // Some servers send the schema as text.
        Some(Value::String(text)) => serde_json::from_str(&text).ok(),
        other => other,
    };
    let schema = schema.filter(Value::is_object).unwrap_or_else(|| json!({"type": "object"}));
    tool.insert("inputSchema".to_owned(), schema);
    let hints = listed.remove("annotations").as_ref().map(hints).unwrap_or_default();
    if !hints.is_empty() {
        tool.insert("annotations".to_owned(), Value::Object(hints));
    }
    Some(Value::Object(tool))
}

/// The hints about repeated calls. Values that are not `true` or `false` are left out.
fn hints(annotations: &Value) -> Map<String, Value> {
    let hint = |key: &str| {
        let value = annotations.get(key).filter(|value| value.is_boolean())?;
        Some((key.to_owned(), value.clone()))
    };
    ["readOnlyHint", "idempotentHint"].into_iter().filter_map(hint).collect()
}

/// The answer to `initialize`. Missing fields get the usual values.
fn greeting(result: &Value, asked: &str) -> Value {
    let text = |at: &Value, key: &str| at.get(key).and_then(Value::as_str).map(str::to_owned);
    let version = text(result, "protocolVersion").unwrap_or_else(|| asked.to_owned());
    let info = result.get("serverInfo").unwrap_or(&Value::Null);
    let mut capabilities = Map::new();
    let tools = match result.get("capabilities") {
        Some(Value::Object(given)) => given.get("tools").cloned(),
        // Without capabilities the server may still have tools, so it is asked.
        Some(_) | None => Some(Value::Bool(true)),
    };
    match tools {
        Some(Value::Object(tools)) => {
            let changes = tools.get("listChanged").and_then(Value::as_bool).unwrap_or(false);
            capabilities.insert("tools".to_owned(), json!({"listChanged": changes}));
        }
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(_) => {
            capabilities.insert("tools".to_owned(), json!({}));
        }
    }
    json!({
        "protocolVersion": version,
        "capabilities": capabilities,
        "serverInfo": {
            "name": text(info, "name").unwrap_or_else(|| "unknown".to_owned()),
            "version": text(info, "version").unwrap_or_else(|| "0".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use rmcp::model::ServerResult;
    use serde_json::{Value, json};

    use super::{RequestKind, fitted, whole};

    #[test]
    fn a_broken_tool_does_not_affect_others() {
        let good = json!({"name": "act", "inputSchema": {"type": "object"}});
        for (listed, names) in [
            (
                json!({"tools": [good, {"description": "nameless"}, 7, null, {"name": 3}]}),
                vec!["act"],
            ),
            (
                json!({"tools": [
                    {"name": "a", "inputSchema": null},
                    {"name": "b", "inputSchema": []},
                    {"name": "c"},
                ]}),
                vec!["a", "b", "c"],
            ),
            (
                json!({"tools": [{
                    "name": "a", "annotations": 5, "icons": "x", "_meta": [],
                    "outputSchema": "no", "title": 1, "description": {},
                }]}),
                vec!["a"],
            ),
            (
                json!({
                    "tools": [{"name": "a", "inputSchema": "{\"type\":\"object\"}"}],
                    "nextCursor": null, "ttlMs": "x", "more": 1,
                }),
                vec!["a"],
            ),
            (json!({"tools": null}), vec![]),
            (json!({}), vec![]),
            (json!([good]), vec!["act"]),
        ] {
            let ServerResult::ListToolsResult(list) =
                fitted(&RequestKind::ListTools, listed.clone())
            else {
                panic!("{listed} is no list of tools")
            };
            let found: Vec<&str> = list.tools.iter().map(|tool| &*tool.name).collect();
            assert_eq!(found, names, "{listed}");
        }
    }

    #[test]
    fn hints_about_repetition_are_kept_where_they_can_be_read() {
        for (annotations, read_only, idempotent) in [
            (json!({"readOnlyHint": true, "title": "x"}), Some(true), None),
            (json!({"idempotentHint": true, "readOnlyHint": false}), Some(false), Some(true)),
            (json!({"idempotentHint": "true", "readOnlyHint": 1}), None, None),
        ] {
            let listed = json!({"tools": [{"name": "a", "annotations": annotations}]});
            let ServerResult::ListToolsResult(list) =
                fitted(&RequestKind::ListTools, listed.clone())
            else {
                panic!("{listed} is no list of tools")
            };
            let hints = list.tools[0].annotations.clone().unwrap_or_default();
            assert_eq!((hints.read_only_hint, hints.idempotent_hint), (read_only, idempotent));
        }
    }

    #[test]
    fn an_initialize_result_may_lack_any_field() {
        let asked = RequestKind::Initialize { version: "2025-06-18".to_owned() };
        for (result, tools) in [
            (
                json!({
                    "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "s", "version": "1"},
                }),
                true,
            ),
            (
                json!({
                    "protocolVersion": "2099-01-01",
                    "capabilities": {"tools": {"listChanged": "yes"}, "x": 1},
                    "serverInfo": {"name": "s"}, "instructions": 3,
                }),
                true,
            ),
            (json!({"capabilities": {"tools": true}, "serverInfo": null}), true),
            (json!({"capabilities": {"prompts": {}}}), false),
            (json!({}), true),
            (Value::Null, true),
        ] {
            let ServerResult::InitializeResult(greeting) = fitted(&asked, result.clone()) else {
                panic!("{result} is no greeting")
            };
            assert_eq!(greeting.capabilities.tools.is_some(), tools, "{result}");
        }
    }

    #[test]
    fn the_result_of_a_call_is_passed_through() {
        for result in [
            json!({"content": [{"type": "future"}], "isError": "true", "n": 1e-7}),
            serde_json::from_str(
                r#"{"n":[100000000000000000000001,0.10,-0,1e-7,1.0,18446744073709551616]}"#,
            )
            .unwrap(),
            json!({"resultType": "complete", "content": []}),
            json!("done"),
            Value::Null,
        ] {
            let ServerResult::CallToolResult(found) =
                fitted(&RequestKind::CallTool, result.clone())
            else {
                panic!("{result} is no result of a call")
            };
            assert_eq!(whole(found), result);
        }
    }
}
