//! Encoding of a session's emissions for Sparky.

use super::codec::WsMessage;
use super::payload::Payload;
use crate::dialect::python::Json;
use crate::{
    ApprovalAbout, Emission, Event, Outcome, ResumeReason, SessionEmission, ToolStatus, TurnEvent,
};

/// Code of a turn that a new input interrupted.
const INTERRUPTED: &str = "interrupted";

/// Messages that answer a request for approval, because the dialect has no frame for it.
pub(super) const APPROVE: &str = "/approve";
pub(super) const DENY: &str = "/deny";
/// The same about a call that was interrupted and has been made. The call's result may follow.
pub(super) const DONE: &str = "/done";

/// Frames of an emission, with labels. User messages are not echoed, and deltas have no frames.
#[must_use]
pub fn encode(
    emitted: &SessionEmission,
    session_id: &str,
    user_id: &str,
    chat_id: &str,
) -> Vec<String> {
    let status = |message: &str| Payload::Status { message: message.to_owned(), task_id: None };
    let payload = match &emitted.emission {
        Emission::Status { text, .. } => status(text),
        Emission::Delta(_) | Emission::Partial(_) | Emission::Presence { .. } => return Vec::new(),
        Emission::Record(record) => match &record.event {
            Event::Turn(TurnEvent::Started { .. }) => status("Thinking..."),
            // The dialect has no frame for it. A status names the call and how to answer.
            Event::Turn(TurnEvent::ApprovalAsked { name, about: ApprovalAbout::Run, .. }) => {
                status(&format!("{name} waits for your approval: answer {APPROVE} or {DENY}"))
            }
            Event::Turn(TurnEvent::ApprovalAsked { name, about: ApprovalAbout::Retry, .. }) => {
                status(&format!(
                    "{name} was interrupted and may already have taken effect: answer {APPROVE} to \
                     run it again, {DONE} [result] if it was done, or {DENY} if it failed"
                ))
            }
            Event::Turn(TurnEvent::Resumed { reason, .. }) => status(match reason {
                ResumeReason::Restart => "The server was restarted; the turn goes on.",
                ResumeReason::Moved => "The session moved to another server; the turn goes on.",
                ResumeReason::WorkerLost => "The worker was lost; the turn goes on.",
            }),
            Event::Turn(TurnEvent::Thought { text, .. }) => {
                Payload::Thought { text: text.clone(), task_id: None }
            }
            Event::Turn(TurnEvent::ToolCalled { name, args, .. }) => {
                Payload::ToolUse { name: name.clone(), args: Json::from(args), task_id: None }
            }
            Event::Turn(TurnEvent::ToolReturned { name, text, status, content, .. }) => {
                Payload::ToolResult {
                    name: name.clone(),
                    result: text.clone(),
                    status: Some(Json::text(match status {
                        ToolStatus::Success => "success",
                        ToolStatus::Error | ToolStatus::Unknown => "error",
                    })),
                    result_content: content.as_ref().map(Json::from),
                    messages: None,
                    task_id: None,
                }
            }
            Event::Turn(TurnEvent::Usage(usage)) => Payload::TokenUsage {
                input_tokens: usage.input_tokens.into(),
                output_tokens: usage.output_tokens.into(),
                total_tokens: i128::from(usage.input_tokens) + i128::from(usage.output_tokens),
                cached_tokens: usage.cached_tokens.map(Into::into),
            },
            Event::Turn(TurnEvent::Message { text, .. }) => {
                Payload::Message { text: text.clone(), file_id: None, task_id: None }
            }
            Event::Turn(TurnEvent::Ended { outcome: Outcome::Completed, .. }) => return Vec::new(),
            Event::Turn(TurnEvent::Ended { outcome: Outcome::Cancelled, code, .. }) => {
                if code.as_deref() == Some(INTERRUPTED) {
                    status("Previous message cancelled")
                } else {
                    status("Message cancelled")
                }
            }
            Event::Turn(TurnEvent::Ended {
                outcome: Outcome::Failed | Outcome::Interrupted,
                reason,
                ..
            }) => {
                let reason = reason.as_deref().unwrap_or("the turn did not complete");
                Payload::Error {
                    message: format!("Error processing message: {reason}"),
                    task_id: None,
                }
            }
            Event::Session(_)
            | Event::Input(_)
            | Event::Turn(
                TurnEvent::ToolRetried { .. }
                | TurnEvent::ApprovalSettled { .. }
                | TurnEvent::ToolAwaited { .. },
            )
            | Event::Other(_) => return Vec::new(),
        },
    };
    let label = |text: &str| Some(text.to_owned());
    vec![
        WsMessage {
            payload,
            session_id: label(session_id),
            user_id: label(user_id),
            chat_id: label(chat_id),
        }
        .to_text(),
    ]
}
