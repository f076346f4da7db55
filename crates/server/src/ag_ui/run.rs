//! A run under way.

use axum::response::sse::Event as SseEvent;
use futures::{Stream, StreamExt as _};
use thoughtwire_hub::Hub;
use thoughtwire_proto::{Refusal, RefusalCode, UserId};

use super::encode::RunEncoder;
use super::event::AgUiEvent;
use crate::access::Identity;
use crate::endpoint::{StreamCut, TurnReader, TurnStep};
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
        beginning: Vec<AgUiEvent>,
    ) -> impl Stream<Item = Result<SseEvent, StreamCut>> + Send + use<> {
        let steps = futures::stream::unfold(Some(Box::new(self)), |run| async move {
            let mut run = run?;
            match run.advance().await {
                Ok(events) => {
                    let is_ended = run.encoder.is_ended();
                    Some((Ok(events), (!is_ended).then_some(run)))
                }
                Err(refusal) => Some((failed(refusal), None)),
            }
        });
        let beginning = futures::stream::iter([Ok(beginning)]);
        beginning.chain(steps).flat_map(|events| {
            let events: Vec<_> = match events {
                Ok(events) => events.iter().map(|event| Ok(event.encode())).collect(),
                Err(cut) => vec![Err(cut)],
            };
            futures::stream::iter(events)
        })
    }
}

/// The end of a stream whose turn cannot be followed. A turn that goes on elsewhere is no error of
/// the run: the stream breaks off.
fn failed(refusal: Refusal) -> Result<Vec<AgUiEvent>, StreamCut> {
    if matches!(refusal.code, RefusalCode::Stopping | RefusalCode::Moved) {
        return Err(StreamCut(refusal.reason));
    }
    let (message, code) = (refusal.reason, Some(refusal.code.as_str().to_owned()));
    Ok(vec![AgUiEvent::RunError { message, code, usage: Vec::new() }])
}
