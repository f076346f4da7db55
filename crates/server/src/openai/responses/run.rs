//! A response under way.

use std::ops::ControlFlow;

use axum::response::sse::Event as SseEvent;
use futures::Stream;
use serde_json::Value;
use thoughtwire_hub::Hub;
use thoughtwire_proto::{
    AgentProfile, CallId, ItemId, Refusal, Seq, SessionCommand, SessionId, TurnId, UserId,
};

use super::encode::ResponseEncoder;
use super::events::ResponseEvent;
use crate::access::Identity;
use crate::endpoint::{SseEvents, StreamCut, TurnEvents, TurnReader, TurnStep, turn_stream};
use crate::rest::RestState;

/// Model of agents that workers run. Their items may overlap, so that only their events tell in
/// which order they are.
const OFFERED: &str = "offered";

/// A response that is followed to its end.
pub(super) struct ResponseRun {
    hub: Hub,
    user: UserId,
    session: SessionId,
    reader: TurnReader,
    encoder: ResponseEncoder,
    /// Whether texts are sent before their events. What is sent is on disk then.
    is_live: bool,
}

impl ResponseRun {
    pub(super) fn new(
        rest: &RestState,
        caller: &Identity,
        reader: TurnReader,
        encoder: ResponseEncoder,
        agent: &AgentProfile,
    ) -> Self {
        Self {
            hub: rest.hub.clone(),
            user: caller.user.clone(),
            session: reader.session().clone(),
            reader,
            encoder,
            is_live: agent.spec.model.as_deref() != Some(OFFERED),
        }
    }

    /// Whether the response ended, as far as it was read.
    pub(super) fn is_ended(&self) -> bool {
        self.encoder.is_ended()
    }

    /// Its turn, once it has started.
    pub(super) fn turn(&self) -> Option<&TurnId> {
        self.reader.turn()
    }

    /// Its input, once it was read.
    pub(super) fn input(&self) -> Option<&ItemId> {
        self.reader.input()
    }

    /// Position of the last record that was read.
    pub(super) fn seen(&self) -> Seq {
        self.reader.seen()
    }

    /// Calls that the client was asked to run, if the response waits for them.
    pub(super) fn awaited_calls(&self) -> Vec<CallId> {
        self.reader.awaited_calls()
    }

    /// Takes what is there, without waiting.
    pub(super) async fn catch_up(&mut self) -> Result<(), Refusal> {
        while !self.encoder.is_ended() {
            let step = self.reader.next().await?;
            let is_quiet = matches!(step, TurnStep::Quiet);
            self.encoder.take(step);
            if is_quiet {
                break;
            }
        }
        Ok(())
    }

    /// The command that cancels the response; `None` if it has ended.
    pub(super) fn cancel_command(&self) -> Option<SessionCommand> {
        if self.encoder.is_ended() {
            return None;
        }
        match (self.reader.turn(), self.reader.input()) {
            (Some(turn), _) => Some(SessionCommand::Cancel { turn: Some(turn.clone()) }),
            (None, Some(input)) => Some(SessionCommand::Withdraw { input: input.clone() }),
            (None, None) => None,
        }
    }

    /// The response as it is now.
    pub(super) async fn snapshot(mut self) -> Result<Value, Refusal> {
        self.catch_up().await?;
        let is_queued = self.reader.turn().is_none();
        Ok(self.encoder.object(if is_queued { "queued" } else { "in_progress" }))
    }

    /// The response at its end.
    pub(super) async fn whole(mut self) -> Result<Value, Refusal> {
        while !self.encoder.is_ended() {
            let step = self.reader.next().await?;
            self.encoder.take(step);
        }
        Ok(self.encoder.object("completed"))
    }

    /// Takes the next step. Text of an open item is shown once it is on disk.
    async fn advance(&mut self) -> Result<Vec<ResponseEvent>, Refusal> {
        let step = self.reader.next().await?;
        let is_quiet = matches!(step, TurnStep::Quiet);
        self.encoder.take(step);
        if is_quiet
            && self.is_live
            && let Some(live) = self.encoder.piece_to_save()
        {
            match self.hub.save_open_text(&self.user, &self.session).await {
                Ok(()) => self.encoder.saved(&live),
                // The disk does not take it now, or the node that has the session is gone.
                Err(_) => self.is_live = false,
            }
        }
        Ok(self.encoder.take_events())
    }

    /// The events of the response, those behind a position if one is given. They end with the
    /// response. If the server stops before that, the stream breaks off, and goes on after the
    /// start with the last position that the client has.
    pub(super) fn stream(
        self,
        starting_after: Option<u64>,
    ) -> impl Stream<Item = Result<SseEvent, StreamCut>> + Send + use<> {
        turn_stream(ResponseEvents { run: self, starting_after })
    }
}

/// The events of a response behind a position.
struct ResponseEvents {
    run: ResponseRun,
    starting_after: Option<u64>,
}

impl TurnEvents for ResponseEvents {
    async fn next_events(&mut self) -> ControlFlow<SseEvents, SseEvents> {
        let events = match self.run.advance().await {
            Ok(events) => events,
            Err(refusal) => return ControlFlow::Break(vec![Err(StreamCut(refusal.reason))]),
        };
        let is_new =
            |event: &&ResponseEvent| self.starting_after.is_none_or(|after| event.number > after);
        let events = events.iter().filter(is_new).map(|event| Ok(show(event))).collect();
        if self.run.is_ended() { ControlFlow::Break(events) } else { ControlFlow::Continue(events) }
    }
}

fn show(event: &ResponseEvent) -> SseEvent {
    SseEvent::default().event(event.kind).data(event.body.to_string())
}
