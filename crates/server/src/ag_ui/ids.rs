//! Ids of messages and calls for clients. They say in which turn these are, so that a client's
//! messages tell where its thread goes on.

use thoughtwire_proto::{CallId, ItemId, Seq};

/// Beginning of all ids.
const PREFIX: &str = "tw-";

/// Position before that of the input of a message's or call's turn, and its id within the session;
/// `None` if the client has made the id.
fn read(id: &str) -> Option<(Seq, &str)> {
    let (before, inner) = id.strip_prefix(PREFIX)?.split_once('-')?;
    Some((Seq::from_digits(before)?, inner))
}

/// Position before that of the input of a message's turn; `None` if the client has made the id.
pub(super) fn turn_of(message: &str) -> Option<Seq> {
    read(message).map(|(before, _)| before)
}

/// Id of a message.
pub(super) fn message(before: Seq, item: &ItemId) -> String {
    format!("{PREFIX}{before}-{item}")
}

/// Id of the message that has a call's result.
pub(super) fn result(before: Seq, call: &CallId) -> String {
    format!("{PREFIX}{before}-{call}-result")
}

/// Id of the interrupt that asks about a call at a position. A call is asked about again if it was
/// interrupted.
pub(super) fn interrupt(before: Seq, asked: Seq, call: &CallId) -> String {
    format!("{PREFIX}{before}-{asked}-{call}")
}

/// Id of a call.
pub(super) fn call(before: Seq, call: &CallId) -> String {
    format!("{PREFIX}{before}-{call}")
}

/// A call, as its id names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TurnCall {
    /// Position before that of the turn's input.
    pub(super) before: Seq,
    pub(super) call: CallId,
}

impl TurnCall {
    /// Reads an id; `None` if it is not one of ours.
    pub(super) fn read(id: &str) -> Option<Self> {
        let (before, inner) = read(id)?;
        Some(Self { before, call: CallId::new(inner).ok()? })
    }
}

/// A question about a call, as the id of its interrupt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterruptId {
    pub(super) of: TurnCall,
    /// Position at which it was asked.
    pub(super) asked: Seq,
}

impl InterruptId {
    /// Reads an id; `None` if it is not one of ours.
    pub(super) fn read(id: &str) -> Option<Self> {
        let (before, inner) = read(id)?;
        let (asked, call) = inner.split_once('-')?;
        let asked = Seq(asked.parse().ok()?);
        Some(Self { of: TurnCall { before, call: CallId::new(call).ok()? }, asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_where_the_turn_is_and_ids_of_clients_are_told_apart() {
        let known = CallId::new("c-1 é").unwrap();
        let of = TurnCall { before: Seq(41), call: known.clone() };
        assert_eq!(TurnCall::read(&call(Seq(41), &known)), Some(of.clone()));
        let question = InterruptId { of, asked: Seq(45) };
        assert_eq!(InterruptId::read(&interrupt(Seq(41), Seq(45), &known)), Some(question));
        assert_eq!(turn_of(&message(Seq(7), &ItemId::new("i-1").unwrap())), Some(Seq(7)));
        for foreign in ["", "tw-", "tw--1-a", "tw-1", "tw-a-b", "call_1", "tw-+1-a", "41-c"] {
            assert_eq!(TurnCall::read(foreign), None, "{foreign}");
            assert_eq!(InterruptId::read(foreign), None, "{foreign}");
        }
    }
}
