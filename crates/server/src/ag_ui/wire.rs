//! Bodies of requests.

use serde::Deserialize;
use serde_json::{Map, Value};
use thoughtwire_proto::ToolDeclaration;

use super::{AgUiRefusal, AgUiResult};

/// A client's request to run an agent on a thread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunAgentInput {
    pub(super) thread_id: String,
    pub(super) run_id: String,
    #[serde(default)]
    pub(super) parent_run_id: Option<String>,
    pub(super) messages: Vec<AgUiMessage>,
    #[serde(default)]
    tools: Option<Vec<AgUiTool>>,
    #[serde(default)]
    context: Option<Vec<AgUiContext>>,
    #[serde(default)]
    pub(super) state: Value,
    #[serde(default)]
    resume: Option<Vec<ResumeEntry>>,
}

/// One message of the conversation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgUiMessage {
    pub(super) id: String,
    pub(super) role: AgUiRole,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<AgUiToolCall>>,
    #[serde(default)]
    pub(super) tool_call_id: Option<String>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AgUiRole {
    Developer,
    System,
    User,
    Assistant,
    Tool,
    Activity,
    Reasoning,
}

#[derive(Deserialize)]
pub(super) struct AgUiToolCall {
    pub(super) id: String,
    pub(super) function: AgUiFunction,
}

#[derive(Deserialize)]
pub(super) struct AgUiFunction {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: String,
}

#[derive(Deserialize)]
struct AgUiTool {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Value,
}

#[derive(Deserialize)]
struct AgUiContext {
    description: String,
    value: String,
}

/// An answer to an interrupt.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResumeEntry {
    pub(super) interrupt_id: String,
    status: ResumeStatus,
    #[serde(default)]
    payload: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResumeStatus {
    Resolved,
    Cancelled,
}

/// A client's request to stop a run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopRequest {
    pub(super) thread_id: String,
    #[serde(default)]
    pub(super) run_id: Option<String>,
}

impl RunAgentInput {
    /// Takes the tools that the client runs.
    pub(super) fn take_tools(&mut self) -> AgUiResult<Vec<ToolDeclaration>> {
        let tools = self.tools.take().unwrap_or_default();
        let mut declared: Vec<ToolDeclaration> = Vec::with_capacity(tools.len());
        for AgUiTool { name, description, parameters } in tools {
            if declared.iter().any(|tool| tool.name == name) {
                return Err(AgUiRefusal::bad(format!("two tools have the name {name:?}")));
            }
            let parameters = match parameters {
                Value::Object(parameters) => parameters,
                Value::Null => Map::new(),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    let message = format!("`parameters` of the tool {name:?} is not an object");
                    return Err(AgUiRefusal::bad(message));
                }
            };
            declared.push(ToolDeclaration { name, description, parameters, replay: None });
        }
        Ok(declared)
    }

    /// The client's ambient information as a text, if there is any.
    pub(super) fn context(&self) -> Option<String> {
        let context = self.context.as_ref().filter(|context| !context.is_empty())?;
        let line = |entry: &AgUiContext| format!("{}: {}", entry.description, entry.value);
        Some(context.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    pub(super) fn resume(&self) -> &[ResumeEntry] {
        self.resume.as_deref().unwrap_or_default()
    }
}

impl ResumeEntry {
    /// Whether the call may run.
    pub(super) fn is_approved(&self) -> AgUiResult<bool> {
        match (self.status, &self.payload) {
            (ResumeStatus::Cancelled, _) => Ok(false),
            (ResumeStatus::Resolved, Value::Bool(approved)) => Ok(*approved),
            (ResumeStatus::Resolved, payload) => {
                if payload.get("editedArgs").is_some_and(|edited| !edited.is_null()) {
                    let message = "`editedArgs` is not possible here: a call runs as it was made; \
                                   deny it, and say in a message what to change";
                    return Err(AgUiRefusal::bad(message));
                }
                payload.get("approved").and_then(Value::as_bool).ok_or_else(|| {
                    let id = &self.interrupt_id;
                    AgUiRefusal::bad(format!(
                        "the payload for the interrupt {id:?} has to be {{\"approved\": true}} or \
                         {{\"approved\": false}}"
                    ))
                })
            }
        }
    }
}

impl AgUiMessage {
    /// The text of the content. Parts other than texts are left out.
    pub(super) fn text(&self) -> AgUiResult<String> {
        match &self.content {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            Value::Array(parts) => {
                let texts =
                    parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
                Ok(texts.collect::<Vec<_>>().join("\n"))
            }
            // The content of an activity is its own.
            Value::Object(_) if self.role == AgUiRole::Activity => Ok(String::new()),
            Value::Object(_) | Value::Bool(_) | Value::Number(_) => {
                let id = &self.id;
                let message = format!("the content of the message {id:?} is no text and no parts");
                Err(AgUiRefusal::bad(message))
            }
        }
    }

    /// The content, if it is a list of parts.
    pub(super) fn parts(&self) -> Option<Value> {
        self.content.is_array().then(|| self.content.clone())
    }

    /// Type of a part that is no text, if there is one.
    pub(super) fn other_part(&self) -> Option<&str> {
        let parts = self.content.as_array()?.iter();
        let kinds = parts.map(|part| part.get("type").and_then(Value::as_str).unwrap_or("?"));
        kinds.into_iter().find(|kind| *kind != "text")
    }
}
