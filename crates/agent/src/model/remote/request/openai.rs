//! Chat completions, of OpenAI and all who are compatible.

use serde_json::{Map, Value, json};

use super::Source;
use super::history::{Call, Message, Reply};
use super::tools::Tool;
use crate::model::Kept;
use crate::model::remote::kept::REASONING_CONTENT;

pub(super) fn body(source: &Source<'_>) -> Value {
    let mut body = json!({ "model": source.model, "stream": true });
    if let Some(effort) = source.effort {
        body["reasoning_effort"] = effort.word().into();
    }
    if !source.tools.is_empty() {
        body["tools"] = source.tools.iter().map(tool).collect();
    }
    body["messages"] = messages(source).into();
    body["stream_options"] = json!({ "include_usage": true });
    if let Some(most) = source.prompt.max_output_tokens {
        let key =
            if counts_reasoning(source.model) { "max_completion_tokens" } else { "max_tokens" };
        body[key] = most.into();
    }
    body
}

fn tool(tool: &Tool<'_>) -> Value {
    let mut function = json!({ "name": tool.name });
    if !tool.description.is_empty() {
        function["description"] = tool.description.into();
    }
    if let Some(schema) = &tool.schema {
        function["parameters"] = schema.clone();
    }
    json!({ "type": "function", "function": function })
}

/// OpenAI's models from the first that reason on refuse `max_tokens`.
fn counts_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let number = |rest: &str| {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits).and_then(|digits| digits.parse::<u32>().ok())
    };
    name.strip_prefix("gpt-").and_then(number).is_some_and(|version| version >= 5)
        || name.strip_prefix('o').and_then(number).is_some()
}

fn messages(source: &Source<'_>) -> Vec<Value> {
    let mut messages = Vec::new();
    if !source.history.system.is_empty() {
        messages.push(json!({ "role": "system", "content": source.history.system.join("\n\n") }));
    }
    let replies = || source.history.messages.iter().filter_map(Message::reply);
    let wants_reasoning = source.has_reasoned
        || replies().filter_map(|reply| reply.kept).any(Kept::has_reasoning_content);
    for message in &source.history.messages {
        match message {
            Message::User(texts) => {
                messages.push(json!({ "role": "user", "content": texts.join("\n\n") }));
            }
            Message::Reply(reply) => {
                messages.push(assistant(reply, wants_reasoning));
                messages.extend(reply.calls.iter().map(|call| {
                    json!({ "role": "tool", "tool_call_id": call.id, "content": call.result })
                }));
            }
        }
    }
    messages
}

fn assistant(reply: &Reply<'_>, wants_reasoning: bool) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    let content = if reply.text.is_empty() { Value::Null } else { reply.text.as_str().into() };
    message.insert("content".to_owned(), content);
    if reply.calls.is_empty() {
        return message.into();
    }
    if wants_reasoning {
        message.insert(REASONING_CONTENT.to_owned(), "".into());
    }
    if let Some(kept) = reply.kept {
        if let Some(reasoning) = &kept.reasoning {
            message.insert(reasoning.key.clone(), reasoning.text.as_str().into());
        }
        let details: Vec<Value> =
            kept.thoughts.iter().map(|thought| thought.block.clone()).collect();
        if !details.is_empty() {
            message.insert("reasoning_details".to_owned(), details.into());
        }
    }
    message.insert("tool_calls".to_owned(), reply.calls.iter().map(call).collect());
    message.into()
}

fn call(call: &Call<'_>) -> Value {
    let arguments = Value::Object(call.args.clone()).to_string();
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}
