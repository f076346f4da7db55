//! What a program is handed with a turn: its input, and as much of what was before as it asked for.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use thoughtwire_proto::{
    Directive, Event, InputEvent, ItemId, MemoryBlock, Permission, Record, Seq, TurnEvent,
};

use super::desk::{Have, Terms};
use super::run::Run;
use crate::AgentError;
use crate::tail::locked;

/// Bytes of history that come with a turn.
const HISTORY_BYTES: usize = 512 << 10;
/// Records that are read at once.
const PAGE: usize = 64;

impl Run {
    /// The turn as its worker is handed it.
    pub(super) async fn handed(&self, resumed: bool) -> Result<Directive, AgentError> {
        self.handed.store(true, Ordering::Relaxed);
        let Some(offers) = self.offers.upgrade() else { return Err(super::lost()) };
        let terms = offers.terms(self);
        let (turn, interface) = (&self.turn, &self.turn.interface);
        // What a program is told is on disk, as for everybody.
        interface.committed(turn.log.started).await?;
        let (mut after, mut history) =
            if terms.history == 0 { (None, Vec::new()) } else { self.past(&terms).await? };
        if resumed {
            let own = self
                .newest(interface.tail.head().next(), usize::MAX, Some(turn.log.started))
                .await?;
            history.extend(own.into_iter().filter(|record| record.turn.as_ref() == Some(&turn.id)));
        }
        let mut room = HISTORY_BYTES;
        let kept = history.iter().rev().take_while(|record| {
            let size = size(record);
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let cut = history.len() - kept.count();
        if let Some(last_cut) = cut.checked_sub(1).and_then(|at| history.get(at)) {
            after = Some(last_cut.seq);
        }
        let history = history.split_off(cut);
        let memory = if terms.memory {
            let blocks = interface
                .memory
                .blocks(&turn.agent.id)
                .await
                .map_err(|error| AgentError::new("store_failed", error.to_string()))?;
            let shown = |block: thoughtwire_store::Block| MemoryBlock {
                label: block.label,
                text: block.text,
                limit: block.limit as u64,
            };
            blocks.into_iter().map(shown).collect()
        } else {
            Vec::new()
        };
        let (waiting, open) = {
            let so_far = locked(&self.so_far);
            (so_far.asked(), so_far.open.clone())
        };
        Ok(Directive::Run(Box::new(thoughtwire_proto::Run {
            agent: turn.agent.id.clone(),
            session: turn.session.clone(),
            turn: turn.id.clone(),
            input: turn.input.clone(),
            instructions: turn.instructions.clone(),
            after,
            history,
            memory,
            client_tools: interface.client_tools(),
            permissions: self.permissions(&terms),
            waiting,
            resumed,
            open,
        })))
    }

    /// What was said before this turn, as far as the program wants it, and behind which position that is whole.
    ///
    /// An input is heard when its turn starts: one that waits yet is left out, and one that had been queued
    /// before the program's own position comes with the turn that it became.
    async fn past(&self, terms: &Terms) -> Result<(Option<Seq>, Vec<Record>), AgentError> {
        let started = self.turn.log.started;
        let mut records = self.newest(started, terms.history.saturating_add(1), None).await?;
        let is_heard: HashSet<ItemId> =
            records.iter().filter_map(|record| started_input(&record.event)).cloned().collect();
        let waits = |record: &Record| {
            matches!((&record.event, &record.turn), (Event::Input(InputEvent::UserMessage { item, .. }), None)
            if !is_heard.contains(item))
        };
        records.retain(|record| record.seq != self.turn.log.asked && !waits(record));
        let surplus = records.len().saturating_sub(terms.history);
        records.drain(..surplus);
        let have = terms.have.as_ref().and_then(|have| have.get(&self.turn.session));
        let has = match have {
            Some(Have::Seq(seq)) => records.partition_point(|record| record.seq <= *seq),
            Some(Have::Turn(turn)) => records
                .iter()
                .rposition(|record| record.turn.as_ref() == Some(turn))
                .map_or(0, |last| last + 1),
            None => 0,
        };
        let new = records.split_off(has);
        let begin = new.first().map_or(started, |record| record.seq);
        let begun: HashSet<&ItemId> =
            new.iter().filter_map(|record| started_input(&record.event)).collect();
        records.retain(|record| {
            matches!(
            &record.event,
            Event::Input(InputEvent::UserMessage { item, .. })
                if record.turn.is_none() && begun.contains(item))
        });
        records.extend(new);
        Ok((Some(Seq(begin.0.saturating_sub(1))), records))
    }

    /// The newest records before a position: as many as are wanted, and no more bytes than are sent.
    async fn newest(
        &self,
        before: Seq,
        limit: usize,
        down_to: Option<Seq>,
    ) -> Result<Vec<Record>, AgentError> {
        let (mut before, mut bytes) = (before, 0);
        let mut newest: VecDeque<Record> = VecDeque::new();
        while newest.len() < limit && bytes <= HISTORY_BYTES {
            let page = self.turn.records_before(before, PAGE.min(limit - newest.len())).await?;
            let Some(first) = page.first().map(|record| record.seq) else { break };
            bytes += page.iter().map(size).sum::<usize>();
            before = first;
            page.into_iter().rev().for_each(|record| newest.push_front(record));
            if down_to.is_some_and(|last| first <= last) {
                break;
            }
        }
        Ok(newest.into())
    }

    fn permissions(&self, terms: &Terms) -> BTreeMap<String, Permission> {
        let Some(offers) = self.offers.upgrade() else { return BTreeMap::new() };
        let of = |name: &str| offers.permission(&self.turn.agent, name);
        let declared = terms.tools.iter().map(|tool| (tool.name.clone(), of(&tool.name)));
        declared.filter(|(_, permission)| *permission != Permission::Allow).collect()
    }
}

/// The input of the turn that an event starts.
fn started_input(event: &Event) -> Option<&ItemId> {
    if let Event::Turn(TurnEvent::Started { input }) = event { Some(input) } else { None }
}

/// A record's bytes, about as they are sent.
fn size(record: &Record) -> usize {
    serde_json::to_vec(record).map_or(0, |text| text.len())
}
