//! The tools of agents.

mod arguments;
mod calculator;
mod core_memory;
mod fetch;
pub(crate) mod output;
mod permissions;
mod recall;
mod replay;
pub(crate) mod schema;
mod toolset;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use thoughtwire_hub::{Final, Turn, TurnError};
use thoughtwire_proto::{
    AgentId, CallId, Permission, Replay, Seq, Style, Timestamp, ToolDeclaration, ToolStatus,
};
use thoughtwire_store::{MemoryStore, Store, StoreError};

use crate::archive::Archive;
use crate::calls::SaidSoFar;
use crate::mcp::{McpOutput, McpPhase, McpServers};
use crate::resuming;
use crate::time;
use crate::tool::{BuiltInTool, HEARTBEAT};
use arguments::CheckedArguments;
use core_memory::CoreMemoryEdit;
use fetch::FetchScope;
pub(crate) use fetch::Fetcher;
pub(crate) use permissions::ToolPermissions;
pub(crate) use replay::ReplayClasses;
pub(crate) use toolset::{ToolHost, Toolset, listing};

/// Time limit for starting MCP servers when a turn is resumed.
const SERVERS_SETTLE: Duration = Duration::from_secs(20);

/// Longest pause that `pause_heartbeats` accepts, as in MemGPT.
const LONGEST_PAUSE_MINUTES: u64 = 360;

/// The resources of tools, shared by all agents.
pub(crate) struct Toolbox {
    pub(crate) store: Arc<Store>,
    pub(crate) archive: Archive,
    pub(crate) mcp: McpServers,
    pub(crate) fetcher: Fetcher,
    /// The operator's permissions.
    pub(crate) permissions: ToolPermissions,
    /// The operator's replay classes.
    pub(crate) replay_classes: ReplayClasses,
    pub(crate) clock: fn() -> Timestamp,
}

/// The turn in which a tool is called.
pub(crate) struct ToolContext<'a> {
    pub(crate) turn: &'a Turn,
    /// Position of the turn's own input in the log.
    pub(crate) turn_input: Option<Seq>,
    /// The call.
    pub(crate) call: &'a CallId,
    /// The part of a `send_message` call's message that clients have.
    pub(crate) said: SaidSoFar,
}

/// Result of a tool.
pub(crate) struct ToolOutput {
    pub(crate) text: String,
    /// Structured content, if the tool has any.
    pub(crate) content: Option<Value>,
    /// Whether the text is an error.
    pub(crate) is_error: bool,
    /// Whether the tool has logged its result already, in one batch with its work.
    pub(crate) is_logged: bool,
}

impl ToolOutput {
    /// The text of a result that is logged.
    fn logged(text: String) -> Self {
        Self { is_logged: true, ..Self::from(text) }
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self { text, content: None, is_error: false, is_logged: false }
    }
}

/// Reason why a tool failed.
pub(crate) enum ToolFault {
    /// An error text that the model can act on.
    Complaint(String),
    /// The turn has ended.
    TurnError(TurnError),
}

impl From<TurnError> for ToolFault {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Ended => Self::TurnError(error),
            // The model can act on these, or at least report them.
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

    /// The permission of a tool, whether or not the tool is available now.
    pub(crate) fn permission(
        &self,
        name: &str,
        agents: &BTreeMap<String, Permission>,
    ) -> Permission {
        let default = BuiltInTool::named(name).map_or(Permission::Allow, BuiltInTool::permission);
        self.permissions.of(name, agents, default)
    }

    /// Checks a built-in tool's arguments and runs it.
    pub(crate) async fn run(
        &self,
        tool: BuiltInTool,
        args: &Map<String, Value>,
        context: ToolContext<'_>,
    ) -> Result<ToolOutput, ToolFault> {
        let args = CheckedArguments::check(tool, args).map_err(ToolFault::Complaint)?;
        let agent = context.turn.agent.id.clone();
        let text = match tool {
            BuiltInTool::SendMessage => {
                return send_message(args.text("message"), context).await.map(ToolOutput::logged);
            }
            BuiltInTool::CoreMemoryAppend => {
                let change = CoreMemoryEdit::Append(args.text("content").to_owned());
                return core_memory::edit(&context, tool, args.text("name"), change).await;
            }
            BuiltInTool::CoreMemoryReplace => {
                let change = CoreMemoryEdit::Replace(
                    args.text("old_content").to_owned(),
                    args.text("new_content").to_owned(),
                );
                return core_memory::edit(&context, tool, args.text("name"), change).await;
            }
            BuiltInTool::ConversationSearch => {
                self.conversation_search(args.text("query"), args.whole("page"), &context).await
            }
            BuiltInTool::ConversationSearchDate => {
                self.conversation_search_date(
                    args.text("start_date"),
                    args.text("end_date"),
                    args.whole("page"),
                    &context,
                )
                .await
            }
            BuiltInTool::ArchivalMemoryInsert => {
                self.archival_memory_insert(agent, args.text("content"), context.call).await
            }
            BuiltInTool::ArchivalMemorySearch => {
                self.archival_memory_search(agent, args.text("query"), args.whole("page")).await
            }
            BuiltInTool::PauseHeartbeats => pause_heartbeats(args.whole("minutes").unwrap_or(0)),
            BuiltInTool::Calculator => {
                calculator::calculate(args.text("expression")).map_err(ToolFault::Complaint)
            }
            BuiltInTool::CurrentTime => {
                time::current_time((self.clock)(), args.maybe_text("timezone"))
                    .map_err(ToolFault::Complaint)
            }
            BuiltInTool::FetchUrl => self
                .fetcher
                .fetch(args.text("url"), FetchScope::Public)
                .await
                .map_err(ToolFault::Complaint),
        };
        text.map(ToolOutput::from)
    }

    /// The treatment of a tool's call that an interruption left without a result.
    pub(crate) fn replay(&self, name: &str) -> Replay {
        let own = BuiltInTool::named(name).map(BuiltInTool::replay);
        let own = own.or_else(|| {
            self.mcp.tools().into_iter().find(|tool| tool.name == name).and_then(|tool| tool.replay)
        });
        self.replay_classes.of(name, own)
    }

    /// Waits until no MCP server is starting for the first time, up to a limit. A turn that is
    /// resumed after a restart would otherwise be earlier than its servers.
    pub(crate) async fn servers_settled(&self) {
        let mut changes = self.mcp.changes();
        let settled = async {
            while self.mcp.states().iter().any(|server| server.phase == McpPhase::Starting) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A slower server is called anyway, and its error says what is wrong.
        let _ = tokio::time::timeout(SERVERS_SETTLE, settled).await;
    }

    /// The host of a tool that was called before a restart and is not available now: a server that
    /// is down, a client that is not back, or a built-in tool that is not allowed any more.
    pub(crate) fn absent(&self, name: &str) -> ToolHost {
        if let Some(tool) = BuiltInTool::named(name) {
            return ToolHost::BuiltIn(tool);
        }
        let of_server =
            self.mcp.states().iter().any(|server| name.starts_with(&format!("{}__", server.name)));
        if of_server { ToolHost::Mcp } else { ToolHost::Client }
    }

    /// Calls a tool of an MCP server. `call` is the idempotency key.
    pub(crate) async fn call_mcp(
        &self,
        call: &CallId,
        name: &str,
        args: &Map<String, Value>,
        style: Style,
    ) -> Result<ToolOutput, ToolFault> {
        let mut args = args.clone();
        if style == Style::Memgpt {
            // The argument is ours, not the server's.
            args.shift_remove(HEARTBEAT);
        }
        match self.mcp.call(call, name, args).await {
            Ok(McpOutput { text, content, is_error }) => {
                Ok(ToolOutput { text, content, is_error, is_logged: false })
            }
            Err(error) => Err(ToolFault::Complaint(error.to_string())),
        }
    }

    /// The memory, read within the agent's share of the readers.
    fn memory_for(&self, agent: &AgentId) -> Arc<dyn MemoryStore> {
        Arc::clone(self.store.for_user(agent.as_str()).memory())
    }
}

/// Sends the message of a `send_message` call. The message and the call's result are one batch.
async fn send_message(message: &str, context: ToolContext<'_>) -> Result<String, ToolFault> {
    const RESULT: &str = "None";
    let ToolContext { turn, call, said, .. } = context;
    let final_message = match (said.streamed, said.cut) {
        // A streamed message cannot be taken back, even if the arguments contained it twice.
        (Some(mut writer), _) => {
            if message.starts_with(writer.text()) {
                let rest = message.get(writer.text().len()..).unwrap_or_default().to_owned();
                writer.write(&rest).await?;
            }
            Final::from(writer)
        }
        (None, _) if message.trim().is_empty() => {
            return Err(ToolFault::Complaint(
                "`message` is empty; there is nothing to send.".to_owned(),
            ));
        }
        (None, Some(cut)) => {
            let rest = resuming::added(&cut.text, message);
            if rest.is_empty() {
                let (name, status) = (BuiltInTool::SendMessage.name(), ToolStatus::Success);
                turn.interface.tools().returned(call, name, status, RESULT, None).await?;
                return Ok(RESULT.to_owned());
            }
            let mut writer = turn.interface.open_message().continuing(cut.item);
            writer.write(&rest).await?;
            Final::from(writer)
        }
        (None, None) => Final::from(message),
    };
    let name = BuiltInTool::SendMessage.name();
    turn.interface.tools().returned_saying(call, name, RESULT, final_message).await?;
    Ok(RESULT.to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it by value")]
fn unread(error: StoreError) -> ToolFault {
    ToolFault::Complaint(format!("The memory cannot be read: {error}."))
}

/// Accepts a pause of timed heartbeats. There are none yet, but MemGPT's prompts and clients know
/// the tool.
fn pause_heartbeats(minutes: u64) -> Result<String, ToolFault> {
    if (1..=LONGEST_PAUSE_MINUTES).contains(&minutes) {
        Ok(format!("Timed heartbeats are paused for {minutes} minutes."))
    } else {
        Err(ToolFault::Complaint(format!(
            "`minutes` must be from 1 to {LONGEST_PAUSE_MINUTES}, not {minutes}."
        )))
    }
}
