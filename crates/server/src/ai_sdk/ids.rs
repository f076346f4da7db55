//! Ids that the SDK's client keeps and sends back. Each contains the position of its message, call
//! or question in the session's log, so the server stores no table of these ids.

use thoughtwire_proto::{CallId, Seq};

/// Beginning of the ids of assistant messages.
const MESSAGE: &str = "msg_";
/// Beginning of the ids of calls.
const CALL: &str = "call_";
/// Beginning of the ids of requests for approval.
const APPROVAL: &str = "approval_";

/// Id of the assistant message of the turn whose input is behind `before`.
pub(super) fn message_id(before: Seq) -> String {
    format!("{MESSAGE}{before}")
}

/// Id of a call of that turn. Agents may use an id of a call again in a later turn.
pub(super) fn call_id(before: Seq, call: &CallId) -> String {
    format!("{CALL}{before}_{call}")
}

/// Reads the id of a call; `None` if it is not one of ours.
pub(super) fn read_call_id(id: &str) -> Option<(Seq, CallId)> {
    let (before, call) = id.strip_prefix(CALL)?.split_once('_')?;
    Some((Seq::from_digits(before)?, CallId::new(call).ok()?))
}

/// Id of the request for approval at a position of the log.
pub(super) fn approval_id(asked: Seq) -> String {
    format!("{APPROVAL}{asked}")
}

/// Reads the id of a request for approval; `None` if it is not one of ours.
pub(super) fn read_approval_id(id: &str) -> Option<Seq> {
    Seq::from_digits(id.strip_prefix(APPROVAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_others_are_not_taken_for_one() {
        let call = CallId::new("c_1 é").unwrap();
        assert_eq!(read_call_id(&call_id(Seq(41), &call)), Some((Seq(41), call)));
        assert_eq!(read_approval_id(&approval_id(Seq(7))), Some(Seq(7)));
        for foreign in ["", "call_", "call_1", "call_1_", "call_-1_c", "call_x_c", "toolu_1_c"] {
            assert_eq!(read_call_id(foreign), None, "{foreign}");
        }
        for foreign in ["", "approval_", "approval_x", "approval_+1", "aitxt-1"] {
            assert_eq!(read_approval_id(foreign), None, "{foreign}");
        }
    }
}
