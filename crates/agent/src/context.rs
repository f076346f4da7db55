//! What a turn's prompts are made of: the past, as far as there is room, and what the turn brought.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Input, Turn};
use thoughtwire_proto::{Compaction, Seq, Timestamp, Usage};

use crate::compaction;
use crate::history;
use crate::model::Model;
use crate::past::Past;
use crate::pasts::Pasts;
use crate::prompt::Chat;

/// What is left of a tool's result in a turn that itself grows too long, in tokens.
const OLD_RESULT_TOKENS: usize = 50;

/// The conversation as a turn's prompts have it.
pub(crate) struct Context {
    /// The past, then the turn.
    pub(crate) chat: Vec<Arc<Chat>>,
    /// Where in `chat` the turn begins.
    pub(crate) turn_from: usize,
    /// Where the turn's own input stands in the log, and when it came.
    pub(crate) asked: Option<(Seq, Timestamp)>,
    past: Past,
    pasts: Arc<Pasts>,
}

impl Context {
    /// Goes on from the past that was kept, or reads it, at most about `tokens` of it, and puts the turn behind it.
    pub(crate) async fn read(
        turn: &Turn,
        tokens: usize,
        pasts: Arc<Pasts>,
    ) -> Result<Self, AgentError> {
        let kept = match pasts.take(&turn.session) {
            Some(kept) => kept.go_on(turn).await?,
            None => None,
        };
        let past = match kept {
            Some(past) => past,
            None => Past::read(turn, tokens).await?,
        };
        let asked = past.asked(&turn.input.item);
        let mut context = Self { chat: Vec::new(), turn_from: 0, asked, past, pasts };
        // One that overflows is summed up first: kept as it is, it would only grow.
        if !context.overflows(turn, tokens) {
            context.keep(turn);
        }
        context.lay(tokens);
        context.hear(std::slice::from_ref(&turn.input));
        if !turn.waiting.is_empty() {
            let so_far = turn.so_far().await?;
            let kept = history::kept_replies(turn.kept(turn.started(), Seq(u64::MAX)).await?);
            context.chat.extend(history::so_far(&so_far, &kept));
        }
        Ok(context)
    }

    /// Whether the past has more than there is room for, so that it has to be summed up.
    pub(crate) fn overflows(&self, turn: &Turn, tokens: usize) -> bool {
        !self.past.is_whole(turn) || self.past.tokens() > tokens
    }

    /// Keeps the past for the session's next turn, if it is one to go on from.
    fn keep(&self, turn: &Turn) {
        if self.past.is_whole(turn) {
            self.pasts.keep(&turn.session, self.past.clone());
        }
    }

    /// Puts inputs behind what was said.
    pub(crate) fn hear(&mut self, inputs: &[Input]) {
        self.chat.extend(
            inputs.iter().map(|input| Arc::new(history::heard(&input.text, &input.attachments))),
        );
    }

    pub(crate) fn tokens(&self) -> usize {
        self.chat.iter().map(|entry| entry.tokens()).sum()
    }

    /// Makes room: sums up the past but for its newest part, and shortens what still does not fit.
    /// Tells what the model's work cost.
    pub(crate) async fn shrink(
        &mut self,
        turn: &Turn,
        models: &[Arc<dyn Model>],
        tokens: usize,
        context_window: usize,
    ) -> Result<Usage, AgentError> {
        let own: usize = self.chat.iter().skip(self.turn_from).map(|entry| entry.tokens()).sum();
        let past: usize = self.chat.iter().take(self.turn_from).map(|entry| entry.tokens()).sum();
        let keep = tokens.saturating_sub(own) / 2;
        let first_kept = self.past.newest(keep).unwrap_or(turn.started());
        let until = Seq(first_kept.0.saturating_sub(1));
        let after = self.past.compaction().map_or(Seq::ZERO, |compaction| compaction.through);
        let mut usage = Usage::default();
        // A past that is hardly there is not what takes up the room.
        if until > after && past > keep.max(tokens / 8) {
            turn.interface.status("Summing up the older part of our conversation…").await?;
            let part = (tokens / 2).max(200);
            let before = self.past.summary().map(str::to_owned);
            if let Some(done) =
                compaction::compact(turn, models, before, after..=until, part, context_window)
                    .await?
            {
                let seq = turn.interface.compacted(done.summary.clone(), done.through).await?;
                self.past.sum_up(Compaction { seq, through: done.through }, &done.summary);
                usage = done.usage;
            }
        }
        self.past.begin_at(first_kept);
        self.keep(turn);
        let turns_own = self.chat.split_off(self.turn_from);
        self.lay(keep.max(1));
        self.chat.extend(turns_own);
        self.shorten(tokens);
        Ok(usage)
    }

    /// Lays the past out anew.
    fn lay(&mut self, tokens: usize) {
        let mut chat = history::fit(history::clip(self.past.chat(), (tokens / 4).max(50)), tokens);
        if let Some(summary) = self.past.summary() {
            chat.insert(0, Arc::new(Chat::Note(format!("What came before, in short: {summary}"))));
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
            if matches!(**entry, Chat::Returned { .. }) {
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
}
