//! The tables of the file: permissions and replay classes of tools, and MCP servers.
//!
//! ```toml
//! [permissions]
//! fetch_url = "ask"
//! "files__*" = "ask"
//! files__read_file = "allow"
//! loosen = ["files__*"]
//!
//! [replay]
//! "files__*" = "never"
//! files__read_file = "safe"
//!
//! [mcp.files]
//! command = "npx"
//! args = ["-y", "@modelcontextprotocol/server-filesystem", "/home/ada/notes"]
//! env = { LOG_LEVEL = "warn" }
//!
//! [mcp.search]
//! url = "https://search.example.org/mcp"
//! headers = { Authorization = "Bearer …" }
//! call_seconds = 30
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thoughtwire_agent::{McpConfig, McpTransport};
use thoughtwire_proto::{Permission, Replay};

use super::ConfigError;
use super::layers::Layers;

/// Name of the table of permissions.
pub(super) const PERMISSIONS: &str = "permissions";
/// Name of the table of replay classes.
pub(super) const REPLAY: &str = "replay";

/// The permissions of tools, without the list `loosen`, which is a setting like others.
pub(super) fn permissions(layers: &Layers) -> Result<BTreeMap<String, Permission>, ConfigError> {
    let mut table: BTreeMap<String, config::Value> = layers.table(PERMISSIONS)?;
    table.remove("loosen");
    by_tool(PERMISSIONS, table)
}

/// The replay classes of tools.
pub(super) fn replay(layers: &Layers) -> Result<BTreeMap<String, Replay>, ConfigError> {
    by_tool(REPLAY, layers.table(REPLAY)?)
}

/// Reads a table whose keys are names of tools. An error names the tool.
fn by_tool<T: DeserializeOwned>(
    name: &str,
    table: BTreeMap<String, config::Value>,
) -> Result<BTreeMap<String, T>, ConfigError> {
    let entry = |(tool, value): (String, config::Value)| match value.try_deserialize() {
        Ok(value) => Ok((tool, value)),
        Err(error) => {
            Err(ConfigError::Table { table: name.to_owned(), reason: format!("`{tool}`: {error}") })
        }
    };
    table.into_iter().map(entry).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct McpTable {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    call_seconds: Option<u64>,
}

pub(super) fn mcp(layers: &Layers) -> Result<Vec<McpConfig>, ConfigError> {
    let servers: BTreeMap<String, McpTable> = layers.table("mcp")?;
    servers.into_iter().map(|(name, server)| server.into_config(name)).collect()
}

impl McpTable {
    fn into_config(self, name: String) -> Result<McpConfig, ConfigError> {
        let table = format!("mcp.{name}");
        let wrong =
            |reason: &str| ConfigError::Table { table: table.clone(), reason: reason.to_owned() };
        let Self { command, args, env, url, headers, call_seconds } = self;
        let transport = match (command, url) {
            (Some(command), None) if headers.is_empty() => {
                McpTransport::Stdio { command, args, env }
            }
            (None, Some(url)) if args.is_empty() && env.is_empty() => {
                McpTransport::Http { url, headers }
            }
            (Some(_), None) => return Err(wrong("`headers` belong to a server with a `url`")),
            (None, Some(_)) => {
                return Err(wrong("`args` and `env` belong to a server with a `command`"));
            }
            (Some(_), Some(_)) => {
                return Err(wrong("it has a `command` and a `url`; it takes one of them"));
            }
            (None, None) => return Err(wrong("it needs a `command` to start, or a `url` to call")),
        };
        let mut config = McpConfig::new(name, transport);
        if let Some(seconds) = call_seconds {
            config.call_timeout = Duration::from_secs(seconds);
        }
        config.check().map_err(|error| wrong(&error.to_string()))?;
        Ok(config)
    }
}
