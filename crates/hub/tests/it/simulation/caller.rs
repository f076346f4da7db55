//! A client of an older wire, and its connection as the server drives it: a real machine against
//! the hub, with a line between them that can break with frames on it.
//!
//! ```text
//! client ──typed──▶ machine ──requests──▶ hub
//! client ◀──line─── frames and pings ◀─── tails
//! client ──pongs──▶ proof ──────────────▶ store
//! ```

mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::carry_out;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use thoughtwire_hub::{Clock, DeliveryProof, Hub, Presence, Read, Subscription, WakeSignal};
use thoughtwire_proto::connection::{Encoding, Joined, Machine, Output, Tag};
use thoughtwire_proto::dialect::{
    FrameLimit,
    memgpt::MemgptMachine,
    sparky::{SparkyMachine, Tools},
};
use thoughtwire_proto::{
    Command, CommandReply, ConnectionCommand, ConnectionReply, Emission, PeerRef, PeerWire, Record,
    Refusal, RefusalCode, Request, Seq, SessionCommand, SessionId, SessionReply, Start, UserId,
};
use thoughtwire_store::Proven;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::Instant;

use super::heard::Certainty;
use super::ledger::Ledger;
use super::people::Question;
use super::proof::keep;
use super::reader::Pace;

/// Frames that a line holds; while it is full, the server does not write.
const LINE: usize = 64;
/// Answers under way per connection; while there are so many, it is not read.
const ANSWERS: usize = 64;

/// A client's hold on its connection. Dropped, nothing more is typed.
pub(crate) struct Caller {
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Type(String),
    Pace(Pace),
    /// The client is gone with what is on the line; the server notices later.
    Break(Duration),
}

/// A connection and its client.
struct Line {
    hub: Hub,
    clock: Clock,
    user: UserId,
    ledger: Arc<Mutex<Ledger>>,
    /// Its client's number in the ledger, and its own among the client's.
    caller: usize,
    number: u32,
    machine: Box<dyn Machine>,
    joined: Option<broadcast::Receiver<Joined>>,
    wake: WakeSignal,
    attached: BTreeMap<SessionId, Attachment>,
    answers: FuturesUnordered<BoxFuture<'static, (Tag, Result<CommandReply, Refusal>)>>,
    orders: mpsc::UnboundedReceiver<Order>,
    typed: VecDeque<String>,
    on_line: VecDeque<Item>,
    pace: Pace,
    broken: Option<Instant>,
    proof: DeliveryProof,
}

struct Attachment {
    subscription: Subscription,
    encoding: Encoding,
    peer: Option<PeerRef>,
    proven: Seq,
}

/// One item on the line.
enum Item {
    Record {
        session: SessionId,
        record: Record,
        text: String,
    },
    Word(String),
    Ping(Vec<u8>),
    /// Not a frame: from here on it is another place in a session, or none.
    Joined {
        session: SessionId,
        after: Seq,
        certainty: Certainty,
    },
    Left(SessionId),
}

impl Caller {
    pub(crate) fn connect(
        hub: &Hub,
        clock: &Clock,
        user: &UserId,
        caller: usize,
        pace: Pace,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (number, peer) = {
            let heard = &mut ledger.lock().unwrap().callers[caller];
            heard.lines += 1;
            (heard.connects(), heard.peer.clone())
        };
        let machine: Box<dyn Machine> = match peer.wire {
            PeerWire::Memgpt => Box::new(MemgptMachine::new(Some(peer.name.clone()))),
            PeerWire::Sparky => Box::new(SparkyMachine::new(Tools::default())),
        };
        let line = Line {
            hub: hub.clone(),
            clock: clock.clone(),
            user: user.clone(),
            ledger: Arc::clone(ledger),
            caller,
            number,
            joined: machine.has_chats().then(|| hub.joined(user, &peer)),
            machine,
            wake: Arc::new(Notify::new()),
            attached: BTreeMap::new(),
            answers: FuturesUnordered::new(),
            orders: inbox,
            typed: VecDeque::new(),
            on_line: VecDeque::new(),
            pace,
            broken: None,
            proof: DeliveryProof::default(),
        };
        tokio::spawn(line.run());
        Self { orders }
    }

    pub(crate) fn types(&self, text: String) {
        self.order(Order::Type(text));
    }

    pub(crate) fn pace(&self, pace: Pace) {
        self.order(Order::Pace(pace));
    }

    pub(crate) fn breaks(&self, noticed_after: Duration) {
        self.order(Order::Break(noticed_after));
    }

    fn order(&self, order: Order) {
        // A line that the server has closed takes none.
        drop(self.orders.send(order));
    }
}

impl Line {
    async fn run(mut self) {
        loop {
            self.carry_out().await;
            if self.show().await {
                continue;
            }
            if !self.machine.is_full()
                && self.answers.len() < ANSWERS
                && let Some(text) = self.typed.pop_front()
            {
                self.machine.frame(&text);
                continue;
            }
            let now = Instant::now();
            let far = now + Duration::from_secs(3_600);
            let read_at = match (self.pace, self.broken, self.on_line.is_empty()) {
                (Pace::Eager, None, false) => now,
                (Pace::Slow(millis), None, false) => now + Duration::from_millis(millis / 8),
                (_, _, _) => far,
            };
            let (wake, proof_at, ends_at) = (
                Arc::clone(&self.wake),
                self.proof.next_check().unwrap_or(far),
                self.broken.unwrap_or(far),
            );
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(ends_at) => break,
                Some(order) = self.orders.recv() => self.obey(order),
                Some((tag, outcome)) = self.answers.next() => self.machine.answer(tag, outcome),
                () = wake.notified() => {}
                opened = follow(&mut self.joined) => self.machine.joined(&opened),
                () = tokio::time::sleep_until(read_at) => self.read(),
                () = tokio::time::sleep_until(proof_at) => {
                    if self.proof.is_due() {
                        self.ask_proof();
                    }
                }
            }
        }
        let now = self.clock.now();
        {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.callers[self.caller].lines -= 1;
            ledger.closing(self.caller, None, self.number, now.as_millis());
        }
        let rows = self.proof_rows();
        self.keep(rows, Some(now)).await;
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Type(text) => self.typed.push_back(text),
            Order::Pace(pace) => self.pace = pace,
            Order::Break(noticed_after) => {
                self.broken = Some(Instant::now() + noticed_after);
                self.on_line.clear();
                self.typed.clear();
            }
        }
    }

    fn write(&mut self, item: Item) {
        if self.broken.is_none() {
            self.on_line.push_back(item);
        }
    }

    // The client's side.

    fn read(&mut self) {
        let most = if self.pace == Pace::Eager { LINE } else { 1 };
        for _ in 0..most {
            match self.on_line.pop_front() {
                Some(Item::Record { session, record, text }) => {
                    self.ledger.lock().unwrap().heard(
                        self.caller,
                        self.number,
                        &session,
                        &record,
                        &text,
                    );
                }
                Some(Item::Word(text)) => {
                    self.ledger.lock().unwrap().heard_word(self.caller, &text);
                }
                Some(Item::Ping(payload)) => self.proven(&payload),
                Some(Item::Joined { session, after, certainty }) => {
                    self.ledger.lock().unwrap().comes(self.caller, &session, after.0, certainty);
                }
                Some(Item::Left(session)) => {
                    self.ledger.lock().unwrap().leaves(self.caller, self.number, &session);
                }
                None => return,
            }
        }
    }

    // The server's side; see `socket.rs` there.

    async fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Frame(frame) => self.write(Item::Word(frame)),
                Output::Authenticate { .. } => self.machine.authenticated(Ok(())),
                Output::Request { tag, request } => self.request(tag, request).await,
            }
        }
    }

    /// Writes what lies behind each cursor. Tells whether there was anything.
    async fn show(&mut self) -> bool {
        let ready: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, at)| at.subscription.has_news())
            .map(|(id, _)| id.clone())
            .collect();
        let mut progress = false;
        for session in ready {
            if self.on_line.len() >= LINE {
                return progress;
            }
            let Some(attachment) = self.attached.get_mut(&session) else { continue };
            let entries = match attachment.subscription.next().await {
                Ok(Read::Entries { entries, .. }) if entries.is_empty() => continue,
                Ok(Read::Entries { entries, .. }) => entries,
                Ok(Read::CaughtUp(seq)) => {
                    self.machine.caught_up(&session, seq);
                    progress = true;
                    continue;
                }
                Ok(Read::Trimmed) => {
                    // As the server does: whoever connects again is told where the log begins.
                    self.ledger.lock().unwrap().cut_short(self.caller, &session);
                    self.broken = Some(Instant::now());
                    return false;
                }
                Ok(Read::Closed(reason)) => {
                    self.attached.remove(&session);
                    if self.ledger.lock().unwrap().closed_under(self.caller, &session, &reason) {
                        self.write(Item::Left(session.clone()));
                        self.machine.detached(&session, &reason);
                        progress = true;
                    }
                    continue;
                }
                Err(refusal) => {
                    self.attached.remove(&session);
                    self.ledger.lock().unwrap().cut_off(self.caller, &session, &refusal);
                    self.write(Item::Left(session.clone()));
                    self.machine.detached(&session, &refusal.reason);
                    return true;
                }
            };
            progress = true;
            while let Some(Some((tag, outcome))) =
                futures::FutureExt::now_or_never(self.answers.next())
            {
                self.machine.answer(tag, outcome);
            }
            self.carry_out().await;
            let (encoding, is_peer) = match self.attached.get(&session) {
                Some(attachment) => (attachment.encoding.clone(), attachment.peer.is_some()),
                None => continue,
            };
            for entry in &entries {
                if !self.machine.shows(entry.emitted()) {
                    continue;
                }
                for frame in entry.frames(&encoding, FrameLimit::default()).iter() {
                    let text = std::str::from_utf8(frame).unwrap().to_owned();
                    let item = match &entry.emitted().emission {
                        Emission::Record(record) => {
                            Item::Record { session: session.clone(), record: record.clone(), text }
                        }
                        _ => Item::Word(text),
                    };
                    self.write(item);
                }
                if is_peer {
                    self.proof.note_sent(&entry.emitted().emission);
                }
            }
        }
        progress
    }

    fn ask_proof(&mut self) {
        let of_peers = self.attached.iter().filter(|(_, attachment)| attachment.peer.is_some());
        let cursors = of_peers
            .map(|(session, attachment)| (session.clone(), attachment.subscription.cursor()))
            .collect();
        let payload = self.proof.ping_payload(cursors);
        self.write(Item::Ping(payload));
    }

    fn proven(&mut self, payload: &[u8]) {
        for (session, seq) in self.proof.acknowledge(payload) {
            if let Some(attachment) = self.attached.get_mut(&session) {
                attachment.proven = attachment.proven.max(seq);
            }
        }
        let rows = self.proof_rows();
        let keep = keep(
            self.hub.clone(),
            Arc::clone(&self.ledger),
            (self.caller, self.number),
            rows,
            None,
        );
        tokio::spawn(keep);
    }

    fn proof_rows(&self) -> Vec<Proven> {
        let row = |(session, attachment): (&SessionId, &Attachment)| {
            attachment.peer.as_ref().map(|peer| Proven {
                user: self.user.clone(),
                peer: peer.clone(),
                connection: format!("k{}-{}", self.caller, self.number),
                session: session.clone(),
                seq: attachment.proven,
            })
        };
        self.attached.iter().filter_map(row).collect()
    }

    async fn keep(&mut self, rows: Vec<Proven>, closed_at: Option<thoughtwire_proto::Timestamp>) {
        keep(
            self.hub.clone(),
            Arc::clone(&self.ledger),
            (self.caller, self.number),
            rows,
            closed_at,
        )
        .await;
    }
}

async fn follow(joined: &mut Option<broadcast::Receiver<Joined>>) -> Joined {
    match joined {
        Some(joined) => match joined.recv().await {
            Ok(joined) => joined,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
