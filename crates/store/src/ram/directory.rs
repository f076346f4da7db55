//! The directory in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use thoughtwire_proto::{
    AgentId, AgentProfile, CommandId, Seq, SessionId, SessionListing, State, UserId,
};

use super::RamHandle;
use super::faults::{BrokenTable, WriteUse};
use super::memory::add_notes;
use super::tables::{AgentRow, SessionRow, Tables, add_receipt};
use crate::opening::first_batch;
use crate::{
    Block, Commit, DirectoryStore, NewAgent, NewSession, Receipt, Retention, SessionFilter,
    StoreChange, StoreError, StoreRead, StoredSession,
};

/// [`DirectoryStore`] in memory.
pub(super) struct RamDirectory(pub(super) RamHandle);

impl DirectoryStore for RamDirectory {
    fn create_agent(&self, new: NewAgent) -> Commit<AgentProfile> {
        let uses = creating(new.receipt.as_ref());
        self.0.write(uses, move |tables| create_agent(tables, &new))
    }

    fn update_agent(&self, profile: AgentProfile) -> Commit<AgentProfile> {
        self.0.write(WriteUse::nothing(), move |tables| {
            let user = tables.agent(&profile.id).map(|row| row.user.clone());
            if let Some(user) = &user {
                check_name(tables, user, &profile.spec.name, Some(&profile.id))?;
            }
            tables.agent_mut(&profile.id)?.profile.spec = profile.spec.clone();
            if let Some(user) = user {
                tables.record(StoreChange::Agent { user, agent: profile.id.clone() });
            }
            Ok(profile)
        })
    }

    fn delete_agent(&self, id: &AgentId) -> Commit<Vec<SessionId>> {
        let id = id.clone();
        self.0.write(WriteUse::of(&[BrokenTable::Sessions]), move |tables| {
            let sessions: Vec<SessionId> = tables
                .sessions
                .values()
                .filter(|row| row.agent == id)
                .map(|row| row.id.clone())
                .collect();
            for session in &sessions {
                tables.delete_session(session)?;
            }
            if let Some(user) = tables.agent(&id).map(|row| row.user.clone()) {
                let (agent, sessions) = (id.clone(), sessions.clone());
                tables.record(StoreChange::AgentDeleted { user, agent, sessions });
            }
            tables.agents.retain(|row| row.profile.id != id);
            Ok(sessions)
        })
    }

    fn agent(&self, user: &UserId, name_or_id: &str) -> StoreRead<Option<AgentProfile>> {
        let (user, wanted) = (user.clone(), name_or_id.to_owned());
        self.0.read(&[], move |tables| {
            let own = || tables.agents.iter().filter(|row| row.user == user);
            let by_id = own().find(|row| row.profile.id.as_str() == wanted);
            let found = by_id.or_else(|| own().find(|row| row.profile.spec.name == wanted));
            Ok(found.map(|row| row.profile.clone()))
        })
    }

    fn agent_by_id(&self, id: &AgentId) -> StoreRead<Option<AgentProfile>> {
        let id = id.clone();
        self.0.read(&[], move |tables| Ok(tables.agent(&id).map(|row| row.profile.clone())))
    }

    fn agents(&self, user: &UserId) -> StoreRead<Vec<AgentProfile>> {
        let user = user.clone();
        self.0.read(&[], move |tables| {
            let own = tables.agents.iter().filter(|row| row.user == user);
            Ok(own.map(|row| row.profile.clone()).collect())
        })
    }

    fn create_session(&self, new: NewSession) -> Commit<StoredSession> {
        let uses = creating(new.receipt.as_ref());
        self.0.write(uses, move |tables| create_session(tables, &new))
    }

    fn delete_session(&self, id: &SessionId, receipt: Option<Receipt>) -> Commit<()> {
        let id = id.clone();
        let mut used = vec![BrokenTable::Sessions];
        used.extend(receipt.as_ref().map(|_| BrokenTable::Receipts));
        self.0.write(WriteUse::of(&used), move |tables| {
            let user = tables.session(&id).map(|row| row.user.clone());
            tables.delete_session(&id)?;
            if let Some(user) = user {
                tables.record(StoreChange::SessionDeleted { user, session: id });
            }
            add_receipt(&mut tables.receipts, receipt.as_ref())
        })
    }

    fn session(&self, id: &SessionId) -> StoreRead<Option<StoredSession>> {
        let id = id.clone();
        self.0.read(&[BrokenTable::Sessions], move |tables| Ok(tables.stored(&id)))
    }

    fn sessions(&self, user: &UserId, filter: &SessionFilter) -> StoreRead<Vec<SessionListing>> {
        let (user, filter) = (user.clone(), filter.clone());
        self.0.read(&[BrokenTable::Sessions], move |tables| Ok(list(tables, &user, &filter)))
    }

    fn receipt(&self, user: &UserId, id: &CommandId) -> StoreRead<Option<Receipt>> {
        let key = (user.clone(), id.clone());
        self.0.read(&[BrokenTable::Receipts], move |tables| Ok(tables.receipts.get(&key).cloned()))
    }
}

/// The use of a write that creates a session.
fn creating(receipt: Option<&Receipt>) -> WriteUse {
    WriteUse { seqs: vec![1], ..WriteUse::appending(&[], receipt.is_some()) }
}

fn check_name(
    tables: &Tables,
    user: &UserId,
    name: &str,
    own: Option<&AgentId>,
) -> Result<(), StoreError> {
    let others = tables.agents.iter().filter(|row| Some(&row.profile.id) != own);
    let is_taken = others.into_iter().any(|row| row.user == *user && row.profile.spec.name == name);
    if is_taken { Err(StoreError::NameTaken { name: name.to_owned() }) } else { Ok(()) }
}

fn create_agent(tables: &mut Tables, new: &NewAgent) -> Result<AgentProfile, StoreError> {
    add_receipt(&mut tables.receipts, new.receipt.as_ref())?;
    check_name(tables, &new.user, &new.spec.name, None)?;
    let profile = AgentProfile {
        id: new.id.clone(),
        spec: new.spec.clone(),
        main_session: new.main_session.clone(),
    };
    tables.agents.push(Arc::new(AgentRow {
        user: new.user.clone(),
        profile: profile.clone(),
        blocks: Block::first(&new.spec, &new.blocks),
        notes: Vec::new(),
    }));
    add_notes(tables, &new.id, &new.notes)?;
    for session in new.first_sessions() {
        create_session(tables, &session)?;
    }
    Ok(profile)
}

/// Creates a session with its first records.
pub(super) fn create_session(
    tables: &mut Tables,
    new: &NewSession,
) -> Result<StoredSession, StoreError> {
    add_receipt(&mut tables.receipts, new.receipt.as_ref())?;
    if tables.session_numbers.contains_key(&new.id) {
        return Err(StoreError::Failed(format!("session {} exists already", new.id)));
    }
    let number = tables.next_session;
    tables.next_session += 1;
    tables.session_numbers.insert(new.id.clone(), number);
    let row = SessionRow {
        id: new.id.clone(),
        user: new.user.clone(),
        agent: new.agent.clone(),
        epoch: new.epoch.clone(),
        node: tables.writer,
        first: Seq(1),
        state: State::default(),
        created_at: new.at,
        updated_at: new.at,
        keep: Retention::default(),
        records: Vec::new(),
        outputs: HashMap::new(),
        provider_replies: BTreeMap::new(),
        open_items: BTreeMap::new(),
        receipts: HashMap::new(),
    };
    tables.sessions.insert(number, Arc::new(row));
    tables.append(&first_batch(new)?)?;
    tables.stored(&new.id).ok_or_else(|| StoreError::missing_session(&new.id))
}

fn list(tables: &Tables, user: &UserId, filter: &SessionFilter) -> Vec<SessionListing> {
    let mut rows: Vec<_> = tables
        .sessions
        .iter()
        .filter(|(_, row)| row.user == *user)
        .filter(|(_, row)| filter.id.as_ref().is_none_or(|id| row.id == *id))
        .filter(|(_, row)| filter.agent.as_ref().is_none_or(|agent| row.agent == *agent))
        .collect();
    rows.sort_by_key(|(number, row)| std::cmp::Reverse((row.updated_at, **number)));
    rows.truncate(filter.limit.unwrap_or(usize::MAX));
    rows.into_iter().filter_map(|(_, row)| listing(tables, row)).collect()
}

fn listing(tables: &Tables, row: &SessionRow) -> Option<SessionListing> {
    let agent = &tables.agent(&row.agent)?.profile;
    let turn = row.state.turn();
    Some(SessionListing {
        id: row.id.clone(),
        agent: row.agent.clone(),
        agent_name: agent.spec.name.clone(),
        title: row.state.title().map(str::to_owned),
        head: row.state.head(),
        running: turn.is_some(),
        queued: row.state.queue().len() as u64,
        needs_you: turn.is_some_and(|turn| turn.calls.iter().any(|call| call.approval.is_some())),
        main: agent.main_session == row.id,
        usage: row.state.usage(),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
