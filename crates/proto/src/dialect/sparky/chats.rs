//! The chats that a Sparky connection is attached to.

use std::collections::HashMap;

use crate::SessionId;

/// Chats of a connection, by name and by session, and the selected one.
#[derive(Default)]
pub(super) struct Chats {
    selected: Option<String>,
    names: HashMap<SessionId, String>,
    sessions: HashMap<String, SessionId>,
}

impl Chats {
    /// Name of the selected chat. It stays selected when it is deleted.
    pub(super) fn selected(&self) -> Option<&String> {
        self.selected.as_ref()
    }

    /// Selects a chat, whether or not it exists.
    pub(super) fn select(&mut self, chat: impl Into<Option<String>>) {
        self.selected = chat.into();
    }

    /// Session of the selected chat, if it exists.
    pub(super) fn current(&self) -> Option<SessionId> {
        self.selected.as_ref().and_then(|chat| self.sessions.get(chat)).cloned()
    }

    /// Session of the only chat, if there is exactly one.
    pub(super) fn only(&self) -> Option<SessionId> {
        let mut sessions = self.names.keys();
        sessions.next().filter(|_| sessions.next().is_none()).cloned()
    }

    /// Whether a session is one of the chats.
    pub(super) fn has(&self, session: &SessionId) -> bool {
        self.names.contains_key(session)
    }

    /// Name of a session's chat.
    pub(super) fn name(&self, session: &SessionId) -> Option<&str> {
        self.names.get(session).map(String::as_str)
    }

    /// Session of a chat.
    pub(super) fn session(&self, chat: &str) -> Option<&SessionId> {
        self.sessions.get(chat)
    }

    /// Adds a chat.
    pub(super) fn insert(&mut self, chat: String, session: SessionId) {
        self.names.insert(session.clone(), chat.clone());
        self.sessions.insert(chat, session);
    }

    /// Removes a chat. It stays selected if it was.
    pub(super) fn remove(&mut self, session: &SessionId) {
        if let Some(chat) = self.names.remove(session) {
            self.sessions.remove(&chat);
        }
    }
}
