//! Agents: made, edited, deleted, and taken in from elsewhere.

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::{
    AgentId, AgentProfile, AgentSpec, CommandId, DirectoryCommand, HistoryEntry, Record, Refusal,
    RefusalCode, SessionId, UserId, new_name,
};
use thoughtwire_session::IdempotencyKey;
use thoughtwire_store::{
    Block, NewAgent, NewNote, NewSession, Retention, SessionFilter, StoreError,
};

use super::{Directory, Made, command_key};
use crate::clock::{new_epoch, new_id, new_session_id};
use crate::read_back::read_back;
use crate::receipts;
use crate::retention_limits;
use crate::session::SessionMail;
use crate::workers::is_offered;

/// An agent to import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Settings of the agent.
    pub spec: AgentSpec,
    /// Memory blocks of the agent.
    pub blocks: Vec<Block>,
    /// Notes of the agent.
    pub notes: Vec<NewNote>,
    /// Sessions of the agent, the main one first.
    pub sessions: Vec<ImportedSession>,
}

/// A session to import.
#[derive(Debug, Clone)]
pub struct ImportedSession {
    /// Instructions that it adds to the agent's persona.
    pub instructions: Option<String>,
    /// Entries from before the session.
    pub history: Vec<HistoryEntry>,
    /// Records of its log behind `session_opened`.
    pub records: Vec<Record>,
}

/// The settings that [`Directory::edit_agent`] takes.
const EDITABLE: [&str; 13] = [
    "name",
    "model",
    "style",
    "preset",
    "fallbacks",
    "context_window",
    "max_output_tokens",
    "max_steps",
    "token_budget",
    "keep_days",
    "keep_events",
    "on_crash",
    "permissions",
];

impl Directory {
    /// Makes an agent and its main session. The work goes on when the caller leaves.
    ///
    /// # Errors
    /// When a setting is wrong, the name is taken, or nothing can be saved.
    pub async fn create_agent(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        spec: AgentSpec,
    ) -> Result<Made<AgentProfile>, Refusal> {
        let key = command_key(id, &DirectoryCommand::CreateAgent(Box::new(spec.clone())));
        let (directory, user) = (self.clone(), user.clone());
        self.shared.begin(async move { directory.make_agent(&user, spec, key).await }).await
    }

    pub(super) async fn make_agent(
        &self,
        user: &UserId,
        spec: AgentSpec,
        key: Option<IdempotencyKey>,
    ) -> Result<Made<AgentProfile>, Refusal> {
        if let Some(id) = self.made_before(user, key.as_ref()).await? {
            return self.find_agent(user, &id).await.map(Made::again);
        }
        let mut spec = self.shared.agent.prepare(spec);
        check_retention(&spec)?;
        self.permit(&spec)?;
        let named = !spec.name.is_empty();
        if named {
            spec.name = agent_name(&spec.name)?;
        }
        loop {
            let mut spec = spec.clone();
            if !named {
                let tail: String = new_id::<()>().as_str().chars().rev().take(8).collect();
                spec.name = format!("agent_{tail}");
            }
            let id: thoughtwire_proto::AgentId = new_id();
            let new = NewAgent {
                receipt: key.clone().map(|key| receipts::made(user, key, id.as_str())),
                id: id.clone(),
                user: user.clone(),
                spec,
                main_session: new_session_id(),
                epoch: new_epoch(),
                blocks: Vec::new(),
                notes: Vec::new(),
                sessions: Vec::new(),
                at: self.shared.now(),
            };
            let directory = self.shared.store.directory();
            let made = directory.create_agent(new).await;
            match read_back(made, directory.agent_by_id(&id)).await {
                Ok(profile) => {
                    self.shared.tell(user, &profile.main_session);
                    return Ok(Made::new(profile));
                }
                Err(StoreError::NameTaken { .. }) if !named => {}
                Err(error) => {
                    // The other of two commands with one id made it.
                    return match self.made_before(user, key.as_ref()).await? {
                        Some(id) => self.find_agent(user, &id).await.map(Made::again),
                        None => Err(Refusal::from(&error)),
                    };
                }
            }
        }
    }

    /// Imports an agent with the logs of its sessions. The first of them becomes its main session.
    /// Open turns and queued inputs in the logs are ended. `key` is the command's id and the digest
    /// of its content. A repeated command returns the agent of the first one.
    ///
    /// # Errors
    /// When the name is taken, a log does not hold together, or nothing can be saved.
    pub async fn import_agent(
        &self,
        user: &UserId,
        imported: Imported,
        key: Option<(CommandId, String)>,
    ) -> Result<AgentProfile, Refusal> {
        let key = key.map(|(id, digest)| IdempotencyKey { id, digest });
        if let Some(id) = self.made_before(user, key.as_ref()).await? {
            return self.find_agent(user, &id).await;
        }
        let Imported { mut spec, mut blocks, notes, sessions } = imported;
        spec.name = agent_name(&spec.name)?;
        check_retention(&spec)?;
        self.permit(&spec)?;
        for block in &mut blocks {
            block.label = new_name(&block.label).map_err(|bad| {
                Refusal::new(RefusalCode::BadRequest, format!("a block's label: {bad}"))
            })?;
        }
        let mut sessions = sessions.into_iter();
        let id: thoughtwire_proto::AgentId = new_id();
        let profile =
            AgentProfile { id: id.clone(), spec: spec.clone(), main_session: new_session_id() };
        let take = |session: ImportedSession| {
            let ImportedSession { instructions, history, records } = session;
            NewSession { records, ..self.new_session(user, &profile, None, instructions, history) }
        };
        let main = sessions.next().map(&take);
        let others: Vec<NewSession> = sessions.map(&take).collect();
        let new = NewAgent {
            id,
            user: user.clone(),
            spec,
            main_session: profile.main_session.clone(),
            epoch: new_epoch(),
            blocks,
            notes,
            sessions: main.into_iter().chain(others).collect(),
            at: self.shared.now(),
            receipt: key.clone().map(|key| receipts::made(user, key, profile.id.as_str())),
        };
        match self.shared.store.directory().create_agent(new).await {
            Ok(profile) => {
                self.shared.tell(user, &profile.main_session);
                Ok(profile)
            }
            // The other of two commands with one id made it.
            Err(error) => match self.made_before(user, key.as_ref()).await? {
                Some(id) => self.find_agent(user, &id).await,
                None => Err(Refusal::from(&error)),
            },
        }
    }

    /// Changes an agent's settings: `changes` is merged into them (RFC 7396), so `null` removes a
    /// setting. Its texts are memory blocks: see [`Directory::edit_block`].
    ///
    /// # Errors
    /// When there is no such agent, a setting is unknown or wrong, or the name is taken.
    pub async fn edit_agent(
        &self,
        user: &UserId,
        agent: &str,
        changes: Map<String, Value>,
    ) -> Result<AgentProfile, Refusal> {
        let bad = |reason: String| Refusal::new(RefusalCode::BadRequest, reason);
        let found = self.find_agent(user, agent).await?;
        // The second of two concurrent edits reads the result of the first.
        let owner = self.shared.memory.owner(&found.id);
        let _turn = owner.lock().await;
        let mut profile = self.find_agent(user, found.id.as_str()).await?;
        if let Some(key) = changes.keys().find(|key| !EDITABLE.contains(&key.as_str())) {
            return Err(bad(format!(
                "an agent has no setting {key:?} that can be edited; there are: {}",
                EDITABLE.join(", ")
            )));
        }
        let names_models = changes.contains_key("model") || changes.contains_key("fallbacks");
        let renames = changes.contains_key("name");
        let mut spec =
            serde_json::to_value(&profile.spec).map_err(|error| bad(error.to_string()))?;
        merge(&mut spec, Value::Object(changes));
        profile.spec = serde_json::from_value(spec)
            .map_err(|error| bad(format!("the agent's settings: {error}")))?;
        if renames {
            profile.spec.name = agent_name(&profile.spec.name)?;
        }
        check_retention(&profile.spec)?;
        if names_models {
            self.permit(&profile.spec)?;
            self.shared.agent.check(&profile.spec).map_err(bad)?;
        }
        let profile = self.shared.store.directory().update_agent(profile).await?;
        self.take_profile(user, &profile).await?;
        Ok(profile)
    }

    /// Deletes an agent with all its sessions and its memory. Ends their turns.
    ///
    /// # Errors
    /// When there is no such agent, or nothing can be saved.
    pub async fn delete_agent(&self, user: &UserId, agent: &str) -> Result<(), Refusal> {
        let profile = self.find_agent(user, agent).await?;
        let gone = self.shared.store.directory().delete_agent(&profile.id).await?;
        self.end_deleted(user, &profile.id, &gone).await;
        self.shared.erase_deleted();
        Ok(())
    }

    /// Hands an agent's new settings to its live sessions, and tells followers of the list.
    pub(super) async fn take_profile(
        &self,
        user: &UserId,
        profile: &AgentProfile,
    ) -> Result<(), Refusal> {
        let filter = SessionFilter { agent: Some(profile.id.clone()), ..SessionFilter::default() };
        let sessions = self.shared.store.directory().sessions(user, &filter).await?;
        let sessions: Vec<_> = sessions.into_iter().map(|one| one.id).collect();
        if !is_offered(profile) {
            self.shared.workers.end(&profile.id, "the agent is the server's to run now");
        }
        let shared = Arc::new(profile.clone());
        self.sessions
            .deliver_live(&sessions, || SessionMail::ProfileChanged(Arc::clone(&shared)))
            .await;
        for session in &sessions {
            self.shared.tell_here(user, session, false);
        }
        Ok(())
    }

    /// Ends the live sessions of a deleted agent, and tells followers of the list.
    pub(super) async fn end_deleted(&self, user: &UserId, agent: &AgentId, gone: &[SessionId]) {
        self.sessions.deliver_live(gone, || SessionMail::Erased).await;
        self.shared.workers.end(agent, "the agent was deleted");
        for session in gone {
            self.shared.tell_here(user, session, true);
        }
    }

    /// Finds the agent of a name, or makes it with these settings.
    pub(crate) async fn found_or_made(
        &self,
        user: &UserId,
        spec: AgentSpec,
    ) -> Result<AgentProfile, Refusal> {
        loop {
            match self.find_agent(user, &spec.name).await {
                Err(refusal) if refusal.code == RefusalCode::UnknownAgent => {}
                found => return found,
            }
            match self.make_agent(user, spec.clone(), None).await {
                Ok(made) => return Ok(made.thing),
                // Another connection made it in between, and may have deleted it again.
                Err(refusal) if refusal.code == RefusalCode::NameTaken => {}
                // It may have been saved all the same.
                Err(refusal) => {
                    return self.find_agent(user, &spec.name).await.map_err(|_| refusal);
                }
            }
        }
    }

    /// Refuses settings that the operator does not permit.
    fn permit(&self, spec: &AgentSpec) -> Result<(), Refusal> {
        let permitted = self.shared.agent.permit(spec);
        permitted.map_err(|reason| Refusal::new(RefusalCode::BadRequest, reason))
    }
}

fn agent_name(text: &str) -> Result<String, Refusal> {
    new_name(text)
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the agent's name: {bad}")))
}

fn check_retention(spec: &AgentSpec) -> Result<(), Refusal> {
    retention_limits::check(Retention {
        days: spec.settings.keep_days,
        events: spec.settings.keep_events,
    })
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.shift_remove(&key);
            } else {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}
