//! Chats of Sparky's users in PostgreSQL: names of sessions, per user and name space.

use thoughtwire_proto::{DEFAULT_CHAT, PeerRef, SessionId, Timestamp, UserId};
use tokio_postgres::{Client, Row};

use super::peers::find_peer;
use super::sessions;
use super::sql::{
    Text, args, execute, find_text, find_time, first_row, get_id, get_text, get_time, rows,
};
use crate::opening::SessionRole;
use crate::peers::wire_name;
use crate::{ChatOpening, NewSession, StoreError, StoredChat};

const SELECT: &str = "
    SELECT chats.space, chats.chat, sessions.id, sessions.title, sessions.created_at,
           sessions.updated_at, chats.archived_at
    FROM chats JOIN sessions ON sessions.id = chats.session";

const ORDER: &str = "ORDER BY sessions.updated_at DESC, sessions.num DESC";

/// Finds a chat of the peer's name space, or creates it; the peer then has it selected.
pub(super) async fn open(
    sql: &Client,
    node: i64,
    (user, peer): (&UserId, &PeerRef),
    chat: Option<String>,
    new: &NewSession,
) -> Result<ChatOpening, StoreError> {
    let num = find_peer(sql, user, peer).await?;
    let num = num.ok_or_else(|| StoreError::missing_peer(&peer.name))?;
    let chat = match chat {
        Some(chat) => chat,
        None => selected(sql, user, peer).await?,
    };
    // Two nodes may open the same chat at once: the second waits here until the first is done.
    let added = execute(
        sql,
        "INSERT INTO chats (owner, space, chat, session) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        args![Text(user.as_str()), Text(&peer.space), Text(&chat), Text(new.id.as_str())],
    )
    .await?;
    let is_new = added > 0;
    let session: SessionId = if is_new {
        sessions::create(sql, node, new, SessionRole::Other).await?.id
    } else {
        let found = first_row(
            sql,
            "SELECT session FROM chats WHERE owner = $1 AND space = $2 AND chat = $3",
            args![Text(user.as_str()), Text(&peer.space), Text(&chat)],
        )
        .await?;
        get_id(&found.ok_or_else(|| StoreError::missing_chat(&chat))?, 0)?
    };
    let joined = execute(
        sql,
        "INSERT INTO peer_chats (peer, chat) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        args![num, Text(&chat)],
    )
    .await?;
    execute(
        sql,
        "UPDATE peers SET selected = $2, selected_at = $3 WHERE num = $1",
        args![num, Text(&chat), new.at.as_millis()],
    )
    .await?;
    Ok(ChatOpening { chat, session, is_new, is_new_to_peer: is_new || joined > 0 })
}

/// The chat that a peer of the name space selected last and that is not archived, else the default.
async fn selected(sql: &Client, user: &UserId, peer: &PeerRef) -> Result<String, StoreError> {
    let found = first_row(
        sql,
        "SELECT peers.selected FROM peers JOIN chats
         ON chats.owner = peers.owner AND chats.space = peers.space AND chats.chat = peers.selected
         WHERE peers.owner = $1 AND peers.wire = $2 AND peers.space = $3
           AND chats.archived_at IS NULL
         ORDER BY peers.selected_at DESC NULLS LAST LIMIT 1",
        args![Text(user.as_str()), Text(wire_name(peer.wire)), Text(&peer.space)],
    )
    .await?;
    let found = found.map(|row| get_text(&row, 0)).transpose()?;
    Ok(found.unwrap_or_else(|| DEFAULT_CHAT.to_owned()))
}

/// Lists the chats of a name space, the newest activity first.
pub(super) async fn list(
    sql: &Client,
    user: &UserId,
    space: &str,
    with_archived: bool,
) -> Result<Vec<StoredChat>, StoreError> {
    let select = format!(
        "{SELECT} WHERE chats.owner = $1 AND chats.space = $2
                    AND ($3 OR chats.archived_at IS NULL) {ORDER}"
    );
    let found = rows(sql, &select, args![Text(user.as_str()), Text(space), with_archived]).await?;
    found.iter().map(read).collect()
}

/// Lists a user's chats of one name in all name spaces, the newest activity first.
pub(super) async fn named(
    sql: &Client,
    user: &UserId,
    chat: &str,
) -> Result<Vec<StoredChat>, StoreError> {
    let select = format!("{SELECT} WHERE chats.owner = $1 AND chats.chat = $2 {ORDER}");
    rows(sql, &select, args![Text(user.as_str()), Text(chat)]).await?.iter().map(read).collect()
}

/// Archives a chat, or restores it.
pub(super) async fn archive(
    sql: &Client,
    user: &UserId,
    space: &str,
    chat: &str,
    archived_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let changed = execute(
        sql,
        "UPDATE chats SET archived_at = $4 WHERE owner = $1 AND space = $2 AND chat = $3",
        args![Text(user.as_str()), Text(space), Text(chat), archived_at.map(Timestamp::as_millis)],
    )
    .await?;
    if changed == 0 { Err(StoreError::missing_chat(chat)) } else { Ok(()) }
}

fn read(row: &Row) -> Result<StoredChat, StoreError> {
    Ok(StoredChat {
        space: get_text(row, 0)?,
        chat: get_text(row, 1)?,
        session: get_id(row, 2)?,
        title: find_text(row, 3)?,
        created_at: get_time(row, 4)?,
        updated_at: get_time(row, 5)?,
        archived_at: find_time(row, 6)?,
    })
}
