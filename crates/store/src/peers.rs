//! Clients of the older wires that can be known again: their chats, and how far they have read.

use rusqlite::{Connection, OptionalExtension, params};
use thoughtwire_proto::{PeerRef, PeerWire, Seq, SessionId, Timestamp, UserId};

use crate::log::{get_id, to_i64};
use crate::{Commit, OpenedPeer, Proven, Store, StoreError};

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
                         ON CONFLICT (peer, session, connection) DO UPDATE SET seq = max(seq, ?4), closed_at = ?5",
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

    /// The largest position that any connection of a peer has proven in a session: only what lies
    /// behind it has to be repeated. Counts connections that were closed since `closed_since` or are
    /// open as far as anybody knows.
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
                .prepare_cached("SELECT max(seq) FROM proven WHERE peer = ? AND session = ? AND (closed_at IS NULL OR closed_at >= ?)")?
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

pub(crate) fn peer_num(
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

pub(crate) fn wire_name(wire: PeerWire) -> &'static str {
    match wire {
        PeerWire::Memgpt => "memgpt",
        PeerWire::Sparky => "sparky",
    }
}
