//! `thoughtwire memory`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use thoughtwire_proto::rest::{ArchivalNote, BlockPatch, CoreBlock, HitReasons, RecallHit};

use crate::agents::read_all;
use crate::cli::{MemoryCommand, SearchIn, TargetFlags};
use crate::out::TextStyle;
use crate::render::{clean, one_line};
use crate::{CommandStatus, UsageError, out};

pub(crate) async fn run(
    target: TargetFlags,
    command: MemoryCommand,
) -> anyhow::Result<CommandStatus> {
    match command {
        MemoryCommand::Show { agent, label, output } => {
            let mut blocks = target.rest().await?.agent(&agent).await?.blocks;
            if let Some(label) = &label {
                blocks.retain(|block| block.label == *label);
                anyhow::ensure!(
                    !blocks.is_empty(),
                    "{agent} has no memory block {label:?}; `thoughtwire memory show {agent}` \
                    lists all"
                );
            }
            if output.json {
                out::json(&json!({"blocks": blocks}))?;
            } else {
                blocks.iter().try_for_each(show)?;
            }
        }
        MemoryCommand::Edit { agent, label, text, file, limit, description, delete, output } => {
            let place = target.rest().await?;
            if delete {
                place.delete_block(&agent, &label).await?;
                if output.json {
                    out::json(&json!({"deleted": label}))?;
                } else {
                    out::line(&format!("deleted {label}"))?;
                }
                return Ok(CommandStatus::Done);
            }
            let text = match (text.as_deref(), file) {
                (Some("-"), _) => Some(read_text(Path::new("-"))?),
                (_, Some(file)) => Some(read_text(&file)?),
                (_, None) => text,
            };
            let changes = BlockPatch { text, limit, description };
            if changes == BlockPatch::default() {
                return Err(UsageError(
                    "no change was given; use --text, --file, --limit, --description or --delete"
                        .to_owned(),
                )
                .into());
            }
            let block = place.edit_block(&agent, &label, &changes).await?;
            if output.json { out::json(&json!({"block": block}))? } else { show(&block)? }
        }
        MemoryCommand::Search { agent, query, place, limit, why, output } => {
            let rest = target.rest().await?;
            let (lines, total, json) = match place {
                SearchIn::Recall => {
                    let page = rest.recall(&agent, &query, limit, why).await?;
                    let line = |found: &RecallHit| {
                        let (at, role, text) = (found.at, &found.role, one_line(&found.text));
                        format!("{at}  {role}: {text}{}", reasons(found.why))
                    };
                    (
                        page.results.iter().map(line).collect::<Vec<_>>(),
                        page.total,
                        serde_json::to_value(page)?,
                    )
                }
                SearchIn::Archival => {
                    let page = rest.search_notes(&agent, &query, limit, why).await?;
                    let line = |note: &ArchivalNote| {
                        format!("{}  {}{}", note.at, one_line(&note.text), reasons(note.why))
                    };
                    (
                        page.notes.iter().map(line).collect::<Vec<_>>(),
                        page.total,
                        serde_json::to_value(page)?,
                    )
                }
            };
            if output.json {
                out::json(&json)?;
            } else if lines.is_empty() {
                out::remark(TextStyle::Dim, "no results");
            } else {
                lines.iter().try_for_each(|line| out::line(line))?;
                out::remark(TextStyle::Dim, &format!("{} of {total}", lines.len()));
            }
        }
    }
    Ok(CommandStatus::Done)
}

/// The reasons of a hit, on a line of their own.
fn reasons(why: Option<HitReasons>) -> String {
    why.map_or_else(String::new, |HitReasons { words, meaning, neighbours }| {
        format!("\n    words {words}, meaning {meaning}, neighbours {neighbours}")
    })
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_all(file)?)
        .with_context(|| format!("{} is not UTF-8 text", file.display()))
}

fn show(block: &CoreBlock) -> std::io::Result<()> {
    let description = if block.description.is_empty() {
        String::new()
    } else {
        format!(" — {}", one_line(&block.description))
    };
    let used = block.text.chars().count();
    out::line(&format!(
        "{} ({used} of {} characters){description}",
        clean(&block.label),
        block.limit
    ))?;
    out::line(&format!("{}\n", clean(&block.text).trim_end()))
}
