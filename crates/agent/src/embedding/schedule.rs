//! The order in which agents' texts get their vectors.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use thoughtwire_proto::AgentId;
use thoughtwire_store::SearchedTexts;
use tokio::time::Instant;

/// Numbers that are looked at again behind a text that has its vector: with several writers, a text
/// may be committed behind a higher number.
const OVERLAP: i64 = 10_000;
/// Least time between two looks at all texts of an agent.
const LOOK_AT_ALL: Duration = Duration::from_secs(600);
/// Most agents whose last embedded text is remembered.
const REMEMBERED: usize = 10_000;

/// Texts of one agent.
pub(super) type AgentTexts = (AgentId, SearchedTexts);

/// Agents whose texts wait for their vectors. Each is in it at most twice: with its notes, and with
/// its messages. They take turns.
#[derive(Default)]
pub(super) struct EmbeddingSchedule {
    order: VecDeque<AgentTexts>,
    entries: HashMap<AgentTexts, QueueEntry>,
    /// Agents whose texts all had a vector.
    done: HashMap<AgentTexts, DoneTexts>,
    /// Number of texts of all entries.
    waiting: usize,
}

#[derive(Default)]
struct QueueEntry {
    /// Number of the last text that has its vector.
    after: i64,
    /// Number of texts that wait, as far as they were counted.
    waiting: usize,
    /// Whether texts were added since the last batch was read.
    is_added_to: bool,
    /// Number of failures one after the other.
    failures: usize,
    /// When it may be tried again.
    due: Option<Instant>,
    /// When it was begun, if with the agent's first text.
    looked_at_all: Option<Instant>,
}

struct DoneTexts {
    /// Number of the last text.
    last: i64,
    looked_at_all: Option<Instant>,
}

/// Texts to make vectors of.
pub(super) struct QueuedTexts {
    pub(super) key: AgentTexts,
    pub(super) after: i64,
    pub(super) waiting: usize,
    pub(super) failures: usize,
}

/// The next work.
pub(super) enum Work {
    Now(QueuedTexts),
    Later(Instant),
    None,
}

impl EmbeddingSchedule {
    pub(super) fn contains(&self, key: &AgentTexts) -> bool {
        self.entries.contains_key(key)
    }

    /// Number of all texts that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn waiting_of(&self, agent: &AgentId, of: SearchedTexts) -> usize {
        self.entries.get(&(agent.clone(), of)).map_or(0, |entry| entry.waiting)
    }

    /// Adds new texts.
    pub(super) fn add(&mut self, key: AgentTexts, count: usize, now: Instant) {
        self.waiting += count;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.waiting += count;
            entry.is_added_to = true;
            return;
        }
        let entry = match self.done.get(&key) {
            Some(done) => QueueEntry {
                after: done.last - OVERLAP,
                looked_at_all: done.looked_at_all,
                ..QueueEntry::default()
            },
            None => QueueEntry { looked_at_all: Some(now), ..QueueEntry::default() },
        };
        self.insert(key, QueueEntry { waiting: count, ..entry });
    }

    /// Adds texts that may have any number, unless all were looked at not long ago.
    pub(super) fn add_missing(&mut self, key: AgentTexts, count: usize, now: Instant) {
        let is_recent = |at: Instant| now.duration_since(at) < LOOK_AT_ALL;
        let looked = self.done.get(&key).and_then(|done| done.looked_at_all);
        if self.contains(&key) || looked.is_some_and(is_recent) {
            return;
        }
        self.waiting += count;
        let entry =
            QueueEntry { waiting: count, looked_at_all: Some(now), ..QueueEntry::default() };
        self.insert(key, entry);
    }

    fn insert(&mut self, key: AgentTexts, entry: QueueEntry) {
        self.order.push_back(key.clone());
        self.entries.insert(key, entry);
    }

    /// The first texts that are due.
    pub(super) fn next(&mut self, now: Instant) -> Work {
        let mut earliest: Option<Instant> = None;
        let is_due = |key: &&AgentTexts| match self.entries.get(*key).and_then(|entry| entry.due) {
            Some(due) if due > now => {
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
                false
            }
            Some(_) | None => true,
        };
        let Some(key) = self.order.iter().find(is_due).cloned() else {
            return earliest.map_or(Work::None, Work::Later);
        };
        let Some(entry) = self.entries.get_mut(&key) else { return Work::None };
        entry.is_added_to = false;
        let QueueEntry { after, waiting, failures, .. } = *entry;
        Work::Now(QueuedTexts { key, after, waiting, failures })
    }

    /// Notes that a batch has its vectors. `last` is its last text if there are more, and `waiting`
    /// the number of those if they were counted.
    pub(super) fn passed(
        &mut self,
        key: &AgentTexts,
        last: Option<i64>,
        count: usize,
        waiting: Option<usize>,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let left = waiting.unwrap_or_else(|| entry.waiting.saturating_sub(count));
        self.waiting = self.waiting - entry.waiting + left;
        entry.waiting = left;
        (entry.failures, entry.due) = (0, None);
        if let Some(last) = last {
            entry.after = last;
        } else if entry.is_added_to {
            entry.after -= OVERLAP;
        } else {
            let done = DoneTexts { last: entry.after, looked_at_all: entry.looked_at_all };
            self.drop_texts(key);
            if self.done.len() >= REMEMBERED {
                self.done.clear();
            }
            self.done.insert(key.clone(), done);
            return;
        }
        self.move_to_back(key);
    }

    /// Notes a failure. The texts are tried again, from `due` on if that is given.
    pub(super) fn failed(&mut self, key: &AgentTexts, due: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.failures += 1;
            entry.due = due;
        }
        self.move_to_back(key);
    }

    /// Removes texts.
    pub(super) fn drop_texts(&mut self, key: &AgentTexts) {
        if let Some(at) = self.order.iter().position(|known| known == key) {
            drop(self.order.remove(at));
        }
        if let Some(entry) = self.entries.remove(key) {
            self.waiting -= entry.waiting;
        }
    }

    fn move_to_back(&mut self, key: &AgentTexts) {
        if let Some(at) = self.order.iter().position(|known| known == key) {
            let key = self.order.remove(at);
            self.order.extend(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(agent: &str) -> AgentTexts {
        (agent.parse().unwrap(), SearchedTexts::Notes)
    }

    /// The agent whose turn it is, and the text behind which it begins.
    fn next(schedule: &mut EmbeddingSchedule, now: Instant) -> Option<(AgentTexts, i64)> {
        match schedule.next(now) {
            Work::Now(texts) => Some((texts.key, texts.after)),
            Work::Later(_) | Work::None => None,
        }
    }

    #[test]
    fn agents_take_turns_and_counts_add_up() {
        let (mut schedule, now) = (EmbeddingSchedule::default(), Instant::now());
        let (ada, tess) = (texts("a-1"), texts("a-2"));
        schedule.add(ada.clone(), 100, now);
        schedule.add(tess.clone(), 3, now);
        assert_eq!((schedule.waiting(), schedule.waiting_of(&ada.0, ada.1)), (103, 100));
        assert_eq!(next(&mut schedule, now), Some((ada.clone(), 0)));
        schedule.passed(&ada, Some(64), 64, None);
        assert_eq!(next(&mut schedule, now), Some((tess.clone(), 0)));
        schedule.passed(&tess, None, 3, None);
        assert_eq!((schedule.waiting(), schedule.contains(&tess)), (36, false));
        assert_eq!(next(&mut schedule, now), Some((ada.clone(), 64)));
        // More came while the last batch was made: it is looked for.
        schedule.add(ada.clone(), 1, now);
        schedule.passed(&ada, None, 36, None);
        assert_eq!(next(&mut schedule, now), Some((ada.clone(), 64 - OVERLAP)));
        schedule.passed(&ada, None, 1, None);
        assert_eq!((schedule.waiting(), next(&mut schedule, now)), (0, None));
    }

    #[test]
    fn all_texts_of_an_agent_are_not_looked_at_again_and_again() {
        let (mut schedule, now) = (EmbeddingSchedule::default(), Instant::now());
        let ada = texts("a-1");
        schedule.add_missing(ada.clone(), 1, now);
        assert_eq!(next(&mut schedule, now), Some((ada.clone(), 0)));
        schedule.passed(&ada, None, 0, Some(0));
        schedule.add_missing(ada.clone(), 1, now);
        assert_eq!(next(&mut schedule, now), None);
        schedule.add_missing(ada.clone(), 1, now + LOOK_AT_ALL);
        assert_eq!(next(&mut schedule, now), Some((ada, 0)));
    }

    #[test]
    fn a_failure_of_one_agents_texts_lets_others_pass() {
        let (mut schedule, now) = (EmbeddingSchedule::default(), Instant::now());
        let (ada, tess) = (texts("a-1"), texts("a-2"));
        schedule.add(ada.clone(), 1, now);
        schedule.add(tess.clone(), 1, now);
        let due = now + Duration::from_secs(5);
        assert_eq!(next(&mut schedule, now), Some((ada.clone(), 0)));
        schedule.failed(&ada, Some(due));
        assert_eq!(next(&mut schedule, now), Some((tess.clone(), 0)));
        schedule.passed(&tess, None, 1, None);
        assert!(matches!(schedule.next(now), Work::Later(at) if at == due));
        assert_eq!(next(&mut schedule, due), Some((ada, 0)));
    }
}
