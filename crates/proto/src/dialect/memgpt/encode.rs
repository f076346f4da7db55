//! Encoding of a session's emissions for `MemGPT`.

use super::codec::{MemgptServerFrame, ResponseKind};
use crate::dialect::python::Json;
use crate::{ApprovalAbout, Emission, Event, Outcome, SessionEmission, ToolStatus, TurnEvent};

/// Frames of an emission. Start, end and error of a turn are only for the connection that sent the
/// input; its machine filters them. Deltas, status and other emissions have no frames.
#[must_use]
pub fn encode(emitted: &SessionEmission) -> Vec<String> {
    let Emission::Record(record) = &emitted.emission else { return Vec::new() };
    let frame = match &record.event {
        Event::Turn(TurnEvent::Thought { text, .. }) => {
            MemgptServerFrame::response(ResponseKind::InternalMonologue, text)
        }
        Event::Turn(TurnEvent::Message { text, .. }) => {
            MemgptServerFrame::response(ResponseKind::AssistantMessage, text)
        }
        Event::Turn(TurnEvent::ToolCalled { name, args, .. }) => MemgptServerFrame::response(
            ResponseKind::FunctionMessage,
            format!("Running {name}({})", Json::from(args).dumps()),
        ),
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Success, text, .. }) => {
            MemgptServerFrame::response(ResponseKind::FunctionMessage, format!("Success: {text}"))
        }
        Event::Turn(TurnEvent::ToolReturned {
            status: ToolStatus::Error | ToolStatus::Unknown,
            text,
            ..
        }) => MemgptServerFrame::response(ResponseKind::FunctionMessage, format!("Error: {text}")),
        // The protocol has no frame for an approval. A message tells its reader where to answer.
        Event::Turn(TurnEvent::ApprovalAsked { call, name, about, .. }) => {
            let text = match about {
                ApprovalAbout::Run => format!(
                    "I may not run {name} without your approval. Give or refuse it in \
                     `thoughtwire chat` or on the server's page (call {call})."
                ),
                ApprovalAbout::Retry => format!(
                    "I was interrupted while I ran {name}. It may already have taken effect. Say \
                     in `thoughtwire chat` or on the server's page whether I run it again, or \
                     whether it was done or failed (call {call})."
                ),
            };
            MemgptServerFrame::response(ResponseKind::AssistantMessage, text)
        }
        Event::Turn(TurnEvent::Started { .. }) => MemgptServerFrame::ResponseStart,
        Event::Turn(TurnEvent::Ended { outcome: Outcome::Completed, .. }) => {
            MemgptServerFrame::ResponseEnd
        }
        Event::Turn(TurnEvent::Ended {
            outcome: Outcome::Cancelled | Outcome::Failed | Outcome::Interrupted,
            reason,
            ..
        }) => {
            let reason = reason.as_deref().unwrap_or("the turn did not complete");
            MemgptServerFrame::response_error(format!("server.user_message failed with: {reason}"))
        }
        Event::Session(_)
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Resumed { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::Usage(_),
        )
        | Event::Other(_) => return Vec::new(),
    };
    vec![frame.encode()]
}
