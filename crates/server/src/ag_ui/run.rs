//! A run under way.

use std::ops::ControlFlow;

use axum::response::sse::Event as SseEvent;
use futures::{Stream, StreamExt as _};
use thoughtwire_hub::Hub;
use thoughtwire_proto::{Refusal, RefusalCode, UserId};

use super::encode::RunEncoder;
use super::event::AgUiEvent;
use crate::access::Identity;
use crate::endpoint::{SseEvents, StreamCut, TurnEvents, TurnReader, TurnStep, turn_stream};
use crate::rest::RestState;

/// A run that is followed to its end.
pub(super) struct AgUiRun {
    hub: Hub,
    user: UserId,
    reader: TurnReader,
    encoder: RunEncoder,
    /// Whether texts are sent before their events. What is sent is on disk then.
    is_live: bool,
}

impl AgUiRun {
    pub(super) fn new(
        rest: &RestState,
        caller: &Identity,
        reader: TurnReader,
        encoder: RunEncoder,
    ) -> Self {
        let (hub, user) = (rest.hub.clone(), caller.user.clone());
        Self { hub, user, reader, encoder, is_live: true }
    }

    /// Takes the next step. Text of an open item is shown once it is on disk.
    async fn advance(&mut self) -> Result<Vec<AgUiEvent>, Refusal> {
        let step = self.reader.next().await?;
        let is_quiet = matches!(step, TurnStep::Quiet);
        self.encoder.take(step);
        if is_quiet && self.is_live && self.encoder.has_piece() {
            match self.hub.save_open_text(&self.user, self.reader.session()).await {
                Ok(()) => self.encoder.send_saved(),
                // Another node has the session, or the disk does not take it now.
                Err(_) => self.is_live = false,
            }
        }
        if is_quiet && !self.encoder.is_ended() {
            self.encoder.end_if_waiting();
        }
        Ok(self.encoder.take_events())
    }

    /// The events of the run, behind those of its beginning. If the server stops before the run
    /// ends, the stream breaks off, and the same request goes on after the start.
    pub(super) fn stream(
        self,
        beginning: &[AgUiEvent],
    ) -> impl Stream<Item = Result<SseEvent, StreamCut>> + Send + use<> {
        let beginning: SseEvents = beginning.iter().map(|event| Ok(event.encode())).collect();
        futures::stream::iter(beginning).chain(turn_stream(self))
    }
}

impl TurnEvents for AgUiRun {
    async fn next_events(&mut self) -> ControlFlow<SseEvents, SseEvents> {
        match self.advance().await {
            Ok(events) => {
                let events = events.iter().map(|event| Ok(event.encode())).collect();
                if self.encoder.is_ended() {
                    ControlFlow::Break(events)
                } else {
                    ControlFlow::Continue(events)
                }
            }
            Err(refusal) => ControlFlow::Break(vec![failed(refusal)]),
        }
    }
}

/// The end of a stream whose turn cannot be followed. A turn that goes on elsewhere is no error of
/// the run: the stream breaks off.
fn failed(refusal: Refusal) -> Result<SseEvent, StreamCut> {
    if matches!(refusal.code, RefusalCode::Stopping | RefusalCode::Moved) {
        return Err(StreamCut(refusal.reason));
    }
    let (message, code) = (refusal.reason, Some(refusal.code.as_str().to_owned()));
    Ok(AgUiEvent::RunError { message, code, usage: Vec::new() }.encode())
}
