//! Compaction: the oldest part of a conversation that no longer fits is summed up by the model.
//!
//! The full history stays in the log and stays searchable; only prompts have the summary instead. A
//! turn never fails for a long history: where no summary can be had, the oldest turns are left out.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use thoughtwire_hub::{AgentError, Turn};
use thoughtwire_proto::{
    Event, InputEvent, Record, Seq, SessionEvent, Style, ToolStatus, TurnEvent, Usage,
};

use crate::figures::grouped;
use crate::model::{Done, Model, ModelError, Piece};
use crate::prompt::{Chat, Prompt, Purpose};

/// Records read at once.
const PAGE: usize = 200;
/// Parts of the past summed up in one turn: a longer past is taken up again in the next.
const PARTS: usize = 12;
/// How often each model is asked for a summary.
const ATTEMPTS: u32 = 3;
/// A part is not made smaller than this.
const LEAST_TOKENS: usize = 500;
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
    models: &[Arc<dyn Model>],
    before: Option<String>,
    span: RangeInclusive<Seq>,
    tokens: usize,
    context_window: usize,
) -> Result<Option<Compacted>, AgentError> {
    let (after, until) = span.into_inner();
    let mut outcome: Option<Compacted> = None;
    let (mut summary, mut at, mut usage, mut tokens) = (before, after, Usage::default(), tokens);
    for _ in 0..PARTS {
        let (told, through) = part(turn, at, until, tokens).await?;
        let Some(through) = through else { break };
        if !told.is_empty() {
            match sum_up(models, summary.as_deref(), &told, tokens / 4, context_window).await {
                Ok((text, cost)) => {
                    usage.add(cost);
                    summary = Some(text);
                }
                // Our count is rough; the provider's is not.
                Err(ModelError::TooLong(_)) if tokens > LEAST_TOKENS => {
                    tokens /= 2;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        code = error.code(),
                        "the past could not be summed up; its oldest part is left out of the prompt"
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

/// What happened next, up to `until`, as about so many tokens of text; and the last position that is in it.
async fn part(
    turn: &Turn,
    mut after: Seq,
    until: Seq,
    tokens: usize,
) -> Result<(String, Option<Seq>), AgentError> {
    let (mut told, mut through) = (String::new(), None);
    loop {
        let page = turn.records_after(after, PAGE).await?;
        let Some(last) = page.last().map(|record| record.seq) else { return Ok((told, through)) };
        for record in page {
            let lines = transcript(std::slice::from_ref(&record));
            let is_full = (told.len() + lines.len()) / 4 > tokens && through.is_some();
            if record.seq > until || is_full {
                return Ok((told, through));
            }
            told.push_str(&lines);
            through = Some(record.seq);
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
                name, status: ToolStatus::Error, text, ..
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

/// Has a summary written by the first model that can be had.
async fn sum_up(
    models: &[Arc<dyn Model>],
    before: Option<&str>,
    told: &str,
    tokens: usize,
    context_window: usize,
) -> Result<(String, Usage), ModelError> {
    let prompt = Prompt { context_window: Some(context_window), ..prompt(before, told, tokens) };
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

fn prompt(before: Option<&str>, told: &str, tokens: usize) -> Prompt {
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
    Prompt {
        purpose: Purpose::Summary,
        style: Style::Native,
        system,
        blocks: Arc::default(),
        chat: vec![Arc::new(Chat::User(text))],
        turn_from: 0,
        tools: Vec::new(),
        // The words asked for are the limit; this one is for a model that does not stop.
        max_output_tokens: u32::try_from(tokens.max(LEAST_TOKENS) * 2).ok(),
        context_window: None,
    }
}

async fn write(
    model: &Arc<dyn Model>,
    prompt: &Arc<Prompt>,
    tokens: usize,
) -> Result<(String, Usage), ModelError> {
    let mut reply = pin!(model.reply(Arc::clone(prompt)));
    let mut summary = String::new();
    while let Some(piece) = reply.next().await {
        match piece? {
            Piece::Message(text) | Piece::Monologue(text) | Piece::Whole(text) => {
                summary.push_str(&text);
            }
            Piece::Thought(_) | Piece::Call { .. } | Piece::Args { .. } | Piece::Kept(_) => {}
            Piece::WasThought => summary.clear(),
            Piece::Done(Done { stopped: Some(error), .. })
                if !matches!(error, ModelError::Length(_)) =>
            {
                return Err(error);
            }
            // A summary that reached its limit is cut below, as one that is too long is.
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
