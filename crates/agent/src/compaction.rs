//! Compaction: the oldest part of a conversation that no longer fits is summed up by the model.
//!
//! The full history stays in the log and stays searchable; only prompts have the summary instead. A
//! turn never fails for a long history: where no summary can be had, the oldest turns are left out.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{Event, Record, Seq, Style, ToolStatus, Usage};

use crate::figures::grouped;
use crate::history;
use crate::model::{Model, ModelError, Piece};
use crate::prompt::{Chat, Prompt, Purpose};

/// Records read at once.
const PAGE: usize = 200;
/// Parts of the past summed up in one turn: a longer past is taken up again in the next.
const PARTS: usize = 12;
/// The longest that one thing somebody said is quoted in the text to be summed up, in tokens.
const QUOTE_TOKENS: usize = 500;

/// What came of a compaction.
pub(crate) struct Compacted {
    pub(crate) summary: String,
    /// The last position that it covers.
    pub(crate) through: Seq,
    pub(crate) usage: Usage,
}

/// Sums up what lies behind `after` (with the summary of what was before) up to `until`, as far as
/// parts of `tokens` each go.
pub(crate) async fn compact(
    turn: &Turn,
    model: &Arc<dyn Model>,
    before: Option<String>,
    after: Seq,
    until: Seq,
    tokens: usize,
) -> Result<Option<Compacted>, AgentError> {
    let mut outcome: Option<Compacted> = None;
    let (mut summary, mut at, mut usage) = (before, after, Usage::default());
    for _ in 0..PARTS {
        let part = part(turn, at, until, tokens).await?;
        let Some(through) = part.last().map(|record| record.seq) else { break };
        let told = transcript(&part);
        if !told.is_empty() {
            match sum_up(model, summary.as_deref(), &told, tokens / 4).await {
                Ok((text, cost)) => {
                    usage.input_tokens += cost.input_tokens;
                    usage.output_tokens += cost.output_tokens;
                    summary = Some(text);
                }
                Err(error) => {
                    tracing::warn!(code = error.code(), "the past could not be summed up; its oldest part is left out of the prompt");
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

/// The next records up to `until` that make about so many tokens.
async fn part(turn: &Turn, mut after: Seq, until: Seq, tokens: usize) -> Result<Vec<Record>, AgentError> {
    let mut part = Vec::new();
    let mut used = 0;
    loop {
        let page = turn.records_after(after, PAGE).await?;
        let Some(last) = page.last().map(|record| record.seq) else { return Ok(part) };
        for record in page {
            used += history::tokens(std::slice::from_ref(&record)).min(QUOTE_TOKENS);
            if record.seq > until || (used > tokens && !part.is_empty()) {
                return Ok(part);
            }
            part.push(record);
        }
        after = last;
    }
}

/// What was said and done, as lines to be summed up.
fn transcript(records: &[Record]) -> String {
    let mut lines = String::new();
    let mut line = |who: &str, text: &str| {
        let most = text.floor_char_boundary(QUOTE_TOKENS * 4);
        let text = text.get(..most).unwrap_or_default();
        lines.push_str(&format!("{who}: {text}\n"));
    };
    for record in records {
        match &record.event {
            Event::SessionOpened { history, .. } => history.iter().for_each(|entry| match entry.role {
                thoughtwire_proto::Role::User => line("Person", &entry.text),
                thoughtwire_proto::Role::Assistant => line("You", &entry.text),
            }),
            Event::UserMessage { text, .. } => line("Person", text),
            Event::Message { text, .. } => line("You", text),
            Event::ToolReturned { name, status: ToolStatus::Success, text, .. } => line(&format!("Result of {name}"), text),
            Event::ToolReturned { name, status: ToolStatus::Error, text, .. } => line(&format!("Failure of {name}"), text),
            Event::Thought { .. }
            | Event::ToolCalled { .. }
            | Event::ToolAwaited { .. }
            | Event::ApprovalAsked { .. }
            | Event::ApprovalSettled { .. }
            | Event::SessionRenamed { .. }
            | Event::InstructionsChanged { .. }
            | Event::InputWithdrawn { .. }
            | Event::TurnStarted { .. }
            | Event::Usage(_)
            | Event::MemoryEdited { .. }
            | Event::Compacted { .. }
            | Event::TurnEnded { .. }
            | Event::Other(_) => {}
        }
    }
    lines
}

async fn sum_up(model: &Arc<dyn Model>, before: Option<&str>, told: &str, tokens: usize) -> Result<(String, Usage), ModelError> {
    let words = grouped((tokens / 2).max(50));
    let system = format!(
        "You keep the memory of a conversation between you and a person. Write down in at most {words} words what you need to know to \
         go on with it: who the person is, what was asked, decided, promised and found out, names, numbers and dates, and what is still \
         open. Write plain sentences, nothing else."
    );
    let mut text = String::new();
    if let Some(before) = before {
        text.push_str(&format!("What you wrote down before:\n{before}\n\n"));
    }
    text.push_str(&format!("What came after that:\n{told}\nWrite it all down now, in the place of what you wrote before."));
    let prompt = Prompt {
        purpose: Purpose::Summary,
        style: Style::Native,
        system,
        blocks: Vec::new(),
        chat: vec![Chat::User(text)],
        turn_from: 0,
        tools: Vec::new(),
        max_output_tokens: u32::try_from(tokens).ok(),
    };
    let mut reply = pin!(model.reply(Arc::new(prompt)));
    let mut summary = String::new();
    while let Some(piece) = reply.next().await {
        match piece? {
            Piece::Message(text) | Piece::Whole(text) => summary.push_str(&text),
            Piece::Thought(_) | Piece::Call { .. } | Piece::Args { .. } => {}
            Piece::Done(done) => {
                summary.push_str(done.last.as_deref().unwrap_or_default());
                let most = summary.floor_char_boundary(tokens.max(50) * 4);
                summary.truncate(most);
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
