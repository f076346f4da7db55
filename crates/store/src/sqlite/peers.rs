//! Peers in SQLite: clients of the older wires, and how far they have read.

use rusqlite::{Connection, OptionalExtension as _, params};
use thoughtwire_proto::{PeerRef, Seq, SessionId, Timestamp, UserId};

use super::row::{get_id, to_i64};
use super::{Handle, chats};
use crate::peers::wire_name;
use crate::{
    ChatOpening, Commit, NewSession, PeerOpening, PeerStore, Proven, StoreError, StoreRead,
    StoredChat,
};

/// Milliseconds for which the positions of closed connections are stored; far beyond any use.
const PROOF_KEPT_MS: i64 = 86_400_000;

/// [`PeerStore`] in SQLite.
pub(super) struct SqlitePeers(pub(super) Handle);

impl PeerStore for SqlitePeers {
    fn open_peer(&self, user: &UserId, peer: &PeerRef, now: Timestamp) -> Commit<PeerOpening> {
        let (user, peer) = (user.clone(), peer.clone());
        self.0.writer().write(move |connection| open(connection, &user, &peer, now))
    }

    fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) -> Commit<()> {
        self.0.writer().write(move |connection| prove(connection, &proof, closed_at))
    }

    fn proven(
        &self,
        user: &UserId,
        peer: &PeerRef,
        session: &SessionId,
        closed_since: Timestamp,
    ) -> StoreRead<Option<Seq>> {
        let (user, peer, session) = (user.clone(), peer.clone(), session.clone());
        self.0.read(move |connection| {
            let Some(num) = find_peer(connection, &user, &peer)? else { return Ok(None) };
            let seq: Option<i64> = connection
                .prepare_cached(
                    "SELECT max(seq) FROM proven WHERE peer = ? AND session = ?
                     AND (closed_at IS NULL OR closed_at >= ?)",
                )?
                .query_row(params![num, session.as_str(), closed_since.as_millis()], |row| {
                    row.get(0)
                })?;
            Ok(seq.map(|seq| Seq(seq.unsigned_abs())))
        })
    }

    fn open_chat(
        &self,
        user: &UserId,
        peer: &PeerRef,
        chat: Option<&str>,
        new: NewSession,
    ) -> Commit<ChatOpening> {
        let (user, peer, chat) = (user.clone(), peer.clone(), chat.map(str::to_owned));
        self.0.writer().write(move |connection| chats::open(connection, &user, &peer, chat, &new))
    }

    fn chats(&self, user: &UserId, space: &str, with_archived: bool) -> StoreRead<Vec<StoredChat>> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(move |connection| chats::list(connection, &user, &space, with_archived))
    }

    fn chats_named(&self, user: &UserId, chat: &str) -> StoreRead<Vec<StoredChat>> {
        let (user, chat) = (user.clone(), chat.to_owned());
        self.0.read(move |connection| chats::named(connection, &user, &chat))
    }

    fn has_space(&self, user: &UserId, space: &str) -> StoreRead<bool> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT 1 FROM peers WHERE user = ?1 AND space = ?2
                 UNION ALL SELECT 1 FROM chats WHERE user = ?1 AND space = ?2 LIMIT 1",
            )?;
            Ok(select.exists(params![user.as_str(), space])?)
        })
    }

    fn archive_chat(
        &self,
        user: &UserId,
        space: &str,
        chat: &str,
        archived_at: Option<Timestamp>,
    ) -> Commit<()> {
        let (user, space, chat) = (user.clone(), space.to_owned(), chat.to_owned());
        self.0
            .writer()
            .write(move |connection| chats::archive(connection, &user, &space, &chat, archived_at))
    }
}

fn open(
    connection: &Connection,
    user: &UserId,
    peer: &PeerRef,
    now: Timestamp,
) -> Result<PeerOpening, StoreError> {
    let found = find_peer(connection, user, peer)?;
    let num = match found {
        Some(num) => num,
        None => {
            connection.execute(
                "INSERT INTO peers (user, wire, space, name, created_at) VALUES (?, ?, ?, ?, ?)",
                params![
                    user.as_str(),
                    wire_name(peer.wire),
                    peer.space,
                    peer.name,
                    now.as_millis()
                ],
            )?;
            connection.last_insert_rowid()
        }
    };
    let mut select = connection.prepare_cached(
        "SELECT chats.chat, chats.session FROM peer_chats
         JOIN chats ON chats.user = ?2 AND chats.space = ?3 AND chats.chat = peer_chats.chat
         WHERE peer = ?1 ORDER BY chats.chat",
    )?;
    let rows = select.query_map(params![num, user.as_str(), peer.space], |row| {
        Ok((row.get(0)?, get_id(row, 1)?))
    })?;
    let chats = rows.collect::<Result<_, _>>()?;
    let selected =
        connection
            .query_row("SELECT selected FROM peers WHERE num = ?", [num], |row| row.get(0))?;
    Ok(PeerOpening { is_new: found.is_none(), chats, selected })
}

fn prove(
    connection: &Connection,
    proof: &[Proven],
    closed_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    for proven in proof {
        let Some(num) = find_peer(connection, &proven.user, &proven.peer)? else { continue };
        connection
            .prepare_cached(
                // Positions in a session that was deleted meanwhile are not stored.
                "INSERT INTO proven (peer, session, connection, seq, closed_at)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?2)
                 ON CONFLICT (peer, session, connection)
                 DO UPDATE SET seq = max(seq, ?4), closed_at = ?5",
            )?
            .execute(params![
                num,
                proven.session.as_str(),
                proven.connection,
                to_i64(proven.seq.0),
                closed_at.map(Timestamp::as_millis)
            ])?;
    }
    if let Some(now) = closed_at {
        connection
            .prepare_cached("DELETE FROM proven WHERE closed_at < ?")?
            .execute([now.as_millis().saturating_sub(PROOF_KEPT_MS)])?;
    }
    Ok(())
}

/// Closes the connections that were open when the last process ended.
pub(super) fn close_all(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    connection
        .execute("UPDATE proven SET closed_at = ? WHERE closed_at IS NULL", [now.as_millis()])?;
    Ok(())
}

/// Finds the row number of a peer.
pub(super) fn find_peer(
    connection: &Connection,
    user: &UserId,
    peer: &PeerRef,
) -> Result<Option<i64>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT num FROM peers WHERE user = ? AND wire = ? AND space = ? AND name = ?",
    )?;
    let found = select
        .query_row(params![user.as_str(), wire_name(peer.wire), peer.space, peer.name], |row| {
            row.get(0)
        });
    Ok(found.optional()?)
}
