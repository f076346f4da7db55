//! `thoughtwire archival`.

use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use text_splitter::{MarkdownSplitter, TextSplitter};
use thoughtwire_proto::Timestamp;
use thoughtwire_proto::rest::{NoteDraft, NotesAdded};

use crate::agents::{read_all, write_new};
use crate::cli::{ArchivalCommand, TargetFlags};
use crate::rest::RestClient;
use crate::{CommandStatus, UsageError, out};

/// Notes per request.
const BATCH: usize = 64;
/// Notes per page of an export.
const PAGE: i64 = 500;

pub(crate) async fn run(
    target: TargetFlags,
    command: ArchivalCommand,
) -> anyhow::Result<CommandStatus> {
    match command {
        ArchivalCommand::Import { agent, files, chunk, output } => {
            if chunk == 0 {
                return Err(UsageError("--chunk must be at least 1".to_owned()).into());
            }
            let place = target.rest().await?;
            // Looks up the agent first: a wrong name must fail before large files are read.
            let agent = place.agent(&agent).await?.agent;
            // Reads all files before adding notes, so that a bad file changes nothing.
            let mut notes = Vec::new();
            for file in &files {
                notes.extend(notes_of(file, chunk)?);
            }
            let added = import(&place, agent.id.as_str(), &notes).await?;
            if output.json {
                out::json(&added)?;
            } else {
                out::line(&format!(
                    "added {} notes, skipped {} duplicates",
                    added.added, added.duplicates
                ))?;
            }
        }
        ArchivalCommand::Export { agent, output } => {
            let place = target.rest().await?;
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
    Ok(CommandStatus::Done)
}

async fn import(
    place: &RestClient,
    agent: &str,
    notes: &[NoteDraft],
) -> anyhow::Result<NotesAdded> {
    // The bar appears only at a terminal.
    let bar = ProgressBar::new(notes.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} notes, {eta} left") {
        bar.set_style(style);
    }
    let mut sum = NotesAdded::default();
    for batch in notes.chunks(BATCH) {
        let added = place.add_notes(agent, batch.to_vec()).await.with_context(|| {
            format!(
                "{} of {} notes were added; run the command again to continue",
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

/// Splits a file into notes of at most `chunk` characters.
fn notes_of(file: &Path, chunk: usize) -> anyhow::Result<Vec<NoteDraft>> {
    let text = String::from_utf8(read_all(file)?)
        .with_context(|| format!("{} is not UTF-8 text", file.display()))?;
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
                let line =
                    note_of(line).with_context(|| format!("{}, line {number}", file.display()))?;
                let parts = TextSplitter::new(chunk);
                notes.extend(parts.chunks(&line.text).map(|text| note(text, line.at)));
            }
            Ok(notes)
        }
        _ => Ok(TextSplitter::new(chunk).chunks(&text).map(undated).collect()),
    }
}

/// A line of a JSONL file.
struct ImportedNote {
    text: String,
    at: Option<Timestamp>,
}

/// Parses a line of JSONL: a string, or an object with a `text`.
fn note_of(line: &str) -> anyhow::Result<ImportedNote> {
    match serde_json::from_str(line).context("the line is not JSON")? {
        Value::String(text) => Ok(ImportedNote { text, at: None }),
        Value::Object(mut note) => match note.remove("text").or_else(|| note.remove("content")) {
            Some(Value::String(text)) => {
                let at = note.remove("at").filter(Value::is_string).map(serde_json::from_value);
                Ok(ImportedNote { text, at: at.transpose().context("\"at\" is not a time")? })
            }
            Some(_) | None => anyhow::bail!("the object has no \"text\""),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            anyhow::bail!("the line is neither a string nor an object with a \"text\"")
        }
    }
}
