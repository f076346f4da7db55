//! Peers and chats in memory.

use std::cmp::Reverse;

use thoughtwire_proto::{DEFAULT_CHAT, PeerRef, Seq, SessionId, Timestamp, UserId};

use super::RamHandle;
use super::directory::create_session;
use super::faults::{BrokenTable, WriteUse};
use super::tables::{ChatRow, PeerKey, PeerRow, ProvenRow, Tables};
use crate::{
    ChatOpening, Commit, NewSession, PeerOpening, PeerStore, Proven, StoreError, StoreRead,
    StoredChat,
};

/// Milliseconds for which the positions of closed connections are stored.
const PROOF_KEPT_MS: i64 = 86_400_000;

/// [`PeerStore`] in memory.
pub(super) struct RamPeers(pub(super) RamHandle);

impl PeerStore for RamPeers {
    fn open_peer(&self, user: &UserId, peer: &PeerRef, _now: Timestamp) -> Commit<PeerOpening> {
        let key = (user.clone(), peer.clone());
        self.0.write(WriteUse::nothing(), move |tables| Ok(open_peer(tables, key)))
    }

    fn prove(&self, proof: Vec<Proven>, closed_at: Option<Timestamp>) -> Commit<()> {
        self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            prove(tables, proof, closed_at);
            Ok(())
        })
    }

    fn proven(
        &self,
        user: &UserId,
        peer: &PeerRef,
        session: &SessionId,
        closed_since: Timestamp,
    ) -> StoreRead<Option<Seq>> {
        let (key, session) = ((user.clone(), peer.clone()), session.clone());
        self.0.read(&[], move |tables| {
            let rows = tables.proven.iter();
            let counted = rows.filter(|((peer, of, _), row)| {
                *peer == key
                    && *of == session
                    && row.closed_at.is_none_or(|closed| closed >= closed_since)
            });
            Ok(counted.map(|(_, row)| row.seq).max())
        })
    }

    fn open_chat(
        &self,
        user: &UserId,
        peer: &PeerRef,
        chat: Option<&str>,
        new: NewSession,
    ) -> Commit<ChatOpening> {
        let (key, chat) = ((user.clone(), peer.clone()), chat.map(str::to_owned));
        let uses = WriteUse { seqs: vec![1], ..WriteUse::appending(&[], false) };
        self.0.write(uses, move |tables| open_chat(tables, &key, chat, &new))
    }

    fn chats(&self, user: &UserId, space: &str, with_archived: bool) -> StoreRead<Vec<StoredChat>> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(&[BrokenTable::Sessions], move |tables| {
            Ok(list(tables, |(owner, of, _), row| {
                *owner == user && *of == space && (with_archived || row.archived_at.is_none())
            }))
        })
    }

    fn chats_named(&self, user: &UserId, chat: &str) -> StoreRead<Vec<StoredChat>> {
        let (user, chat) = (user.clone(), chat.to_owned());
        self.0.read(&[BrokenTable::Sessions], move |tables| {
            Ok(list(tables, |(owner, _, name), _| *owner == user && *name == chat))
        })
    }

    fn has_space(&self, user: &UserId, space: &str) -> StoreRead<bool> {
        let (user, space) = (user.clone(), space.to_owned());
        self.0.read(&[], move |tables| {
            let has_peer =
                tables.peers.iter().any(|row| row.key.0 == user && row.key.1.space == space);
            let has_chat = tables.chats.keys().any(|(owner, of, _)| *owner == user && *of == space);
            Ok(has_peer || has_chat)
        })
    }

    fn archive_chat(
        &self,
        user: &UserId,
        space: &str,
        chat: &str,
        archived_at: Option<Timestamp>,
    ) -> Commit<()> {
        let key = (user.clone(), space.to_owned(), chat.to_owned());
        self.0.write(WriteUse::nothing(), move |tables| {
            let row = tables.chats.get_mut(&key);
            row.ok_or_else(|| StoreError::missing_chat(&key.2))?.archived_at = archived_at;
            Ok(())
        })
    }
}

fn open_peer(tables: &mut Tables, key: PeerKey) -> PeerOpening {
    let found = tables.peers.iter().find(|row| row.key == key);
    let Some(row) = found else {
        tables.peers.push(PeerRow { key, chats: Vec::new(), selected: None });
        return PeerOpening { is_new: true, chats: Vec::new(), selected: None };
    };
    let session_of = |chat: &String| {
        let (user, peer) = &row.key;
        let found = tables.chats.get(&(user.clone(), peer.space.clone(), chat.clone()))?;
        Some((chat.clone(), found.session.clone()))
    };
    let mut chats: Vec<_> = row.chats.iter().filter_map(session_of).collect();
    chats.sort();
    let selected = row.selected.clone().map(|(chat, _)| chat);
    PeerOpening { is_new: false, chats, selected }
}

fn prove(tables: &mut Tables, proof: Vec<Proven>, closed_at: Option<Timestamp>) {
    for Proven { user, peer, connection, session, seq } in proof {
        let key = (user, peer);
        let is_known = tables.peers.iter().any(|row| row.key == key);
        if !is_known || tables.session(&session).is_none() {
            continue;
        }
        let fresh = ProvenRow { seq, closed_at, node: tables.writer };
        let row = tables.proven.entry((key, session, connection)).or_insert(fresh);
        row.seq = row.seq.max(seq);
        (row.closed_at, row.node) = (closed_at, tables.writer);
    }
    if let Some(now) = closed_at {
        let before = now.as_millis().saturating_sub(PROOF_KEPT_MS);
        let is_kept = |closed: Timestamp| closed.as_millis() >= before;
        tables.proven.retain(|_, row| row.closed_at.is_none_or(is_kept));
    }
}

fn open_chat(
    tables: &mut Tables,
    key: &PeerKey,
    chat: Option<String>,
    new: &NewSession,
) -> Result<ChatOpening, StoreError> {
    let (user, peer) = key;
    if !tables.peers.iter().any(|row| row.key == *key) {
        return Err(StoreError::missing_peer(&peer.name));
    }
    let chat = chat.or_else(|| selected(tables, key)).unwrap_or_else(|| DEFAULT_CHAT.to_owned());
    let name = (user.clone(), peer.space.clone(), chat.clone());
    let found = tables.chats.get(&name).map(|row| row.session.clone());
    let is_new = found.is_none();
    let session = match found {
        Some(session) => session,
        None => {
            create_session(tables, new)?;
            let row = ChatRow { session: new.id.clone(), archived_at: None };
            tables.chats.insert(name, row);
            new.id.clone()
        }
    };
    let mut is_new_to_peer = is_new;
    if let Some(row) = tables.peers.iter_mut().find(|row| row.key == *key) {
        row.selected = Some((chat.clone(), new.at));
        if !row.chats.contains(&chat) {
            row.chats.push(chat.clone());
            is_new_to_peer = true;
        }
    }
    Ok(ChatOpening { chat, session, is_new, is_new_to_peer })
}

/// The chat that a peer of the name space selected last and that is not archived.
fn selected(tables: &Tables, (user, peer): &PeerKey) -> Option<String> {
    let peers = tables.peers.iter().filter(|row| {
        let (owner, other) = &row.key;
        owner == user && other.wire == peer.wire && other.space == peer.space
    });
    let selected = peers.filter_map(|row| row.selected.as_ref());
    let open = selected.filter(|(chat, _)| {
        let chat = tables.chats.get(&(user.clone(), peer.space.clone(), chat.clone()));
        chat.is_some_and(|row| row.archived_at.is_none())
    });
    open.max_by_key(|(_, at)| *at).map(|(chat, _)| chat.clone())
}

/// Lists chats, the newest activity first.
fn list(
    tables: &Tables,
    is_wanted: impl Fn(&(UserId, String, String), &ChatRow) -> bool,
) -> Vec<StoredChat> {
    let wanted = tables.chats.iter().filter(|(name, row)| is_wanted(name, row));
    let mut listed: Vec<_> = wanted
        .filter_map(|((_, space, chat), row)| {
            let number = tables.session_numbers.get(&row.session)?;
            let session = tables.session(&row.session)?;
            let stored = StoredChat {
                space: space.clone(),
                chat: chat.clone(),
                session: row.session.clone(),
                title: session.state.title().map(str::to_owned),
                created_at: session.created_at,
                updated_at: session.updated_at,
                archived_at: row.archived_at,
            };
            Some((Reverse((session.updated_at, *number)), stored))
        })
        .collect();
    listed.sort_by_key(|(order, _)| *order);
    listed.into_iter().map(|(_, stored)| stored).collect()
}
