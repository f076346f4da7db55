//! The `Agent` trait: what runs a turn.

use std::sync::Arc;

use futures::future::BoxFuture;
use thoughtwire_proto::rest::ToolListing;
use thoughtwire_proto::{
    AgentId, AgentProfile, AgentSpec, Compaction, Input, OpenCall, Permission, Record, Replay, Seq,
    SessionId, TurnId,
};
use thoughtwire_store::{Store, StoreError};

use crate::Interface;
use crate::tool_names::most_specific;
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

    /// Completes the definition of an agent, such as presets that it names.
    fn prepare(&self, spec: AgentSpec) -> AgentSpec {
        spec
    }

    /// Checks settings before they are saved.
    ///
    /// # Errors
    /// A sentence for people that says what is wrong, and what to do.
    fn check(&self, _spec: &AgentSpec) -> Result<(), String> {
        Ok(())
    }

    /// Checks whether the operator permits an agent's settings, before the agent is made, edited or
    /// imported.
    ///
    /// # Errors
    /// A sentence for people that says what is not permitted, and what to do.
    fn permit(&self, _spec: &AgentSpec) -> Result<(), String> {
        Ok(())
    }

    /// Whether the agent goes on with a turn that it did not begin: one that the server's stop or
    /// crash interrupted, or that waited for people then. See [`Turn::goes_on`]. Otherwise such a
    /// turn ends.
    fn resumes(&self) -> bool {
        false
    }

    /// A turn of an agent has ended, and its events are saved. Must not block.
    fn turn_ended(&self, _agent: &AgentId) {}

    /// A session has left memory or is gone. Data kept for its next turn can be dropped.
    fn left(&self, _session: &SessionId) {}

    /// The permission of an agent's tool. The hub asks this for tools of agents that workers run,
    /// so that permissions hold whether or not the worker checks them.
    fn permission(&self, spec: &AgentSpec, tool: &str) -> Permission {
        most_specific(tool, &spec.settings.permissions).unwrap_or(Permission::Allow)
    }

    /// The replay class of a tool that a worker declared, for people who list the agent's tools.
    fn replay(&self, _tool: &str, declared: Option<Replay>) -> Replay {
        declared.unwrap_or(Replay::Ask)
    }

    /// The tools of an agent, for people and for clients that list them.
    fn tools(&self, _spec: &AgentSpec) -> Vec<ToolListing> {
        Vec::new()
    }
}

/// One input to run, and the means to answer it.
#[derive(Clone)]
pub struct Turn {
    /// The session.
    pub session: SessionId,
    /// This turn.
    pub id: TurnId,
    /// The agent.
    pub agent: Arc<AgentProfile>,
    /// Instructions that the session adds to the agent's persona.
    pub instructions: Option<String>,
    /// The input.
    pub input: Input,
    /// Number of interruptions that count against the turn's limit: crashes, and lost workers.
    pub attempt: u32,
    /// Open calls of a turn that goes on after an interruption. Those that do not wait for people
    /// or clients were running, so that their outcome is unknown. Events from before the
    /// interruption are in [`Turn::so_far`].
    pub open_calls: Vec<OpenCall>,
    /// The newest summary of the session's past.
    pub compaction: Option<Compaction>,
    /// The agent's interface to the session.
    pub interface: Interface,
    pub(crate) log: Log,
}

/// The part of a log that a turn reads.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) store: Arc<Store>,
    pub(crate) session: SessionId,
    /// Position of the turn's input.
    pub(crate) asked: Seq,
    /// Position of the log's first record.
    pub(crate) first: Seq,
    pub(crate) started: Seq,
    /// Head of the log when the turn was handed to its agent.
    pub(crate) launched: Seq,
}

impl Turn {
    /// Returns the newest `limit` records before this turn's `turn_started`, oldest first. Waits
    /// until they are on disk.
    ///
    /// # Errors
    /// When the turn was ended, or the store cannot be read.
    pub async fn history(&self, limit: usize) -> Result<Vec<Record>, AgentError> {
        self.interface.committed(self.log.started).await?;
        self.records_before(self.log.started, limit).await
    }

    /// Returns the records of this turn, from its `turn_started` until the turn was handed to its
    /// agent. Waits until they are on disk. They are more than one only if the turn goes on.
    ///
    /// # Errors
    /// When the turn was ended, or the store cannot be read.
    pub async fn so_far(&self) -> Result<Vec<Record>, AgentError> {
        self.interface.committed(self.log.launched).await?;
        let before = self.log.started.previous();
        let most = usize::try_from(self.log.launched.0 - before.0).unwrap_or(usize::MAX);
        self.records_after(before, most).await
    }

    /// Whether the turn goes on after an interruption, or after a wait for people over a restart.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.log.launched > self.log.started
    }

    /// Returns at most `limit` records behind a position, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn records_after(&self, after: Seq, limit: usize) -> Result<Vec<Record>, AgentError> {
        let logs = self.log.store.logs();
        logs.records_after(&self.log.session, after, limit).await.map_err(unread)
    }

    /// Returns the records behind a position, up to this turn's `turn_started`, oldest first. Waits
    /// until they are on disk. Recent records are in memory.
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

    /// Returns the provider's state of replies whose calls are behind `after`, up to `through`, as
    /// [`ToolCalls::called_keeping`](crate::ToolCalls::called_keeping) was given it: JSON by the
    /// position of each reply's first call.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept(&self, after: Seq, through: Seq) -> Result<Vec<(Seq, String)>, AgentError> {
        let logs = self.log.store.logs();
        logs.provider_replies(&self.log.session, after, through).await.map_err(unread)
    }

    /// Position of the log's first record. Retention deleted those before it.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.log.first
    }

    /// Position of this turn's `turn_started`.
    #[must_use]
    pub fn started(&self) -> Seq {
        self.log.started
    }

    /// Returns the newest `limit` committed records before a position, oldest first.
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
    AgentError::new(unread_code(&error), format!("the session's log cannot be read: {error}"))
}

/// Code of the error of an agent that could not read the store.
#[must_use]
pub fn unread_code(error: &StoreError) -> &'static str {
    if error.is_lost_store() { AgentError::STORE_LOST } else { "store_failed" }
}
