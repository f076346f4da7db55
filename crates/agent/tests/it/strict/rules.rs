//! Rules of each wire: requests that providers refuse. Each rule is from a provider's documents or
//! error messages.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::server::StrictWire;

type RuleResult = Result<(), String>;

/// Checks a request. `signed` are the signatures that this model has sent so far.
pub(super) fn check(wire: StrictWire, model: &str, body: &Value, signed: &[String]) -> RuleResult {
    for signature in signatures(body) {
        if !signed.contains(&signature) {
            return Err(format!("{signature} is not this model's"));
        }
    }
    match wire {
        StrictWire::OpenAi => openai(body, signed),
        StrictWire::Responses => responses(body),
        StrictWire::Anthropic => anthropic(body),
        StrictWire::Gemini => gemini(model, body),
        StrictWire::Ollama => ollama(body),
    }
}

fn ensure(holds: bool, why: impl Into<String>) -> RuleResult {
    if holds { Ok(()) } else { Err(why.into()) }
}

/// All signatures in a request.
fn signatures(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.starts_with("signed-") => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(signatures).collect(),
        Value::Object(object) => {
            let reasoning = object.get("reasoning_content").and_then(Value::as_str);
            let reasoning = reasoning.filter(|text| !text.is_empty()).map(str::to_owned);
            object.values().flat_map(signatures).chain(reasoning).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value[key].as_array().map(|items| items.iter().collect()).unwrap_or_default()
}

fn readable(value: &Value, place: &str) -> RuleResult {
    let text = value.as_str().ok_or(format!("{place}: no text but {value}"))?;
    ensure(
        text.chars().any(|char| !char.is_whitespace() && !char.is_control()),
        format!("{place}: blank"),
    )
}

fn named(name: &Value, names: &mut HashSet<String>) -> RuleResult {
    let name = name.as_str().unwrap_or_default();
    let fits = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    let begins = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    ensure(name.len() <= 64 && begins && name.chars().all(fits), format!("the name {name:?}"))?;
    ensure(names.insert(name.to_owned()), format!("the tool {name} twice"))
}

/// Checks a new call id: it is unique and in a form that the provider accepts.
fn new_id(
    id: &Value,
    longest: usize,
    open: &mut Vec<String>,
    all: &mut HashSet<String>,
) -> RuleResult {
    let id = id.as_str().unwrap_or_default().to_owned();
    let fits = id.bytes().all(|byte| byte.is_ascii_graphic());
    ensure((1..=longest).contains(&id.len()) && fits, format!("the id {id:?}"))?;
    ensure(all.insert(id.clone()), format!("the id {id} twice"))?;
    open.push(id);
    Ok(())
}

fn close_id(id: &Value, open: &mut Vec<String>) -> RuleResult {
    let at = open.iter().position(|known| id == known).ok_or(format!("no open call {id}"))?;
    open.remove(at);
    Ok(())
}

/// Checks a root that OpenAI and Anthropic accept.
fn root(schema: &Value) -> RuleResult {
    ensure(schema["type"] == "object", format!("the root is no object: {schema}"))?;
    let barred = ["anyOf", "oneOf", "allOf", "enum", "not", "$ref"];
    let found = barred.iter().find(|key| schema.get(key).is_some());
    ensure(found.is_none(), format!("{found:?} at the root of {schema}"))?;
    draft(schema, 0)
}

/// Checks JSON Schema of the newest draft, as far as tools violate it.
fn draft(schema: &Value, depth: usize) -> RuleResult {
    ensure(depth < 40, "a schema too deep")?;
    let Some(object) = schema.as_object() else {
        return ensure(schema.is_boolean(), format!("no schema: {schema}"));
    };
    let known = ["object", "array", "string", "number", "integer", "boolean", "null"];
    let types = match object.get("type") {
        Some(Value::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
        None => vec![],
    };
    let are_known = types.iter().all(|name| known.iter().any(|known| name == known));
    ensure(are_known, format!("types {types:?}"))?;
    ensure(
        !types.contains(&"array".into()) || object.contains_key("items"),
        "a list without items",
    )?;
    ensure(!schema["exclusiveMinimum"].is_boolean(), "exclusiveMinimum is no number")?;
    ensure(schema.get("required").is_none_or(Value::is_array), "required is no list")?;
    ensure(!schema["items"].is_array(), "items is a list")?;
    for key in ["properties", "$defs"] {
        let parts = object.get(key).and_then(Value::as_object);
        ensure(object.get(key).is_none() || parts.is_some(), format!("{key} is no object"))?;
        parts.into_iter().flat_map(Map::values).try_for_each(|part| draft(part, depth + 1))?;
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        list(schema, key).into_iter().try_for_each(|part| draft(part, depth + 1))?;
    }
    object.get("items").map_or(Ok(()), |items| draft(items, depth + 1))
}

fn openai(body: &Value, signed: &[String]) -> RuleResult {
    let mut names = HashSet::new();
    ensure(body.get("tools").is_none_or(|tools| tools != &Value::Array(vec![])), "no tools")?;
    for tool in list(body, "tools") {
        named(&tool["function"]["name"], &mut names)?;
        root(&tool["function"]["parameters"])?;
    }
    let (mut open, mut all, mut before) = (Vec::new(), HashSet::new(), "");
    for (at, message) in list(body, "messages").into_iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        ensure(open.is_empty() || role == "tool", format!("{role} before results of {open:?}"))?;
        ensure(role == "tool" || role != before, format!("two messages of {role} in a row"))?;
        match role {
            "system" => {
                ensure(at == 0, "a system message that is not the first")?;
                readable(&message["content"], role)?;
            }
            "user" => readable(&message["content"], role)?,
            "assistant" => {
                ensure(matches!(before, "user" | "tool"), "the user does not begin")?;
                let calls = list(message, "tool_calls");
                ensure(!calls.is_empty() || message["content"].is_string(), "an empty message")?;
                if !message["content"].is_null() {
                    readable(&message["content"], role)?;
                }
                let reasons = message["reasoning_content"].is_string();
                ensure(calls.is_empty() || signed.is_empty() || reasons, "no reasoning_content")?;
                for call in calls {
                    new_id(&call["id"], 40, &mut open, &mut all)?;
                    let args = call["function"]["arguments"].as_str().unwrap_or_default();
                    let args: Result<Map<String, Value>, _> = serde_json::from_str(args);
                    ensure(args.is_ok(), format!("arguments: {args:?}"))?;
                    named(&call["function"]["name"], &mut HashSet::new())?;
                }
            }
            "tool" => {
                close_id(&message["tool_call_id"], &mut open)?;
                readable(&message["content"], role)?;
            }
            role => return Err(format!("the role {role}")),
        }
        before = role;
    }
    ensure(matches!(before, "user" | "tool"), format!("the last message is of {before}"))
}

fn responses(body: &Value) -> RuleResult {
    readable(&body["instructions"], "instructions")?;
    ensure(body["store"] == false, "it is stored")?;
    let mut names = HashSet::new();
    for tool in list(body, "tools") {
        named(&tool["name"], &mut names)?;
        root(&tool["parameters"])?;
    }
    let (mut open, mut all) = (Vec::new(), HashSet::new());
    let mut last = "";
    for item in list(body, "input") {
        let kind = item["type"].as_str().or(item["role"].as_str()).unwrap_or_default();
        match kind {
            "user" => {
                ensure(open.is_empty(), format!("words before results of {open:?}"))?;
                readable(&item["content"], kind)?;
            }
            "message" => {
                ensure(item["role"] == "assistant" && open.is_empty(), "a misplaced message")?;
                readable(&item["content"][0]["text"], kind)?;
            }
            "reasoning" => ensure(item["encrypted_content"].is_string(), "reasoning in the open")?,
            "function_call" => {
                new_id(&item["call_id"], 64, &mut open, &mut all)?;
                named(&item["name"], &mut HashSet::new())?;
            }
            "function_call_output" => {
                close_id(&item["call_id"], &mut open)?;
                readable(&item["output"], kind)?;
            }
            kind => return Err(format!("an item {kind}")),
        }
        ensure(
            last != "reasoning" || !matches!(kind, "user" | "function_call_output"),
            "reasoning without what it led to",
        )?;
        last = kind;
    }
    ensure(open.is_empty(), format!("calls without results: {open:?}"))?;
    ensure(matches!(last, "user" | "function_call_output"), format!("the last item is {last}"))
}

fn anthropic(body: &Value) -> RuleResult {
    let most = body["max_tokens"].as_u64().ok_or("no max_tokens")?;
    let budget = body["thinking"]["budget_tokens"].as_u64();
    let thinks = body["thinking"]["type"] == "enabled";
    ensure(!thinks || budget.is_some_and(|budget| (1_024..most).contains(&budget)), "the budget")?;
    let marks = body.to_string().matches("\"cache_control\":{").count();
    ensure((1..=4).contains(&marks), format!("{marks} cache marks"))?;
    for block in list(body, "system") {
        readable(&block["text"], "system")?;
    }
    let mut names = HashSet::new();
    for tool in list(body, "tools") {
        named(&tool["name"], &mut names)?;
        root(&tool["input_schema"])?;
    }
    let messages = list(body, "messages");
    let is_input =
        |message: &&Value| list(message, "content").iter().any(|block| block["type"] == "text");
    let running =
        messages.iter().rposition(|message| message["role"] == "user" && is_input(message));
    let (mut open, mut all) = (Vec::new(), HashSet::new());
    for (at, message) in messages.iter().enumerate() {
        let role = if at % 2 == 0 { "user" } else { "assistant" };
        ensure(message["role"] == role, format!("messages.{at} is not of the {role}"))?;
        let blocks = list(message, "content");
        ensure(!blocks.is_empty(), format!("messages.{at} is empty"))?;
        let has_calls = blocks.iter().any(|block| block["type"] == "tool_use");
        let begins = blocks[0]["type"].as_str().unwrap_or_default();
        let must_think = thinks && has_calls && running.is_none_or(|running| at > running);
        ensure(
            !must_think || matches!(begins, "thinking" | "redacted_thinking"),
            format!("messages.{at}: expected thinking, but found {begins}"),
        )?;
        let expected = std::mem::take(&mut open);
        let mut open_before = expected;
        for block in blocks {
            match block["type"].as_str().unwrap_or_default() {
                "text" => {
                    ensure(open_before.is_empty(), format!("text before {open_before:?}"))?;
                    readable(&block["text"], "text")?;
                }
                "thinking" => {
                    readable(&block["signature"], "signature")?;
                    ensure(block.get("cache_control").is_none(), "a mark on thinking")?;
                }
                "tool_use" if role == "assistant" => {
                    new_id(&block["id"], 64, &mut open, &mut all)?;
                    ensure(block["input"].is_object(), "input is no object")?;
                    named(&block["name"], &mut HashSet::new())?;
                }
                "tool_result" if role == "user" => {
                    close_id(&block["tool_use_id"], &mut open_before)?;
                    readable(&block["content"], "tool_result")?;
                }
                kind => return Err(format!("messages.{at}: a block {kind}")),
            }
        }
        ensure(open_before.is_empty(), format!("no results of {open_before:?}"))?;
    }
    ensure(messages.len() % 2 == 1, "the last message is not of the user")
}

fn gemini(model: &str, body: &Value) -> RuleResult {
    for part in list(&body["systemInstruction"], "parts") {
        readable(&part["text"], "systemInstruction")?;
    }
    let mut names = HashSet::new();
    for tool in
        list(body, "tools").into_iter().flat_map(|tools| list(tools, "functionDeclarations"))
    {
        named(&tool["name"], &mut names)?;
        if let Some(schema) = tool.get("parameters") {
            ensure(schema["type"] == "object", "parameters are no object")?;
            google(schema, 0)?;
        }
    }
    let contents = list(body, "contents");
    let is_input =
        |content: &&Value| list(content, "parts").iter().any(|part| part.get("text").is_some());
    let running =
        contents.iter().rposition(|content| content["role"] == "user" && is_input(content));
    let mut open: Vec<Value> = Vec::new();
    for (at, content) in contents.iter().enumerate() {
        let role = if at % 2 == 0 { "user" } else { "model" };
        ensure(content["role"] == role, format!("contents.{at} is not of the {role}"))?;
        let parts = list(content, "parts");
        ensure(!parts.is_empty(), format!("contents.{at} is empty"))?;
        let results: Vec<Value> = parts
            .iter()
            .filter_map(|part| part.get("functionResponse"))
            .map(|result| result["name"].clone())
            .collect();
        ensure(results == open, format!("calls {open:?}, but results {results:?}"))?;
        let calls: Vec<&&Value> =
            parts.iter().filter(|part| part.get("functionCall").is_some()).collect();
        let is_checked = model.contains("gemini-3") && running.is_none_or(|running| at > running);
        let is_signed = calls.first().is_none_or(|call| call["thoughtSignature"].is_string());
        ensure(!is_checked || is_signed, format!("contents.{at}: a call without its signature"))?;
        open = calls.iter().map(|call| call["functionCall"]["name"].clone()).collect();
        for part in parts {
            match part.get("text") {
                Some(text) => readable(text, "text")?,
                None => {
                    let is_call = part["functionCall"]["args"].is_object();
                    let is_result = part["functionResponse"]["response"].is_object();
                    ensure(is_call || is_result, format!("a part {part}"))?;
                }
            }
        }
    }
    ensure(contents.len() % 2 == 1, "the last content is not of the user")
}

/// Checks Gemini's subset of OpenAPI schemas.
fn google(schema: &Value, depth: usize) -> RuleResult {
    const KEYS: [&str; 12] = [
        "type",
        "format",
        "description",
        "nullable",
        "enum",
        "items",
        "properties",
        "required",
        "anyOf",
        "minimum",
        "maximum",
        "minItems",
    ];
    ensure(depth < 32, "a schema too deep")?;
    let object = schema.as_object().ok_or(format!("no schema: {schema}"))?;
    if let Some(choices) = object.get("anyOf") {
        ensure(object.len() == 1, format!("keys beside anyOf: {schema}"))?;
        ensure(choices.as_array().is_some_and(|choices| !choices.is_empty()), "no choices")?;
        return list(schema, "anyOf").into_iter().try_for_each(|part| google(part, depth + 1));
    }
    let unknown = object.keys().find(|key| !KEYS.contains(&key.as_str()) && *key != "maxItems");
    ensure(unknown.is_none(), format!("unknown name {unknown:?}"))?;
    ensure(schema["type"].is_string(), format!("no type: {schema}"))?;
    let texts = list(schema, "enum");
    ensure(texts.is_empty() || schema["type"] == "string", "an enum of no texts")?;
    ensure(texts.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "an enum")?;
    ensure(schema["type"] != "array" || object.contains_key("items"), "a list without items")?;
    if let Some(properties) = object.get("properties") {
        let properties = properties.as_object().ok_or("properties")?;
        ensure(!properties.is_empty(), "properties: should be non-empty")?;
        let is_known = |name: &&Value| properties.contains_key(name.as_str().unwrap_or_default());
        ensure(list(schema, "required").iter().all(is_known), "required is not defined")?;
        properties.values().try_for_each(|part| google(part, depth + 1))?;
    }
    object.get("items").map_or(Ok(()), |items| google(items, depth + 1))
}

fn ollama(body: &Value) -> RuleResult {
    ensure(body["options"]["num_ctx"].as_u64().is_some(), "no num_ctx")?;
    for tool in list(body, "tools") {
        let schema = &tool["function"]["parameters"];
        root(schema)?;
        for part in schema["properties"].as_object().into_iter().flat_map(Map::values) {
            ensure(part.is_object(), format!("a property {part}"))?;
        }
    }
    let mut open: Vec<Value> = Vec::new();
    for (at, message) in list(body, "messages").into_iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        ensure(open.is_empty() || role == "tool", format!("{role} before results of {open:?}"))?;
        ensure(role != "system" || at == 0, "a system message that is not the first")?;
        let calls = list(message, "tool_calls");
        if role != "assistant" || calls.is_empty() {
            readable(&message["content"], role)?;
        }
        if role == "tool" {
            ensure(open.first() == Some(&message["tool_name"]), format!("a stray {message}"))?;
            open.remove(0);
        }
        ensure(calls.iter().all(|call| call["function"]["arguments"].is_object()), "arguments")?;
        open.extend(calls.iter().map(|call| call["function"]["name"].clone()));
    }
    ensure(open.is_empty(), format!("calls without results: {open:?}"))
}
