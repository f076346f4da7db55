//! `thoughtwire archival`.

use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use text_splitter::{MarkdownSplitter, TextSplitter};

use crate::agents::{read_all, write_new};
use crate::cli::{ArchivalCommand, TargetFlags};
use crate::rest::{AddedPage, Rest};
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

async fn import(place: &Rest, agent: &str, notes: &[Value]) -> anyhow::Result<AddedPage> {
    // The bar appears only at a terminal.
    let bar = ProgressBar::new(notes.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} notes, {eta} left") {
        bar.set_style(style);
    }
    let mut sum = AddedPage::default();
    for batch in notes.chunks(BATCH) {
        let added = place.add_notes(agent, batch).await.with_context(|| {
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
fn notes_of(file: &Path, chunk: usize) -> anyhow::Result<Vec<Value>> {
    let text = String::from_utf8(read_all(file)?)
        .with_context(|| format!("{} is not UTF-8 text", file.display()))?;
    let source =
        file.file_name().map_or_else(|| "standard input".into(), |name| name.to_string_lossy());
    let kind = file
        .extension()
        .map(|kind| kind.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let note = |text: &str| json!({"text": text, "source": source});
    match kind.as_str() {
        "md" | "markdown" => Ok(MarkdownSplitter::new(chunk).chunks(&text).map(note).collect()),
        "jsonl" | "ndjson" => {
            let mut notes = Vec::new();
            for (number, line) in
                (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
            {
                let parsed =
                    note_of(line).with_context(|| format!("{}, line {number}", file.display()))?;
                let mut parts =
                    TextSplitter::new(chunk).chunks(&parsed.text).map(note).collect::<Vec<_>>();
                if let Some(at) = parsed.at {
                    parts
                        .iter_mut()
                        .filter_map(Value::as_object_mut)
                        .for_each(|note| drop(note.insert("at".to_owned(), at.clone())));
                }
                notes.extend(parts);
            }
            Ok(notes)
        }
        _ => Ok(TextSplitter::new(chunk).chunks(&text).map(note).collect()),
    }
}

struct ImportedNote {
    text: String,
    at: Option<Value>,
}

/// Parses a line of JSONL: a string, or an object with a `text`.
fn note_of(line: &str) -> anyhow::Result<ImportedNote> {
    match serde_json::from_str(line).context("the line is not JSON")? {
        Value::String(text) => Ok(ImportedNote { text, at: None }),
        Value::Object(mut note) => match note.remove("text").or_else(|| note.remove("content")) {
            Some(Value::String(text)) => {
                Ok(ImportedNote { text, at: note.remove("at").filter(Value::is_string) })
            }
            Some(_) | None => anyhow::bail!("the object has no \"text\""),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            anyhow::bail!("the line is neither a string nor an object with a \"text\"")
        }
    }
}
