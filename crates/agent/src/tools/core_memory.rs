//! Core memory: what the agent's tools do to a block.

use thoughtwire_hub::{EditError, Interface};
use thoughtwire_store::Block;

use super::ToolFault;
use crate::figures::grouped;

/// What is to be done to a block.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Put this behind it, on a line of its own.
    Append(String),
    /// Put the second text in the place of the first.
    Replace(String, String),
}

/// Changes a block and records that; the new text is on disk when this returns.
pub(crate) async fn edit(
    interface: &Interface,
    label: &str,
    change: Change,
) -> Result<String, ToolFault> {
    let (told, hears) = tokio::sync::oneshot::channel();
    let edited = interface.memory().edit(label, move |block| {
        let after = changed(block, &change)?;
        // Who asked for the edit may be gone.
        let _ = told.send(after == block.text);
        Ok(after)
    });
    let block = edited.await?;
    if hears.await.unwrap_or(false) {
        return Ok(format!("`{label}` already reads like that; nothing was changed."));
    }
    let (used, limit) = (block.text.chars().count(), block.limit);
    Ok(format!(
        "`{label}` is changed; it has {} of {} characters now.",
        grouped(used),
        grouped(limit)
    ))
}

impl From<EditError> for ToolFault {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Refused(complaint) => Self::Complaint(complaint),
            EditError::TurnError(error) => error.into(),
        }
    }
}

/// The block's text after the change, if it may be made.
fn changed(block: &Block, change: &Change) -> Result<String, String> {
    let (label, text) = (&block.label, &block.text);
    let after = match change {
        Change::Append(content) if content.trim().is_empty() => {
            return Err("`content` is empty; there is nothing to append.".to_owned());
        }
        Change::Append(content) if text.is_empty() => content.clone(),
        Change::Append(content) => format!("{text}\n{content}"),
        Change::Replace(old, _) if old.is_empty() => {
            return Err(
                "`old_content` is empty; use core_memory_append to add something.".to_owned()
            );
        }
        Change::Replace(old, _) if !text.contains(old.as_str()) => {
            return Err(format!(
                "`{label}` does not contain \"{old}\" word for word. Copy `old_content` exactly as it stands there."
            ));
        }
        Change::Replace(old, new) => text.replace(old.as_str(), new),
    };
    let (before, now) = (text.chars().count(), after.chars().count());
    // A block that is too long already may still shrink.
    if now > block.limit && now > before {
        return Err(format!(
            "`{label}` has {} of {} characters; {} more do not fit. Shorten it with core_memory_replace, or keep this with archival_memory_insert.",
            grouped(before),
            grouped(block.limit),
            grouped(now - before)
        ));
    }
    Ok(after)
}
