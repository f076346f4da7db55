//! Core memory: the blocks that are always in the prompt, and the order of their edits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use thoughtwire_hub::{Interface, Silenced};
use thoughtwire_proto::AgentId;
use thoughtwire_store::{Block, BlockEdit, Store};

use crate::tools::ToolFault;

/// The core memory of all agents.
///
/// Invariant: of one agent's blocks only one edit is under way at a time, from reading the block to
/// its being on disk, whichever sessions the edits come from.
pub(crate) struct CoreMemory {
    store: Arc<Store>,
    owners: Mutex<HashMap<AgentId, Weak<tokio::sync::Mutex<()>>>>,
}

/// What is to be done to a block.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Put this behind it, on a line of its own.
    Append(String),
    /// Put the second text in the place of the first.
    Replace(String, String),
}

impl CoreMemory {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, owners: Mutex::new(HashMap::new()) }
    }

    /// Changes a block and records that; the new text is on disk when this returns.
    pub(crate) async fn edit(&self, agent: AgentId, label: String, change: Change, interface: Interface) -> Result<String, ToolFault> {
        let owner = self.owner(&agent);
        let store = Arc::clone(&self.store);
        // On a task of its own: a cancelled turn drops its future, and the next edit must not read
        // the block before this one is settled.
        let edit = tokio::spawn(async move {
            let _turn = owner.lock().await;
            let blocks = {
                let agent = agent.clone();
                tokio::task::spawn_blocking(move || store.blocks(&agent)).await
            };
            let blocks = blocks
                .map_err(|_| ToolFault::Silenced(Silenced::Ended))?
                .map_err(|error| ToolFault::Complaint(format!("The memory cannot be read: {error}.")))?;
            let block = find(&blocks, &label)?;
            let after = changed(block, &change)?;
            if after == block.text {
                return Ok(format!("`{label}` already reads like that; nothing was changed."));
            }
            let (used, limit) = (after.chars().count(), block.limit);
            let edit = BlockEdit { agent, label: label.clone(), text: after };
            interface.memory_edited(edit, block.text.clone(), "agent").await?;
            Ok(format!("`{label}` is changed; it has {} of {} characters now.", grouped(used), grouped(limit)))
        });
        edit.await.map_err(|_| ToolFault::Silenced(Silenced::Ended))?
    }

    fn owner(&self, agent: &AgentId) -> Arc<tokio::sync::Mutex<()>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = owners.get(agent).and_then(Weak::upgrade) {
            return owner;
        }
        owners.retain(|_, owner| owner.strong_count() > 0);
        let owner = Arc::new(tokio::sync::Mutex::new(()));
        owners.insert(agent.clone(), Arc::downgrade(&owner));
        owner
    }
}

fn find<'a>(blocks: &'a [Block], label: &str) -> Result<&'a Block, ToolFault> {
    blocks.iter().find(|block| block.label == label).ok_or_else(|| {
        let labels: Vec<String> = blocks.iter().map(|block| format!("`{}`", block.label)).collect();
        ToolFault::Complaint(format!("There is no memory block `{label}`. There are: {}.", labels.join(", ")))
    })
}

/// The block's text after the change, if it may be made.
fn changed(block: &Block, change: &Change) -> Result<String, ToolFault> {
    let (label, text) = (&block.label, &block.text);
    let after = match change {
        Change::Append(content) if content.trim().is_empty() => {
            return Err(ToolFault::Complaint("`content` is empty; there is nothing to append.".to_owned()));
        }
        Change::Append(content) if text.is_empty() => content.clone(),
        Change::Append(content) => format!("{text}\n{content}"),
        Change::Replace(old, _) if old.is_empty() => {
            return Err(ToolFault::Complaint("`old_content` is empty; use core_memory_append to add something.".to_owned()));
        }
        Change::Replace(old, _) if !text.contains(old.as_str()) => {
            return Err(ToolFault::Complaint(format!(
                "`{label}` does not contain \"{old}\" word for word. Copy `old_content` exactly as it stands there."
            )));
        }
        Change::Replace(old, new) => text.replace(old.as_str(), new),
    };
    let (before, now) = (text.chars().count(), after.chars().count());
    // A block that is too long already may still shrink.
    if now > block.limit && now > before {
        return Err(ToolFault::Complaint(format!(
            "`{label}` has {} of {} characters; {} more do not fit. Shorten it with core_memory_replace, or keep this with archival_memory_insert.",
            grouped(before),
            grouped(block.limit),
            grouped(now - before)
        )));
    }
    Ok(after)
}

/// A number with its thousands set apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
