//! Agents, their tools and the MCP servers behind them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CoreBlock;
use crate::{AgentProfile, Permission, Replay};

/// The user's agents.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentList {
    /// Agents in order of creation.
    pub agents: Vec<AgentProfile>,
}

/// One agent.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentBody {
    /// The agent as it is stored.
    pub agent: AgentProfile,
}

/// One agent with its memory and tools.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentDetails {
    /// The agent as it is stored.
    pub agent: AgentProfile,
    /// Core memory.
    pub blocks: Vec<CoreBlock>,
    /// Sizes of its other memories.
    pub memory: MemoryCounts,
    /// Tools that it may be given.
    pub tools: Vec<ToolListing>,
    /// The server's MCP servers.
    pub mcp: Vec<McpServerListing>,
}

/// Sizes of an agent's archival and recall memory.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCounts {
    /// Number of notes.
    pub archival: usize,
    /// Number of messages that can be searched.
    pub recall: usize,
    /// Number of notes and messages that this server has yet to embed, as far as they were counted.
    /// Until then they are found by words alone. Absent without an embedding model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unembedded: Option<usize>,
}

/// A tool of an agent.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolListing {
    /// Name.
    pub name: String,
    /// Purpose, as the model is told.
    pub description: String,
    /// The side that runs it.
    #[serde(flatten)]
    pub source: ToolSource,
    /// Whether the agent may use it.
    pub permission: Permission,
    /// Treatment of a call that an interruption left without a result.
    pub replay: Replay,
}

/// The side that runs a tool.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum ToolSource {
    /// The server itself.
    BuiltIn,
    /// The worker that runs the agent.
    Offered,
    /// An MCP server.
    Mcp {
        /// The MCP server's name.
        server: String,
    },
}

/// State of one of the server's MCP servers.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServerListing {
    /// Name.
    pub name: String,
    /// Phase of its life.
    pub phase: McpServerPhase,
    /// Reason of a failure; only for the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub reason: Option<String>,
    /// Full names of its tools; none while it is not ready.
    pub tools: Vec<String>,
    /// Number of restarts; only for the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub restarts: Option<u32>,
    /// Last lines of its standard error, oldest first; only for the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub stderr: Option<Vec<String>>,
    /// Process id, null while there is no process; only for the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::present")]
    #[cfg_attr(feature = "schema", schemars(extend("x-nullable" = true)), ts(optional))]
    pub pid: Option<Option<u32>>,
}

/// Phase of an MCP server's life.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpServerPhase {
    /// It starts for the first time.
    Starting,
    /// Its tools can be called.
    Ready,
    /// It did not start, or it ended.
    Failed,
    /// It was ended for good.
    Stopped,
}

impl McpServerPhase {
    /// Name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Changes to an agent's settings: a JSON merge patch (RFC 7396).
///
/// An absent setting stays, and null restores its default.
#[cfg_attr(feature = "schema", derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(type = "{ [setting: string]: JsonValue }"))]
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentPatch(pub Map<String, Value>);

/// How a patch looks in JSON Schema: the settings of an agent, and null for each but the name.
#[cfg(feature = "schema")]
mod schemas {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::{Value, json};

    use super::AgentPatch;
    use crate::{AgentSpec, Permission};

    /// Settings that are fixed when an agent is made.
    const FIXED: [&str; 3] = ["persona", "human", "extra"];

    impl JsonSchema for AgentPatch {
        fn schema_name() -> Cow<'static, str> {
            "AgentPatch".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let permission = generator.subschema_for::<Permission>();
            let spec = AgentSpec::json_schema(generator);
            let mut properties = spec.get("properties").cloned().unwrap_or_default();
            if let Value::Object(properties) = &mut properties {
                properties.retain(|name, _| !FIXED.contains(&name.as_str()));
                for (name, property) in properties.iter_mut().filter(|(name, _)| *name != "name") {
                    if name == "permissions" {
                        property["additionalProperties"] =
                            json!({"anyOf": [permission, {"type": "null"}]});
                    }
                    allow_null(property);
                }
            }
            json_schema!({
                "type": "object",
                "description": "Changes to an agent's settings: a JSON merge patch (RFC 7396). \
                    An absent setting stays, and null restores its default.",
                "properties": properties,
                "additionalProperties": false,
            })
        }
    }

    fn allow_null(property: &mut Value) {
        if let Some(kind) = property.get("type").and_then(Value::as_str) {
            property["type"] = json!([kind, "null"]);
        }
        property[crate::schema::NULLABLE] = json!(true);
    }
}

/// Texts that a new agent's `persona` and `human` blocks can begin with.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresetList {
    /// Texts for `persona`.
    pub personas: Vec<PresetText>,
    /// Texts for `human`.
    pub humans: Vec<PresetText>,
}

/// A named text.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresetText {
    /// Name.
    pub name: String,
    /// Text.
    pub text: String,
}
