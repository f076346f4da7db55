//! Decisions about a call: what each one means for a call that has not run, and for one whose
//! outcome is unknown.

use thoughtwire_proto::{
    ApprovalAbout, Decision, Event, OpenCall, RetryReason, ToolStatus, TurnEvent,
};

use crate::{CallReply, ClientResult};

/// Text of a call that the owner called done without giving a result.
const DONE: &str = "The owner says that this call was made. Its result is not known.";
/// Text of a call that the owner let count as failed.
const FAILED: &str = "The call was interrupted. The owner let it count as failed: it was not made \
                      again.";
/// Text of a call about which nobody decided in time.
const UNDECIDED: &str = "The call was interrupted: it may or may not have taken effect. Nobody \
                         decided in time whether to make it again.";

/// The events that settle a call's waiting approval, and the reply to its agent. `result` is what
/// the owner says about a call that is done.
///
/// A call that has not run goes back to its agent with the decision. A call whose outcome is
/// unknown gets its account here, in the same batch: a `tool_retried` or a result.
pub(crate) fn settling(
    open: &OpenCall,
    decision: Decision,
    by: Option<String>,
    result: Option<String>,
) -> (Vec<Event>, CallReply) {
    let settled = Event::Turn(TurnEvent::ApprovalSettled { call: open.call.clone(), decision, by });
    let retry = open.about == ApprovalAbout::Retry;
    let (status, text) = match decision {
        Decision::Approved if retry => {
            let (attempt, reason) = (open.retries + 1, RetryReason::Approved);
            let retried =
                Event::Turn(TurnEvent::ToolRetried { call: open.call.clone(), attempt, reason });
            return (vec![settled, retried], CallReply::Decided(decision));
        }
        Decision::Done => (ToolStatus::Success, result.unwrap_or_else(|| DONE.to_owned())),
        Decision::Denied if retry => (ToolStatus::Error, FAILED.to_owned()),
        Decision::Expired if retry => (ToolStatus::Unknown, UNDECIDED.to_owned()),
        Decision::Approved | Decision::Denied | Decision::Expired | Decision::Void => {
            return (vec![settled], CallReply::Decided(decision));
        }
    };
    let returned = ClientResult { status, text, content: None };
    (vec![settled, returned.clone().into_event(open)], CallReply::Returned(returned))
}
