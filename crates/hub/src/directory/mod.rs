//! The directory: agents, sessions, peers and their chats. It needs no session's task.

mod agents;
mod blocks;
mod other_nodes;
mod peers;
mod threads;

use std::sync::Arc;

use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, CommandId, DirectoryCommand, DirectoryReply, HistoryEntry, PeerRef, Refusal,
    RefusalCode, SessionCommand, SessionId, SessionReply, UserId, new_title, nfc,
};
use thoughtwire_session::{CommandRequest, IdempotencyKey, SessionRequest, unknown_session};
use thoughtwire_store::NewSession;
use tokio::sync::{broadcast, oneshot};

use crate::clock::{new_epoch, new_id, new_session_id};
use crate::joins::Joins;
use crate::read_back::read_back;
use crate::receipts;
use crate::registry::SessionRegistry;
use crate::services::Services;
use crate::services::task_ended;
use crate::session::{MailUser, SessionMail};
use crate::turn_message::Replying;

pub use agents::{Imported, ImportedSession};
pub use blocks::BlockChange;
pub(crate) use blocks::forwarded_edit;
pub(crate) use other_nodes::follow_other_nodes;
pub use threads::{ThreadSeed, Threads};

/// The agents, sessions, peers and chats of one store. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Services>,
    sessions: Arc<SessionRegistry>,
    joins: Arc<Joins>,
}

/// Something that a command made, now or at the first use of its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Made<T> {
    /// The agent or the session's id.
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

impl Directory {
    pub(crate) fn new(shared: &Arc<Services>, sessions: &Arc<SessionRegistry>) -> Self {
        let (shared, sessions) = (Arc::clone(shared), Arc::clone(sessions));
        Self { shared, sessions, joins: Arc::default() }
    }

    /// Follows the chats that a peer opens.
    pub(crate) fn joined(&self, user: &UserId, peer: &PeerRef) -> broadcast::Receiver<Joined> {
        self.joins.follow(user, peer)
    }

    /// Finds a user's agent by its name or id.
    ///
    /// # Errors
    /// When there is no such agent, or the store cannot be read.
    pub async fn find_agent(&self, user: &UserId, agent: &str) -> Result<AgentProfile, Refusal> {
        let directory = self.shared.store.directory();
        let composed = nfc(agent);
        let found = match directory.agent(user, agent).await? {
            // Names from before normalisation are found as they were written.
            None if composed != agent => directory.agent(user, &composed).await?,
            found => found,
        };
        found.ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownAgent, format!("agent '{agent}' does not exist"))
        })
    }

    /// Has the directory carry out a command. The work goes on when the reply is dropped.
    #[must_use]
    pub fn direct(
        &self,
        user: &UserId,
        id: Option<CommandId>,
        command: DirectoryCommand,
    ) -> Replying<DirectoryReply> {
        let key = command_key(id, &command);
        let (directory, user) = (self.clone(), user.clone());
        match command {
            DirectoryCommand::CreateAgent(spec) => self.shared.begin(async move {
                let Made { thing: profile, duplicate } =
                    directory.make_agent(&user, *spec, key).await?;
                Ok(DirectoryReply::Agent { profile: Box::new(profile), duplicate })
            }),
            DirectoryCommand::FindAgent { agent } => Box::pin(async move {
                let profile = directory.find_agent(&user, &agent).await?;
                Ok(DirectoryReply::Agent { profile: Box::new(profile), duplicate: false })
            }),
            DirectoryCommand::CreateSession { agent, title, instructions, history } => {
                self.shared.begin(async move {
                    let Made { thing: session, duplicate } = directory
                        .make_session(user, agent, title, instructions, history, key)
                        .await?;
                    Ok(DirectoryReply::Session { session, duplicate })
                })
            }
            DirectoryCommand::OpenPeer { wire, space, name } => {
                let name = name.unwrap_or_else(|| new_id::<()>().to_string());
                self.shared.begin(directory.open_peer(user, PeerRef { wire, space, name }))
            }
            DirectoryCommand::OpenChat { peer, chat, title, instructions, history } => self
                .shared
                .begin(directory.open_chat(user, peer, chat, title, instructions, history)),
        }
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
        let key = command_key(id, &command);
        let directory = self.clone();
        self.shared
            .begin(directory.make_session(user.clone(), agent, title, instructions, history, key))
            .await
    }

    pub(crate) async fn make_session(
        self,
        user: UserId,
        agent: String,
        title: Option<String>,
        instructions: Option<String>,
        history: Vec<HistoryEntry>,
        key: Option<IdempotencyKey>,
    ) -> Result<Made<SessionId>, Refusal> {
        if let Some(id) = self.made_before(&user, key.as_ref()).await? {
            return opened_before(id);
        }
        let title = title.as_deref().map(session_title).transpose()?;
        let agent = self.find_agent(&user, &agent).await?;
        let mut new = self.new_session(&user, &agent, title, instructions, history);
        let id = new.id.clone();
        new.receipt = key.clone().map(|key| receipts::made(&user, key, id.as_str()));
        let directory = self.shared.store.directory();
        let made = directory.create_session(new).await;
        match read_back(made, directory.session(&id)).await {
            Ok(stored) => {
                self.shared.tell(&user, &stored.id);
                Ok(Made::new(stored.id))
            }
            Err(error) => match self.made_before(&user, key.as_ref()).await? {
                Some(id) => opened_before(id),
                None => Err(Refusal::from(&error)),
            },
        }
    }

    pub(crate) async fn delete(
        self,
        user: UserId,
        session: SessionId,
        key: Option<IdempotencyKey>,
    ) -> Result<SessionReply, Refusal> {
        if let Some(answer) = self.done_before(&user, key.as_ref()).await? {
            return Ok(answer);
        }
        match self.delete_now(&user, &session, key.clone()).await {
            // The other of two commands with one id deleted it.
            Err(refusal) if refusal.code == RefusalCode::UnknownSession => {
                self.done_before(&user, key.as_ref()).await?.ok_or(refusal)
            }
            outcome => outcome,
        }
    }

    async fn delete_now(
        &self,
        user: &UserId,
        session: &SessionId,
        key: Option<IdempotencyKey>,
    ) -> Result<SessionReply, Refusal> {
        let stored = self.shared.store.directory().session(session).await?;
        let stored =
            stored.filter(|stored| stored.user == *user).ok_or_else(|| unknown_session(session))?;
        if stored.is_main {
            return Err(Refusal::new(
                RefusalCode::Forbidden,
                "this is its agent's main session; it lives as long as the agent",
            ));
        }
        let (reply, answer) = oneshot::channel();
        let (command, from) = (SessionCommand::Delete, None);
        let request = SessionRequest::Command(CommandRequest { command, from, key, reply });
        let mail = SessionMail::Request { caller: MailUser::here(user), request };
        self.sessions.deliver(session, mail).await;
        let answer = answer.await.map_err(|_| task_ended())??;
        self.shared.tell_here(user, session, true);
        self.shared.erase_deleted();
        Ok(answer)
    }

    /// The first answer to a command without a session, if it took effect before.
    async fn done_before(
        &self,
        user: &UserId,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<SessionReply>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        let receipt = self.shared.store.directory().receipt(user, &key.id).await?;
        receipt.map(|receipt| receipts::answer_again(&receipt, key)).transpose()
    }

    async fn made_before(
        &self,
        user: &UserId,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<String>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        let receipt = self.shared.store.directory().receipt(user, &key.id).await?;
        receipt.map(|receipt| receipts::made_before(&receipt, key)).transpose()
    }

    /// A new session of an agent, without a receipt.
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
            keep_idle: None,
            at: self.shared.now(),
            receipt: None,
        }
    }
}

/// The idempotency key of a command with an id.
fn command_key(id: Option<CommandId>, command: &DirectoryCommand) -> Option<IdempotencyKey> {
    let digest = |id| IdempotencyKey {
        id,
        digest: receipts::digest(command.name(), &command.digest_parts()),
    };
    id.map(digest)
}

/// Takes a text as a session's title.
pub(crate) fn session_title(text: &str) -> Result<String, Refusal> {
    new_title(text)
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the title: {bad}")))
}

fn opened_before(id: String) -> Result<Made<SessionId>, Refusal> {
    SessionId::new(id).map(Made::again).map_err(|_| task_ended())
}
