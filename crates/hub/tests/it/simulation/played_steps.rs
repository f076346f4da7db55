//! Steps that a turn of the simulation's agent had taken before an interruption, by its records.

use std::collections::HashMap;

use thoughtwire_proto::{CallId, Decision, Event, ItemId, OpenCall, Record, TurnEvent};

/// Argument of a call with the place of its step in the script.
pub(crate) const STEP: &str = "step";

/// Reads the place in a script from the records of its turn.
#[derive(Default)]
pub(crate) struct PlayedSteps {
    /// The furthest step that left something in the log.
    pub(crate) step: Option<usize>,
    /// The text of that step, if it was cut and not continued to its end.
    pub(crate) cut: Option<CutStep>,
    /// The newest decision about each call.
    pub(crate) decisions: HashMap<CallId, Decision>,
    calls: HashMap<CallId, usize>,
    /// Number of whole items by step.
    whole: HashMap<usize, u64>,
}

/// A text that was cut, joined with its continuations.
pub(crate) struct CutStep {
    /// The last of its items.
    pub(crate) item: ItemId,
    pub(crate) text: String,
}

impl PlayedSteps {
    pub(crate) fn new(records: &[Record]) -> Self {
        let mut past = Self::default();
        for record in records {
            let Event::Turn(event) = &record.event else { continue };
            match event {
                TurnEvent::ToolCalled { call, args, .. } => {
                    let step = args.get(STEP).and_then(serde_json::Value::as_u64);
                    if let Some(step) = step.and_then(|step| usize::try_from(step).ok()) {
                        past.reaches(step);
                        past.calls.insert(call.clone(), step);
                    }
                }
                TurnEvent::ApprovalSettled { call, decision, .. } => {
                    past.decisions.insert(call.clone(), *decision);
                }
                TurnEvent::Thought { item, text, complete, continues }
                | TurnEvent::Message { item, text, complete, continues } => {
                    past.says(item, text, *complete, continues.as_ref());
                }
                TurnEvent::Started { .. }
                | TurnEvent::Resumed { .. }
                | TurnEvent::ToolRetried { .. }
                | TurnEvent::ApprovalAsked { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::ToolReturned { .. }
                | TurnEvent::Usage(_)
                | TurnEvent::Ended { .. } => {}
            }
        }
        past
    }

    fn says(&mut self, item: &ItemId, text: &str, complete: bool, continues: Option<&ItemId>) {
        if let (Some(continued), Some(cut)) = (continues, &mut self.cut)
            && cut.item == *continued
        {
            cut.text.push_str(text);
            cut.item = item.clone();
            if complete {
                self.cut = None;
            }
            return;
        }
        let Some(step) = text.split(':').nth(1).and_then(|step| step.parse().ok()) else { return };
        self.reaches(step);
        if complete {
            *self.whole.entry(step).or_default() += 1;
        } else if self.step == Some(step) {
            self.cut = Some(CutStep { item: item.clone(), text: text.to_owned() });
        }
    }

    fn reaches(&mut self, step: usize) {
        if self.step.is_none_or(|before| before < step) {
            (self.step, self.cut) = (Some(step), None);
        }
    }

    /// The open call of a step.
    pub(crate) fn open_call<'c>(&self, open: &'c [OpenCall], step: usize) -> Option<&'c OpenCall> {
        open.iter().find(|open| self.calls.get(&open.call) == Some(&step))
    }

    /// Number of whole items of a step.
    pub(crate) fn messages_at(&self, step: usize) -> u64 {
        self.whole.get(&step).copied().unwrap_or(0)
    }
}
