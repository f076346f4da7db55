//! `thoughtwire memory`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use thoughtwire_proto::rest::{ArchivalNote, BlockPatch, CoreBlock, RecallHit};

use crate::agents::read_all;
use crate::cli::{MemoryCommand, Reach, SearchIn};
use crate::out::Look;
use crate::story::{clean, short};
use crate::{Outcome, Usage, out};

pub(crate) async fn run(reach: Reach, command: MemoryCommand) -> anyhow::Result<Outcome> {
    match command {
        MemoryCommand::Show { agent, label, form } => {
            let mut blocks = reach.place().await?.agent(&agent).await?.blocks;
            if let Some(label) = &label {
                blocks.retain(|block| block.label == *label);
                anyhow::ensure!(
                    !blocks.is_empty(),
                    "{agent} has no memory block {label:?}; `thoughtwire memory show {agent}` \
                     lists all"
                );
            }
            if form.json {
                out::json(&json!({"blocks": blocks}))?;
            } else {
                blocks.iter().try_for_each(show)?;
            }
        }
        MemoryCommand::Edit { agent, label, text, file, limit, description, delete, form } => {
            let place = reach.place().await?;
            if delete {
                place.delete_block(&agent, &label).await?;
                if form.json {
                    out::json(&json!({"deleted": label}))?;
                } else {
                    out::line(&format!("{label} is gone"))?;
                }
                return Ok(Outcome::Done);
            }
            let text = match (text.as_deref(), file) {
                (Some("-"), _) => Some(read_text(Path::new("-"))?),
                (_, Some(file)) => Some(read_text(&file)?),
                (_, None) => text,
            };
            let changes = BlockPatch { text, limit, description };
            if changes == BlockPatch::default() {
                return Err(Usage(
                    "say what is to change: --text, --file, --limit, --description or --delete"
                        .to_owned(),
                )
                .into());
            }
            let block = place.edit_block(&agent, &label, &changes).await?;
            if form.json { out::json(&json!({"block": block}))? } else { show(&block)? }
        }
        MemoryCommand::Search { agent, query, place, limit, form } => {
            let rest = reach.place().await?;
            let (lines, total, json) = match place {
                SearchIn::Recall => {
                    let page = rest.recall(&agent, &query, limit).await?;
                    let line = |found: &RecallHit| {
                        format!("{}  {}: {}", found.at, found.role, short(&found.text))
                    };
                    (
                        page.results.iter().map(line).collect::<Vec<_>>(),
                        page.total,
                        serde_json::to_value(page)?,
                    )
                }
                SearchIn::Archival => {
                    let page = rest.search_notes(&agent, &query, limit).await?;
                    let line = |note: &ArchivalNote| format!("{}  {}", note.at, short(&note.text));
                    (
                        page.notes.iter().map(line).collect::<Vec<_>>(),
                        page.total,
                        serde_json::to_value(page)?,
                    )
                }
            };
            if form.json {
                out::json(&json)?;
            } else if lines.is_empty() {
                out::remark(Look::Dim, "nothing was found");
            } else {
                lines.iter().try_for_each(|line| out::line(line))?;
                out::remark(Look::Dim, &format!("{} of {total}", lines.len()));
            }
        }
    }
    Ok(Outcome::Done)
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_all(file)?)
        .with_context(|| format!("{} is no UTF-8 text", file.display()))
}

fn show(block: &CoreBlock) -> std::io::Result<()> {
    let description = if block.description.is_empty() {
        String::new()
    } else {
        format!(" — {}", short(&block.description))
    };
    let used = block.text.chars().count();
    out::line(&format!(
        "{} ({used} of {} characters){description}",
        clean(&block.label),
        block.limit
    ))?;
    out::line(&format!("{}\n", clean(&block.text).trim_end()))
}
