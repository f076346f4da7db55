//! Chats of Sparky's users: names, per user and name space, of sessions.

use rusqlite::{OptionalExtension, Row, params};
use thoughtwire_proto::{DEFAULT_CHAT, PeerRef, SessionId, Timestamp, UserId};

use crate::log::get_id;
use crate::peers::{peer_num, wire_name};
use crate::{Commit, NewSession, Store, StoreError, log};

/// A chat that was found or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedChat {
    /// Its name.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Whether it was opened just now.
    pub is_new: bool,
    /// Whether the peer had not had it before.
    pub is_new_to_peer: bool,
}

/// A chat as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChat {
    /// The name space: Sparky's `user_id`.
    pub space: String,
    /// Its name in the name space.
    pub chat: String,
    /// The session behind it.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last grew.
    pub updated_at: Timestamp,
    /// When it was archived, if it is.
    pub archived_at: Option<Timestamp>,
}

const COLUMNS: &str = "SELECT chats.space, chats.chat, sessions.id, sessions.title,
    sessions.created_at, sessions.updated_at, chats.archived_at
    FROM chats JOIN sessions ON sessions.id = chats.session";

impl Store {
    /// Finds a chat of the peer's name space, or opens it as `new`; the peer has it and has it
    /// selected from then on. Without a name it is the chat that any peer of the name space selected
    /// last and that is not archived, else [`DEFAULT_CHAT`].
    pub fn open_chat(
        &self,
        user: &UserId,
        peer: &PeerRef,
        chat: Option<&str>,
        new: NewSession,
    ) -> Commit<OpenedChat> {
        let (user, peer, chat) = (user.clone(), peer.clone(), chat.map(str::to_owned));
        self.writer.write(move |connection| {
            let num = peer_num(connection, &user, &peer)?
                .ok_or_else(|| StoreError::Missing("such client".to_owned()))?;
            let chat = match chat {
                Some(chat) => chat,
                None => connection
                    .query_row(
                        "SELECT peers.selected FROM peers JOIN chats
                         ON chats.user = peers.user AND chats.space = peers.space AND chats.chat = peers.selected
                         WHERE peers.user = ? AND peers.wire = ? AND peers.space = ? AND chats.archived_at IS NULL
                         ORDER BY peers.selected_at DESC LIMIT 1",
                        params![user.as_str(), wire_name(peer.wire), peer.space],
                        |row| row.get(0),
                    )
                    .optional()?
                    .unwrap_or_else(|| DEFAULT_CHAT.to_owned()),
            };
            let found: Option<SessionId> = connection
                .query_row(
                    "SELECT session FROM chats WHERE user = ? AND space = ? AND chat = ?",
                    params![user.as_str(), peer.space, chat],
                    |row| get_id(row, 0),
                )
                .optional()?;
            let is_new = found.is_none();
            let session = match found {
                Some(session) => session,
                None => {
                    log::write_session(connection, &new, false)?;
                    connection.execute(
                        "INSERT INTO chats (user, space, chat, session) VALUES (?, ?, ?, ?)",
                        params![user.as_str(), peer.space, chat, new.id.as_str()],
                    )?;
                    new.id.clone()
                }
            };
            let joined = connection.execute(
                "INSERT OR IGNORE INTO peer_chats (peer, chat) VALUES (?, ?)",
                params![num, chat],
            )?;
            connection.execute(
                "UPDATE peers SET selected = ?, selected_at = ? WHERE num = ?",
                params![chat, new.at.as_millis(), num],
            )?;
            Ok(OpenedChat { chat, session, is_new, is_new_to_peer: is_new || joined > 0 })
        })
    }

    /// A name space's chats, the one that grew last first. Archived ones only where they are asked for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn chats(
        &self,
        user: &UserId,
        space: &str,
        with_archived: bool,
    ) -> Result<Vec<StoredChat>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE chats.user = ? AND chats.space = ? AND (? OR chats.archived_at IS NULL)
                 ORDER BY sessions.updated_at DESC, sessions.num DESC"
            ))?;
            let rows = select.query_map(params![user.as_str(), space, with_archived], read_chat)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A user's chats of one name, in all of its name spaces; the one that grew last first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn chats_named(&self, user: &UserId, chat: &str) -> Result<Vec<StoredChat>, StoreError> {
        self.readers.read(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE chats.user = ? AND chats.chat = ?
                 ORDER BY sessions.updated_at DESC, sessions.num DESC"
            ))?;
            let rows = select.query_map(params![user.as_str(), chat], read_chat)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether any client was ever seen in a name space of a user.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has_space(&self, user: &UserId, space: &str) -> Result<bool, StoreError> {
        self.readers.read(|connection| {
            let found = connection
                .prepare_cached(
                    "SELECT 1 FROM peers WHERE user = ?1 AND space = ?2
                     UNION ALL SELECT 1 FROM chats WHERE user = ?1 AND space = ?2 LIMIT 1",
                )?
                .exists(params![user.as_str(), space])?;
            Ok(found)
        })
    }

    /// Archives a chat, or takes it back from there. Its session stays as it is.
    pub fn archive_chat(
        &self,
        user: &UserId,
        space: &str,
        chat: &str,
        archived_at: Option<Timestamp>,
    ) -> Commit<()> {
        let (user, space, chat) = (user.clone(), space.to_owned(), chat.to_owned());
        self.writer.write(move |connection| {
            let changed = connection.execute(
                "UPDATE chats SET archived_at = ? WHERE user = ? AND space = ? AND chat = ?",
                params![archived_at.map(Timestamp::as_millis), user.as_str(), space, chat],
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("such chat".to_owned()));
            }
            Ok(())
        })
    }
}

fn read_chat(row: &Row<'_>) -> rusqlite::Result<StoredChat> {
    Ok(StoredChat {
        space: row.get(0)?,
        chat: row.get(1)?,
        session: get_id(row, 2)?,
        title: row.get(3)?,
        created_at: Timestamp::from_millis(row.get(4)?),
        updated_at: Timestamp::from_millis(row.get(5)?),
        archived_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
    })
}
