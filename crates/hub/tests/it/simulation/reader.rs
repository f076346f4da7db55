//! A subscriber of the simulation: quick, slow or stalled, there or away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thoughtwire_hub::{
    DirectSink, Hub, Presence, Read, SharedSink, Subscription, TailEntry, WakeSignal,
};
use thoughtwire_proto::{Cursor, RefusalCode, Seq, SessionId, Start, UserId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::ledger::Ledger;

/// How it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Eager,
    /// So many milliseconds between two looks.
    Slow(u64),
    Stalled,
}

/// The sink of a parked reader. Now and then it accepts less than is pushed.
struct LedgerSink {
    number: usize,
    ledger: Arc<Mutex<Ledger>>,
    pushes: AtomicUsize,
    /// Nobody is there any more, although the hub may not know it yet.
    is_gone: Arc<AtomicBool>,
}

impl DirectSink<Arc<TailEntry>> for LedgerSink {
    fn accept(&self, entries: &[Arc<TailEntry>]) -> usize {
        if self.is_gone.load(Ordering::Relaxed) {
            return entries.len();
        }
        let taken = match self.pushes.fetch_add(1, Ordering::Relaxed) % 5 {
            3 => entries.len() / 2,
            4 => 0,
            _ => entries.len(),
        };
        if taken > 0 {
            self.ledger.lock().unwrap().entries(self.number, &entries[..taken]);
        }
        taken
    }
}

/// A subscriber that is there. Dropped, it vanishes without a word.
pub(crate) struct Reader {
    pace: watch::Sender<Pace>,
    task: JoinHandle<()>,
    is_gone: Arc<AtomicBool>,
}

impl Reader {
    /// Attaches place number `number` of the ledger from `start` on, and reads.
    pub(crate) fn attach(
        hub: &Hub,
        user: &UserId,
        session: &SessionId,
        number: usize,
        start: Start,
        pace: Pace,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let (pace, paces) = watch::channel(pace);
        let (hub, user, session, ledger) =
            (hub.clone(), user.clone(), session.clone(), Arc::clone(ledger));
        let is_gone = Arc::default();
        let sink = LedgerSink {
            number,
            ledger: Arc::clone(&ledger),
            pushes: AtomicUsize::new(0),
            is_gone: Arc::clone(&is_gone),
        };
        let task = tokio::spawn(async move {
            read(&hub, &user, &session, start, paces, sink).await;
        });
        Self { pace, task, is_gone }
    }

    /// Whether nothing follows for it where it is.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) fn pace(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

async fn read(
    hub: &Hub,
    user: &UserId,
    session: &SessionId,
    start: Start,
    mut paces: watch::Receiver<Pace>,
    sink: LedgerSink,
) {
    let (number, ledger) = (sink.number, &Arc::clone(&sink.ledger));
    let sink: SharedSink<Arc<TailEntry>> = Arc::new(sink);
    let wake: WakeSignal = Arc::new(Notify::new());
    let mut start = start;
    loop {
        let Some(cursor) =
            read_on(hub, user, session, number, &start, &mut paces, ledger, &sink, &wake).await
        else {
            return;
        };
        // Records behind its cursor were deleted. It attaches again, as a client does.
        start = Start::After(Cursor { epoch: None, seq: cursor });
    }
}

/// Reads until nothing follows. Returns the cursor when the log was trimmed behind it.
#[allow(clippy::too_many_arguments, reason = "what one reader is made of")]
async fn read_on(
    hub: &Hub,
    user: &UserId,
    session: &SessionId,
    number: usize,
    start: &Start,
    paces: &mut watch::Receiver<Pace>,
    ledger: &Arc<Mutex<Ledger>>,
    sink: &SharedSink<Arc<TailEntry>>,
    wake: &WakeSignal,
) -> Option<Seq> {
    let mut subscription: Subscription = loop {
        let (known, asked_at) = {
            let mut ledger = ledger.lock().unwrap();
            (ledger.known_of(number), ledger.timeline.moment())
        };
        match hub
            .attach(
                user,
                session,
                start.clone(),
                Arc::clone(wake),
                Presence::Client { tools: Vec::new() },
            )
            .await
        {
            Ok((attached, subscription)) => {
                ledger.lock().unwrap().attached(number, start, (known, asked_at), &attached);
                break subscription;
            }
            Err(refusal) if refusal.code == RefusalCode::UnknownSession => {
                ledger.lock().unwrap().turned_away(number);
                return None;
            }
            Err(refusal) => {
                ledger.lock().unwrap().hindered(number, &refusal);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    loop {
        let pace = *paces.borrow_and_update();
        match pace {
            Pace::Eager => {}
            Pace::Slow(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Pace::Stalled => {
                if paces.changed().await.is_err() {
                    return None;
                }
                continue;
            }
        }
        if !subscription.has_news() {
            if pace == Pace::Eager {
                subscription.park(sink);
            }
            tokio::select! {
                biased;
                () = wake.notified() => {}
                changed = paces.changed() => if changed.is_err() { return None },
            }
            subscription.unpark();
            continue;
        }
        match subscription.next().await {
            Ok(read) => {
                ledger.lock().unwrap().read(number, &read);
                match read {
                    Read::Entries { .. } | Read::CaughtUp(_) => {}
                    Read::Trimmed => return Some(subscription.cursor()),
                    Read::Closed(_) => return None,
                }
            }
            Err(refusal) => {
                ledger.lock().unwrap().hindered(number, &refusal);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
