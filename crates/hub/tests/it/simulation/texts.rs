//! Streamed text that clients saw, held against the log.
//!
//! The product promises this of the text of an item that is still open:
//!
//! - While its turn runs, the session hands a checkpoint with all of the text to the disk, at the
//!   latest 900 ms after a piece came ([`CHECKPOINT_EVERY`]). Only one checkpoint is under way at a
//!   time. If it still is when the next one is due, the next one is due 900 ms later.
//! - So a text that a client saw is on disk if the disk had nothing left to do at some later
//!   moment, and again more than 900 ms after that: at the first moment no checkpoint is under way,
//!   and by the second one a checkpoint with the text was due and has been written. After a crash,
//!   the item that the recovery writes begins with that text.
//! - An end of the item or of its turn, the loss of its worker and a planned stop write all of the
//!   text.
//!
//! A write that fails weakens this. Events behind a failed append are lost with it, since a log has
//! no gaps, and with them the text of an item that was just being said whole. Its turn then ends as
//! failed. Until that is done, up to two pauses of a second, nothing is checkpointed. If a planned
//! stop comes in between, the turn goes on at the next start from the checkpoints before. So once a
//! stop has begun, this counts on no further checkpoints of a life in which writes failed.
//!
//! A checkpoint that failed is repeated 900 ms later, whether its item grows or not.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use thoughtwire_proto::{Event, ItemId, Record, TurnEvent, TurnId};
use tokio::time::Instant;

/// Longest time from a piece to the checkpoint that has it, while no checkpoint is under way.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(900);
/// How late a timer may be.
const TIMER: Duration = Duration::from_millis(5);
/// Longest time in which a turn whose append failed is ended, with reads that are slow.
const ENDS_WITHIN: Duration = Duration::from_millis(2_500);

/// Texts of all rooms that are not known to be in the log.
#[derive(Default)]
pub(crate) struct ShownTexts {
    items: HashMap<(usize, ItemId), ShownText>,
    health: DiskHealth,
    /// Whether writes failed in this life.
    has_failed: bool,
    /// Last positions of the logs, by room, when writes last stopped failing in this life. Turns
    /// that began before may have lost events.
    healed_at: HashMap<usize, u64>,
    /// Whether a planned stop has begun in this life.
    is_stopping: bool,
    /// Whether the life ended with a planned stop.
    is_stopped: bool,
}

/// State of the disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum DiskHealth {
    #[default]
    Well,
    /// Writes fail.
    Failing,
    /// Writes failed, and their callers may not have been told.
    Healed,
}

struct ShownText {
    turn: TurnId,
    text: String,
    /// Number of bytes that are on disk for sure.
    saved: usize,
    /// Moments at which the disk had nothing left to do, each with the number of bytes that had
    /// been shown by then; oldest first.
    idle: VecDeque<(Instant, usize)>,
    /// Whether it was shown in the life under way.
    is_live: bool,
}

impl ShownTexts {
    /// A client has this much of an open item's text.
    pub(crate) fn shows(
        &mut self,
        room: usize,
        item: &ItemId,
        turn: &TurnId,
        text: &str,
    ) -> Option<String> {
        let shown = self.items.entry((room, item.clone())).or_insert_with(|| ShownText {
            turn: turn.clone(),
            text: String::new(),
            saved: 0,
            idle: VecDeque::new(),
            is_live: true,
        });
        let fits = match text.strip_prefix(shown.text.as_str()) {
            Some(more) => {
                shown.text.push_str(more);
                true
            }
            None => shown.text.starts_with(text),
        };
        (!fits || !shown.is_live || shown.turn != *turn)
            .then(|| format!("{item} of turn {turn} is shown as {text:?} to one of its clients"))
    }

    /// Writes fail from now on, or no longer.
    pub(crate) fn set_failing(&mut self, is_failing: bool) {
        if is_failing {
            (self.health, self.has_failed) = (DiskHealth::Failing, true);
            self.items.values_mut().for_each(|shown| shown.idle.clear());
        } else if self.health == DiskHealth::Failing {
            self.health = DiskHealth::Healed;
        }
    }

    /// Everything that was handed to the disk is written, and who waited for it has been told.
    /// `heads` reads the last positions of the logs, if they can be read at once.
    pub(crate) fn disk_is_idle(&mut self, heads: impl FnOnce() -> Option<HashMap<usize, u64>>) {
        if self.health == DiskHealth::Healed
            && let Some(heads) = heads()
        {
            (self.health, self.healed_at) = (DiskHealth::Well, heads);
        }
        if self.health != DiskHealth::Well || (self.has_failed && self.is_stopping) {
            return;
        }
        let now = Instant::now();
        let pause = if self.has_failed { ENDS_WITHIN } else { Duration::ZERO };
        let pace = CHECKPOINT_EVERY + TIMER + pause;
        for shown in self.items.values_mut().filter(|shown| shown.is_live) {
            while let Some((at, bytes)) = shown.idle.front()
                && *at + pace < now
            {
                shown.saved = shown.saved.max(*bytes);
                shown.idle.pop_front();
            }
            let known = shown.idle.back().map_or(shown.saved, |(_, bytes)| *bytes);
            if known < shown.text.len() {
                shown.idle.push_back((now, shown.text.len()));
            }
        }
    }

    /// A planned stop begins.
    pub(crate) fn stops(&mut self) {
        self.is_stopping = true;
    }

    /// A planned stop has ended.
    pub(crate) fn stopped(&mut self) {
        self.is_stopped = true;
    }

    /// A life begins: of the texts that the one before left open, there is what was on disk.
    pub(crate) fn begins(&mut self) {
        (self.health, self.has_failed) = (DiskHealth::Well, false);
        (self.is_stopping, self.is_stopped) = (false, false);
        self.healed_at.clear();
        for shown in self.items.values_mut().filter(|shown| shown.is_live) {
            shown.text.truncate(shown.saved);
            shown.idle.clear();
            shown.is_live = false;
        }
        self.items.retain(|_, shown| !shown.text.is_empty());
    }

    /// Holds a room's whole log, after a life, against the texts that were shown. Returns the
    /// complaints and the number of texts that a crash cut and that were found.
    pub(crate) fn check(&mut self, room: usize, records: &[Record]) -> (Vec<String>, u64) {
        let (mut said, mut began, mut ended) = (HashMap::new(), HashMap::new(), HashSet::new());
        for record in records {
            match &record.event {
                Event::Turn(
                    TurnEvent::Thought { item, text, .. } | TurnEvent::Message { item, text, .. },
                ) => drop(said.entry(item).or_insert(text)),
                Event::Turn(TurnEvent::Started { .. }) => {
                    began.extend(record.turn.as_ref().map(|turn| (turn, record.seq.0)));
                }
                Event::Turn(TurnEvent::Ended { .. }) => ended.extend(&record.turn),
                Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => {}
            }
        }
        let healed_at = self.healed_at.get(&room).copied().unwrap_or(0);
        let (is_well, is_stopped) = (self.health == DiskHealth::Well, self.is_stopped);
        let lost_nothing =
            |turn: &TurnId| is_well && began.get(turn).is_some_and(|began| *began > healed_at);
        let (mut wrong, mut found) = (Vec::new(), 0);
        self.items.retain(|(its_room, item), shown| {
            if *its_room != room {
                return true;
            }
            // An item that is in the log now was written by the life that showed it, or recovered.
            match said.get(item) {
                Some(text) if text.starts_with(&shown.text) => found += u64::from(!shown.is_live),
                Some(text) => {
                    wrong.push(format!("{item} was shown as {:?}, and is {text:?}", shown.text));
                }
                None if !ended.contains(&shown.turn) => {
                    if shown.is_live && is_stopped && lost_nothing(&shown.turn) {
                        shown.saved = shown.text.len();
                    }
                    return true;
                }
                None if shown.is_live && !lost_nothing(&shown.turn) => {}
                None => wrong.push(format!(
                    "{item} is not in turn {}, which has ended: {:?}",
                    shown.turn, shown.text
                )),
            }
            false
        });
        (wrong, found)
    }
}
