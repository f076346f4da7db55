//! `thoughtwire archival`.

use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use text_splitter::{MarkdownSplitter, TextSplitter};
use thoughtwire_proto::Timestamp;
use thoughtwire_proto::rest::{NoteDraft, NotesAdded};

use crate::agents::{read_all, write_new};
use crate::cli::{ArchivalCommand, Reach};
use crate::rest::RestClient;
use crate::{Outcome, Usage, out};

/// Notes per request.
const BATCH: usize = 64;
/// Notes per page when all are read.
const PAGE: i64 = 500;

pub(crate) async fn run(reach: Reach, command: ArchivalCommand) -> anyhow::Result<Outcome> {
    match command {
        ArchivalCommand::Import { agent, files, chunk, form } => {
            if chunk == 0 {
                return Err(Usage("--chunk is at least 1".to_owned()).into());
            }
            let place = reach.place().await?;
            // The agent first: nobody wants to wait for files to learn that there is none.
            let agent = place.agent(&agent).await?.agent;
            // All files are read before anything is added, so that a bad one is known at once.
            let mut notes = Vec::new();
            for file in &files {
                notes.extend(notes_of(file, chunk)?);
            }
            let added = import(&place, agent.id.as_str(), &notes).await?;
            if form.json {
                out::json(&added)?;
            } else {
                out::line(&format!(
                    "{} notes added, {} were there already",
                    added.added, added.duplicates
                ))?;
            }
        }
        ArchivalCommand::Export { agent, output } => {
            let place = reach.place().await?;
            let (mut lines, mut after) = (Vec::new(), 0);
            loop {
                let page = place.notes(&agent, after, PAGE).await?;
                let Some(last) = page.notes.last() else { break };
                after = last.id;
                for note in &page.notes {
                    serde_json::to_writer(&mut lines, note)?;
                    lines.push(b'\n');
                }
            }
            write_new(output.as_deref(), &lines)?;
        }
    }
    Ok(Outcome::Done)
}

async fn import(
    place: &RestClient,
    agent: &str,
    notes: &[NoteDraft],
) -> anyhow::Result<NotesAdded> {
    // Shown at a terminal only.
    let bar = ProgressBar::new(notes.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} notes, {eta} left") {
        bar.set_style(style);
    }
    let mut sum = NotesAdded::default();
    for batch in notes.chunks(BATCH) {
        let added = place.add_notes(agent, batch.to_vec()).await.with_context(|| {
            format!(
                "{} of {} notes are in; run it again and it goes on from there",
                sum.added + sum.duplicates,
                notes.len()
            )
        })?;
        sum.added += added.added;
        sum.duplicates += added.duplicates;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(sum)
}

/// Cuts a file into notes.
fn notes_of(file: &Path, chunk: usize) -> anyhow::Result<Vec<NoteDraft>> {
    let text = String::from_utf8(read_all(file)?)
        .with_context(|| format!("{} is no UTF-8 text", file.display()))?;
    let source =
        file.file_name().map_or_else(|| "standard input".into(), |name| name.to_string_lossy());
    let kind = file
        .extension()
        .map(|kind| kind.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let note = |text: &str, at: Option<Timestamp>| NoteDraft {
        text: text.to_owned(),
        source: Some(source.clone().into_owned()),
        at,
    };
    let undated = |text: &str| note(text, None);
    match kind.as_str() {
        "md" | "markdown" => Ok(MarkdownSplitter::new(chunk).chunks(&text).map(undated).collect()),
        "jsonl" | "ndjson" => {
            let mut notes = Vec::new();
            for (number, line) in
                (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
            {
                let line = read_line(line)
                    .with_context(|| format!("{}, line {number}", file.display()))?;
                let parts = TextSplitter::new(chunk);
                notes.extend(parts.chunks(&line.text).map(|text| note(text, line.at)));
            }
            Ok(notes)
        }
        _ => Ok(TextSplitter::new(chunk).chunks(&text).map(undated).collect()),
    }
}

/// A line of a JSONL file.
struct JsonlNote {
    text: String,
    at: Option<Timestamp>,
}

/// Reads a line of JSONL: a text, or an object with one.
fn read_line(line: &str) -> anyhow::Result<JsonlNote> {
    match serde_json::from_str(line).context("it is no JSON")? {
        Value::String(text) => Ok(JsonlNote { text, at: None }),
        Value::Object(mut note) => match note.remove("text").or_else(|| note.remove("content")) {
            Some(Value::String(text)) => {
                let at = note.remove("at").filter(Value::is_string).map(serde_json::from_value);
                Ok(JsonlNote { text, at: at.transpose().context("its \"at\" is no time")? })
            }
            Some(_) | None => anyhow::bail!("it has no \"text\""),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            anyhow::bail!("it is neither a text nor an object with one")
        }
    }
}
