//! Ids of responses and of requests for approval. They say where in a session's log their turn is,
//! so that a response needs no table of its own.

use std::collections::HashSet;

use thoughtwire_proto::{CallId, Seq, SessionId};

use crate::endpoint::{ClientTools, TurnPlace};
use crate::openai::tools::ClientCall;

/// Beginning of the ids of responses.
const RESPONSE: &str = "resp_";
/// Beginning of the ids of requests for approval.
const APPROVAL: &str = "mcpr_";
/// End of the ids of responses whose requests had tools of their client.
const WITH_TOOLS: &str = "_t";

/// Id of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseId {
    pub(super) session: SessionId,
    pub(super) place: TurnPlace,
    /// Whether the request had tools of its client, at which the response may end.
    pub(super) has_tools: bool,
}

impl ResponseId {
    pub(super) fn text(&self) -> String {
        let Self { session, place, has_tools } = self;
        let TurnPlace { before, shown_after } = place;
        let end = if *has_tools { WITH_TOOLS } else { "" };
        format!("{RESPONSE}{session}_{before}_{shown_after}{end}")
    }

    /// Reads an id; `None` if it is not one of ours.
    pub(super) fn read(id: &str) -> Option<Self> {
        let rest = id.strip_prefix(RESPONSE)?;
        let (rest, has_tools) = match rest.strip_suffix(WITH_TOOLS) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (rest, shown_after) = rest.rsplit_once('_')?;
        let (session, before) = rest.rsplit_once('_')?;
        let place = TurnPlace {
            before: Seq::from_digits(before)?,
            shown_after: Seq::from_digits(shown_after)?,
        };
        let session = SessionId::new(session).ok()?;
        (place.before <= place.shown_after).then_some(Self { session, place, has_tools })
    }

    /// Tools at whose calls the response ends.
    pub(super) fn tools(&self) -> ClientTools {
        if self.has_tools { ClientTools::Any } else { ClientTools::Named(HashSet::new()) }
    }

    /// A call of the response's turn, as its client names it.
    pub(super) fn call(&self, call: &CallId) -> ClientCall {
        ClientCall { session: self.session.clone(), before: self.place.before, call: call.clone() }
    }

    /// Id of the request for a call's approval.
    pub(super) fn approval(&self, call: &CallId) -> String {
        let Self { session, place, .. } = self;
        format!("{APPROVAL}{session}_{}_{call}", place.before)
    }
}

/// Reads the id of a request for approval: the call that waits.
pub(super) fn read_approval(id: &str) -> Option<ClientCall> {
    let (session, rest) = id.strip_prefix(APPROVAL)?.split_once('_')?;
    let (before, call) = rest.split_once('_')?;
    Some(ClientCall {
        session: SessionId::new(session).ok()?,
        before: Seq::from_digits(before)?,
        call: CallId::new(call).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_others_are_not_taken_for_one() {
        for has_tools in [false, true] {
            let place = TurnPlace { before: Seq(7), shown_after: Seq(9) };
            let session = SessionId::new("5e55").unwrap();
            let id = ResponseId { session, place, has_tools };
            assert_eq!(ResponseId::read(&id.text()), Some(id.clone()));
            let call = CallId::new("c_1").unwrap();
            assert_eq!(read_approval(&id.approval(&call)), Some(id.call(&call)));
        }
        for foreign in ["", "resp_", "resp_68d0a5", "resp_a_1", "resp_a_9_7", "resp_a_1_-2", "r"] {
            assert_eq!(ResponseId::read(foreign), None, "{foreign}");
        }
    }
}
