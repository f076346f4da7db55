//! Bodies of requests for responses.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::endpoint::RequestMessage;
use crate::openai::content::text_of;
use crate::openai::session::NamedSession;
use crate::openai::tools::FunctionTool;
use crate::openai::unsupported::{NO_LOGPROBS, ONLY_TEXT, is_set, not_a_function, refuse_used};
use crate::openai::{OpenAiRefusal, OpenAiResult};

/// A request. Keys that only tune the reply, such as `temperature`, are ignored.
#[derive(Deserialize)]
pub(in crate::openai) struct ResponseRequest {
    pub(super) model: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    pub(super) instructions: Option<String>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) background: Option<bool>,
    #[serde(default)]
    pub(super) store: Option<bool>,
    #[serde(default)]
    pub(super) previous_response_id: Option<String>,
    #[serde(default)]
    conversation: Option<Value>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    tools: Option<Vec<ResponseTool>>,
    #[serde(default)]
    pub(super) tool_choice: Option<Value>,
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(default)]
    text: Option<Map<String, Value>>,
    #[serde(default)]
    top_logprobs: Option<u64>,
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    max_tool_calls: Option<Value>,
    #[serde(default)]
    prompt: Option<Value>,
}

#[derive(Deserialize)]
struct ResponseTool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Parameters of a request for a response that exists.
#[derive(Deserialize)]
pub(in crate::openai) struct ResponseQuery {
    #[serde(default)]
    pub(super) stream: bool,
    /// The last `sequence_number` that the client has.
    pub(super) starting_after: Option<u64>,
}

/// The items of a request's input.
#[derive(Debug, Default)]
pub(super) struct ResponseInput {
    pub(super) messages: Vec<RequestMessage>,
    /// Answers to requests for approval: their ids, and whether the call may run.
    pub(super) approvals: Vec<(String, bool)>,
}

impl ResponseRequest {
    /// Refuses parameters that change the meaning of the reply and that no agent here follows.
    pub(super) fn check(&self) -> OpenAiResult<()> {
        let format = self.text.as_ref().and_then(|text| text.get("format"));
        let kind = format.and_then(|format| format.get("type"));
        let wants_logprobs = self.top_logprobs.is_some_and(|top| top > 0)
            || self.include.iter().flatten().any(|part| part.contains("logprobs"));
        refuse_used(&[
            ("text.format", kind.is_some_and(|kind| kind != "text"), ONLY_TEXT),
            ("top_logprobs", wants_logprobs, NO_LOGPROBS),
            (
                "max_tool_calls",
                is_set(self.max_tool_calls.as_ref()),
                "the agent's own limits count here; leave `max_tool_calls` out",
            ),
            (
                "prompt",
                is_set(self.prompt.as_ref()),
                "an agent has its own prompt; leave `prompt` out",
            ),
            (
                "background",
                self.background == Some(true) && self.store == Some(false),
                "a response in the background has to be stored; leave `store` out",
            ),
        ])
    }

    /// Takes the client's functions.
    pub(super) fn take_functions(&mut self) -> OpenAiResult<Vec<FunctionTool>> {
        let function = |ResponseTool { kind, rest }: ResponseTool| {
            if kind == "function" {
                let read = serde_json::from_value(Value::Object(rest));
                return read.map_err(|bad| OpenAiRefusal::of_param("tools", bad.to_string()));
            }
            Err(not_a_function(&kind))
        };
        self.tools.take().unwrap_or_default().into_iter().map(function).collect()
    }

    /// The session that the request names, apart from an earlier response.
    pub(super) fn session(&self) -> OpenAiResult<NamedSession> {
        let metadata = NamedSession::of_metadata(self.metadata.as_ref())?;
        let id = match &self.conversation {
            None | Some(Value::Null) => return Ok(metadata),
            Some(Value::Object(conversation)) => conversation.get("id").and_then(Value::as_str),
            Some(other) => other.as_str(),
        };
        let id = id.ok_or_else(|| {
            OpenAiRefusal::of_param("conversation", "a conversation is an id, or has one")
        })?;
        let named = NamedSession::of_text(id, "conversation")?;
        if metadata != NamedSession::Nothing && metadata != named {
            let message = "`conversation` and `metadata.session` name two sessions";
            return Err(OpenAiRefusal::of_param("conversation", message));
        }
        Ok(named)
    }

    /// Takes the input.
    pub(super) fn take_input(&mut self) -> OpenAiResult<ResponseInput> {
        let mut input = ResponseInput::default();
        match std::mem::take(&mut self.input) {
            Value::String(text) => input.messages.push(RequestMessage::User(text)),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    input.take(item, &format!("input[{at}]"))?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(OpenAiRefusal::of_param(
                    "input",
                    "`input` is a text or a list of items",
                ));
            }
        }
        Ok(input)
    }
}

impl ResponseInput {
    fn take(&mut self, item: &Value, param: &str) -> OpenAiResult<()> {
        let text = |key: &str| {
            let found = item.get(key).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| {
                OpenAiRefusal::of_param(&format!("{param}.{key}"), format!("`{key}` is missing"))
            })
        };
        let content = |key: &str| {
            let content = item.get(key).unwrap_or(&Value::Null);
            text_of(content, &format!("{param}.{key}"))
        };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
        match kind {
            "message" => {
                let said = content("content")?;
                self.messages.push(match text("role")?.as_str() {
                    "user" => RequestMessage::User(said),
                    "assistant" => RequestMessage::Assistant(said),
                    "system" | "developer" => RequestMessage::Instructions(said),
                    role => {
                        let message = format!("there is no role {role:?}");
                        return Err(OpenAiRefusal::of_param(&format!("{param}.role"), message));
                    }
                });
            }
            "function_call" => {
                let (id, name, arguments) = (text("call_id")?, text("name")?, text("arguments")?);
                self.messages.push(RequestMessage::Call { id, name, arguments });
            }
            "function_call_output" => {
                let (id, text) = (text("call_id")?, content("output")?);
                self.messages.push(RequestMessage::Result { id, text });
            }
            "mcp_approval_response" => {
                let approve = item.get("approve").and_then(Value::as_bool).ok_or_else(|| {
                    OpenAiRefusal::of_param(&format!("{param}.approve"), "`approve` is missing")
                })?;
                self.approvals.push((text("approval_request_id")?, approve));
            }
            // Items of earlier responses that a client sends along: the session has them.
            "reasoning" | "mcp_call" | "mcp_approval_request" | "mcp_list_tools" => {}
            other => {
                let message = format!(
                    "an item of the type {other:?} is not possible here; messages, function calls \
                     with their outputs and answers to requests for approval are"
                );
                return Err(OpenAiRefusal::unsupported(param, message));
            }
        }
        Ok(())
    }
}
