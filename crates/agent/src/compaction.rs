//! Compaction: the model summarises the oldest part of a conversation that no longer fits.
//!
//! The full history stays in the log and stays searchable; only prompts have the summary instead. A
//! turn never fails because of a long history: without a summary, the oldest turns are left out.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{
    Event, InputEvent, Record, Seq, SessionEvent, Style, ToolStatus, TurnEvent, Usage,
};

use crate::model::{LanguageModel, ModelError, ReplyEnd, ReplyPiece};
use crate::numbers::grouped;
use crate::prompt::{Prompt, PromptEntry, Purpose};

/// Number of records read at once.
const PAGE_RECORDS: usize = 200;
/// Number of parts of the past that one turn summarises. A longer past is continued in the next
/// turn.
const MAX_PARTS: usize = 12;
/// Number of attempts to get a summary from each model.
const ATTEMPTS: u32 = 3;
/// Smallest size of a part, in tokens.
const LEAST_TOKENS: usize = 500;
/// Longest quote of one entry in the text to be summarised, in tokens.
const QUOTE_TOKENS: usize = 500;

/// Result of a compaction.
pub(crate) struct Compacted {
    pub(crate) summary: String,
    /// The last position that it covers.
    pub(crate) through: Seq,
    pub(crate) usage: Usage,
}

/// Summarises the records behind `after` up to `until`, in parts of `tokens` each. `before` is the
/// summary of everything up to `after`.
pub(crate) async fn compact(
    turn: &Turn,
    models: &[Arc<dyn LanguageModel>],
    before: Option<String>,
    span: RangeInclusive<Seq>,
    tokens: usize,
    context_window: usize,
) -> Result<Option<Compacted>, AgentError> {
    let (after, until) = span.into_inner();
    let mut outcome: Option<Compacted> = None;
    let (mut summary, mut at, mut usage, mut tokens) = (before, after, Usage::default(), tokens);
    for _ in 0..MAX_PARTS {
        let (excerpt, through) = next_excerpt(turn, at, until, tokens).await?;
        let Some(through) = through else { break };
        if !excerpt.is_empty() {
            match summarize(models, summary.as_deref(), &excerpt, tokens / 4, context_window).await
            {
                Ok((text, cost)) => {
                    usage.add(cost);
                    summary = Some(text);
                }
                // Our token count is an estimate; the provider's is exact.
                Err(ModelError::TooLong(_)) if tokens > LEAST_TOKENS => {
                    tokens /= 2;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        code = error.code(),
                        "the past cannot be summarised; its oldest part is left out of the prompt"
                    );
                    break;
                }
            }
        }
        at = through;
        if let Some(summary) = &summary {
            outcome = Some(Compacted { summary: summary.clone(), through, usage });
        }
    }
    Ok(outcome)
}

/// Reads the next records up to `until` as about `tokens` of text, and the last position in it.
async fn next_excerpt(
    turn: &Turn,
    mut after: Seq,
    until: Seq,
    tokens: usize,
) -> Result<(String, Option<Seq>), AgentError> {
    let (mut excerpt, mut through) = (String::new(), None);
    loop {
        let page = turn.records_after(after, PAGE_RECORDS).await?;
        let Some(last) = page.last().map(|record| record.seq) else {
            return Ok((excerpt, through));
        };
        for record in page {
            let lines = transcript(std::slice::from_ref(&record));
            let is_full = (excerpt.len() + lines.len()) / 4 > tokens && through.is_some();
            if record.seq > until || is_full {
                return Ok((excerpt, through));
            }
            excerpt.push_str(&lines);
            through = Some(record.seq);
        }
        after = last;
    }
}

/// Renders records as lines of text for a summary.
fn transcript(records: &[Record]) -> String {
    let mut lines = String::new();
    let mut line = |who: &str, text: &str| {
        let max = text.floor_char_boundary(QUOTE_TOKENS * 4);
        let text = text.get(..max).unwrap_or_default();
        lines.push_str(&format!("{who}: {text}\n"));
    };
    for record in records {
        match &record.event {
            Event::Session(SessionEvent::Opened { history, .. }) => {
                history.iter().for_each(|entry| match entry.role {
                    thoughtwire_proto::Role::User => line("Person", &entry.text),
                    thoughtwire_proto::Role::Assistant => line("You", &entry.text),
                });
            }
            Event::Input(InputEvent::UserMessage { text, .. }) => line("Person", text),
            Event::Turn(TurnEvent::Message { text, .. }) => line("You", text),
            Event::Turn(TurnEvent::ToolReturned {
                name,
                status: ToolStatus::Success,
                text,
                ..
            }) => {
                line(&format!("Result of {name}"), text);
            }
            Event::Turn(TurnEvent::ToolReturned {
                name,
                status: ToolStatus::Error | ToolStatus::Unknown,
                text,
                ..
            }) => {
                line(&format!("Failure of {name}"), text);
            }
            Event::Turn(
                TurnEvent::Thought { .. }
                | TurnEvent::ToolCalled { .. }
                | TurnEvent::ToolAwaited { .. }
                | TurnEvent::ApprovalAsked { .. }
                | TurnEvent::ApprovalSettled { .. }
                | TurnEvent::Started { .. }
                | TurnEvent::Resumed { .. }
                | TurnEvent::ToolRetried { .. }
                | TurnEvent::Usage(_)
                | TurnEvent::Ended { .. },
            )
            | Event::Session(
                SessionEvent::Renamed { .. }
                | SessionEvent::InstructionsChanged { .. }
                | SessionEvent::MemoryEdited { .. }
                | SessionEvent::Compacted { .. },
            )
            | Event::Input(InputEvent::Withdrawn { .. })
            | Event::Other(_) => {}
        }
    }
    lines
}

/// Asks the models in order for a summary, and returns the first one.
async fn summarize(
    models: &[Arc<dyn LanguageModel>],
    before: Option<&str>,
    excerpt: &str,
    tokens: usize,
    context_window: usize,
) -> Result<(String, Usage), ModelError> {
    let prompt = Prompt { context_window: Some(context_window), ..prompt(before, excerpt, tokens) };
    let prompt = Arc::new(prompt);
    let mut last = ModelError::Unknown("there is no model to write a summary".to_owned());
    for model in models {
        for attempt in 0..ATTEMPTS {
            let error = match write(model, &prompt, tokens).await {
                Ok(summary) => return Ok(summary),
                Err(error @ ModelError::TooLong(_)) => return Err(error),
                Err(error) => error,
            };
            let wait = error.retry_in(attempt);
            last = error;
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break,
            }
        }
    }
    Err(last)
}

fn prompt(before: Option<&str>, excerpt: &str, tokens: usize) -> Prompt {
    let words = grouped((tokens / 2).max(50));
    let system = format!(
        "You keep the memory of a conversation between you and a person. Write down in at most \
         {words} words what you need to know to go on with it: who the person is, what was asked, \
         decided, promised and found out, names, numbers and dates, and what is still open. Write \
         plain sentences, nothing else."
    );
    let mut text = String::new();
    if let Some(before) = before {
        text.push_str(&format!("What you wrote down before:\n{before}\n\n"));
    }
    text.push_str(&format!(
        "What came after that:\n{excerpt}\nWrite it all down now, in the place of what you wrote \
         before."
    ));
    Prompt {
        purpose: Purpose::Summary,
        style: Style::Native,
        system,
        blocks: Arc::default(),
        chat: vec![Arc::new(PromptEntry::User(text))],
        turn_from: 0,
        tools: Vec::new(),
        // The number of words in the prompt is the real limit; this one stops a model that does not
        // stop.
        max_output_tokens: u32::try_from(tokens.max(LEAST_TOKENS) * 2).ok(),
        context_window: None,
    }
}

async fn write(
    model: &Arc<dyn LanguageModel>,
    prompt: &Arc<Prompt>,
    tokens: usize,
) -> Result<(String, Usage), ModelError> {
    let mut reply = pin!(model.reply(Arc::clone(prompt)));
    let mut summary = String::new();
    while let Some(piece) = reply.next().await {
        match piece? {
            ReplyPiece::Message(text) | ReplyPiece::Monologue(text) | ReplyPiece::Whole(text) => {
                summary.push_str(&text);
            }
            ReplyPiece::Thought(_)
            | ReplyPiece::Call { .. }
            | ReplyPiece::Args { .. }
            | ReplyPiece::ProviderState(_) => {}
            ReplyPiece::WasThought => summary.clear(),
            ReplyPiece::End(ReplyEnd { stopped: Some(error), .. })
                if !matches!(error, ModelError::Length(_)) =>
            {
                return Err(error);
            }
            // A summary that reached its limit is cut below, like one that is too long.
            ReplyPiece::End(done) => {
                summary.push_str(done.last.as_deref().unwrap_or_default());
                let max = summary.floor_char_boundary(tokens.max(50) * 4);
                summary.truncate(max);
                let summary = summary.trim().to_owned();
                if summary.is_empty() {
                    break;
                }
                return Ok((summary, done.usage));
            }
        }
    }
    Err(ModelError::Failed("The model wrote no summary.".to_owned()))
}
