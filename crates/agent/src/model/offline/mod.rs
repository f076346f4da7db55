//! The `offline` model: a small deterministic program without network and weights.
//!
//! It is not an LLM and says so. It runs through the same loop and uses the same tools, so that a
//! first run and the tests show real thoughts, calls, memory and streaming. Three phrases help with
//! testing: `say: TEXT` repeats a text word by word, `count to N` (up to 100,000) streams a long
//! message in N pieces, and `use TOOL {"json": …}` calls a tool.

mod answer;
mod ask;
mod phrases;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Map, Value};
use thoughtwire_proto::{Style, ToolStatus, Usage};

use super::{Done, Model, ModelError, Piece};
use crate::prompt::{Chat, Prompt, Purpose};
use crate::tool::Tool;
use answer::Next;
use ask::Ask;

/// The offline model. It keeps no state between prompts.
pub(crate) struct Offline;

const INTRODUCTION: &str = "(I am Thoughtwire's offline model: a small program, not an LLM. \
    I can keep facts, search what was said, do arithmetic and tell the time. To talk to an LLM, \
    start the server with --model openai/NAME and the variable OPENAI_API_KEY, or with \
    anthropic/NAME, gemini/NAME or ollama/NAME.)";

impl Model for Offline {
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>> {
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
pub(crate) struct Returned {
    pub(crate) tool: String,
    pub(crate) args: Map<String, Value>,
    pub(crate) status: ToolStatus,
    pub(crate) text: String,
}

/// Summarises the person's messages: the beginning of each line, until the summary is full.
fn summary(prompt: &Prompt) -> Vec<Piece> {
    let told: Vec<&str> =
        prompt
            .chat
            .iter()
            .flat_map(|entry| {
                if let Chat::User(text) = &**entry { text.lines().collect() } else { Vec::new() }
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
    end(prompt, vec![Piece::Message(text)])
}

fn pieces(prompt: &Prompt) -> Vec<Piece> {
    let (inputs, mut results) = open_questions(prompt);
    let asks: Vec<Ask> = inputs.iter().flat_map(|input| Ask::all(input)).collect();
    let mut thoughts = Vec::new();
    let mut words: Vec<Vec<String>> = Vec::new();
    for ask in &asks {
        match answer::next(ask, prompt, &mut results) {
            Next::Call { thought, tool, args } => return call(prompt, &thought, &tool, args),
            Next::Say { thought, pieces } => {
                thoughts.push(thought);
                words.push(pieces);
            }
        }
    }
    let is_first =
        !prompt.chat.iter().take(prompt.turn_from).any(|entry| matches!(**entry, Chat::Message(_)));
    if is_first && !asks.iter().any(Ask::wants_nothing_added) {
        words.push(words::pieces(INTRODUCTION));
    }
    thoughts.dedup();
    let mut said = Vec::new();
    for (at, part) in words.into_iter().enumerate() {
        if at > 0 {
            said.push("\n\n".to_owned());
        }
        said.extend(part);
    }
    say(prompt, &thoughts.join(" "), said)
}

/// The inputs without a message in reply, and the results of their calls so far.
fn open_questions(prompt: &Prompt) -> (Vec<String>, VecDeque<Returned>) {
    let mut inputs = Vec::new();
    let mut results = VecDeque::new();
    let mut args_of = std::collections::HashMap::new();
    let mut answered = false;
    for entry in prompt.chat.iter().skip(prompt.turn_from) {
        match &**entry {
            Chat::User(text) => {
                if std::mem::take(&mut answered) {
                    inputs.clear();
                    results.clear();
                }
                inputs.push(text.clone());
            }
            Chat::Message(_) => answered = true,
            Chat::Called { call, args, .. } => {
                args_of.insert(call, args.clone());
            }
            Chat::Returned { name, .. } if Tool::named(name) == Some(Tool::SendMessage) => {
                answered = true;
            }
            Chat::Returned { call, name, status, text } => {
                let args = args_of.remove(call).unwrap_or_default();
                results.push_back(Returned {
                    tool: name.clone(),
                    args,
                    status: *status,
                    text: text.clone(),
                });
            }
            Chat::Note(_) | Chat::Thought(_) | Chat::Kept(_) => {}
        }
    }
    (inputs, results)
}

fn call(prompt: &Prompt, thought: &str, tool: &str, mut args: Map<String, Value>) -> Vec<Piece> {
    if prompt.style == Style::Memgpt && Tool::named(tool).is_none_or(Tool::takes_heartbeat) {
        args.insert("request_heartbeat".to_owned(), Value::Bool(true));
    }
    let json = Value::Object(args).to_string();
    let mut pieces: Vec<Piece> = words::pieces(thought).into_iter().map(Piece::Thought).collect();
    pieces.push(Piece::Call { index: 0, name: tool.to_owned(), provider_id: None });
    pieces.extend(words::pieces(&json).into_iter().map(|json| Piece::Args { index: 0, json }));
    end(prompt, pieces)
}

fn say(prompt: &Prompt, thought: &str, words: Vec<String>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = words::pieces(thought).into_iter().map(Piece::Thought).collect();
    match prompt.style {
        Style::Native => pieces.extend(words.into_iter().map(Piece::Message)),
        Style::Memgpt => {
            let args = |json: String| Piece::Args { index: 0, json };
            pieces.push(Piece::Call {
                index: 0,
                name: Tool::SendMessage.name().to_owned(),
                provider_id: None,
            });
            pieces.push(args("{\"message\":\"".to_owned()));
            pieces.extend(words.into_iter().map(|word| args(words::escaped(&word))));
            pieces.push(args("\"}".to_owned()));
        }
    }
    end(prompt, pieces)
}

fn end(prompt: &Prompt, mut pieces: Vec<Piece>) -> Vec<Piece> {
    let bytes: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Thought(text)
            | Piece::Message(text)
            | Piece::Monologue(text)
            | Piece::Whole(text)
            | Piece::Args { json: text, .. } => text.len(),
            Piece::Call { name, .. } => name.len(),
            Piece::WasThought | Piece::Kept(_) | Piece::Done(_) => 0,
        })
        .sum();
    let count = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
    let usage = Usage {
        input_tokens: count(prompt.tokens()),
        output_tokens: count(bytes / 4 + 1),
        cached_tokens: None,
    };
    pieces.push(Piece::Done(Done { usage, ..Done::default() }));
    pieces
}
