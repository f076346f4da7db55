//! The directive that hands a turn to its worker: the input, and the part of the session's past
//! that the worker asked for.

use std::collections::{BTreeMap, HashSet, VecDeque};

use thoughtwire_proto::{
    Directive, Event, InputEvent, ItemId, MemoryBlock, Permission, Record, Run, Seq, TurnEvent,
};
use thoughtwire_store::Block;

use super::turn::WorkerTurn;
use super::worker::{KnownPosition, OfferTerms};
use super::worker_lost;
use crate::agent::unread_code;
use crate::turn_message::AgentError;

/// Most bytes of history that come with a turn.
const HISTORY_BYTES: usize = 512 << 10;
/// Records that are read at once.
const PAGE: usize = 64;

impl WorkerTurn {
    /// Makes the `run` directive of this turn. Waits until the turn's start is on disk.
    ///
    /// # Errors
    /// When the turn has ended or the store cannot be read.
    pub(crate) async fn briefing(&self, resumed: bool) -> Result<Directive, AgentError> {
        self.hand_over();
        let registry = self.registry().ok_or_else(worker_lost)?;
        let terms = registry.terms(self);
        Briefing { turn: self, terms }.directive(resumed).await
    }
}

/// Makes the `run` directive of a turn by the terms of the worker's offer.
struct Briefing<'a> {
    turn: &'a WorkerTurn,
    terms: OfferTerms,
}

impl Briefing<'_> {
    async fn directive(&self, resumed: bool) -> Result<Directive, AgentError> {
        let (turn, interface) = (&self.turn.turn, &self.turn.turn.interface);
        interface.committed(turn.log.started).await?;
        let (mut after, mut history) =
            if self.terms.history == 0 { (None, Vec::new()) } else { self.past().await? };
        if resumed {
            history.extend(self.own_records().await?);
        }
        let cut = records_over_limit(&history);
        if let Some(last_cut) = cut.checked_sub(1).and_then(|at| history.get(at)) {
            after = Some(last_cut.seq);
        }
        let history = history.split_off(cut);
        let memory = if self.terms.memory { self.memory().await? } else { Vec::new() };
        let (waiting, open, unknown) = {
            let progress = self.turn.progress.lock();
            (progress.asked(), progress.open_items(), progress.unknown())
        };
        Ok(Directive::Run(Box::new(Run {
            agent: turn.agent.id.clone(),
            session: turn.session.clone(),
            turn: turn.id.clone(),
            input: turn.input.clone(),
            instructions: turn.instructions.clone(),
            after,
            history,
            memory,
            client_tools: interface.tools().client_tools(),
            permissions: self.permissions(),
            waiting,
            resumed,
            attempt: turn.attempt,
            unknown,
            open,
        })))
    }

    /// Records of the turn itself.
    async fn own_records(&self) -> Result<Vec<Record>, AgentError> {
        let turn = &self.turn.turn;
        let head = turn.interface.tail.head().next();
        let newest = self.newest(head, usize::MAX, Some(turn.log.started)).await?;
        Ok(newest.into_iter().filter(|record| record.turn.as_ref() == Some(&turn.id)).collect())
    }

    /// Records before this turn, as far as the worker wants them, and the position behind which
    /// they are complete.
    ///
    /// An input belongs to the past from the start of its turn on. So an input that still waits
    /// is left out. One that was queued before the worker's known position comes with its turn.
    async fn past(&self) -> Result<(Option<Seq>, Vec<Record>), AgentError> {
        let (turn, terms) = (&self.turn.turn, &self.terms);
        let started = turn.log.started;
        let mut records = self.newest(started, terms.history.saturating_add(1), None).await?;
        let has_started: HashSet<ItemId> =
            records.iter().filter_map(|record| started_input(&record.event)).cloned().collect();
        let waits = |record: &Record| match (&record.event, &record.turn) {
            (Event::Input(InputEvent::UserMessage { item, .. }), None) => {
                !has_started.contains(item)
            }
            (_, _) => false,
        };
        records.retain(|record| record.seq != turn.log.asked && !waits(record));
        let surplus = records.len().saturating_sub(terms.history);
        records.drain(..surplus);
        let known = self.known_records(&records);
        let new = records.split_off(known);
        let begin = new.first().map_or(started, |record| record.seq);
        let begun: HashSet<&ItemId> =
            new.iter().filter_map(|record| started_input(&record.event)).collect();
        records.retain(|record| match (&record.event, &record.turn) {
            (Event::Input(InputEvent::UserMessage { item, .. }), None) => begun.contains(item),
            (_, _) => false,
        });
        records.extend(new);
        Ok((Some(begin.previous()), records))
    }

    /// Number of records at the beginning that the worker knows.
    fn known_records(&self, records: &[Record]) -> usize {
        let known = self.terms.known.as_ref();
        match known.and_then(|known| known.get(self.turn.session())) {
            Some(KnownPosition::Seq(seq)) => records.partition_point(|record| record.seq <= *seq),
            Some(KnownPosition::Turn(turn)) => records
                .iter()
                .rposition(|record| record.turn.as_ref() == Some(turn))
                .map_or(0, |last| last + 1),
            None => 0,
        }
    }

    /// The newest records before a position, oldest first. Stops at `limit` records, about
    /// `HISTORY_BYTES`, or the record `down_to`.
    async fn newest(
        &self,
        before: Seq,
        limit: usize,
        down_to: Option<Seq>,
    ) -> Result<Vec<Record>, AgentError> {
        let (mut before, mut bytes) = (before, 0);
        let mut newest: VecDeque<Record> = VecDeque::new();
        while newest.len() < limit && bytes <= HISTORY_BYTES {
            let most = PAGE.min(limit - newest.len());
            let page = self.turn.turn.records_before(before, most).await?;
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

    /// The agent's memory blocks.
    async fn memory(&self) -> Result<Vec<MemoryBlock>, AgentError> {
        let turn = &self.turn.turn;
        let blocks = turn.interface.memory.read_blocks(&turn.agent.id).await;
        let blocks =
            blocks.map_err(|error| AgentError::new(unread_code(&error), error.to_string()))?;
        let shown = |block: Block| MemoryBlock {
            label: block.label,
            text: block.text,
            limit: block.limit as u64,
        };
        Ok(blocks.into_iter().map(shown).collect())
    }

    /// Permissions of the declared tools that are not simply allowed.
    fn permissions(&self) -> BTreeMap<String, Permission> {
        let Some(registry) = self.turn.registry() else { return BTreeMap::new() };
        let permission = |name: &str| registry.permission(&self.turn.turn.agent, name);
        let declared = self.terms.tools.iter();
        let declared = declared.map(|tool| (tool.name.clone(), permission(&tool.name)));
        declared.filter(|(_, permission)| *permission != Permission::Allow).collect()
    }
}

/// Number of records at the beginning that do not fit into `HISTORY_BYTES`.
fn records_over_limit(history: &[Record]) -> usize {
    let mut room = HISTORY_BYTES;
    let kept = history.iter().rev().take_while(|record| {
        let size = size(record);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    history.len() - kept.count()
}

/// Input of the turn that an event starts.
fn started_input(event: &Event) -> Option<&ItemId> {
    if let Event::Turn(TurnEvent::Started { input }) = event { Some(input) } else { None }
}

/// Bytes of a record, about as it is sent.
fn size(record: &Record) -> usize {
    serde_json::to_vec(record).map_or(0, |text| text.len())
}
