//! Texts of a turn that an interruption has cut, and that its worker may continue.

use std::collections::BTreeMap;

use thoughtwire_proto::{Event, ItemId, Record, Refusal, RefusalCode, StreamKind, TurnEvent};

/// The cut thoughts and messages of one turn.
#[derive(Debug, Default)]
pub(super) struct CutItems(BTreeMap<ItemId, StreamKind>);

impl CutItems {
    /// Reads the records of a turn.
    pub(super) fn read(so_far: &[Record]) -> Self {
        let cut = so_far.iter().filter_map(|record| match &record.event {
            Event::Turn(TurnEvent::Thought { item, complete: false, .. }) => {
                Some((item.clone(), StreamKind::Thought))
            }
            Event::Turn(TurnEvent::Message { item, complete: false, .. }) => {
                Some((item.clone(), StreamKind::Message))
            }
            Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => None,
        });
        Self(cut.collect())
    }

    /// Checks the item that a text of this kind continues.
    ///
    /// # Errors
    /// `bad_request` unless it is a cut item of the same kind.
    pub(super) fn check(
        &self,
        kind: StreamKind,
        continues: Option<&ItemId>,
    ) -> Result<(), Refusal> {
        match continues {
            Some(item) if self.0.get(item) != Some(&kind) => {
                let reason = format!(
                    "{item} is no cut {} of this turn: `continues` must name one, or be absent",
                    match kind {
                        StreamKind::Thought => "thought",
                        StreamKind::Message => "message",
                        StreamKind::ToolArgs => "text",
                    }
                );
                Err(Refusal::new(RefusalCode::BadRequest, reason))
            }
            Some(_) | None => Ok(()),
        }
    }
}
