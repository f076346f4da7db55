//! Peers in PostgreSQL: clients of the older wires, and how far they have read.

use thoughtwire_proto::{PeerRef, Seq, SessionId, Timestamp, UserId};
use tokio_postgres::Client;

use super::sql::{
    Text, args, execute, find_text, first_row, get_i64, get_id, get_text, only_row, rows, to_i64,
};
use super::{PostgresHandle, chats};
use crate::peers::wire_name;
use crate::{
    ChatOpening, Commit, NewSession, PeerOpening, PeerStore, Proven, StoreError, StoreRead,
    StoredChat,
};

/// Milliseconds for which the positions of closed connections are stored; far beyond any use.
const PROOF_KEPT_MS: i64 = 86_400_000;

/// [`PeerStore`] in PostgreSQL.
pub(super) struct PostgresPeers(pub(super) PostgresHandle);

impl PeerStore for PostgresPeers {
    fn open_peer(&self, user: &UserId, peer: &PeerRef, now: Timestamp) -> Commit<PeerOpening> {
        let (user, peer) = (user.clone(), peer.clone());
        self.0.write(move |sql| Box::pin(async move { open(sql, &user, &peer, now).await }))
    }

    fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) -> Commit<()> {
        let node = self.0.node();
        self.0.write(move |sql| Box::pin(async move { prove(sql, node, &proof, closed_at).await }))
    }

    fn proven(
        &self,
        user: &UserId,
        peer: &PeerRef,
        session: &SessionId,
        closed_since: Timestamp,
    ) -> StoreRead<Option<Seq>> {
        let (user, peer, session) = (user.clone(), peer.clone(), session.clone());
        self.0.read(move |sql| {
            Box::pin(async move {
                let Some(num) = find_peer(sql, &user, &peer).await? else { return Ok(None) };
                let row = only_row(
                    sql,
                    "SELECT max(seq) FROM proven WHERE peer = $1 AND session = $2
                     AND (closed_at IS NULL OR closed_at >= $3)",
                    args![num, Text(session.as_str()), closed_since.as_millis()],
                )
                .await?;
                let seq: Option<i64> = row.try_get(0)?;
                Ok(seq.map(|seq| Seq(seq.unsigned_abs())))
            })
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
        let node = self.0.node();
        self.0.write(move |sql| {
            Box::pin(async move { chats::open(sql, node, (&user, &peer), chat, &new).await })
        })
    }

    fn chats(&self, user: &UserId, space: &str, with_archived: bool) -> StoreRead<Vec<StoredChat>> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move { chats::list(sql, &user, &space, with_archived).await })
        })
    }

    fn chats_named(&self, user: &UserId, chat: &str) -> StoreRead<Vec<StoredChat>> {
        let (user, chat) = (user.clone(), chat.to_owned());
        self.0.read(move |sql| Box::pin(async move { chats::named(sql, &user, &chat).await }))
    }

    fn has_space(&self, user: &UserId, space: &str) -> StoreRead<bool> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(move |sql| {
            Box::pin(async move {
                let found = first_row(
                    sql,
                    "SELECT 1 FROM peers WHERE owner = $1 AND space = $2
                     UNION ALL SELECT 1 FROM chats WHERE owner = $1 AND space = $2 LIMIT 1",
                    args![Text(user.as_str()), Text(&space)],
                )
                .await?;
                Ok(found.is_some())
            })
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
        self.0.write(move |sql| {
            Box::pin(async move { chats::archive(sql, &user, &space, &chat, archived_at).await })
        })
    }
}

async fn open(
    sql: &Client,
    user: &UserId,
    peer: &PeerRef,
    now: Timestamp,
) -> Result<PeerOpening, StoreError> {
    let created = first_row(
        sql,
        "INSERT INTO peers (owner, wire, space, name, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING RETURNING num",
        args![
            Text(user.as_str()),
            Text(wire_name(peer.wire)),
            Text(&peer.space),
            Text(&peer.name),
            now.as_millis()
        ],
    )
    .await?;
    let created = created.map(|row| get_i64(&row, 0)).transpose()?;
    let num = match created {
        Some(num) => num,
        None => {
            find_peer(sql, user, peer).await?.ok_or_else(|| StoreError::missing_peer(&peer.name))?
        }
    };
    let found = rows(
        sql,
        "SELECT chats.chat, chats.session FROM peer_chats
         JOIN chats ON chats.owner = $2 AND chats.space = $3 AND chats.chat = peer_chats.chat
         WHERE peer = $1 ORDER BY chats.chat COLLATE \"C\"",
        args![num, Text(user.as_str()), Text(&peer.space)],
    )
    .await?;
    let chats = found
        .iter()
        .map(|row| Ok((get_text(row, 0)?, get_id(row, 1)?)))
        .collect::<Result<_, StoreError>>()?;
    let selected = only_row(sql, "SELECT selected FROM peers WHERE num = $1", args![num]).await?;
    Ok(PeerOpening { is_new: created.is_some(), chats, selected: find_text(&selected, 0)? })
}

async fn prove(
    sql: &Client,
    node: i64,
    proof: &[Proven],
    closed_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let (mut owners, mut wires, mut spaces, mut names) = (vec![], vec![], vec![], vec![]);
    let (mut sessions, mut connections, mut seqs) = (vec![], vec![], vec![]);
    for Proven { user, peer, session, connection, seq } in proof {
        owners.push(Text(user.as_str()));
        wires.push(Text(wire_name(peer.wire)));
        spaces.push(Text(&peer.space));
        names.push(Text(&peer.name));
        sessions.push(Text(session.as_str()));
        connections.push(Text(connection));
        seqs.push(to_i64(seq.0));
    }
    execute(
        sql,
        // Positions in a session that was deleted meanwhile are not stored.
        "INSERT INTO proven (peer, session, connection, seq, closed_at, node)
         SELECT peers.num, one.session, one.connection, max(one.seq), $8, $9
         FROM unnest($1, $2, $3, $4, $5, $6, $7)
            AS one (owner, wire, space, name, session, connection, seq)
         JOIN peers USING (owner, wire, space, name) JOIN sessions ON sessions.id = one.session
         GROUP BY peers.num, one.session, one.connection
         ON CONFLICT (peer, session, connection) DO UPDATE
         SET seq = greatest(proven.seq, excluded.seq), closed_at = excluded.closed_at,
             node = excluded.node",
        args![
            owners,
            wires,
            spaces,
            names,
            sessions,
            connections,
            seqs,
            closed_at.map(Timestamp::as_millis),
            node
        ],
    )
    .await?;
    if let Some(now) = closed_at {
        let before = now.as_millis().saturating_sub(PROOF_KEPT_MS);
        execute(sql, "DELETE FROM proven WHERE closed_at < $1", args![before]).await?;
    }
    Ok(())
}

/// Finds the row number of a peer.
pub(super) async fn find_peer(
    sql: &Client,
    user: &UserId,
    peer: &PeerRef,
) -> Result<Option<i64>, StoreError> {
    let found = first_row(
        sql,
        "SELECT num FROM peers WHERE owner = $1 AND wire = $2 AND space = $3 AND name = $4",
        args![Text(user.as_str()), Text(wire_name(peer.wire)), Text(&peer.space), Text(&peer.name)],
    )
    .await?;
    found.map(|row| get_i64(&row, 0)).transpose()
}
