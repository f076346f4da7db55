//! The state of a run: the agent's memory, beside what the client keeps there.

use serde_json::{Map, Value, json};
use thoughtwire_store::{Scope, StoreError};

use super::event::StateChange;
use crate::access::Identity;
use crate::rest::RestState;
use thoughtwire_proto::AgentId;

/// Key of the memory within the state.
const MEMORY: &str = "memory";

/// The state with the agent's memory blocks. `None` if the caller may not read them, or the
/// client's state is no object.
pub(super) async fn snapshot(
    rest: &RestState,
    caller: &Identity,
    agent: &AgentId,
    clients: &Value,
) -> Result<Option<Value>, StoreError> {
    let mut state = match clients {
        Value::Null => Map::new(),
        Value::Object(state) => state.clone(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return Ok(None),
    };
    if !caller.has(Scope::Agents) {
        return Ok(None);
    }
    let blocks = rest.hub.store().memory().blocks(agent).await?;
    let memory: Map<String, Value> =
        blocks.into_iter().map(|block| (block.label, json!(block.text))).collect();
    state.insert(MEMORY.to_owned(), Value::Object(memory));
    Ok(Some(Value::Object(state)))
}

/// The change of one memory block.
pub(super) fn change(block: &str, text: &str) -> StateChange {
    let label = block.replace('~', "~0").replace('/', "~1");
    StateChange { op: "add", path: format!("/{MEMORY}/{label}"), value: text.to_owned() }
}
