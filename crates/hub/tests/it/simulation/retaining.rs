//! The bounds of retention: the events that it may remove of a log, and none more.

use thoughtwire_proto::{Event, Record, TurnEvent};
use thoughtwire_store::StoredSession;

use super::room::SimRoom;

impl SimRoom {
    /// Somebody wants at most so many events to be kept.
    pub(crate) fn keep(&mut self, events: u64) {
        self.is_trimmed = true;
        self.least_kept = Some(self.least_kept.map_or(events, |least| least.min(events)));
    }

    /// Holds a log on disk against the settings of retention: it begins behind the end of a
    /// turn, has at least as many events as retention keeps, and has all that the running turn
    /// and the waiting inputs stand on.
    pub(crate) fn check_retention(
        &self,
        stored: &StoredSession,
        on_disk: &[Record],
    ) -> Vec<String> {
        let first = stored.first.0;
        if first <= 1 {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        let kept = on_disk.len() as u64;
        if self.least_kept.is_none_or(|least| kept < least) {
            wrong.push(format!("{kept} events are left, and {:?} were to stay", self.least_kept));
        }
        if on_disk.first().is_none_or(|record| record.seq.0 != first) {
            wrong.push(format!("a log that begins at {first} does not have {first}"));
        }
        if let Some(last_gone) = self.seen.get(&(first - 1))
            && !matches!(last_gone.event, Event::Turn(TurnEvent::Ended { .. }))
        {
            wrong.push(format!("a log was cut behind {last_gone:?}, where no turn ends"));
        }
        let running = stored.state.turn().map(|turn| turn.started.0);
        let waiting = stored.state.queue().iter().map(|queued| queued.seq.0);
        let lost = running.into_iter().chain(waiting).find(|seq| *seq < first);
        wrong.extend(lost.map(|seq| format!("{seq} is gone, on which a turn or an input stands")));
        wrong
    }
}
