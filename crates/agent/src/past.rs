//! A session's past as its prompts contain it. It is read once, then only extended.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{Compaction, Event, ItemId, Record, Seq, SessionEvent};

use crate::history::{self, HistoryPart, InputsFound, PartKind, PendingInputs, ProviderStates};
use crate::prompt::PromptEntry;

/// Number of records read at first. If more are needed, the number doubles.
const FIRST_PAGE: usize = 100;
/// Number of records searched for the input of a turn that waited long.
const MAX_SEARCHED: usize = 2_000;
/// Largest number of records behind a cached past that are worth reading. Beyond it, the past is
/// read again.
const MAX_BEHIND: u64 = 1_000;

/// The events of a session before a turn, as far as no summary covers them.
///
/// Invariant: it contains only committed records, which never change. A cached past is therefore
/// correct for every later turn whose past begins at the same position with the same summary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Past {
    /// Position before the first record of the past.
    after: Seq,
    /// Position of the last record of the past.
    through: Seq,
    /// The newest summary of the records before.
    compaction: Option<Compaction>,
    summary: Option<Arc<str>>,
    parts: Vec<Arc<HistoryPart>>,
    waiting: PendingInputs,
}

impl Past {
    /// Reads the past from the log, newest records first, until it is complete or has more than
    /// `tokens`.
    pub(crate) async fn read(turn: &Turn, tokens: usize) -> Result<Self, AgentError> {
        let covered = beginning(turn.compaction, turn);
        let summary = match turn.compaction {
            Some(compaction) => summary_at(turn, compaction.seq).await?,
            None => None,
        };
        let mut records = turn.history(FIRST_PAGE).await?;
        let kept = history::provider_states(turn.kept(covered, turn.started()).await?);
        loop {
            let (parts, waiting) = (Vec::new(), PendingInputs::new());
            let mut past = Self {
                after: covered,
                through: covered,
                compaction: turn.compaction,
                summary: summary.clone(),
                parts,
                waiting,
            };
            let inputs = past.take(&records, &kept);
            let Some(first) = records.first().map(|record| record.seq) else { return Ok(past) };
            let is_whole = first.0 <= covered.0 + 1;
            let has_inputs =
                inputs == InputsFound::Known && past.waiting_input(&turn.input.item).is_some();
            if (is_whole || past.tokens() > tokens) && (has_inputs || records.len() >= MAX_SEARCHED)
            {
                past.after = past.after.max(before(first));
                return Ok(past);
            }
            let mut older = turn.records_before(first, records.len()).await?;
            if older.is_empty() {
                return Ok(past);
            }
            older.append(&mut records);
            records = older;
        }
    }

    /// Extends a cached past of the session up to this turn. Absent if it is not this turn's past.
    pub(crate) async fn extend_to(mut self, turn: &Turn) -> Result<Option<Self>, AgentError> {
        let is_near =
            self.through < turn.started() && turn.started().0 - self.through.0 <= MAX_BEHIND;
        if self.compaction != turn.compaction
            || self.after != beginning(turn.compaction, turn)
            || !is_near
        {
            return Ok(None);
        }
        let records = turn.since(self.through).await?;
        let through = records.last().map_or(self.through, |record| record.seq);
        let kept = history::provider_states(turn.kept(self.through, through).await?);
        self.take(&records, &kept);
        Ok(Some(self))
    }

    fn take(&mut self, records: &[Record], kept: &ProviderStates) -> InputsFound {
        let (parts, inputs) = history::build(records, kept, self.after, &mut self.waiting);
        self.parts.extend(parts.into_iter().map(Arc::new));
        self.through = records.last().map_or(self.through, |record| record.seq);
        inputs
    }

    /// Whether it contains everything behind the newest summary, or everything in the log.
    pub(crate) fn is_whole(&self, turn: &Turn) -> bool {
        self.after == beginning(self.compaction, turn)
    }

    pub(crate) fn tokens(&self) -> usize {
        self.parts.iter().map(|part| part.tokens).sum()
    }

    /// Approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.parts
            .iter()
            .map(|part| part.tokens * 4 + (part.chat.len() + 1) * size_of::<PromptEntry>())
            .sum()
    }

    /// Position of a waiting input in the log.
    pub(crate) fn waiting_input(&self, input: &ItemId) -> Option<Seq> {
        self.waiting.get(input).map(|input| input.seq)
    }

    /// Position at which the newest turns begin that together have at most `tokens`.
    pub(crate) fn newest(&self, tokens: usize) -> Option<Seq> {
        let mut used = 0;
        let fitting = self.parts.iter().rev().take_while(|part| {
            used += part.tokens;
            part.kind == PartKind::Turn && used <= tokens
        });
        fitting.last().map(|part| part.from)
    }

    /// Removes the turns that began before a position.
    pub(crate) fn begin_at(&mut self, from: Seq) {
        self.parts.retain(|part| part.from >= from);
        self.after = self.after.max(before(from));
    }

    /// Replaces the summary of the records before.
    pub(crate) fn summarize(&mut self, compaction: Compaction, summary: &str) {
        self.compaction = Some(compaction);
        self.summary = Some(summary.into());
    }

    pub(crate) fn compaction(&self) -> Option<Compaction> {
        self.compaction
    }

    pub(crate) fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// The past as a conversation.
    pub(crate) fn chat(&self) -> Vec<Arc<PromptEntry>> {
        self.parts.iter().flat_map(|part| part.chat.iter().cloned()).collect()
    }
}

/// Position behind which a turn's past begins. Only searches read older records.
fn beginning(compaction: Option<Compaction>, turn: &Turn) -> Seq {
    compaction.map_or(Seq::ZERO, |compaction| compaction.through).max(before(turn.first()))
}

fn before(seq: Seq) -> Seq {
    Seq(seq.0.saturating_sub(1))
}

async fn summary_at(turn: &Turn, seq: Seq) -> Result<Option<Arc<str>>, AgentError> {
    let records = turn.records_after(before(seq), 1).await?;
    Ok(records.into_iter().find_map(|record| {
        if let Event::Session(SessionEvent::Compacted { summary, .. }) = record.event {
            Some(summary.into())
        } else {
            None
        }
    }))
}
