//! The `offline` model: a small deterministic program without network and weights.
//!
//! It is not an LLM and says so. It runs through the same loop and uses the same tools, so that a
//! first run and the tests show real thoughts, calls, memory and streaming. Three phrases help with
//! testing: `say: TEXT` repeats a text word by word, `count to N` (up to 100,000) streams a long
//! message in N pieces, and `use TOOL {"json": …}` calls a tool.

mod answer;
mod phrases;
mod request;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Map, Value};
use thoughtwire_proto::{Style, ToolStatus, Usage};

use super::{LanguageModel, ModelError, ReplyEnd, ReplyPiece};
use crate::prompt::{Prompt, PromptEntry, Purpose};
use crate::resuming::{asks_for_rest, shown_end};
use crate::tool::BuiltInTool;
use answer::OfflineStep;
use request::OfflineRequest;

/// The offline model. It keeps no state between prompts.
pub(crate) struct OfflineModel;

const INTRODUCTION: &str = "(I am Thoughtwire's offline model: a small program, not an LLM. \
    I can keep facts, search what was said, do arithmetic and tell the time. To talk to an LLM, \
    start the server with --model openai/NAME and the variable OPENAI_API_KEY, or with \
    anthropic/NAME, gemini/NAME or ollama/NAME.)";

impl LanguageModel for OfflineModel {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<ReplyPiece, ModelError>> {
        let pieces = match prompt.purpose {
            Purpose::Turn => pieces(&prompt),
            Purpose::Summary => summary(&prompt),
        };
        stream::iter(pieces.into_iter().map(Ok)).boxed()
    }
}

/// Longest summary, in bytes.
const SUMMARY_BYTES: usize = 800;

/// A call of this turn and its result.
pub(crate) struct OfflineResult {
    pub(crate) tool: String,
    pub(crate) args: Map<String, Value>,
    pub(crate) status: ToolStatus,
    pub(crate) text: String,
}

/// Summarises the person's messages: the beginning of each line, until the summary is full.
fn summary(prompt: &Prompt) -> Vec<ReplyPiece> {
    let told: Vec<&str> = prompt
        .chat
        .iter()
        .flat_map(|entry| {
            if let PromptEntry::User(text) = &**entry { text.lines().collect() } else { Vec::new() }
        })
        .collect();
    let said = told
        .iter()
        .filter_map(|line| line.strip_prefix("Person: "))
        .map(|line| line.chars().take(80).collect::<String>());
    let mut text = "The person said, among other things: ".to_owned();
    for line in said {
        if text.len() + line.len() > SUMMARY_BYTES {
            break;
        }
        text.push_str(&line);
        text.push_str(" | ");
    }
    end(prompt, vec![ReplyPiece::Message(text)])
}

fn pieces(prompt: &Prompt) -> Vec<ReplyPiece> {
    let (inputs, mut results) = open_questions(prompt);
    let requests: Vec<OfflineRequest> =
        inputs.iter().flat_map(|input| OfflineRequest::all(input)).collect();
    let mut thoughts = Vec::new();
    let mut words: Vec<Vec<String>> = Vec::new();
    for ask in &requests {
        match answer::next(ask, prompt, &mut results) {
            OfflineStep::Call { thought, tool, args } => {
                return call(prompt, &thought, &tool, args);
            }
            OfflineStep::Say { thought, pieces } => {
                thoughts.push(thought);
                words.push(pieces);
            }
        }
    }
    let is_first = !prompt
        .chat
        .iter()
        .take(prompt.turn_from)
        .any(|entry| matches!(**entry, PromptEntry::Message(_)));
    if is_first && !requests.iter().any(OfflineRequest::wants_nothing_added) {
        words.push(words::pieces(INTRODUCTION));
    }
    thoughts.dedup();
    let mut said: Vec<String> = Vec::new();
    for (at, part) in words.into_iter().enumerate() {
        if at > 0 {
            said.push("\n\n".to_owned());
        }
        said.extend(part);
    }
    match cut_message(prompt) {
        // The rest of the same reply. It is found by what both have in common, because a reply with
        // the time differs.
        Some(cut) => {
            let whole = said.concat();
            let (left_out, end) = shown_end(&cut);
            let rest = whole.get(left_out..).unwrap_or_default();
            let alike = rest.char_indices().zip(end.chars());
            let alike = alike.take_while(|((_, one), other)| one == other);
            let at = alike.last().map_or(0, |((at, one), _)| at + one.len_utf8());
            match rest.get(at..) {
                None | Some("") => self::end(prompt, Vec::new()),
                Some(rest) => say(prompt, "", words::pieces(rest)),
            }
        }
        None => say(prompt, &thoughts.join(" "), said),
    }
}

/// The text of a message that an interruption has cut, if this prompt asks for its rest.
fn cut_message(prompt: &Prompt) -> Option<String> {
    let turn = prompt.chat.iter().skip(prompt.turn_from);
    let mut newest = turn.rev().skip_while(|entry| matches!(***entry, PromptEntry::User(_)));
    let asks = newest
        .next()
        .is_some_and(|entry| matches!(&**entry, PromptEntry::Note(text) if asks_for_rest(text)));
    let mut parts: Vec<&str> = newest
        .map_while(|entry| match &**entry {
            PromptEntry::Message(text) => Some(text.as_str()),
            PromptEntry::Note(text) if asks_for_rest(text) => Some(""),
            PromptEntry::Note(_)
            | PromptEntry::User(_)
            | PromptEntry::Thought(_)
            | PromptEntry::ProviderState(_)
            | PromptEntry::Called { .. }
            | PromptEntry::Returned { .. } => None,
        })
        .collect();
    parts.reverse();
    asks.then(|| parts.concat())
}

/// The inputs without a message in reply, and the results of their calls so far.
fn open_questions(prompt: &Prompt) -> (Vec<String>, VecDeque<OfflineResult>) {
    let mut inputs = Vec::new();
    let mut results = VecDeque::new();
    let mut args_of = std::collections::HashMap::new();
    let mut answered = false;
    // A message that the prompt asks to continue is no answer yet.
    let is_cut = cut_message(prompt).is_some();
    for entry in prompt.chat.iter().skip(prompt.turn_from) {
        match &**entry {
            PromptEntry::User(text) => {
                if std::mem::take(&mut answered) {
                    inputs.clear();
                    results.clear();
                }
                inputs.push(text.clone());
            }
            PromptEntry::Message(_) => answered = !is_cut,
            PromptEntry::Called { call, args, .. } => {
                args_of.insert(call, args.clone());
            }
            PromptEntry::Returned { name, .. }
                if BuiltInTool::named(name) == Some(BuiltInTool::SendMessage) =>
            {
                answered = true;
            }
            PromptEntry::Returned { call, name, status, text } => {
                let args = args_of.remove(call).unwrap_or_default();
                results.push_back(OfflineResult {
                    tool: name.clone(),
                    args,
                    status: *status,
                    text: text.clone(),
                });
            }
            PromptEntry::Note(_) | PromptEntry::Thought(_) | PromptEntry::ProviderState(_) => {}
        }
    }
    (inputs, results)
}

fn call(
    prompt: &Prompt,
    thought: &str,
    tool: &str,
    mut args: Map<String, Value>,
) -> Vec<ReplyPiece> {
    if prompt.style == Style::Memgpt
        && BuiltInTool::named(tool).is_none_or(BuiltInTool::has_heartbeat)
    {
        args.insert("request_heartbeat".to_owned(), Value::Bool(true));
    }
    let json = Value::Object(args).to_string();
    let mut pieces: Vec<ReplyPiece> =
        words::pieces(thought).into_iter().map(ReplyPiece::Thought).collect();
    pieces.push(ReplyPiece::Call { index: 0, name: tool.to_owned(), provider_id: None });
    pieces.extend(words::pieces(&json).into_iter().map(|json| ReplyPiece::Args { index: 0, json }));
    end(prompt, pieces)
}

fn say(prompt: &Prompt, thought: &str, words: Vec<String>) -> Vec<ReplyPiece> {
    let mut pieces: Vec<ReplyPiece> =
        words::pieces(thought).into_iter().map(ReplyPiece::Thought).collect();
    match prompt.style {
        Style::Native => pieces.extend(words.into_iter().map(ReplyPiece::Message)),
        Style::Memgpt => {
            let args = |json: String| ReplyPiece::Args { index: 0, json };
            pieces.push(ReplyPiece::Call {
                index: 0,
                name: BuiltInTool::SendMessage.name().to_owned(),
                provider_id: None,
            });
            pieces.push(args("{\"message\":\"".to_owned()));
            pieces.extend(words.into_iter().map(|word| args(words::escaped(&word))));
            pieces.push(args("\"}".to_owned()));
        }
    }
    end(prompt, pieces)
}

fn end(prompt: &Prompt, mut pieces: Vec<ReplyPiece>) -> Vec<ReplyPiece> {
    let bytes: usize = pieces
        .iter()
        .map(|piece| match piece {
            ReplyPiece::Thought(text)
            | ReplyPiece::Message(text)
            | ReplyPiece::Monologue(text)
            | ReplyPiece::Whole(text)
            | ReplyPiece::Args { json: text, .. } => text.len(),
            ReplyPiece::Call { name, .. } => name.len(),
            ReplyPiece::WasThought | ReplyPiece::ProviderState(_) | ReplyPiece::End(_) => 0,
        })
        .sum();
    let count = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
    let usage = Usage {
        input_tokens: count(prompt.tokens()),
        output_tokens: count(bytes / 4 + 1),
        cached_tokens: None,
    };
    pieces.push(ReplyPiece::End(ReplyEnd { usage, ..ReplyEnd::default() }));
    pieces
}
