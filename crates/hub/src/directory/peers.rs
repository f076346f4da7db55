//! Peers of the older wires, and their chats.

use thoughtwire_proto::connection::Joined;
use thoughtwire_proto::{
    AgentProfile, AgentSpec, DirectoryReply, HistoryEntry, MAX_NAME_CHARS, PeerRef, PeerWire,
    Refusal, RefusalCode, SessionId, UserId, check_name, new_name, nfc,
};
use thoughtwire_store::{ChatOpening, Store, StoreError, StoredChat};

use super::Directory;
use crate::read_back::read_back;
use crate::receipts;

impl Directory {
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
        let opened = self.shared.store.peers().open_peer(&user, &peer, self.shared.now()).await?;
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
        let new = self.new_session(&user, &agent, title, instructions, history);
        let id = new.id.clone();
        let opened = self.shared.store.peers().open_chat(&user, &peer, chat.as_deref(), new).await;
        let made = made_chat(&self.shared.store, &user, &peer.space, &id);
        let ChatOpening { chat, session, is_new, is_new_to_peer } = read_back(opened, made).await?;
        if is_new {
            self.shared.tell(&user, &id);
        }
        let joined = Joined { peer, chat: chat.clone(), session: session.clone(), is_new };
        // A connection that came later found it among the peer's chats.
        if is_new_to_peer {
            self.shared.store.changes().announce_chat(&user, &joined);
            self.joins.tell(&user, joined);
        }
        Ok(DirectoryReply::Chat { chat, session, is_new, model: agent.spec.model })
    }

    /// Finds the agent of a Sparky user, or makes it.
    async fn sparky_agent(&self, user: &UserId, space: &str) -> Result<AgentProfile, Refusal> {
        let name = sparky_name(user, space);
        self.found_or_made(user, AgentSpec { name, ..AgentSpec::default() }).await
    }
}

/// Reads the chat that was made with a session, if it was saved.
async fn made_chat(
    store: &Store,
    user: &UserId,
    space: &str,
    session: &SessionId,
) -> Result<Option<ChatOpening>, StoreError> {
    let chats = store.peers().chats(user, space, true).await?;
    let made = chats.into_iter().find(|chat| chat.session == *session);
    Ok(made.map(|StoredChat { chat, session, .. }| ChatOpening {
        chat,
        session,
        is_new: true,
        is_new_to_peer: true,
    }))
}

/// Name of a Sparky user's agent: `sparky` for the owner's own name space, else `sparky:USER_ID`.
/// A name that would be too long ends with a digest, so that two users never share an agent.
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

/// Checks the id that a client gives to a chat. The id is kept as it is, since the client compares
/// it.
fn check_chat(chat: &str) -> Result<(), Refusal> {
    check_name(chat)
        .and_then(|()| new_name(chat).map(drop))
        .map_err(|bad| Refusal::new(RefusalCode::BadRequest, format!("the chat's id: {bad}")))
}
