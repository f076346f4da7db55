//! The `Agent` trait: what runs a turn.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Compaction, Input, OpenCall, Permission, Record, Seq, SessionId,
    TurnId,
};
use thoughtwire_store::{Store, StoreError};

use crate::Interface;
use crate::permission::named_permission;
use crate::turn_message::AgentError;

/// Runs turns. One value serves all agents of a hub; [`Turn::agent`] says which one is meant.
///
/// The future is dropped when the turn is cancelled: what must not be dropped belongs on a task of
/// its own. A panic ends the turn as failed and harms nothing else.
pub trait Agent: Send + Sync + 'static {
    /// Runs one turn, speaking through `turn.interface`.
    ///
    /// A turn that returns without [`Interface::finish`] ends as completed, one that returns an
    /// error as failed.
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>>;

    /// Completes what an agent is to be made of, such as presets that it names.
    fn prepare(&self, spec: AgentSpec) -> AgentSpec {
        spec
    }

    /// Says whether settings can work, before they are saved.
    ///
    /// # Errors
    /// A sentence for people: what is wrong, and what to do.
    fn check(&self, _spec: &AgentSpec) -> Result<(), String> {
        Ok(())
    }

    /// Says whether the operator lets an agent have its settings, before it is made, edited or
    /// taken in.
    ///
    /// # Errors
    /// A sentence for people: what is not permitted, and what to do.
    fn permit(&self, _spec: &AgentSpec) -> Result<(), String> {
        Ok(())
    }

    /// Whether it goes on with a turn that was parked when the server stopped: see [`Turn::waiting`].
    /// For those that do not, such a turn ends.
    fn resumes(&self) -> bool {
        false
    }

    /// A session has left memory, or is gone: what was kept for its next turn can go.
    fn left(&self, _session: &SessionId) {}

    /// The permission of a tool of an agent. The hub asks this for the tools of agents that programs
    /// outside run, so that permissions hold whether or not the program checks them.
    fn permission(&self, spec: &AgentSpec, tool: &str) -> Permission {
        named_permission(tool, &spec.settings.permissions).unwrap_or(Permission::Allow)
    }

    /// The tools that an agent has, for people and for clients that list them.
    fn tools(&self, _spec: &AgentSpec) -> Vec<ToolListing> {
        Vec::new()
    }
}

/// A tool as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolListing {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Who runs it.
    #[serde(flatten)]
    pub source: ToolSource,
    /// Whether it may be used.
    pub permission: Permission,
}

/// Who runs a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum ToolSource {
    /// The agent itself.
    BuiltIn,
    /// A program outside that runs the agent.
    Offered,
    /// An MCP server.
    Mcp {
        /// Its name.
        server: String,
    },
}

/// One input to run, and the means to answer it.
#[derive(Clone)]
pub struct Turn {
    /// The session.
    pub session: SessionId,
    /// This turn.
    pub id: TurnId,
    /// The agent that is meant.
    pub agent: Arc<AgentProfile>,
    /// What the session adds to the agent's persona.
    pub instructions: Option<String>,
    /// What was said.
    pub input: Input,
    /// Set when the turn goes on after a restart: the calls that wait for people or clients outside.
    /// What the agent did before is in [`Turn::so_far`].
    pub waiting: Vec<OpenCall>,
    /// The newest summary of the session's past.
    pub compaction: Option<Compaction>,
    /// Through which the agent speaks.
    pub interface: Interface,
    pub(crate) log: Log,
}

/// Where a turn reads its session's past.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) store: Arc<Store>,
    pub(crate) session: SessionId,
    /// Where its input stands.
    pub(crate) asked: Seq,
    /// Where it begins.
    pub(crate) first: Seq,
    pub(crate) started: Seq,
    /// The head when the agent was handed the turn.
    pub(crate) launched: Seq,
}

impl Turn {
    /// The newest `limit` records before this turn's `turn_started`, oldest first. Waits until they
    /// are all on disk.
    ///
    /// # Errors
    /// When the turn was ended, or the store cannot be read.
    pub async fn history(&self, limit: usize) -> Result<Vec<Record>, AgentError> {
        self.interface.committed(self.log.started).await?;
        self.records_before(self.log.started, limit).await
    }

    /// What happened in this turn, from its `turn_started` on, before the agent was handed it: more
    /// than that only when it goes on after a restart.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn so_far(&self) -> Result<Vec<Record>, AgentError> {
        let before = Seq(self.log.started.0.saturating_sub(1));
        let most = usize::try_from(self.log.launched.0 - before.0).unwrap_or(usize::MAX);
        self.records_after(before, most).await
    }

    /// Whether it goes on after a restart.
    pub(crate) fn goes_on(&self) -> bool {
        self.log.launched > self.log.started
    }

    /// At most `limit` records behind a position, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn records_after(&self, after: Seq, limit: usize) -> Result<Vec<Record>, AgentError> {
        let logs = self.log.store.logs();
        logs.records_after(&self.log.session, after, limit).await.map_err(unread)
    }

    /// The records behind a position, up to this turn's `turn_started`, oldest first. Waits until they
    /// are all on disk. What was said lately costs no reading.
    ///
    /// # Errors
    /// When the turn was ended, or the store cannot be read.
    pub async fn since(&self, after: Seq) -> Result<Vec<Record>, AgentError> {
        self.interface.committed(self.log.started).await?;
        if let Some(records) = self.interface.tail.records(after, self.log.started) {
            return Ok(records);
        }
        let most =
            usize::try_from(self.log.started.0.saturating_sub(after.0 + 1)).unwrap_or(usize::MAX);
        self.records_after(after, most).await
    }

    /// What the model's provider wants back of the replies whose calls stand behind `after`, up to
    /// `through`, as [`Interface::tools_called_keeping`] was given it: JSON by the position of each
    /// reply's first call.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept(&self, after: Seq, through: Seq) -> Result<Vec<(Seq, String)>, AgentError> {
        let logs = self.log.store.logs();
        logs.provider_replies(&self.log.session, after, through).await.map_err(unread)
    }

    /// Where the session's log begins: what was before is not kept any more.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.log.first
    }

    /// Where this turn's `turn_started` stands.
    #[must_use]
    pub fn started(&self) -> Seq {
        self.log.started
    }

    /// The newest `limit` committed records before a position, oldest first: for paging back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn records_before(
        &self,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, AgentError> {
        let logs = self.log.store.logs();
        logs.records_before(&self.log.session, before, limit).await.map_err(unread)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn unread(error: StoreError) -> AgentError {
    AgentError::new("store_failed", format!("the session's log cannot be read: {error}"))
}
