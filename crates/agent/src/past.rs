//! A session's past as its prompts have it: read back once, and from then on only what is new.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{Compaction, Event, ItemId, Record, Seq, SessionEvent, Timestamp};

use crate::history::{self, Inputs, KeptReplies, Part, Told, Waiting};
use crate::prompt::Chat;

/// Records read back at first; if more are needed, twice as many, and so on.
const PAGE: usize = 100;
/// How many records are looked through for the input of a turn that waited long.
const SEARCHED: usize = 2_000;
/// Records behind a kept past beyond which it is not worth going on from: the newest of them may do.
const BEHIND: u64 = 1_000;

/// What happened in a session up to a turn, as far as no summary covers it.
///
/// Invariant: it is made of committed records, which never change. So one that was kept is right for
/// every later turn whose past begins at the same position with the same summary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Past {
    /// Everything behind this position is in it,
    after: Seq,
    /// up to this one.
    through: Seq,
    /// The newest summary of what stands before, and what it says.
    compaction: Option<Compaction>,
    summary: Option<Arc<str>>,
    told: Vec<Arc<Told>>,
    waiting: Waiting,
}

impl Past {
    /// Reads it from the log, the newest first, until there is all of it or more than `tokens`.
    pub(crate) async fn read(turn: &Turn, tokens: usize) -> Result<Self, AgentError> {
        let covered = beginning(turn.compaction, turn);
        let summary = match turn.compaction {
            Some(compaction) => summary_at(turn, compaction.seq).await?,
            None => None,
        };
        let mut records = turn.history(PAGE).await?;
        let kept = history::kept_replies(turn.kept(covered, turn.started()).await?);
        loop {
            let (told, waiting) = (Vec::new(), Waiting::new());
            let mut past = Self {
                after: covered,
                through: covered,
                compaction: turn.compaction,
                summary: summary.clone(),
                told,
                waiting,
            };
            let inputs = past.take(&records, &kept);
            let Some(first) = records.first().map(|record| record.seq) else { return Ok(past) };
            let is_whole = first.0 <= covered.0 + 1;
            let has_inputs = inputs == Inputs::Known && past.asked(&turn.input.item).is_some();
            if (is_whole || past.tokens() > tokens) && (has_inputs || records.len() >= SEARCHED) {
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

    /// Goes on from what an earlier turn of the session had; nothing when that is not this turn's past.
    pub(crate) async fn go_on(mut self, turn: &Turn) -> Result<Option<Self>, AgentError> {
        let is_near = self.through < turn.started() && turn.started().0 - self.through.0 <= BEHIND;
        if self.compaction != turn.compaction
            || self.after != beginning(turn.compaction, turn)
            || !is_near
        {
            return Ok(None);
        }
        let records = turn.since(self.through).await?;
        let through = records.last().map_or(self.through, |record| record.seq);
        let kept = history::kept_replies(turn.kept(self.through, through).await?);
        self.take(&records, &kept);
        Ok(Some(self))
    }

    fn take(&mut self, records: &[Record], kept: &KeptReplies) -> Inputs {
        let (told, inputs) = history::tell(records, kept, self.after, &mut self.waiting);
        self.told.extend(told.into_iter().map(Arc::new));
        self.through = records.last().map_or(self.through, |record| record.seq);
        inputs
    }

    /// Whether it is all that happened behind the newest summary, or where the log begins.
    pub(crate) fn is_whole(&self, turn: &Turn) -> bool {
        self.after == beginning(self.compaction, turn)
    }

    pub(crate) fn tokens(&self) -> usize {
        self.told.iter().map(|told| told.tokens).sum()
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.told
            .iter()
            .map(|told| told.tokens * 4 + (told.chat.len() + 1) * size_of::<Chat>())
            .sum()
    }

    /// Where an input that waits stands in the log, and when it came.
    pub(crate) fn asked(&self, input: &ItemId) -> Option<(Seq, Timestamp)> {
        self.waiting.get(input).map(|input| (input.seq, input.at))
    }

    /// Where the newest turns begin that together make at most so many tokens.
    pub(crate) fn newest(&self, tokens: usize) -> Option<Seq> {
        let mut used = 0;
        let fitting = self.told.iter().rev().take_while(|told| {
            used += told.tokens;
            told.part == Part::Turn && used <= tokens
        });
        fitting.last().map(|told| told.from)
    }

    /// Leaves out the turns that began before a position.
    pub(crate) fn begin_at(&mut self, from: Seq) {
        self.told.retain(|told| told.from >= from);
        self.after = self.after.max(before(from));
    }

    /// Has a new summary of what stands before.
    pub(crate) fn sum_up(&mut self, compaction: Compaction, summary: &str) {
        self.compaction = Some(compaction);
        self.summary = Some(summary.into());
    }

    pub(crate) fn compaction(&self) -> Option<Compaction> {
        self.compaction
    }

    pub(crate) fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// All of it as a conversation.
    pub(crate) fn chat(&self) -> Vec<Arc<Chat>> {
        self.told.iter().flat_map(|told| told.chat.iter().cloned()).collect()
    }
}

/// The position behind which a turn's past begins: nobody but searches looks further back.
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
