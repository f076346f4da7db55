//! What a hub answers without a session's task: making and finding agents and sessions, and the
//! older wires' peers and chats.

use std::sync::Arc;

use serde_json::{Map, Value};
use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, CommandId, DirectoryCommand, DirectoryReply, HistoryEntry,
    MAX_NAME_CHARS, PeerRef, PeerWire, Record, Refusal, RefusalCode, SessionId, SessionReply,
    UserId, check_name, new_name, new_title, nfc,
};
use thoughtwire_store::{
    Block, NewAgent, NewNote, NewSession, OpenedChat, Retention, SessionFilter, StoreError,
};
use tokio::sync::oneshot;

use crate::clock::{new_epoch, new_id, new_session_id};
use crate::hub::{Shared, lost};
use crate::session::{Once, What};
use crate::turn_message::Replying;
use crate::workers::is_offered;
use crate::{Hub, receipts, retention};

impl Hub {
    /// Finds a user's agent by its name or id.
    ///
    /// # Errors
    /// When there is no such agent, or the store cannot be read.
    pub async fn find_agent(&self, user: &UserId, agent: &str) -> Result<AgentProfile, Refusal> {
        let directory = self.store().directory();
        let composed = nfc(agent);
        let found = match directory.agent(user, agent).await? {
            // A name that was stored before names were composed is found as it was written.
            None if composed != agent => directory.agent(user, &composed).await?,
            found => found,
        };
        found.ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownAgent, format!("agent '{agent}' does not exist"))
        })
    }

    async fn made_before(
        &self,
        user: &UserId,
        once: Option<&Once>,
    ) -> Result<Option<String>, Refusal> {
        let Some(once) = once else { return Ok(None) };
        let receipt = self.store().directory().receipt(user, &once.id).await?;
        receipt.map(|receipt| receipts::made_before(&receipt, once)).transpose()
    }

    /// Refuses settings that the operator does not let agents have.
    fn permit(&self, spec: &AgentSpec) -> Result<(), Refusal> {
        let permitted = self.shared.agent.permit(spec);
        permitted.map_err(|reason| Refusal::new(RefusalCode::BadRequest, reason))
    }

    /// Has the directory carry out a command. The work goes on when the reply is dropped.
    #[must_use]
    pub fn direct(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        command: DirectoryCommand,
    ) -> Replying<DirectoryReply> {
        let once = once(id, &command);
        let (hub, user) = (self.clone(), user.clone());
        match command {
            DirectoryCommand::CreateAgent(spec) => self.begin(async move {
                let Made { thing: profile, duplicate } = hub.make_agent(&user, *spec, once).await?;
                Ok(DirectoryReply::Agent { profile, duplicate })
            }),
            DirectoryCommand::FindAgent { agent } => Box::pin(async move {
                let profile = hub.find_agent(&user, &agent).await?;
                Ok(DirectoryReply::Agent { profile, duplicate: false })
            }),
            DirectoryCommand::CreateSession { agent, title, instructions, history } => {
                self.begin(async move {
                    let Made { thing: session, duplicate } =
                        hub.make_session(user, agent, title, instructions, history, once).await?;
                    Ok(DirectoryReply::Session { session, duplicate })
                })
            }
            DirectoryCommand::OpenPeer { wire, space, name } => {
                let name = name.unwrap_or_else(|| new_id::<()>().to_string());
                self.begin(hub.open_peer(user, PeerRef { wire, space, name }))
            }
            DirectoryCommand::OpenChat { peer, chat, title, instructions, history } => {
                self.begin(hub.open_chat(user, peer, chat, title, instructions, history))
            }
        }
    }

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
        let once = once(id, &DirectoryCommand::CreateAgent(Box::new(spec.clone())));
        let (hub, user) = (self.clone(), user.clone());
        self.begin(async move { hub.make_agent(&user, spec, once).await }).await
    }

    /// Opens a session with an agent, named by its name or id. The work goes on when the caller
    /// leaves.
    ///
    /// # Errors
    /// When there is no such agent, the title is wrong, or nothing can be saved.
    pub async fn create_session(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        agent: String,
        title: Option<String>,
        instructions: Option<String>,
        history: Vec<HistoryEntry>,
    ) -> Result<Made<SessionId>, Refusal> {
        let command = DirectoryCommand::CreateSession {
            agent: agent.clone(),
            title: title.clone(),
            instructions: instructions.clone(),
            history: history.clone(),
        };
        let once = once(id, &command);
        let hub = self.clone();
        self.begin(hub.make_session(user.clone(), agent, title, instructions, history, once)).await
    }

    async fn make_agent(
        &self,
        user: &UserId,
        spec: AgentSpec,
        once: Option<Once>,
    ) -> Result<Made<AgentProfile>, Refusal> {
        if let Some(id) = self.made_before(user, once.as_ref()).await? {
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
                receipt: once.clone().map(|once| receipts::made(user, once, id.as_str())),
                id,
                user: user.clone(),
                spec,
                main_session: new_session_id(),
                epoch: new_epoch(),
                blocks: Vec::new(),
                notes: Vec::new(),
                sessions: Vec::new(),
                at: self.shared.now(),
            };
            match self.shared.store.directory().create_agent(new).await {
                Ok(profile) => {
                    self.shared.tell(user, &profile.main_session, false);
                    return Ok(Made::new(profile));
                }
                Err(StoreError::NameTaken { .. }) if !named => {}
                Err(error) => {
                    // Two of the same id at once: the other one made it.
                    return match self.made_before(user, once.as_ref()).await? {
                        Some(id) => self.find_agent(user, &id).await.map(Made::again),
                        None => Err(Refusal::from(&error)),
                    };
                }
            }
        }
    }

    pub(crate) async fn make_session(
        self,
        user: UserId,
        agent: String,
        title: Option<String>,
        instructions: Option<String>,
        history: Vec<HistoryEntry>,
        once: Option<Once>,
    ) -> Result<Made<SessionId>, Refusal> {
        if let Some(id) = self.made_before(&user, once.as_ref()).await? {
            return opened_before(id);
        }
        let title = title.as_deref().map(session_title).transpose()?;
        let agent = self.find_agent(&user, &agent).await?;
        let mut new = self.shared.new_session(&user, &agent, title, instructions, history);
        new.receipt = once.clone().map(|once| receipts::made(&user, once, new.id.as_str()));
        match self.shared.store.directory().create_session(new).await {
            Ok(stored) => {
                self.shared.tell(&user, &stored.id, false);
                Ok(Made::new(stored.id))
            }
            Err(error) => match self.made_before(&user, once.as_ref()).await? {
                Some(id) => opened_before(id),
                None => Err(Refusal::from(&error)),
            },
        }
    }

    /// Takes an agent in, with the logs of its sessions; the first of them becomes its main session.
    /// What ran or waited in them is ended: nothing of it runs here. `once` is the command's id and
    /// the digest of its content: a repetition gets the agent that the first one made.
    ///
    /// # Errors
    /// When the name is taken, a log does not hold together, or nothing can be saved.
    pub async fn import_agent(
        &self,
        user: &UserId,
        imported: Imported,
        once: Option<(CommandId, String)>,
    ) -> Result<AgentProfile, Refusal> {
        let once = once.map(|(id, digest)| Once { id, digest });
        if let Some(id) = self.made_before(user, once.as_ref()).await? {
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
            NewSession {
                records,
                ..self.shared.new_session(user, &profile, None, instructions, history)
            }
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
            receipt: once.clone().map(|once| receipts::made(user, once, profile.id.as_str())),
        };
        match self.shared.store.directory().create_agent(new).await {
            Ok(profile) => {
                self.shared.tell(user, &profile.main_session, false);
                Ok(profile)
            }
            // Two of the same id at once: the other one made it.
            Err(error) => match self.made_before(user, once.as_ref()).await? {
                Some(id) => self.find_agent(user, &id).await,
                None => Err(Refusal::from(&error)),
            },
        }
    }

    /// Gives an agent other settings: `changes` is merged into what it is made of (RFC 7396), so `null`
    /// takes a setting away. Its texts are memory blocks: see [`Hub::edit_block`].
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
        // Of two edits at once the second one reads what the first one left.
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
        let directory = self.store().directory();
        let profile = directory.update_agent(profile).await?;
        let filter = SessionFilter { agent: Some(profile.id.clone()), ..SessionFilter::default() };
        let sessions = directory.sessions(user, &filter).await?;
        let sessions: Vec<_> = sessions.into_iter().map(|one| one.id).collect();
        if !is_offered(&profile) {
            self.shared.workers.end(&profile.id, "the agent is the server's to run now");
        }
        let shared = Arc::new(profile.clone());
        self.shared.ask_live(&sessions, || What::Profile(Arc::clone(&shared))).await;
        for session in &sessions {
            self.shared.tell(user, session, false);
        }
        Ok(profile)
    }

    /// Deletes an agent with all its sessions and its memory. What runs is ended.
    ///
    /// # Errors
    /// When there is no such agent, or nothing can be saved.
    pub async fn delete_agent(&self, user: &UserId, agent: &str) -> Result<(), Refusal> {
        let profile = self.find_agent(user, agent).await?;
        let gone = self.store().directory().delete_agent(&profile.id).await?;
        self.shared.ask_live(&gone, || What::Erased).await;
        self.shared.workers.end(&profile.id, "the agent was deleted");
        for session in &gone {
            self.shared.tell(user, session, true);
        }
        self.erase_deleted();
        Ok(())
    }

    pub(crate) async fn delete(
        self,
        user: UserId,
        session: SessionId,
        once: Option<Once>,
    ) -> Result<SessionReply, Refusal> {
        if let Some(answer) = self.done_before(&user, once.as_ref()).await? {
            return Ok(answer);
        }
        match self.delete_now(&user, &session, once.clone()).await {
            // Two of the same id at once: the other one deleted it.
            Err(refusal) if refusal.code == RefusalCode::UnknownSession => {
                self.done_before(&user, once.as_ref()).await?.ok_or(refusal)
            }
            outcome => outcome,
        }
    }

    async fn delete_now(
        &self,
        user: &UserId,
        session: &SessionId,
        once: Option<Once>,
    ) -> Result<SessionReply, Refusal> {
        let stored = self.store().directory().session(session).await?;
        let stored = stored
            .filter(|stored| stored.user == *user)
            .ok_or_else(|| crate::session::unknown_session(session))?;
        if stored.is_main {
            return Err(Refusal::new(
                RefusalCode::Forbidden,
                "this is its agent's main session; it lives as long as the agent",
            ));
        }
        let (reply, answer) = oneshot::channel();
        self.shared.ask(user, session, What::Delete { once, reply }).await;
        let answer = answer.await.map_err(|_| lost())??;
        self.shared.tell(user, session, true);
        self.erase_deleted();
        Ok(answer)
    }

    /// The first answer to a command that belongs to no session, if it took effect before.
    async fn done_before(
        &self,
        user: &UserId,
        once: Option<&Once>,
    ) -> Result<Option<SessionReply>, Refusal> {
        let Some(once) = once else { return Ok(None) };
        let receipt = self.store().directory().receipt(user, &once.id).await?;
        receipt.map(|receipt| receipts::answer_again(&receipt, once)).transpose()
    }

    pub(crate) async fn open_peer(
        self,
        user: UserId,
        mut peer: PeerRef,
    ) -> Result<DirectoryReply, Refusal> {
        if peer.wire == PeerWire::Sparky && peer.space.is_empty() {
            peer.space = user.to_string();
        }
        for name in [&peer.name, &peer.space].into_iter().filter(|name| !name.is_empty()) {
            check_name(name)
                .map_err(|bad| Refusal::new(RefusalCode::BadRequest, bad.to_string()))?;
        }
        let opened = self.store().peers().open_peer(&user, &peer, self.shared.now()).await?;
        Ok(DirectoryReply::Peer {
            peer,
            is_new: opened.is_new,
            chats: opened.chats,
            selected: opened.selected,
        })
    }

    pub(crate) async fn open_chat(
        self,
        user: UserId,
        peer: PeerRef,
        chat: Option<String>,
        title: Option<String>,
        instructions: Option<String>,
        history: Vec<HistoryEntry>,
    ) -> Result<DirectoryReply, Refusal> {
        let title = title.map(|title| nfc(&title.replace(char::is_control, " ")));
        if let Some(chat) = &chat {
            check_chat(chat)?;
        }
        let agent = self.sparky_agent(&user, &peer.space).await?;
        let new = self.shared.new_session(&user, &agent, title, instructions, history);
        let id = new.id.clone();
        let OpenedChat { chat, session, is_new, is_new_to_peer } =
            self.store().peers().open_chat(&user, &peer, chat.as_deref(), new).await?;
        if is_new {
            self.shared.tell(&user, &id, false);
        }
        let joined = Joined { peer, chat: chat.clone(), session: session.clone(), is_new };
        // Who came later found it among the peer's chats.
        if is_new_to_peer {
            self.shared.joins.tell(&user, joined);
        }
        Ok(DirectoryReply::Chat { chat, session, is_new, model: agent.spec.model })
    }

    /// The one agent that a Sparky user has here, made when first needed.
    async fn sparky_agent(&self, user: &UserId, space: &str) -> Result<AgentProfile, Refusal> {
        let name = sparky_name(user, space);
        self.found_or_made(user, AgentSpec { name, ..AgentSpec::default() }).await
    }

    /// The agent of a name; made of this when it is not there.
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
}

/// Name of a Sparky user's agent: `sparky` for the owner's own name space, else `sparky:USER_ID`.
/// One that would be too long ends with a digest, so that two users never share an agent.
fn sparky_name(user: &UserId, space: &str) -> String {
    if space.is_empty() || space == user.as_str() {
        return "sparky".to_owned();
    }
    let name = format!("sparky:{space}");
    if name.chars().count() <= MAX_NAME_CHARS {
        return name;
    }
    let digest = receipts::digest("sparky", &[space]);
    let short = digest.get(..16).unwrap_or(&digest);
    let kept: String = name.chars().take(MAX_NAME_CHARS - 17).collect();
    format!("{kept}-{short}")
}

/// An agent from elsewhere.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it is made of.
    pub spec: AgentSpec,
    /// Its memory blocks.
    pub blocks: Vec<Block>,
    /// Its notes.
    pub notes: Vec<NewNote>,
    /// Its sessions, the main one first.
    pub sessions: Vec<ImportedSession>,
}

/// A session from elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedSession {
    /// What it adds to the agent's persona.
    pub instructions: Option<String>,
    /// Words from before it.
    pub history: Vec<HistoryEntry>,
    /// Its log behind `session_opened`.
    pub records: Vec<Record>,
}

/// The settings that [`Hub::edit_agent`] takes.
const EDITABLE: [&str; 12] = [
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
    "permissions",
];

/// The idempotency key of a command with an id.
fn once(id: Option<CommandId>, command: &DirectoryCommand) -> Option<Once> {
    let digest =
        |id| Once { id, digest: receipts::digest(command.name(), &command.digest_parts()) };
    id.map(digest)
}

/// Something that a command made, now or at the first use of its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Made<T> {
    /// What was made.
    pub thing: T,
    /// True when the first use of this command id made it.
    pub duplicate: bool,
}

impl<T> Made<T> {
    fn new(thing: T) -> Self {
        Self { thing, duplicate: false }
    }

    fn again(thing: T) -> Self {
        Self { thing, duplicate: true }
    }
}

fn opened_before(id: String) -> Result<Made<SessionId>, Refusal> {
    SessionId::new(id).map(Made::again).map_err(|_| lost())
}

fn agent_name(text: &str) -> Result<String, Refusal> {
    new_name(text)
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the agent's name: {bad}")))
}

/// Takes a text as a session's title.
pub(crate) fn session_title(text: &str) -> Result<String, Refusal> {
    new_title(text)
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the title: {bad}")))
}

/// Checks the id that a client gives to a chat. It stays as it is: the client compares it.
fn check_chat(chat: &str) -> Result<(), Refusal> {
    check_name(chat)
        .and_then(|()| new_name(chat).map(drop))
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the chat's id: {bad}")))
}

fn check_retention(spec: &AgentSpec) -> Result<(), Refusal> {
    retention::check(Retention { days: spec.settings.keep_days, events: spec.settings.keep_events })
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

impl Shared {
    fn new_session(
        &self,
        user: &UserId,
        agent: &AgentProfile,
        title: Option<String>,
        instructions: Option<String>,
        history: Vec<HistoryEntry>,
    ) -> NewSession {
        NewSession {
            id: new_session_id(),
            user: user.clone(),
            agent: agent.id.clone(),
            epoch: new_epoch(),
            title,
            instructions,
            history,
            records: Vec::new(),
            at: self.now(),
            receipt: None,
        }
    }
}
