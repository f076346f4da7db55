//! The tools of one turn: built-in tools, tools of MCP servers, and tools of attached clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_hub::{ToolListing, ToolSource};
use thoughtwire_proto::{AgentSpec, Permission, Style, ToolDeclaration};

use super::Toolbox;
use super::permissions::ToolPermissions;
use crate::mcp::McpServers;
use crate::tool::{BuiltInTool, ToolSpec};

/// A tool that may be called, and its host.
#[derive(Debug, Clone)]
pub(crate) struct OfferedTool {
    pub(crate) spec: Arc<ToolSpec>,
    pub(crate) host: ToolHost,
    pub(crate) permission: Permission,
}

/// The host of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolHost {
    BuiltIn(BuiltInTool),
    Mcp,
    Client,
}

/// The tools that a model is offered. Of two with the same name the first counts: built-in, then
/// MCP, then clients.
#[derive(Default)]
pub(crate) struct Toolset(Vec<OfferedTool>);

impl Toolset {
    pub(crate) fn gather(
        style: Style,
        servers: &McpServers,
        clients: Vec<ToolDeclaration>,
        agents: &BTreeMap<String, Permission>,
        permissions: &ToolPermissions,
    ) -> Self {
        let mut set = Self::default();
        for (tool, spec) in ToolSpec::built_in(style) {
            set.add(
                Arc::clone(spec),
                ToolHost::BuiltIn(*tool),
                permissions.of(tool.name(), agents, tool.permission()),
            );
        }
        let described = |name, description, schema| {
            let mut spec = ToolSpec::new(name, description, schema);
            complete(&mut spec.schema);
            if style == Style::Memgpt {
                spec.add_heartbeat();
            }
            Arc::new(spec)
        };
        for tool in servers.tools() {
            let permission = permissions.of(&tool.name, agents, Permission::Allow);
            set.add(described(tool.name, tool.description, tool.schema), ToolHost::Mcp, permission);
        }
        for ToolDeclaration { name, description, parameters, replay: _ } in clients {
            let permission = permissions.of(&name, agents, Permission::Allow);
            set.add(
                described(name, description, Value::Object(parameters)),
                ToolHost::Client,
                permission,
            );
        }
        set
    }

    fn add(&mut self, spec: Arc<ToolSpec>, host: ToolHost, permission: Permission) {
        if self.0.iter().all(|known| known.spec.name != spec.name) {
            self.0.push(OfferedTool { spec, host, permission });
        }
    }

    /// Descriptions of the tools that are not denied.
    pub(crate) fn specs(&self) -> Vec<Arc<ToolSpec>> {
        self.usable().map(|offered| Arc::clone(&offered.spec)).collect()
    }

    fn usable(&self) -> impl Iterator<Item = &OfferedTool> {
        self.0.iter().filter(|offered| offered.permission != Permission::Deny)
    }

    /// The tool of a call, or an error text for the model.
    pub(crate) fn find(&self, name: &str) -> Result<&OfferedTool, String> {
        let known = || {
            self.usable().map(|offered| offered.spec.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match self.0.iter().find(|offered| offered.spec.name == name) {
            Some(offered) if offered.permission == Permission::Deny => {
                Err(format!("The tool `{name}` may not be used here. There are: {}.", known()))
            }
            Some(offered) => Ok(offered),
            None => {
                Err(format!("There is no tool `{}`. There are: {}.", name.escape_debug(), known()))
            }
        }
    }
}

/// Adds keys that providers require and some tools leave out: the type `object` and its properties.
fn complete(schema: &mut Value) {
    if !schema.is_object() {
        *schema = Value::Object(Map::new());
    }
    if let Value::Object(schema) = schema {
        schema.entry("type").or_insert_with(|| Value::String("object".to_owned()));
        schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
}

/// An agent's tools for people. Tools of clients are not included, because they come and go.
pub(crate) fn listing(spec: &AgentSpec, toolbox: &Toolbox) -> Vec<ToolListing> {
    let style = spec.style.unwrap_or_default();
    let agents = &spec.settings.permissions;
    let (permissions, replay_classes) = (&toolbox.permissions, &toolbox.replay_classes);
    let built_in = BuiltInTool::of(style).map(|tool| ToolListing {
        name: tool.name().to_owned(),
        description: tool.description().to_owned(),
        source: ToolSource::BuiltIn,
        permission: permissions.of(tool.name(), agents, tool.permission()),
        replay: replay_classes.of(tool.name(), Some(tool.replay())),
    });
    let of_servers = toolbox.mcp.tools().into_iter().map(|tool| ToolListing {
        permission: permissions.of(&tool.name, agents, Permission::Allow),
        replay: replay_classes.of(&tool.name, tool.replay),
        name: tool.name,
        description: tool.description,
        source: ToolSource::Mcp { server: tool.server },
    });
    built_in.chain(of_servers).collect()
}
