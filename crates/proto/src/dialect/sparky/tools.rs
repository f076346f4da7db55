//! Tools that a client is told about while it connects.

use super::payload::Payload;

/// Tools of a server's agents, as reported to a new client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Number of available tools, including built-in ones.
    pub loaded: usize,
    /// MCP servers that provide tools.
    pub servers: Vec<ServerLoading>,
}

/// An MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLoading {
    /// Its name.
    pub name: String,
    /// Progress of its start.
    pub loading: Loading,
}

/// Progress of an MCP server's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loading {
    /// It is being started.
    Begun,
    /// Its tools are available.
    Loaded,
    /// It cannot be used, for this reason.
    Failed(String),
}

impl Tools {
    /// Makes the `tool_loading_progress` messages: per server `loading`, then the outcome if there
    /// is one.
    pub(super) fn progress(&self) -> Vec<Payload> {
        let told = |server: &ServerLoading| {
            let name = &server.name;
            let outcome = match &server.loading {
                Loading::Begun => None,
                Loading::Loaded => Some(("loaded", format!("{name} loaded successfully"))),
                Loading::Failed(reason) => {
                    Some(("error", format!("Error loading {name}: {reason}")))
                }
            };
            std::iter::once(("loading", format!("Loading {name}...")))
                .chain(outcome)
                .map(|(status, message)| Payload::ToolLoadingProgress {
                    tool_name: name.clone(),
                    status: status.to_owned(),
                    message,
                })
                .collect::<Vec<_>>()
        };
        self.servers.iter().flat_map(told).collect()
    }
}
