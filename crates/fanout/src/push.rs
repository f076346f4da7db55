//! Pushing to the parked readers of one group.

use std::sync::Arc;
use std::vec::IntoIter;

use crate::fanout::PushGroup;
use crate::{EntrySource, PushReader};

/// Readers that one step serves. Then others have their turn, the publisher among them: in a burst
/// the readers that are served later find more entries, and take them at once.
const READERS_PER_STEP: usize = 4;

/// Whether a push run has to be driven on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushProgress {
    /// Yield to other tasks, then take the next step.
    More,
    /// Everything that was published is pushed.
    Done,
}

/// One run over a group's readers. It ends when nothing is left to push.
///
/// Dropped before, it wakes all readers of its group, so that a sink that panics harms only its own
/// reader.
pub struct PushRun<R: PushReader> {
    group: Arc<PushGroup<R>>,
    /// The number of published entries for which unparked readers were last woken.
    told: Option<u64>,
    round: Option<PushRound<R>>,
    is_done: bool,
}

/// One round over all readers of the group.
struct PushRound<R> {
    readers: IntoIter<Arc<R>>,
    /// The number of published entries when it began.
    published: u64,
    /// Whether unparked readers have to be woken.
    is_news: bool,
    /// Whether a parked reader has more to get than one push.
    is_behind: bool,
}

impl<R: PushReader> PushRun<R> {
    /// Begins a run, unless one is under way that will see what was published.
    pub(crate) fn begin(group: &Arc<PushGroup<R>>) -> Option<Self> {
        let run = || Self { group: Arc::clone(group), told: None, round: None, is_done: false };
        group.claim().then(run)
    }

    /// Serves some readers.
    pub fn step<S: EntrySource<Item = R::Item>>(&mut self, source: &S) -> PushProgress {
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.next_round(source.published()),
        };
        let mut batch = None;
        for reader in round.readers.by_ref().take(READERS_PER_STEP) {
            let mut slot = reader.slot().lock();
            match &mut *slot {
                Some(parked) => {
                    parked.push(source, &mut batch);
                    if parked.is_open() {
                        round.is_behind |= source.published() > parked.position();
                    } else {
                        reader.wake();
                    }
                }
                None if round.is_news => reader.wake(),
                None => {}
            }
        }
        if round.readers.len() > 0 {
            self.round = Some(round);
            return PushProgress::More;
        }
        // Invariant: released before the last look at what was published. A publisher that comes
        // later finds the group free; one that came before is seen here. Test: `model`.
        self.group.release();
        let is_all = source.published() == round.published && !round.is_behind;
        if is_all || !self.group.claim() {
            self.is_done = true;
            return PushProgress::Done;
        }
        PushProgress::More
    }

    fn next_round(&mut self, published: u64) -> PushRound<R> {
        let is_news = self.told.replace(published) != Some(published);
        let readers = self.group.readers().into_iter();
        PushRound { readers, published, is_news, is_behind: false }
    }
}

impl<R: PushReader> Drop for PushRun<R> {
    fn drop(&mut self) {
        if !self.is_done {
            self.group.release();
            self.group.wake();
        }
    }
}
