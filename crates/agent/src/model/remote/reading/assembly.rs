//! Assembly of a reply: decoders write to it, and pieces come out.

use std::collections::VecDeque;

use serde_json::Value;
use thoughtwire_proto::{Style, Usage};

use super::calls::{CallAssembly, CallPiece, TooManyCalls};
use super::json::{self, SurrogateJoiner};
use super::stop::StopReason;
use super::think::{ContentPart, ThinkTags};
use crate::model::ReplyPiece;
use crate::model::remote::provider_error::ProviderError;
use crate::model::remote::{ProviderReasoning, ProviderState, ProviderThought};

/// Largest size of one thought, message or call's arguments, in bytes. Models write at most a few
/// hundred thousand tokens.
const MAX_ITEM_BYTES: usize = 2 << 20;
/// Largest size of a reply with its signatures, in bytes.
const MAX_REPLY_BYTES: usize = 8 << 20;
/// Largest size of a tool's name, in bytes, which may arrive in parts.
const MAX_NAME_BYTES: usize = 1 << 10;
/// Number of queued pieces that are sent one by one. Further ones are joined.
const SINGLE_PIECES: usize = 64;

/// A reply under construction. Decoders write to it.
pub(in crate::model::remote) struct ReplyAssembly {
    style: Style,
    pieces: VecDeque<ReplyPiece>,
    tags: ThinkTags,
    thought: SurrogateJoiner,
    message: SurrogateJoiner,
    /// Whether surrogate halves arrived. Without them, text passes unchanged.
    has_surrogates: bool,
    calls: CallAssembly,
    kept: ProviderState,
    usage: Usage,
    stop: Option<StopCause>,
    size: usize,
    item_size: usize,
    writing: TextTarget,
    excess: Option<&'static str>,
}

/// The reason why the model stopped, and the provider's words for it.
#[derive(Debug, Clone)]
pub(super) struct StopCause {
    pub(super) reason: StopReason,
    pub(super) word: String,
    pub(super) cause: Option<ProviderError>,
}

/// The item that the last text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTarget {
    Nothing,
    Thought,
    Message,
}

impl ReplyAssembly {
    pub(in crate::model::remote) fn new(style: Style, tools: Vec<String>, made_by: String) -> Self {
        Self {
            style,
            pieces: VecDeque::new(),
            tags: ThinkTags::default(),
            thought: SurrogateJoiner::default(),
            message: SurrogateJoiner::default(),
            has_surrogates: false,
            calls: CallAssembly::new(tools),
            kept: ProviderState { made_by, ..ProviderState::default() },
            usage: Usage::default(),
            stop: None,
            size: 0,
            item_size: 0,
            writing: TextTarget::Nothing,
            excess: None,
        }
    }

    /// From now on, strings may contain surrogate halves.
    pub(super) fn expect_surrogates(&mut self) {
        self.has_surrogates = true;
    }

    pub(super) fn pop(&mut self) -> Option<ReplyPiece> {
        self.pieces.pop_front()
    }

    pub(super) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Names the size limit that the reply exceeds, if any.
    pub(super) fn excess(&self) -> Option<&'static str> {
        self.excess
    }

    /// Size of the reply in bytes. Everything except keep-alives adds to it.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn stop(&self) -> Option<&StopCause> {
        self.stop.as_ref()
    }

    pub(super) fn usage(&mut self) -> &mut Usage {
        &mut self.usage
    }

    /// Records why the model stopped. The first reason other than a normal end wins.
    pub(super) fn stopped(&mut self, word: &str, cause: Option<ProviderError>) {
        self.stopped_for(StopReason::of(word), word, cause);
    }

    pub(super) fn stopped_for(
        &mut self,
        reason: StopReason,
        word: &str,
        cause: Option<ProviderError>,
    ) {
        if self.stop.as_ref().is_none_or(|stop| stop.reason == StopReason::Finished) {
            let word = word.chars().take(64).collect();
            self.stop = Some(StopCause { reason, word, cause });
        }
    }

    /// Appends to a thought.
    pub(super) fn push_thought(&mut self, text: &str) {
        let text = self.joined(text, TextTarget::Thought);
        self.push_text(TextTarget::Thought, text);
    }

    /// Appends to the content, which may contain thoughts in tags.
    pub(super) fn push_content(&mut self, text: &str) {
        let text = self.joined(text, TextTarget::Message);
        let parts = self.tags.push(&text);
        self.push_parts(parts);
    }

    /// Appends to the text of a refusal.
    pub(super) fn push_refusal(&mut self, text: &str) {
        if !text.is_empty() {
            self.stopped_for(StopReason::Refused, "refusal", None);
            let text = self.joined(text, TextTarget::Message);
            self.push_text(TextTarget::Message, text);
        }
    }

    /// Adds a part of a call in chat completions.
    pub(super) fn call_piece(&mut self, piece: CallPiece<'_>) {
        let names = [piece.index.as_deref(), piece.id, piece.name];
        let names: usize = names.into_iter().flatten().map(str::len).sum();
        self.count_bytes(piece.args.len() + names);
        if piece.name.is_some_and(|name| name.len() > MAX_NAME_BYTES)
            || self.calls.longest_name() > MAX_NAME_BYTES
        {
            self.excess.get_or_insert("bytes in a tool's name");
        }
        if self.excess.is_none() {
            let args = self.joined_args(piece.args);
            let args = args.as_deref().unwrap_or(piece.args);
            let taken = self.calls.piece(CallPiece { args, ..piece }, &mut self.pieces);
            self.count_calls(&taken);
            if self.calls.longest() > MAX_ITEM_BYTES {
                self.excess.get_or_insert("arguments of one call");
            }
        }
    }

    /// Opens a call and returns its index. Absent if there are too many calls.
    pub(super) fn open_call(&mut self, id: Option<&str>, name: &str) -> Option<usize> {
        self.count_bytes(name.len() + id.map_or(0, str::len));
        if name.len() > MAX_NAME_BYTES {
            self.excess.get_or_insert("bytes in a tool's name");
        }
        let opened = self.calls.open(id, name);
        match opened {
            Ok(at) => Some(at),
            Err(many) => {
                self.count_calls(&Err(many));
                None
            }
        }
    }

    /// Appends to a call's arguments.
    pub(super) fn push_args(&mut self, at: usize, json: &str) {
        self.count_bytes(json.len());
        if self.calls.args(at).len() + json.len() > MAX_ITEM_BYTES {
            self.excess.get_or_insert("arguments of one call");
        }
        if self.excess.is_none() {
            let joined = self.joined_args(json);
            let json = joined.as_deref().unwrap_or(json);
            self.calls.append(at, json, &mut self.pieces);
        }
    }

    /// Adds a complete call.
    pub(super) fn whole_call(
        &mut self,
        id: Option<&str>,
        name: &str,
        args: &str,
        signature: Option<&str>,
    ) {
        if let Some(at) = self.open_call(id, name) {
            self.push_args(at, args);
            if let Some(signature) = signature {
                self.count_bytes(signature.len());
                self.calls.sign(at, signature);
            }
        }
    }

    pub(super) fn calls(&mut self) -> &mut CallAssembly {
        &mut self.calls
    }

    /// Keeps a thought for later requests.
    pub(super) fn keep_thought(&mut self, block: Value) {
        let size = block.as_object().map_or(0, |block| {
            block.values().filter_map(Value::as_str).map(str::len).sum::<usize>() + 64
        });
        self.count_bytes(size);
        if self.excess.is_none() {
            let calls_before = self.calls.len();
            let after_text = self.writing == TextTarget::Message;
            self.kept.thoughts.push(ProviderThought { block, calls_before, after_text });
        }
    }

    pub(super) fn kept_thoughts(&mut self) -> &mut Vec<ProviderThought> {
        &mut self.kept.thoughts
    }

    pub(super) fn sign_text(&mut self, signature: &str) {
        self.count_bytes(signature.len());
        self.kept.text_signature = Some(signature.to_owned());
    }

    /// Keeps reasoning that arrived as text under a key.
    pub(super) fn keep_reasoning(&mut self, key: &str, text: &str) {
        self.count_bytes(text.len());
        if self.excess.is_none() {
            let new = || ProviderReasoning { key: key.to_owned(), text: String::new() };
            self.kept.reasoning.get_or_insert_with(new).text.push_str(text);
        }
    }

    /// Ends the reply: releases all text that was held back, and the provider state.
    pub(super) fn finish(&mut self) -> Usage {
        self.finish_text();
        self.calls.finish(&mut self.pieces);
        self.calls.keep(&mut self.kept);
        let kept = std::mem::take(&mut self.kept);
        if !kept.is_empty() {
            self.pieces.push_back(ReplyPiece::ProviderState(kept));
        }
        self.usage
    }

    /// Ends the text and releases what was held back.
    pub(super) fn finish_text(&mut self) {
        for writing in [TextTarget::Thought, TextTarget::Message] {
            let joiner = match writing {
                TextTarget::Thought | TextTarget::Nothing => &mut self.thought,
                TextTarget::Message => &mut self.message,
            };
            let Some(left) = joiner.finish() else { continue };
            match writing {
                TextTarget::Thought | TextTarget::Nothing => {
                    self.push_text(writing, left.to_string());
                }
                TextTarget::Message => {
                    let parts = self.tags.push(&left.to_string());
                    self.push_parts(parts);
                }
            }
        }
        let parts = self.tags.finish();
        self.push_parts(parts);
    }

    fn joined(&mut self, text: &str, writing: TextTarget) -> String {
        if !self.has_surrogates {
            return text.to_owned();
        }
        match writing {
            TextTarget::Thought | TextTarget::Nothing => self.thought.push(text),
            TextTarget::Message => self.message.push(text),
        }
    }

    /// Arguments with surrogate halves as escapes again, because the other half may follow.
    fn joined_args(&self, args: &str) -> Option<String> {
        if self.has_surrogates { json::escape_surrogates(args) } else { None }
    }

    fn push_parts(&mut self, parts: Vec<ContentPart>) {
        for part in parts {
            match part {
                ContentPart::Thought(text) => self.push_text(TextTarget::Thought, text),
                ContentPart::Text(text) => self.push_text(TextTarget::Message, text),
                ContentPart::WasThought => self.pieces.push_back(ReplyPiece::WasThought),
            }
        }
    }

    fn push_text(&mut self, writing: TextTarget, text: String) {
        if text.is_empty() {
            return;
        }
        if self.writing != writing {
            (self.writing, self.item_size) = (writing, 0);
        }
        self.item_size += text.len();
        self.count_bytes(text.len());
        if self.item_size > MAX_ITEM_BYTES {
            self.excess.get_or_insert("text");
        }
        if self.excess.is_none() {
            let piece = match (writing, self.style) {
                (TextTarget::Message, Style::Native) => ReplyPiece::Message(text),
                (TextTarget::Message, Style::Memgpt) => ReplyPiece::Monologue(text),
                (TextTarget::Thought | TextTarget::Nothing, _) => ReplyPiece::Thought(text),
            };
            enqueue(&mut self.pieces, piece);
        }
    }

    /// Counts bytes of the reply.
    pub(super) fn count_bytes(&mut self, bytes: usize) {
        self.size += bytes;
        if self.size > MAX_REPLY_BYTES {
            self.excess.get_or_insert("text");
        }
    }

    fn count_calls(&mut self, taken: &Result<(), TooManyCalls>) {
        if taken.is_err() {
            self.excess.get_or_insert("tool calls");
        }
    }
}

/// Queues a piece. Behind many others it is joined with the last one of the same text, so that a
/// flood of small pieces costs no more than a few large ones.
pub(super) fn enqueue(pieces: &mut VecDeque<ReplyPiece>, piece: ReplyPiece) {
    let last = if pieces.len() < SINGLE_PIECES { None } else { pieces.back_mut() };
    match (last, piece) {
        (Some(ReplyPiece::Thought(text)), ReplyPiece::Thought(more))
        | (Some(ReplyPiece::Message(text)), ReplyPiece::Message(more))
        | (Some(ReplyPiece::Monologue(text)), ReplyPiece::Monologue(more)) => text.push_str(&more),
        (Some(ReplyPiece::Args { index, json }), ReplyPiece::Args { index: other, json: more })
            if *index == other =>
        {
            json.push_str(&more);
        }
        (_, piece) => pieces.push_back(piece),
    }
}
