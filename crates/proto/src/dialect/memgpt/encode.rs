//! Encoding of a session's emissions for `MemGPT`.

use super::codec::{Says, ServerFrame};
use crate::dialect::python::Json;
use crate::{Emission, Emitted, Event, Outcome, ToolStatus, TurnEvent};

/// Frames of an emission. Start, end and error of a turn are only for the connection that sent the
/// input; its machine filters them. Deltas, status and other emissions have no frames.
#[must_use]
pub fn encode(emitted: &Emitted) -> Vec<String> {
    let Emission::Record(record) = &emitted.emission else { return Vec::new() };
    let frame = match &record.event {
        Event::Turn(TurnEvent::Thought { text, .. }) => {
            ServerFrame::response(Says::InternalMonologue, text)
        }
        Event::Turn(TurnEvent::Message { text, .. }) => {
            ServerFrame::response(Says::AssistantMessage, text)
        }
        Event::Turn(TurnEvent::ToolCalled { name, args, .. }) => ServerFrame::response(
            Says::FunctionMessage,
            format!("Running {name}({})", Json::from(args).dumps()),
        ),
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Success, text, .. }) => {
            ServerFrame::response(Says::FunctionMessage, format!("Success: {text}"))
        }
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Error, text, .. }) => {
            ServerFrame::response(Says::FunctionMessage, format!("Error: {text}"))
        }
        // The protocol has no frame for an approval. A message tells its reader where to answer.
        Event::Turn(TurnEvent::ApprovalAsked { call, name, .. }) => ServerFrame::response(
            Says::AssistantMessage,
            format!(
                "I may not run {name} without your approval. Give or refuse it in `thoughtwire chat` or on the server's page (call {call})."
            ),
        ),
        Event::Turn(TurnEvent::Started { .. }) => ServerFrame::ResponseStart,
        Event::Turn(TurnEvent::Ended { outcome: Outcome::Completed, .. }) => {
            ServerFrame::ResponseEnd
        }
        Event::Turn(TurnEvent::Ended {
            outcome: Outcome::Cancelled | Outcome::Failed | Outcome::Interrupted,
            reason,
            ..
        }) => {
            let reason = reason.as_deref().unwrap_or("the turn did not complete");
            ServerFrame::response_error(format!("server.user_message failed with: {reason}"))
        }
        Event::Session(_)
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::ApprovalSettled { .. } | TurnEvent::ToolAwaited { .. } | TurnEvent::Usage(_),
        )
        | Event::Other(_) => return Vec::new(),
    };
    vec![frame.encode()]
}
