//! What a turn's prompts are made of: the past, as far as there is room, and what the turn brought.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Input, Turn};
use thoughtwire_proto::{Compaction, Event, Record, Seq, Timestamp, Usage};

use crate::compaction;
use crate::history;
use crate::model::Model;
use crate::prompt::Chat;

/// Records read back at once.
const PAGE: usize = 100;
/// What is left of a tool's result in a turn that itself grows too long, in tokens.
const OLD_RESULT_TOKENS: usize = 50;

/// The conversation as a turn's prompts have it.
pub(crate) struct Context {
    /// The past, then the turn.
    pub(crate) chat: Vec<Chat>,
    /// Where in `chat` the turn begins.
    pub(crate) turn_from: usize,
    /// Where the turn's own input stands in the log, and when it came.
    pub(crate) asked: Option<(Seq, Timestamp)>,
    compaction: Option<Compaction>,
    summary: Option<String>,
}

impl Context {
    /// Reads the past of a turn, at most about `tokens` of it, and puts the turn behind it.
    pub(crate) async fn read(turn: &Turn, tokens: usize) -> Result<(Self, Past), AgentError> {
        let (compaction, summary) = match turn.compaction {
            Some(compaction) => (Some(compaction), summary_at(turn, compaction.seq).await?),
            None => (None, None),
        };
        let mut context = Self { chat: Vec::new(), turn_from: 0, asked: None, compaction, summary };
        let (records, past) = context.newest(turn, tokens).await?;
        let own = |event: &Event| matches!(event, Event::UserMessage { item, .. } if *item == turn.input.item);
        context.asked = records.iter().rev().find(|record| own(&record.event)).map(|record| (record.seq, record.at));
        context.lay(&records, Seq::ZERO, tokens);
        if turn.waiting.is_empty() {
            context.hear(std::slice::from_ref(&turn.input));
        } else {
            let so_far = turn.so_far().await?;
            context.hear(std::slice::from_ref(&turn.input));
            context.chat.extend(history::chat(&so_far));
        }
        Ok((context, past))
    }

    /// Puts inputs behind what was said.
    pub(crate) fn hear(&mut self, inputs: &[Input]) {
        self.chat.extend(inputs.iter().map(|input| history::heard(&input.text, &input.attachments)));
    }

    pub(crate) fn tokens(&self) -> usize {
        self.chat.iter().map(Chat::tokens).sum()
    }

    /// Makes room: sums up the past but for its newest part, and shortens what still does not fit.
    /// Tells what the model's work cost.
    pub(crate) async fn shrink(&mut self, turn: &Turn, models: &[Arc<dyn Model>], tokens: usize) -> Result<Usage, AgentError> {
        let own: usize = self.chat.iter().skip(self.turn_from).map(Chat::tokens).sum();
        let past: usize = self.chat.iter().take(self.turn_from).map(Chat::tokens).sum();
        let keep = tokens.saturating_sub(own) / 2;
        let (records, _) = self.newest(turn, keep).await?;
        let first_kept = first_turn(&records, keep).unwrap_or(turn.started());
        let until = Seq(first_kept.0.saturating_sub(1));
        let after = self.compaction.map_or(Seq::ZERO, |compaction| compaction.through);
        let mut usage = Usage::default();
        // A past that is hardly there is not what takes up the room.
        if until > after && past > keep.max(tokens / 8) {
            turn.interface.status("Summing up the older part of our conversation…").await?;
            let part = (tokens / 2).max(200);
            if let Some(done) = compaction::compact(turn, models, self.summary.clone(), after, until, part).await? {
                turn.interface.compacted(done.summary.clone(), done.through).await?;
                // Its own place in the log does not matter here: what counts is what it covers.
                self.compaction = Some(Compaction { seq: turn.started(), through: done.through });
                self.summary = Some(done.summary);
                usage = done.usage;
            }
        }
        let turns_own = self.chat.split_off(self.turn_from);
        self.lay(&records, until, keep.max(1));
        self.chat.extend(turns_own);
        self.shorten(tokens);
        Ok(usage)
    }

    /// Lays the past out anew, from behind a position on.
    fn lay(&mut self, records: &[Record], after: Seq, tokens: usize) {
        let through = self.compaction.map_or(Seq::ZERO, |compaction| compaction.through).max(after);
        let mut chat = history::fit(history::clip(history::chat_after(records, through), (tokens / 4).max(50)), tokens);
        if let Some(summary) = &self.summary {
            chat.insert(0, Chat::Note(format!("What came before, in short: {summary}")));
        }
        self.turn_from = chat.len();
        self.chat = chat;
    }

    /// Shortens the turn's own results, the oldest first, and at last everything, until it fits.
    fn shorten(&mut self, tokens: usize) {
        let mut used = self.tokens();
        let newest = self.chat.len().saturating_sub(2);
        for entry in self.chat.iter_mut().take(newest).skip(self.turn_from) {
            if used <= tokens {
                return;
            }
            if matches!(entry, Chat::Returned { .. }) {
                used -= entry.tokens();
                history::clip_one(entry, OLD_RESULT_TOKENS);
                used += entry.tokens();
            }
        }
        let mut most = tokens / 4;
        while self.tokens() > tokens && most > OLD_RESULT_TOKENS {
            self.chat = history::clip(std::mem::take(&mut self.chat), most);
            most /= 2;
        }
    }

    /// The newest records before the turn that are not summed up yet, about so many tokens of them.
    async fn newest(&self, turn: &Turn, tokens: usize) -> Result<(Vec<Record>, Past), AgentError> {
        let through = self.compaction.map_or(Seq::ZERO, |compaction| compaction.through);
        let mut records = turn.history(PAGE).await?;
        loop {
            let Some(first) = records.first().map(|record| record.seq) else { return Ok((records, Past::Whole)) };
            // An input that waited through the summary is read with it: its turn may have begun behind.
            if first.0 <= through.0 + 1 {
                return Ok((records, Past::Whole));
            }
            if history::tokens(&records) > tokens {
                return Ok((records, Past::Part));
            }
            let mut older = turn.records_before(first, PAGE).await?;
            if older.is_empty() {
                return Ok((records, Past::Whole));
            }
            older.append(&mut records);
            records = older;
        }
    }
}

/// Whether all of the past that no summary covers was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    Whole,
    Part,
}

async fn summary_at(turn: &Turn, seq: Seq) -> Result<Option<String>, AgentError> {
    let records = turn.records_after(Seq(seq.0.saturating_sub(1)), 1).await?;
    Ok(records.into_iter().find_map(|record| if let Event::Compacted { summary, .. } = record.event { Some(summary) } else { None }))
}

/// Where the newest turns begin that together make at most so many tokens.
fn first_turn(records: &[Record], tokens: usize) -> Option<Seq> {
    let starts = records.iter().enumerate().filter(|(_, record)| matches!(record.event, Event::TurnStarted { .. }));
    let fitting = starts.filter(|(at, _)| history::tokens(records.get(*at..).unwrap_or_default()) <= tokens);
    fitting.map(|(_, record)| record.seq).min()
}
