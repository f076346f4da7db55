//! The prompt context of a turn: as much of the past as fits, and the turn's own entries.

use std::sync::Arc;

use thoughtwire_hub::{AgentError, Input, Turn};
use thoughtwire_proto::{Compaction, Seq, Style, Usage};

use crate::compaction;
use crate::history::{self, TurnPast};
use crate::model::LanguageModel;
use crate::past::Past;
use crate::past_cache::PastCache;
use crate::prompt::PromptEntry;
use crate::resuming::{CutKind, CutText};

/// Length to which old tool results are shortened when the turn itself is too long, in tokens.
const OLD_RESULT_TOKENS: usize = 50;

/// The conversation as the turn's prompts contain it.
pub(crate) struct PromptContext {
    /// The past, then the turn.
    pub(crate) chat: Vec<Arc<PromptEntry>>,
    /// Index in `chat` at which the turn begins.
    pub(crate) turn_from: usize,
    /// Position of the turn's own input in the log.
    pub(crate) turn_input: Option<Seq>,
    past: Past,
    past_cache: Arc<PastCache>,
}

impl PromptContext {
    /// Builds the context: takes the cached past, or reads at most about `tokens` of it, and
    /// appends the turn with what it had written before an interruption.
    pub(crate) async fn read(
        turn: &Turn,
        turn_past: Option<&TurnPast>,
        tokens: usize,
        past_cache: Arc<PastCache>,
    ) -> Result<Self, AgentError> {
        let kept = match past_cache.take(&turn.session) {
            Some(kept) => kept.extend_to(turn).await?,
            None => None,
        };
        let past = match kept {
            Some(past) => past,
            None => Past::read(turn, tokens).await?,
        };
        let turn_input = past.waiting_input(&turn.input.item);
        let mut context = Self { chat: Vec::new(), turn_from: 0, turn_input, past, past_cache };
        // A past that overflows is compacted first, because in the cache it would only grow.
        if !context.overflows(turn, tokens) {
            context.keep(turn);
        }
        context.rebuild_past(tokens);
        context.add_inputs(std::slice::from_ref(&turn.input));
        if let Some(TurnPast { records, states, .. }) = turn_past {
            context.chat.extend(history::turn_entries(records, states));
        }
        Ok(context)
    }

    /// Whether the past needs more than `tokens`, so that it has to be compacted.
    pub(crate) fn overflows(&self, turn: &Turn, tokens: usize) -> bool {
        !self.past.is_whole(turn) || self.past.tokens() > tokens
    }

    /// Caches the past for the session's next turn, if it is complete.
    fn keep(&self, turn: &Turn) {
        if self.past.is_whole(turn) {
            self.past_cache.keep(&turn.session, self.past.clone());
        }
    }

    /// Appends inputs to the conversation.
    pub(crate) fn add_inputs(&mut self, inputs: &[Input]) {
        self.chat.extend(
            inputs
                .iter()
                .map(|input| Arc::new(history::user_entry(&input.text, &input.attachments))),
        );
    }

    /// Asks for the rest of a text that an interruption has cut, behind that text. The prompt
    /// has at most `bytes` of the text.
    pub(crate) fn ask_for_rest(&mut self, cut: &CutText, style: Style, bytes: usize) {
        let shown = cut.shown(bytes);
        self.chat.pop_if(|entry| match &**entry {
            PromptEntry::Thought(text) | PromptEntry::Message(text) => *text == cut.text,
            PromptEntry::Note(_)
            | PromptEntry::User(_)
            | PromptEntry::ProviderState(_)
            | PromptEntry::Called { .. }
            | PromptEntry::Returned { .. } => false,
        });
        let note = PromptEntry::Note(cut.note(style).to_owned());
        let text = match cut.kind {
            CutKind::Monologue => PromptEntry::Thought(shown),
            CutKind::Message => PromptEntry::Message(shown),
        };
        self.chat.extend([Arc::new(text), Arc::new(note)]);
    }

    /// Takes out the inputs that joined the turn in front of its newest texts, so that they can
    /// stand behind those.
    pub(crate) fn take_joined(&mut self) -> Vec<Arc<PromptEntry>> {
        let is_text = |entry: &Arc<PromptEntry>| {
            matches!(**entry, PromptEntry::Thought(_) | PromptEntry::Message(_))
        };
        let is_input = |entry: &Arc<PromptEntry>| matches!(**entry, PromptEntry::User(_));
        let texts = self.chat.iter().rev().take_while(|entry| is_text(entry)).count();
        let end = self.chat.len() - texts;
        let joined = self.chat.iter().take(end).rev().take_while(|entry| is_input(entry)).count();
        // The first entry of the turn is its own input.
        let start = (end - joined).max(self.turn_from + 1).min(end);
        self.chat.drain(start..end).collect()
    }

    /// Appends a message of the agent.
    pub(crate) fn add_message(&mut self, text: &str) {
        self.chat.push(Arc::new(PromptEntry::Message(text.to_owned())));
    }

    /// Appends entries that are shared already.
    pub(crate) fn extend(&mut self, entries: Vec<Arc<PromptEntry>>) {
        self.chat.extend(entries);
    }

    /// Appends the calls of a resumed turn with their results. Inputs that joined the turn while
    /// these calls ran stand behind them, because nothing may stand between a call and its result.
    pub(crate) fn add_settled_calls(&mut self, settled: Vec<PromptEntry>) {
        let is_input = |entry: &Arc<PromptEntry>| matches!(**entry, PromptEntry::User(_));
        // The first entry of the turn is its own input.
        let from = self.turn_from + 1;
        let last = self.chat.iter().rposition(|entry| !is_input(entry));
        let at = last.map_or(from, |last| last + 1).max(from).min(self.chat.len());
        let joined = self.chat.split_off(at);
        self.chat.extend(settled.into_iter().map(Arc::new));
        self.chat.extend(joined);
    }

    pub(crate) fn tokens(&self) -> usize {
        self.chat.iter().map(|entry| entry.tokens()).sum()
    }

    /// Makes room: summarises the past except its newest part, and shortens what still does not
    /// fit. Returns the tokens that the summary cost.
    pub(crate) async fn shrink(
        &mut self,
        turn: &Turn,
        models: &[Arc<dyn LanguageModel>],
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
        // A short past is not the reason for the lack of room.
        if until > after && past > keep.max(tokens / 8) {
            turn.interface.status("Summing up the older part of our conversation…").await?;
            let part = (tokens / 2).max(200);
            let before = self.past.summary().map(str::to_owned);
            if let Some(done) =
                compaction::compact(turn, models, before, after..=until, part, context_window)
                    .await?
            {
                let seq = turn.interface.compacted(done.summary.clone(), done.through).await?;
                self.past.summarize(Compaction { seq, through: done.through }, &done.summary);
                usage = done.usage;
            }
        }
        self.past.begin_at(first_kept);
        self.keep(turn);
        let turns_own = self.chat.split_off(self.turn_from);
        self.rebuild_past(keep.max(1));
        self.chat.extend(turns_own);
        self.shorten(tokens);
        Ok(usage)
    }

    /// Rebuilds the past's part of the conversation.
    fn rebuild_past(&mut self, tokens: usize) {
        let mut chat = history::fit(history::clip(self.past.chat(), (tokens / 4).max(50)), tokens);
        if let Some(summary) = self.past.summary() {
            chat.insert(
                0,
                Arc::new(PromptEntry::Note(format!("What came before, in short: {summary}"))),
            );
        }
        self.turn_from = chat.len();
        self.chat = chat;
    }

    /// Shortens the turn's own results, oldest first, and finally everything, until it fits.
    fn shorten(&mut self, tokens: usize) {
        let mut used = self.tokens();
        let newest = self.chat.len().saturating_sub(2);
        for entry in self.chat.iter_mut().take(newest).skip(self.turn_from) {
            if used <= tokens {
                return;
            }
            if matches!(**entry, PromptEntry::Returned { .. }) {
                used -= entry.tokens();
                history::clip_one(entry, OLD_RESULT_TOKENS);
                used += entry.tokens();
            }
        }
        let mut max = tokens / 4;
        while self.tokens() > tokens && max > OLD_RESULT_TOKENS {
            self.chat = history::clip(std::mem::take(&mut self.chat), max);
            max /= 2;
        }
    }
}
