//! Clients of the older wires that can be known again: their chats, and how far they have read.

use rusqlite::{Connection, OptionalExtension, params};
use thoughtwire_proto::{PeerRef, PeerWire, Seq, SessionId, Timestamp, UserId};

use crate::log::{get_id, to_i64};
use crate::{Commit, NewSession, OpenedPeer, Proven, Store, StoreError, log};

impl Store {
    /// Finds a peer, or makes it.
    pub fn open_peer(&self, user: &UserId, peer: &PeerRef, now: Timestamp) -> Commit<OpenedPeer> {
        let (user, peer) = (user.clone(), peer.clone());
        self.writer.write(move |connection| {
            let found = peer_num(connection, &user, &peer)?;
            let num = match found {
                Some(num) => num,
                None => {
                    connection.execute(
                        "INSERT INTO peers (user, wire, space, name, created_at) VALUES (?, ?, ?, ?, ?)",
                        params![user.as_str(), wire_name(peer.wire), peer.space, peer.name, now.as_millis()],
                    )?;
                    connection.last_insert_rowid()
                }
            };
            let mut select = connection.prepare_cached(
                "SELECT chats.chat, chats.session FROM peer_chats
                 JOIN chats ON chats.user = ?2 AND chats.space = ?3 AND chats.chat = peer_chats.chat
                 WHERE peer = ?1 ORDER BY chats.chat",
            )?;
            let rows = select.query_map(params![num, user.as_str(), peer.space], |row| Ok((row.get(0)?, get_id(row, 1)?)))?;
            let chats = rows.collect::<Result<_, _>>()?;
            let selected = connection.query_row("SELECT selected FROM peers WHERE num = ?", [num], |row| row.get(0))?;
            Ok(OpenedPeer { is_new: found.is_none(), chats, selected })
        })
    }

    /// Finds a chat of the peer's name space, or opens it as `new`; the peer has it and has it
    /// selected from then on. Resolves to its session, whether it was opened just now, and whether the peer
    /// had not had it before.
    pub fn open_chat(
        &self,
        user: &UserId,
        peer: &PeerRef,
        chat: &str,
        new: NewSession,
    ) -> Commit<(SessionId, bool, bool)> {
        let (user, peer, chat) = (user.clone(), peer.clone(), chat.to_owned());
        self.writer.write(move |connection| {
            let num = peer_num(connection, &user, &peer)?
                .ok_or_else(|| StoreError::Missing("such client".to_owned()))?;
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
            connection
                .execute("UPDATE peers SET selected = ? WHERE num = ?", params![chat, num])?;
            Ok((session, is_new, is_new || joined > 0))
        })
    }

    /// Keeps how far connections have proven to have read; `closed_at` when they have ended.
    pub fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) -> Commit<()> {
        self.writer.write(move |connection| {
            for proven in &proof {
                let Some(peer) = peer_num(connection, &proven.user, &proven.peer)? else { continue };
                connection
                    .prepare_cached(
                        // Of a session that was deleted meanwhile nothing is kept.
                        "INSERT INTO proven (peer, session, connection, seq, closed_at)
                         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?2)
                         ON CONFLICT (peer, session, connection) DO UPDATE SET seq = max(seq, ?4), closed_at = coalesce(closed_at, ?5)",
                    )?
                    .execute(params![
                        peer,
                        proven.session.as_str(),
                        proven.connection,
                        to_i64(proven.seq.0),
                        closed_at.map(Timestamp::as_millis)
                    ])?;
            }
            if let Some(now) = closed_at {
                // A day is far beyond any use of them.
                connection.prepare_cached("DELETE FROM proven WHERE closed_at < ?")?.execute([now.as_millis().saturating_sub(86_400_000)])?;
            }
            Ok(())
        })
    }

    /// The smallest position that the peer's connections had proven in a session, of those that were
    /// closed since `closed_since` or are open as far as anybody knows: who comes back is often here
    /// before it is noticed that they were gone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn proven(
        &self,
        user: &UserId,
        peer: &PeerRef,
        session: &SessionId,
        closed_since: Timestamp,
    ) -> Result<Option<Seq>, StoreError> {
        self.readers.read(|connection| {
            let Some(peer) = peer_num(connection, user, peer)? else { return Ok(None) };
            let seq: Option<i64> = connection
                .prepare_cached("SELECT min(seq) FROM proven WHERE peer = ? AND session = ? AND (closed_at IS NULL OR closed_at >= ?)")?
                .query_row(params![peer, session.as_str(), closed_since.as_millis()], |row| row.get(0))?;
            Ok(seq.map(|seq| Seq(seq.unsigned_abs())))
        })
    }
}

/// Connections that a crash cut were open until now, as far as anybody knows.
pub(crate) fn close_all(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    connection
        .execute("UPDATE proven SET closed_at = ? WHERE closed_at IS NULL", [now.as_millis()])?;
    Ok(())
}

fn peer_num(
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

fn wire_name(wire: PeerWire) -> &'static str {
    match wire {
        PeerWire::Memgpt => "memgpt",
        PeerWire::Sparky => "sparky",
    }
}
