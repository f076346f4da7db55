//! Where a conversation goes on behind an earlier response: in its session while that is the newest
//! one there, else in a branch.

use std::collections::HashSet;

use axum::http::StatusCode;
use thoughtwire_hub::ThreadSeed;
use thoughtwire_proto::{CallId, Event, InputEvent, ItemId, Record, Seq, TurnEvent, TurnId};

use super::stored::StoredResponse;
use crate::endpoint::{call_answer_id, past_through};
use crate::openai::session::{has_receipt, took_effect};
use crate::openai::turn_request::TurnRequest;
use crate::openai::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};

/// Parameter that names the earlier response.
const PARAM: &str = "previous_response_id";

/// Where the conversation goes on.
pub(super) enum Continuation {
    /// In the session of the earlier response.
    Session,
    /// In a session of its own, which begins with this past.
    Branch(ThreadSeed),
}

impl Continuation {
    /// Decides where an input behind an earlier response goes.
    pub(super) async fn behind(
        previous: &StoredResponse<'_>,
        request: &TurnRequest<'_>,
    ) -> OpenAiResult<Self> {
        let session = &previous.session.id;
        if took_effect(request, session).await? {
            return Ok(Self::Session);
        }
        let mut run = previous.follow().await?;
        run.catch_up().await?;
        let (is_ended, seen, awaited) = (run.is_ended(), run.seen(), run.awaited_calls());
        let (turn, input) = (run.turn().cloned(), run.input().cloned());
        drop(run);
        // The answer to one of its calls was a newer response.
        for call in &awaited {
            if has_receipt(request, session, &call_answer_id(call)?).await? {
                return Self::branch(previous, request, seen).await;
            }
        }
        let after = if is_ended { seen } else { previous.id.place.before };
        let later = LaterRecords::read(previous, after, turn.as_ref(), input.as_ref()).await?;
        if later.has_inputs {
            if is_ended {
                return Self::branch(previous, request, after).await;
            }
            let message = "the response has not ended, and its session has a newer input; wait \
                           for its end, or name the session instead";
            let refusal =
                OpenAiRefusal::of_request(StatusCode::CONFLICT, "response_not_ended", message);
            return Err(refusal.about(PARAM));
        }
        let is_open = turn.is_some() && !later.has_turn_ended;
        if let Some(call) = awaited.iter().find(|call| !later.returned.contains(*call))
            && is_open
        {
            let id = previous.id.call(call).id();
            let message = format!("there is no output for function call {id} in the input");
            return Err(OpenAiRefusal::of_param("input", message));
        }
        Ok(Self::Session)
    }

    async fn branch(
        previous: &StoredResponse<'_>,
        request: &TurnRequest<'_>,
        through: Seq,
    ) -> OpenAiResult<Self> {
        let user = &request.caller.user;
        let seed = past_through(request.rest, user, &previous.session, through).await?;
        Ok(Self::Branch(seed))
    }
}

/// Later events of a session: those behind a response.
#[derive(Default)]
struct LaterRecords {
    /// Whether clients of this API said something more.
    has_inputs: bool,
    /// Whether the response's turn ended.
    has_turn_ended: bool,
    /// Calls of its turn that returned.
    returned: HashSet<CallId>,
    /// Inputs of clients of this API whose turn has not begun.
    waiting: Vec<ItemId>,
}

impl LaterRecords {
    /// Reads what is behind a position. `turn` and `input` are the response's own.
    async fn read(
        response: &StoredResponse<'_>,
        mut after: Seq,
        turn: Option<&TurnId>,
        input: Option<&ItemId>,
    ) -> OpenAiResult<Self> {
        let mut later = Self::default();
        while !later.has_inputs {
            let records = response.records(after).await?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in records {
                later.take(record, turn, input);
            }
        }
        later.has_inputs |= !later.waiting.is_empty();
        Ok(later)
    }

    fn take(&mut self, record: Record, turn: Option<&TurnId>, input: Option<&ItemId>) {
        let is_of_turn = turn.is_some() && record.turn.as_ref() == turn;
        match record.event {
            Event::Input(InputEvent::UserMessage { item, from, .. }) => {
                if from.as_deref() != Some(CLIENT_NAME) || input == Some(&item) || is_of_turn {
                    return;
                }
                if record.turn.is_some() {
                    self.has_inputs = true;
                } else {
                    self.waiting.push(item);
                }
            }
            Event::Input(InputEvent::Withdrawn { input }) => {
                self.waiting.retain(|item| *item != input);
            }
            Event::Turn(TurnEvent::Started { input }) => {
                self.has_inputs |= self.waiting.contains(&input);
            }
            Event::Turn(TurnEvent::ToolReturned { call, .. }) if is_of_turn => {
                self.returned.insert(call);
            }
            Event::Turn(TurnEvent::Ended { .. }) if is_of_turn => self.has_turn_ended = true,
            Event::Session(_) | Event::Turn(_) | Event::Other(_) => {}
        }
    }
}
