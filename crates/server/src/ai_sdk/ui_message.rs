//! Requests of the SDK's transport, and what is new in their messages.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use thoughtwire_proto::{CallId, Refusal, RefusalCode, Seq, SessionId, ToolDeclaration};

use super::ids;
use super::{AiSdkRefusal, AiSdkResult};
use crate::endpoint::{CallAnswer, ClientTools};

/// Body of a request for an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UiRequest {
    /// Id of the chat.
    pub(super) id: String,
    #[serde(default)]
    messages: Vec<UiMessage>,
    /// The newest message, from clients that send no others.
    #[serde(default)]
    message: Option<UiMessage>,
    #[serde(default)]
    trigger: UiTrigger,
    /// The message that is edited or goes on.
    #[serde(default)]
    message_id: Option<String>,
    /// Tools that the client runs, by name.
    #[serde(default)]
    tools: HashMap<String, UiTool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UiTrigger {
    #[default]
    SubmitMessage,
    RegenerateMessage,
}

#[derive(Debug, Deserialize)]
struct UiMessage {
    id: String,
    role: UiRole,
    #[serde(default)]
    metadata: Option<Value>,
    parts: Vec<UiPart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UiRole {
    System,
    User,
    Assistant,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UiPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    approval: Option<UiApproval>,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error_text: Option<String>,
    #[serde(default)]
    provider_executed: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct UiApproval {
    id: String,
    #[serde(default)]
    approved: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct UiTool {
    #[serde(default)]
    description: Option<String>,
    /// JSON Schema of the arguments.
    #[serde(default, rename = "inputSchema", alias = "parameters")]
    input_schema: Option<Map<String, Value>>,
}

/// The action that a request asks for.
#[derive(Debug)]
pub(super) enum UiTask {
    /// A text of the user. `key` is the text's identity: it is said once for each.
    Say { key: String, text: String },
    /// The same text again, for another answer.
    SayAgain { text: String },
    /// Answers to calls of a turn that waits for them.
    GoOn(UiAnswers),
}

/// Answers to calls of the turn whose input is behind `before`.
#[derive(Debug)]
pub(super) struct UiAnswers {
    pub(super) before: Seq,
    pub(super) answers: Vec<(CallId, CallAnswer)>,
    /// The session that the client's message shows, and the position up to which it does.
    pub(super) shown: Option<(SessionId, Seq)>,
}

impl UiRequest {
    /// Takes the client's tools.
    pub(super) fn take_tools(&mut self) -> (Vec<ToolDeclaration>, ClientTools) {
        let tools = std::mem::take(&mut self.tools).into_iter();
        let declarations: Vec<ToolDeclaration> = tools
            .map(|(name, tool)| ToolDeclaration {
                name,
                description: tool.description.unwrap_or_default(),
                parameters: tool.input_schema.unwrap_or_default(),
                replay: None,
            })
            .collect();
        let names: HashSet<String> = declarations.iter().map(|tool| tool.name.clone()).collect();
        (declarations, ClientTools::Named(names))
    }

    /// Finds what is new in the messages. All others are in the session's log.
    pub(super) fn task(self) -> AiSdkResult<UiTask> {
        let Self { id, messages, message, trigger, message_id, tools: _ } = self;
        if id.is_empty() {
            return Err(AiSdkRefusal::bad("the `id` of the chat is empty"));
        }
        let mut messages: Vec<UiMessage> = messages.into_iter().chain(message).collect();
        if messages.iter().any(|message| message.role == UiRole::System) {
            return Err(AiSdkRefusal::bad(
                "system messages are not taken from a chat: instructions belong to the agent",
            ));
        }
        let Some(last) = messages.pop() else {
            return Err(AiSdkRefusal::bad("`messages` is empty"));
        };
        let is_edit = message_id.as_ref() == Some(&last.id);
        // An answer may go on behind a message that came meanwhile.
        let named = messages.iter().position(|message| message_id.as_ref() == Some(&message.id));
        let target = match named {
            Some(at) if trigger == UiTrigger::SubmitMessage => messages.swap_remove(at),
            Some(_) | None => last,
        };
        match (target.role, trigger) {
            (UiRole::User, UiTrigger::SubmitMessage) => {
                let text = target.text()?;
                if target.id.is_empty() {
                    return Err(AiSdkRefusal::bad("the message's `id` is empty"));
                }
                let key = if is_edit { format!("{} {text}", target.id) } else { target.id.clone() };
                Ok(UiTask::Say { key, text })
            }
            (UiRole::User, UiTrigger::RegenerateMessage) => {
                Ok(UiTask::SayAgain { text: target.text()? })
            }
            (UiRole::Assistant, UiTrigger::SubmitMessage) => target.answers().map(UiTask::GoOn),
            (UiRole::Assistant, UiTrigger::RegenerateMessage) | (UiRole::System, _) => {
                Err(AiSdkRefusal::bad("the last of `messages` has to be the user's"))
            }
        }
    }
}

impl UiMessage {
    /// The text of a user's message.
    fn text(&self) -> AiSdkResult<String> {
        let mut texts = Vec::new();
        for part in &self.parts {
            match (part.kind.as_str(), &part.text) {
                ("text", Some(text)) => texts.push(text.as_str()),
                // Data of the page, which the SDK does not send to models either.
                (kind, _) if kind.starts_with("data-") => {}
                (kind, _) => {
                    let reason = format!(
                        "a part of the type {kind:?} cannot be taken: this server stores no images \
                         or files yet; send text"
                    );
                    return Err(AiSdkRefusal::bad(reason));
                }
            }
        }
        let text = texts.join("\n");
        // Before a session is opened for it.
        if text.trim().is_empty() {
            return Err(Refusal::new(RefusalCode::EmptyText, "the message has no text").into());
        }
        Ok(text)
    }

    /// The answers in an assistant message, to calls of its newest turn.
    fn answers(self) -> AiSdkResult<UiAnswers> {
        let read: Vec<(Seq, CallId, CallAnswer)> =
            self.parts.into_iter().filter_map(UiPart::answer).collect();
        let Some(before) = read.iter().map(|(before, ..)| *before).max() else {
            return Err(AiSdkRefusal::bad(
                "nothing is new: the last message is the assistant's, and has neither an answer to \
                 a request for approval nor the output of a tool of the client",
            ));
        };
        let of_turn = read.into_iter().filter(|(of, ..)| *of == before);
        let answers = of_turn.map(|(_, call, answer)| (call, answer)).collect();
        let metadata = self.metadata.unwrap_or_default();
        let session = metadata.get("session").and_then(Value::as_str);
        let shown = session
            .and_then(|session| SessionId::new(session).ok())
            .zip(metadata.get("seq").and_then(Value::as_u64).map(Seq));
        Ok(UiAnswers { before, answers, shown })
    }
}

impl UiPart {
    /// The answer in a part of a tool's call. A result of a call that the server ran is none.
    fn answer(self) -> Option<(Seq, CallId, CallAnswer)> {
        let (before, call) = ids::read_call_id(self.tool_call_id.as_deref()?)?;
        let is_clients = self.provider_executed != Some(true);
        let answer = match self.state.as_deref()? {
            "approval-responded" => {
                let approval = self.approval?;
                let asked = ids::read_approval_id(&approval.id)?;
                CallAnswer::DecidedAt { asked, approved: approval.approved? }
            }
            "output-available" if is_clients => {
                let text = self.output.as_str().map(str::to_owned);
                let text = text.unwrap_or_else(|| self.output.to_string());
                CallAnswer::Output { text, content: self.output }
            }
            "output-error" if is_clients => CallAnswer::Failed(self.error_text.unwrap_or_default()),
            _ => return None,
        };
        Some((before, call, answer))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(body: Value) -> AiSdkResult<UiTask> {
        serde_json::from_value::<UiRequest>(body).unwrap().task()
    }

    fn user(id: &str, text: &str) -> Value {
        json!({"id": id, "role": "user", "parts": [{"type": "text", "text": text}]})
    }

    fn key(body: Value) -> String {
        let Ok(UiTask::Say { key, .. }) = task(body) else { panic!() };
        key
    }

    #[test]
    fn the_newest_message_is_said_under_its_id_and_an_edit_under_its_text_as_well() {
        let body = json!({"id": "chat", "messages": [user("m-1", "one"), user("m-2", "two")]});
        assert_eq!(key(body), "m-2");
        let body = json!({"id": "chat", "message": user("m-3", "three"), "messageId": "m-3"});
        assert_eq!(key(body), "m-3 three");
        let again = json!({
            "id": "chat", "messages": [user("m-1", "one")], "trigger": "regenerate-message",
            "messageId": "msg_4"
        });
        assert!(matches!(task(again), Ok(UiTask::SayAgain { text }) if text == "one"));
    }

    #[test]
    fn answers_are_those_to_the_newest_turn_of_the_message_that_goes_on() {
        let tool = |id: &str, state: &str, more: Value| {
            let mut part = json!({"type": "tool-look", "toolCallId": id, "state": state});
            part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            part
        };
        let approved = json!({"approval": {"id": "approval_9", "approved": true}});
        let message = json!({
            "id": "msg_6", "role": "assistant", "metadata": {"session": "s-1", "seq": 9},
            "parts": [
                tool("call_2_c-1", "output-available", json!({"output": "old"})),
                tool("call_6_c-1", "output-available", json!({"output": {"n": 1}})),
                tool("call_6_c-2", "approval-responded", approved),
                tool("call_6_c-3", "output-available", json!({"providerExecuted": true})),
                tool("toolu_1", "output-available", json!({"output": "foreign"})),
                {"type": "text", "text": "Hm."},
            ],
        });
        let messages = json!([message, user("m-2", "meanwhile")]);
        let body = json!({"id": "chat", "messages": messages, "messageId": "msg_6"});
        let Ok(UiTask::GoOn(found)) = task(body) else { panic!() };
        let calls: Vec<&str> = found.answers.iter().map(|(call, _)| call.as_str()).collect();
        assert_eq!((found.before, calls), (Seq(6), vec!["c-1", "c-2"]));
        assert_eq!(found.shown, Some((SessionId::new("s-1").unwrap(), Seq(9))));
        assert!(matches!(
            &found.answers[0].1,
            CallAnswer::Output { text, content }
                if text == r#"{"n":1}"# && *content == json!({"n": 1})
        ));
        assert!(matches!(
            found.answers[1].1,
            CallAnswer::DecidedAt { asked: Seq(9), approved: true }
        ));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let system = json!({"id": "m-0", "role": "system", "parts": []});
        let file = json!({"id": "m-1", "role": "user", "parts": [{"type": "file", "url": "x"}]});
        let assistant = json!({"id": "m-1", "role": "assistant", "parts": []});
        for messages in [json!([]), json!([system, user("m-1", "")]), json!([file])] {
            assert!(task(json!({"id": "chat", "messages": messages})).is_err(), "{messages}");
        }
        for trigger in ["submit-message", "regenerate-message"] {
            let body = json!({"id": "chat", "messages": [assistant], "trigger": trigger});
            assert!(task(body).is_err(), "{trigger}");
        }
        assert!(task(json!({"id": "", "messages": [user("m-1", "hi")]})).is_err());
        assert!(task(json!({"id": "chat", "messages": [user("", "hi")]})).is_err());
    }
}
