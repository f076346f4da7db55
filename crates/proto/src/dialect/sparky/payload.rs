//! Payloads of the message types.

use super::fields::SparkyFields;
use crate::dialect::python::Json;
use crate::{Refusal, RefusalCode};

/// Generation of a client, recognised by its `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Commit 932ae57 and later ones before 66cb622. `connect` has the key `session_id`, even if
    /// null. Clients wait for `session_info`.
    Sessions,
    /// From 66cb622 on. There is no `session_id`, and clients do not know `session_info`.
    Chats,
}

/// Payload of a message: one variant per type, with the type's name.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the wire's own, named and described by the protocol"
)]
pub enum Payload {
    /// A client connects.
    Connect {
        generation: Generation,
        session_id: Option<String>,
        personality: Option<String>,
        history: Option<Vec<Json>>,
        user_id: Option<String>,
        token: Option<String>,
        chat_id: Option<String>,
        chat_name: Option<String>,
    },
    /// A message of the user or the agent.
    Message { text: String, file_id: Option<String>, task_id: Option<String> },
    /// New instructions for the agent.
    Personality { text: String },
    /// Create and select a chat.
    StartChat { chat_id: String, chat_name: Option<String> },
    /// Select a chat.
    SwitchChat { chat_id: String },
    /// Answer to `connect`.
    SessionInfo { session_id: String, is_new: bool, reconnected: bool, chat_id: Option<String> },
    /// A tool is being loaded.
    ToolLoadingProgress { tool_name: String, status: String, message: String },
    /// The session is ready.
    Ready { session_id: Option<String>, tools_loaded: i128 },
    /// A chat is ready.
    ChatReady { chat_id: String, is_new: bool, model: Option<String> },
    /// The agent had a thought.
    Thought { text: String, task_id: Option<String> },
    /// The agent calls a tool.
    ToolUse { name: String, args: Json, task_id: Option<String> },
    /// A tool returned.
    ToolResult {
        name: String,
        result: String,
        status: Option<Json>,
        result_content: Option<Json>,
        messages: Option<Json>,
        task_id: Option<String>,
    },
    /// A note about the agent's activity.
    Status { message: String, task_id: Option<String> },
    /// An error.
    Error { message: String, task_id: Option<String> },
    /// Cost of a turn.
    TokenUsage {
        input_tokens: i128,
        output_tokens: i128,
        total_tokens: i128,
        cached_tokens: Option<i128>,
    },
    /// Estimated cost of a turn.
    TokenEstimate { estimated_tokens: i128, source: String },
}

impl Payload {
    /// Name of the type on the protocol.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Message { .. } => "message",
            Self::Personality { .. } => "personality",
            Self::StartChat { .. } => "start_chat",
            Self::SwitchChat { .. } => "switch_chat",
            Self::SessionInfo { .. } => "session_info",
            Self::ToolLoadingProgress { .. } => "tool_loading_progress",
            Self::Ready { .. } => "ready",
            Self::ChatReady { .. } => "chat_ready",
            Self::Thought { .. } => "thought",
            Self::ToolUse { .. } => "tool_use",
            Self::ToolResult { .. } => "tool_result",
            Self::Status { .. } => "status",
            Self::Error { .. } => "error",
            Self::TokenUsage { .. } => "token_usage",
            Self::TokenEstimate { .. } => "token_estimate",
        }
    }

    /// Reads the `data` of a type. A value that is not an object becomes the type's text, as Python
    /// prints it.
    pub(super) fn read(kind: &str, data: Option<&Json>) -> Result<Self, Refusal> {
        let plain = match data {
            Some(data @ Json::Dict(_)) => return Self::of_fields(&SparkyFields { kind, data }),
            Some(Json::Null) | None => None,
            Some(other) => Some(other),
        };
        // Without a value, the original would take Python's "None" as the text.
        let printed = || match plain {
            Some(value) => Ok(value.to_str()),
            None => Err(Refusal::new(RefusalCode::BadRequest, format!("{kind} needs \"data\""))),
        };
        let said = || match plain {
            Some(Json::Text(text)) => Ok(text.clone()),
            Some(other) => Err(Refusal::new(
                RefusalCode::BadRequest,
                format!("{kind}: \"data\" is an object or a string; this is {}", other.kind()),
            )),
            None => Err(Refusal::new(RefusalCode::BadRequest, format!("{kind} needs \"data\""))),
        };
        let some = |text: String| {
            if text.is_empty() {
                Err(Refusal::new(
                    RefusalCode::EmptyText,
                    format!("{kind}: \"text\" must not be empty"),
                ))
            } else {
                Ok(text)
            }
        };
        Ok(match kind {
            "connect" => Self::Connect {
                generation: Generation::Chats,
                session_id: None,
                personality: None,
                history: None,
                user_id: None,
                token: None,
                chat_id: None,
                chat_name: None,
            },
            "message" => Self::Message { text: said()?, file_id: None, task_id: None },
            "personality" => Self::Personality { text: some(said()?)? },
            "start_chat" => Self::StartChat { chat_id: printed()?, chat_name: None },
            "switch_chat" => Self::SwitchChat { chat_id: printed()? },
            "session_info" => Self::SessionInfo {
                session_id: printed()?,
                is_new: true,
                reconnected: false,
                chat_id: None,
            },
            "tool_loading_progress" => Self::ToolLoadingProgress {
                tool_name: printed()?,
                status: "unknown".to_owned(),
                message: printed()?,
            },
            "ready" => Self::Ready { session_id: Some(printed()?), tools_loaded: 0 },
            "chat_ready" => Self::ChatReady { chat_id: printed()?, is_new: false, model: None },
            "thought" => Self::Thought { text: some(printed()?)?, task_id: None },
            "tool_use" => {
                Self::ToolUse { name: printed()?, args: Json::Dict(Vec::new()), task_id: None }
            }
            "tool_result" => {
                let (name, result) = (printed()?, String::new());
                Self::ToolResult {
                    name,
                    result,
                    status: None,
                    result_content: None,
                    messages: None,
                    task_id: None,
                }
            }
            "status" => Self::Status { message: printed()?, task_id: None },
            "error" => Self::Error { message: printed()?, task_id: None },
            "token_usage" => Self::TokenUsage {
                input_tokens: 0,
                output_tokens: 0,
                total_tokens: 0,
                cached_tokens: None,
            },
            "token_estimate" => {
                Self::TokenEstimate { estimated_tokens: 0, source: "unknown".to_owned() }
            }
            other => return Err(unknown(other)),
        })
    }

    fn of_fields(fields: &SparkyFields<'_>) -> Result<Self, Refusal> {
        let task_id = || fields.optional_text("task_id");
        Ok(match fields.kind {
            "connect" => Self::Connect {
                generation: match fields.data.get("session_id") {
                    Some(_) => Generation::Sessions,
                    None => Generation::Chats,
                },
                session_id: fields.optional_text("session_id")?,
                personality: fields.optional_text("personality")?,
                history: fields.optional_dicts("history")?,
                user_id: fields.optional_text("user_id")?,
                token: fields.optional_text("token")?,
                chat_id: fields.optional_text("chat_id")?,
                chat_name: fields.optional_text("chat_name")?,
            },
            // The original invents "<Empty message>" if there is no text.
            "message" => Self::Message {
                text: fields.text("text")?,
                file_id: fields.optional_text("file_id")?,
                task_id: task_id()?,
            },
            "personality" => Self::Personality { text: fields.some_text("text")? },
            "start_chat" => Self::StartChat {
                chat_id: fields.text("chat_id")?,
                chat_name: fields.optional_text("chat_name")?,
            },
            "switch_chat" => Self::SwitchChat { chat_id: fields.text("chat_id")? },
            "session_info" => Self::SessionInfo {
                session_id: fields.text("session_id")?,
                is_new: fields.truth("is_new")?,
                reconnected: fields.truth_or("reconnected", false)?,
                chat_id: fields.optional_text("chat_id")?,
            },
            "tool_loading_progress" => Self::ToolLoadingProgress {
                tool_name: fields.text("tool_name")?,
                status: fields.text("status")?,
                message: fields.text("message")?,
            },
            "ready" => Self::Ready {
                session_id: fields.optional_text("session_id")?,
                tools_loaded: fields.int("tools_loaded")?,
            },
            "chat_ready" => Self::ChatReady {
                chat_id: fields.text("chat_id")?,
                is_new: fields.truth("is_new")?,
                model: fields.optional_text("model")?,
            },
            "thought" => Self::Thought { text: fields.some_text("text")?, task_id: task_id()? },
            "tool_use" => Self::ToolUse {
                name: fields.text("name")?,
                args: fields.dict("args")?,
                task_id: task_id()?,
            },
            "tool_result" => Self::ToolResult {
                name: fields.text("name")?,
                result: fields.text("result")?,
                status: fields.any("status"),
                result_content: fields.any("result_content"),
                messages: fields.any("messages"),
                task_id: task_id()?,
            },
            "status" => Self::Status { message: fields.text("message")?, task_id: task_id()? },
            "error" => Self::Error { message: fields.text("message")?, task_id: task_id()? },
            "token_usage" => Self::TokenUsage {
                input_tokens: fields.int("input_tokens")?,
                output_tokens: fields.int("output_tokens")?,
                total_tokens: fields.int("total_tokens")?,
                cached_tokens: fields.optional_int("cached_tokens")?,
            },
            "token_estimate" => Self::TokenEstimate {
                estimated_tokens: fields.int("estimated_tokens")?,
                source: fields.text("source")?,
            },
            other => return Err(unknown(other)),
        })
    }

    /// The value of `data`, with the keys that the original always writes, and others if they are
    /// set.
    pub(super) fn to_data(&self) -> Json {
        let mut data = Data(Vec::new());
        match self {
            Self::Connect {
                generation,
                session_id,
                personality,
                history,
                user_id,
                token,
                chat_id,
                chat_name,
            } => {
                // The later generation's frames have no `session_id`.
                let is_later = [token, chat_id, chat_name].into_iter().any(Option::is_some);
                match generation {
                    Generation::Chats if is_later => {}
                    Generation::Sessions | Generation::Chats => {
                        data.put("session_id", session_id.clone().map_or(Json::Null, Json::Text));
                    }
                }
                data.put_text("personality", personality);
                data.put_set("history", history.clone().map(Json::List));
                data.put_text("user_id", user_id);
                data.put_text("token", token);
                data.put_text("chat_id", chat_id);
                data.put_text("chat_name", chat_name);
            }
            Self::Message { text, file_id, task_id } => {
                data.put("text", Json::text(text));
                data.put_text("file_id", file_id);
                data.put_text("task_id", task_id);
            }
            Self::Personality { text } => data.put("text", Json::text(text)),
            Self::StartChat { chat_id, chat_name } => {
                data.put("chat_id", Json::text(chat_id));
                data.put("chat_name", chat_name.clone().map_or(Json::Null, Json::Text));
            }
            Self::SwitchChat { chat_id } => data.put("chat_id", Json::text(chat_id)),
            Self::SessionInfo { session_id, is_new, reconnected, chat_id } => {
                data.put("session_id", Json::text(session_id));
                data.put("is_new", Json::Bool(*is_new));
                data.put("reconnected", Json::Bool(*reconnected));
                data.put("chat_id", chat_id.clone().map_or(Json::Null, Json::Text));
            }
            Self::ToolLoadingProgress { tool_name, status, message } => {
                data.put("tool_name", Json::text(tool_name));
                data.put("status", Json::text(status));
                data.put("message", Json::text(message));
            }
            Self::Ready { session_id, tools_loaded } => {
                data.put_text("session_id", session_id);
                data.put("tools_loaded", Json::Int(tools_loaded.to_string()));
            }
            Self::ChatReady { chat_id, is_new, model } => {
                data.put("chat_id", Json::text(chat_id));
                data.put("is_new", Json::Bool(*is_new));
                data.put_text("model", model);
            }
            Self::Thought { text, task_id } => {
                data.put("text", Json::text(text));
                data.put_text("task_id", task_id);
            }
            Self::ToolUse { name, args, task_id } => {
                data.put("name", Json::text(name));
                data.put("args", args.clone());
                data.put_text("task_id", task_id);
            }
            Self::ToolResult { name, result, status, result_content, messages, task_id } => {
                data.put("name", Json::text(name));
                data.put("result", Json::text(result));
                data.put_set("status", status.clone());
                data.put_set("result_content", result_content.clone());
                data.put_set("messages", messages.clone());
                data.put_text("task_id", task_id);
            }
            Self::Status { message, task_id } | Self::Error { message, task_id } => {
                data.put("message", Json::text(message));
                data.put_text("task_id", task_id);
            }
            Self::TokenUsage { input_tokens, output_tokens, total_tokens, cached_tokens } => {
                data.put("input_tokens", Json::Int(input_tokens.to_string()));
                data.put("output_tokens", Json::Int(output_tokens.to_string()));
                data.put("total_tokens", Json::Int(total_tokens.to_string()));
                data.put_set(
                    "cached_tokens",
                    cached_tokens.map(|tokens| Json::Int(tokens.to_string())),
                );
            }
            Self::TokenEstimate { estimated_tokens, source } => {
                data.put("estimated_tokens", Json::Int(estimated_tokens.to_string()));
                data.put("source", Json::text(source));
            }
        }
        Json::Dict(data.0)
    }
}

struct Data(Vec<(String, Json)>);

impl Data {
    fn put(&mut self, key: &str, value: Json) {
        self.0.push((key.to_owned(), value));
    }

    fn put_set(&mut self, key: &str, value: Option<Json>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn put_text(&mut self, key: &str, value: &Option<String>) {
        self.put_set(key, value.clone().map(Json::Text));
    }
}

fn unknown(kind: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownType, format!("there is no message of type {kind:?}"))
}
