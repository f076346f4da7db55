//! Edits of core memory blocks by the agent's tools.

use thoughtwire_hub::EditError;
use thoughtwire_store::Block;

use super::{ToolContext, ToolFault, ToolOutput};
use crate::numbers::grouped;
use crate::tool::BuiltInTool;

/// An edit of a block.
#[derive(Debug, Clone)]
pub(crate) enum CoreMemoryEdit {
    /// Append a line.
    Append(String),
    /// Replace the first text with the second.
    Replace(String, String),
}

/// Edits a block as the work of a call. Block, event and result are on disk when this returns.
pub(crate) async fn edit(
    context: &ToolContext<'_>,
    tool: BuiltInTool,
    label: &str,
    change: CoreMemoryEdit,
) -> Result<ToolOutput, ToolFault> {
    let (told, hears) = tokio::sync::oneshot::channel();
    let name = label.to_owned();
    let memory = context.turn.interface.memory();
    let edited = memory.edit_returning(context.call, tool.name(), label, move |block| {
        let after = changed(block, &change)?;
        let result = if after == block.text {
            format!("`{name}` already reads like that; nothing was changed.")
        } else {
            let (used, limit) = (after.chars().count(), block.limit);
            format!(
                "`{name}` is changed; it has {} of {} characters now.",
                grouped(used),
                grouped(limit)
            )
        };
        // The receiver may be gone.
        let _ = told.send(result.clone());
        Ok((after, result))
    });
    edited.await?;
    Ok(ToolOutput::logged(hears.await.unwrap_or_default()))
}

impl From<EditError> for ToolFault {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Refused(complaint) => Self::Complaint(complaint),
            EditError::TurnError(error) => error.into(),
        }
    }
}

/// The block's text after the edit, if the edit is valid.
fn changed(block: &Block, change: &CoreMemoryEdit) -> Result<String, String> {
    let (label, text) = (&block.label, &block.text);
    let after = match change {
        CoreMemoryEdit::Append(content) if content.trim().is_empty() => {
            return Err("`content` is empty; there is nothing to append.".to_owned());
        }
        CoreMemoryEdit::Append(content) if text.is_empty() => content.clone(),
        CoreMemoryEdit::Append(content) => format!("{text}\n{content}"),
        CoreMemoryEdit::Replace(old, _) if old.is_empty() => {
            return Err(
                "`old_content` is empty; use core_memory_append to add something.".to_owned()
            );
        }
        CoreMemoryEdit::Replace(old, _) if !text.contains(old.as_str()) => {
            return Err(format!(
                "`{label}` does not contain \"{old}\" word for word. Copy `old_content` exactly \
                 as it stands there."
            ));
        }
        CoreMemoryEdit::Replace(old, new) => text.replace(old.as_str(), new),
    };
    let (before, now) = (text.chars().count(), after.chars().count());
    // A block that is already too long may still shrink.
    if now > block.limit && now > before {
        return Err(format!(
            "`{label}` has {} of {} characters; {} more do not fit. Shorten it with \
             core_memory_replace, or keep this with archival_memory_insert.",
            grouped(before),
            grouped(block.limit),
            grouped(now - before)
        ));
    }
    Ok(after)
}
