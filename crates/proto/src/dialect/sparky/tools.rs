//! What a client is told of tools while a connection begins.

use super::payload::Payload;

/// Tools of a server's agents, as a new client is told of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tools {
    /// How many tools can be used, built-in ones included.
    pub loaded: usize,
    /// The servers that bring tools of their own, each told once.
    pub servers: Vec<ServerLoading>,
}

/// A server of tools (MCP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLoading {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub loading: Loading,
}

/// How far a server of tools is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loading {
    /// It is being started.
    Begun,
    /// Its tools can be used.
    Loaded,
    /// It cannot be used; why.
    Failed(String),
}

impl Tools {
    /// The `tool_loading_progress` messages: per server `loading`, then its outcome if there is one.
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
