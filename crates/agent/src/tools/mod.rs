//! Tools: what the agent can do besides talking.

mod arguments;
mod calculator;
mod core_memory;
mod fetch;
pub(crate) mod output;
mod permissions;
mod recall;
pub(crate) mod schema;
mod toolset;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use thoughtwire_hub::{ItemWriter, Turn, TurnError};
use thoughtwire_proto::{Permission, Seq, Style, Timestamp, ToolDeclaration};
use thoughtwire_store::Store;

use crate::archive::Archive;
use crate::mcp::{McpOutput, McpPhase, McpServers};
use crate::time;
use crate::tool::{HEARTBEAT, Tool};
use arguments::Arguments;
use core_memory::Change;
pub(crate) use fetch::Fetcher;
use fetch::Reach;
pub(crate) use permissions::Permissions;
pub(crate) use toolset::{Runs, Toolset, listing};

/// How long a turn that goes on waits for MCP servers that are starting.
const SERVERS_SETTLE: Duration = Duration::from_secs(20);

/// The longest that `pause_heartbeats` takes, as in MemGPT.
const LONGEST_PAUSE_MINUTES: u64 = 360;

/// What tools work with, for all agents.
pub(crate) struct Toolbox {
    pub(crate) store: Arc<Store>,
    pub(crate) archive: Archive,
    pub(crate) mcp: McpServers,
    pub(crate) fetcher: Fetcher,
    /// The operator's permissions.
    pub(crate) permissions: Permissions,
    pub(crate) clock: fn() -> Timestamp,
}

/// The turn that a tool is used in.
pub(crate) struct Desk<'a> {
    pub(crate) turn: &'a Turn,
    /// Where the turn's own input stands in the log, and when it came.
    pub(crate) asked: Option<(Seq, Timestamp)>,
    /// What a `send_message` call has streamed of its message.
    pub(crate) spoken: Option<ItemWriter>,
}

/// What a tool came back with.
pub(crate) struct ToolOutput {
    pub(crate) text: String,
    /// In richer form, where the tool has one.
    pub(crate) content: Option<Value>,
    /// Whether the text says what went wrong.
    pub(crate) is_error: bool,
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self { text, content: None, is_error: false }
    }
}

/// Why a tool did not work.
pub(crate) enum ToolFault {
    /// For the model to read and do better.
    Complaint(String),
    /// The turn has ended.
    TurnError(TurnError),
}

impl From<TurnError> for ToolFault {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Ended => Self::TurnError(error),
            // The model can do something about these, or at least say so.
            TurnError::Illegal(why) | TurnError::Refused(why) => {
                Self::Complaint(format!("That was not done: {why}."))
            }
            TurnError::Unsaved(refusal) => {
                Self::Complaint(format!("That was not done: {}.", refusal.reason))
            }
        }
    }
}

impl Toolbox {
    /// The tools of a turn.
    pub(crate) fn toolset(
        &self,
        style: Style,
        clients: Vec<ToolDeclaration>,
        agents: &BTreeMap<String, Permission>,
    ) -> Toolset {
        Toolset::gather(style, &self.mcp, clients, agents, &self.permissions)
    }

    /// What may be done with a tool, also with one that is not there now.
    pub(crate) fn permission(
        &self,
        name: &str,
        agents: &BTreeMap<String, Permission>,
    ) -> Permission {
        let default = Tool::named(name).map_or(Permission::Allow, Tool::permission);
        self.permissions.of(name, agents, default)
    }

    /// Checks a built-in tool's arguments and runs it.
    pub(crate) async fn run(
        &self,
        tool: Tool,
        args: &Map<String, Value>,
        desk: Desk<'_>,
    ) -> Result<String, ToolFault> {
        let args = Arguments::check(tool, args).map_err(ToolFault::Complaint)?;
        let agent = desk.turn.agent.id.clone();
        match tool {
            Tool::SendMessage => self.send_message(args.text("message"), desk).await,
            Tool::CoreMemoryAppend => {
                let change = Change::Append(args.text("content").to_owned());
                core_memory::edit(&desk.turn.interface, args.text("name"), change).await
            }
            Tool::CoreMemoryReplace => {
                let change = Change::Replace(
                    args.text("old_content").to_owned(),
                    args.text("new_content").to_owned(),
                );
                core_memory::edit(&desk.turn.interface, args.text("name"), change).await
            }
            Tool::ConversationSearch => {
                self.conversation_search(args.text("query"), args.whole("page"), &desk).await
            }
            Tool::ConversationSearchDate => {
                self.conversation_search_date(
                    args.text("start_date"),
                    args.text("end_date"),
                    args.whole("page"),
                    &desk,
                )
                .await
            }
            Tool::ArchivalMemoryInsert => {
                self.archival_memory_insert(agent, args.text("content")).await
            }
            Tool::ArchivalMemorySearch => {
                self.archival_memory_search(agent, args.text("query"), args.whole("page")).await
            }
            Tool::PauseHeartbeats => pause_heartbeats(args.whole("minutes").unwrap_or(0)),
            Tool::Calculator => {
                calculator::calculate(args.text("expression")).map_err(ToolFault::Complaint)
            }
            Tool::CurrentTime => time::current_time((self.clock)(), args.maybe_text("timezone"))
                .map_err(ToolFault::Complaint),
            Tool::FetchUrl => self
                .fetcher
                .fetch(args.text("url"), Reach::Public)
                .await
                .map_err(ToolFault::Complaint),
        }
    }

    /// Waits until no MCP server is in its first start any more, for a while: a turn that goes on after
    /// a restart comes before its servers.
    pub(crate) async fn servers_settled(&self) {
        let mut changes = self.mcp.changes();
        let settled = async {
            while self.mcp.states().iter().any(|server| server.phase == McpPhase::Starting) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Who takes longer is called all the same, and says what is wrong.
        let _ = tokio::time::timeout(SERVERS_SETTLE, settled).await;
    }

    /// Who runs a tool that was called before a restart, when it is not there now: a server that is
    /// down, or a client that is not back.
    pub(crate) fn absent(&self, name: &str) -> Runs {
        let of_server =
            self.mcp.states().iter().any(|server| name.starts_with(&format!("{}__", server.name)));
        if of_server { Runs::Mcp } else { Runs::Client }
    }

    /// Calls a tool of an MCP server.
    pub(crate) async fn call_mcp(
        &self,
        name: &str,
        args: &Map<String, Value>,
        style: Style,
    ) -> Result<ToolOutput, ToolFault> {
        let mut args = args.clone();
        if style == Style::Memgpt {
            // Ours, not the server's.
            args.shift_remove(HEARTBEAT);
        }
        match self.mcp.call(name, args).await {
            Ok(McpOutput { text, content, is_error }) => Ok(ToolOutput { text, content, is_error }),
            Err(error) => Err(ToolFault::Complaint(error.to_string())),
        }
    }

    async fn send_message(&self, message: &str, desk: Desk<'_>) -> Result<String, ToolFault> {
        match desk.spoken {
            Some(mut writer) if message.starts_with(writer.text()) => {
                let rest = message.get(writer.text().len()..).unwrap_or_default().to_owned();
                writer.write(&rest).await?;
                writer.finish().await?;
            }
            // What people saw being said stays said, even if the arguments then named it twice.
            Some(writer) => {
                writer.finish().await?;
            }
            None if message.trim().is_empty() => {
                return Err(ToolFault::Complaint(
                    "`message` is empty; there is nothing to send.".to_owned(),
                ));
            }
            None => {
                desk.turn.interface.assistant_message(message).await?;
            }
        }
        Ok("None".to_owned())
    }

    /// Reads the store on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        desk: &Desk<'_>,
        read: impl FnOnce(&Store) -> Result<T, thoughtwire_store::StoreError> + Send + 'static,
    ) -> Result<T, ToolFault> {
        let read = self.store.reading_for(desk.turn.agent.id.as_str(), read).await;
        read.map_err(|error| ToolFault::Complaint(format!("The memory cannot be read: {error}.")))
    }
}

/// There are no heartbeats by the clock here yet, so there is nothing to hold back; the call is
/// taken, since MemGPT's prompts and clients know it.
fn pause_heartbeats(minutes: u64) -> Result<String, ToolFault> {
    if (1..=LONGEST_PAUSE_MINUTES).contains(&minutes) {
        Ok(format!("No timed heartbeats come for {minutes} minutes."))
    } else {
        Err(ToolFault::Complaint(format!(
            "`minutes` is from 1 to {LONGEST_PAUSE_MINUTES}, not {minutes}."
        )))
    }
}
