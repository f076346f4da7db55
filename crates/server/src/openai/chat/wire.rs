//! Bodies of chat completions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thoughtwire_proto::Usage;

use crate::endpoint::RequestMessage;
use crate::openai::content::text_of;
use crate::openai::tools::FunctionTool;
use crate::openai::unsupported::{NO_LOGPROBS, ONLY_TEXT, is_set, not_a_function, refuse_used};
use crate::openai::{OpenAiRefusal, OpenAiResult};

/// A request. Keys that only tune the reply, such as `temperature`, are ignored.
#[derive(Deserialize)]
pub(in crate::openai) struct ChatRequest {
    pub(super) model: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(super) tools: Option<Vec<ChatTool>>,
    #[serde(default)]
    pub(super) tool_choice: Option<Value>,
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Map<String, Value>>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<u64>,
    #[serde(default)]
    response_format: Option<Map<String, Value>>,
    #[serde(default)]
    modalities: Option<Vec<String>>,
    #[serde(default)]
    audio: Option<Value>,
    #[serde(default)]
    functions: Option<Value>,
    #[serde(default)]
    function_call: Option<Value>,
    #[serde(default)]
    stop: Option<Value>,
    #[serde(default)]
    web_search_options: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct ChatTool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    function: Option<FunctionTool>,
}

#[derive(Deserialize)]
pub(super) struct ChatMessage {
    pub(super) role: ChatRole,
    #[serde(default)]
    pub(super) content: Value,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<ChatToolCall>>,
    #[serde(default)]
    pub(super) tool_call_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChatRole {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// A call of a client's function, in requests and answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ChatToolCall {
    /// Its place in the message. Only streams have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    pub(super) id: String,
    #[serde(rename = "type", default = "function_kind")]
    pub(super) kind: String,
    pub(super) function: CalledFunction,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CalledFunction {
    pub(super) name: String,
    /// The arguments as JSON.
    pub(super) arguments: String,
}

fn function_kind() -> String {
    "function".to_owned()
}

impl ChatRequest {
    /// Refuses parameters that change the meaning of the reply and that no agent here follows.
    pub(super) fn check(&self) -> OpenAiResult<()> {
        let has_stop =
            is_set(self.stop.as_ref()) && self.stop.as_ref() != Some(&Value::Array(Vec::new()));
        let format = self.response_format.as_ref().and_then(|format| format.get("type"));
        let only_text = |kinds: &Vec<String>| kinds.iter().all(|kind| kind == "text");
        refuse_used(&[
            ("n", self.n.is_some_and(|n| n != 1), "an agent gives one reply; leave `n` out"),
            (
                "logprobs",
                self.logprobs == Some(true) || self.top_logprobs.is_some_and(|top| top > 0),
                NO_LOGPROBS,
            ),
            ("response_format", format.is_some_and(|kind| kind != "text"), ONLY_TEXT),
            (
                "modalities",
                self.modalities.as_ref().is_some_and(|kinds| !only_text(kinds))
                    || is_set(self.audio.as_ref()),
                "agents reply in text only",
            ),
            (
                "functions",
                is_set(self.functions.as_ref()) || is_set(self.function_call.as_ref()),
                "`functions` and `function_call` are replaced by `tools` and `tool_choice`",
            ),
            ("stop", has_stop, "agents do not stop at given texts"),
            (
                "web_search_options",
                is_set(self.web_search_options.as_ref()),
                "an agent has its own tools; this server has no web search",
            ),
        ])
    }

    /// Takes the messages.
    pub(super) fn take_messages(&mut self) -> OpenAiResult<Vec<RequestMessage>> {
        let mut taken = Vec::new();
        for (at, message) in std::mem::take(&mut self.messages).into_iter().enumerate() {
            let text = text_of(&message.content, &format!("messages[{at}].content"))?;
            taken.push(match message.role {
                ChatRole::System | ChatRole::Developer => RequestMessage::Instructions(text),
                ChatRole::User => RequestMessage::User(text),
                ChatRole::Assistant => RequestMessage::Assistant(text),
                ChatRole::Tool => {
                    let id = message.tool_call_id.ok_or_else(|| {
                        OpenAiRefusal::of_param(
                            &format!("messages[{at}].tool_call_id"),
                            "a message of the role `tool` needs `tool_call_id`",
                        )
                    })?;
                    RequestMessage::Result { id, text }
                }
            });
            for ChatToolCall { id, function, .. } in message.tool_calls.unwrap_or_default() {
                let CalledFunction { name, arguments } = function;
                taken.push(RequestMessage::Call { id, name, arguments });
            }
        }
        Ok(taken)
    }

    /// Takes the client's functions.
    pub(super) fn take_functions(&mut self) -> OpenAiResult<Vec<FunctionTool>> {
        let function = |tool: ChatTool| match tool {
            ChatTool { kind, function: Some(function) } if kind == "function" => Ok(function),
            ChatTool { kind, .. } => Err(not_a_function(&kind)),
        };
        self.tools.take().unwrap_or_default().into_iter().map(function).collect()
    }
}

/// A whole reply.
#[derive(Serialize)]
pub(super) struct ChatCompletion {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) choices: [ChatChoice; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<ChatUsage>,
    pub(super) metadata: SessionMetadata,
}

#[derive(Serialize)]
pub(super) struct ChatChoice {
    pub(super) index: usize,
    pub(super) message: ChatReply,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: FinishReason,
}

#[derive(Default, Serialize)]
pub(super) struct ChatReply {
    pub(super) role: &'static str,
    pub(super) content: Option<String>,
    pub(super) refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ChatToolCall>,
}

/// The session, in a form that a client can send in its next request.
#[derive(Debug, Clone, Serialize)]
pub(in crate::openai) struct SessionMetadata {
    pub(in crate::openai) session: String,
}

/// A piece of a reply.
#[derive(Serialize)]
pub(super) struct ChatChunk<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<ChatUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<SessionMetadata>,
}

#[derive(Serialize)]
pub(super) struct ChunkChoice {
    pub(super) index: usize,
    pub(super) delta: ChunkDelta,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: Option<FinishReason>,
}

#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct ChunkDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ChatToolCall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl From<Usage> for ChatUsage {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens, cached_tokens } = usage;
        Self {
            prompt_tokens: input_tokens,
            completion_tokens: output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            prompt_tokens_details: cached_tokens
                .map(|cached_tokens| PromptDetails { cached_tokens }),
        }
    }
}
