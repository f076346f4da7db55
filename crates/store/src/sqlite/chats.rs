//! Chats of Sparky's users in SQLite: names of sessions, per user and name space.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use thoughtwire_proto::{DEFAULT_CHAT, PeerRef, SessionId, Timestamp, UserId};

use super::peers::find_peer;
use super::row::get_id;
use super::sessions;
use crate::opening::SessionRole;
use crate::peers::wire_name;
use crate::{ChatOpening, NewSession, StoreError, StoredChat};

const SELECT: &str = "
    SELECT chats.space, chats.chat, sessions.id, sessions.title, sessions.created_at,
           sessions.updated_at, chats.archived_at
    FROM chats JOIN sessions ON sessions.id = chats.session";

/// Finds a chat of the peer's name space, or creates it; the peer then has it selected.
pub(super) fn open(
    connection: &Connection,
    user: &UserId,
    peer: &PeerRef,
    chat: Option<String>,
    new: &NewSession,
) -> Result<ChatOpening, StoreError> {
    let num =
        find_peer(connection, user, peer)?.ok_or_else(|| StoreError::missing_peer(&peer.name))?;
    let chat = match chat {
        Some(chat) => chat,
        None => selected(connection, user, peer)?,
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
            sessions::create(connection, new, SessionRole::Other)?;
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
    Ok(ChatOpening { chat, session, is_new, is_new_to_peer: is_new || joined > 0 })
}

/// The chat that a peer of the name space selected last and that is not archived, else the default.
fn selected(connection: &Connection, user: &UserId, peer: &PeerRef) -> Result<String, StoreError> {
    let found = connection.query_row(
        "SELECT peers.selected FROM peers JOIN chats
         ON chats.user = peers.user AND chats.space = peers.space AND chats.chat = peers.selected
         WHERE peers.user = ? AND peers.wire = ? AND peers.space = ? AND chats.archived_at IS NULL
         ORDER BY peers.selected_at DESC LIMIT 1",
        params![user.as_str(), wire_name(peer.wire), peer.space],
        |row| row.get(0),
    );
    Ok(found.optional()?.unwrap_or_else(|| DEFAULT_CHAT.to_owned()))
}

/// Lists the chats of a name space, the newest activity first.
pub(super) fn list(
    connection: &Connection,
    user: &UserId,
    space: &str,
    with_archived: bool,
) -> Result<Vec<StoredChat>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "{SELECT} WHERE chats.user = ? AND chats.space = ? AND (? OR chats.archived_at IS NULL)
         ORDER BY sessions.updated_at DESC, sessions.num DESC"
    ))?;
    let rows = select.query_map(params![user.as_str(), space, with_archived], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Lists a user's chats of one name in all name spaces, the newest activity first.
pub(super) fn named(
    connection: &Connection,
    user: &UserId,
    chat: &str,
) -> Result<Vec<StoredChat>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "{SELECT} WHERE chats.user = ? AND chats.chat = ?
         ORDER BY sessions.updated_at DESC, sessions.num DESC"
    ))?;
    let rows = select.query_map(params![user.as_str(), chat], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Archives a chat, or restores it.
pub(super) fn archive(
    connection: &Connection,
    user: &UserId,
    space: &str,
    chat: &str,
    archived_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let changed = connection.execute(
        "UPDATE chats SET archived_at = ? WHERE user = ? AND space = ? AND chat = ?",
        params![archived_at.map(Timestamp::as_millis), user.as_str(), space, chat],
    )?;
    if changed == 0 { Err(StoreError::missing_chat(chat)) } else { Ok(()) }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredChat> {
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
