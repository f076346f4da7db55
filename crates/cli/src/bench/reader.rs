//! One reader: its connection, and the checks of what it receives.

use std::cell::RefCell;
use std::rc::Rc;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio_websockets::Message;

use super::connect::{BenchSocket, connect};
use super::counters::{RunCounters, increase};
use super::delivery::{DeliveryChecker, DeliveryFaults, SeqChecker};
use super::dialect::{FrameClass, ResumePoint, ResumeSupport};
use super::mark::{marks, now};
use super::plan::BenchPlan;
use super::session::BenchSession;

/// Reconnects of a woken reader before it gives up.
const ATTEMPTS: usize = 10;

/// One reader of a session.
pub(crate) struct BenchReader {
    pub(crate) plan: Rc<BenchPlan>,
    pub(crate) counters: Rc<RunCounters>,
    pub(crate) session: Rc<BenchSession>,
    pub(crate) who: usize,
    pub(crate) view: RefCell<ReaderState>,
}

/// The state of what a reader received.
pub(crate) struct ReaderState {
    pub(crate) delivery: DeliveryChecker,
    seqs: SeqChecker,
    epoch: Option<String>,
    is_ready: bool,
}

/// The fields of `attached` that a reader needs.
#[derive(Deserialize)]
struct AttachedHead {
    epoch: String,
    head: u64,
}

impl BenchReader {
    pub(crate) fn new(
        plan: &Rc<BenchPlan>,
        counters: &Rc<RunCounters>,
        session: &Rc<BenchSession>,
        who: usize,
    ) -> Rc<Self> {
        let view = ReaderState {
            delivery: DeliveryChecker::new(plan.load.items),
            seqs: SeqChecker::default(),
            epoch: None,
            is_ready: false,
        };
        Rc::new(Self {
            plan: Rc::clone(plan),
            counters: Rc::clone(counters),
            session: Rc::clone(session),
            who,
            view: RefCell::new(view),
        })
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.plan.is_stalled(self.who)
    }

    /// The faults so far, given the inputs of its session.
    pub(crate) fn faults(&self) -> DeliveryFaults {
        let view = self.view.borrow();
        view.seqs.with(view.delivery.faults(self.expected()))
    }

    /// Number of pieces that it should receive.
    pub(crate) fn expected(&self) -> u64 {
        self.session.asked.get() * self.plan.load.items
    }

    /// Whether it sends its session's inputs.
    fn is_sender(&self) -> bool {
        self.who < self.plan.sessions
    }

    /// Connects, reads and checks until it is dropped. `permits` limits simultaneous connects;
    /// `wake` tells a stalled reader to read.
    pub(crate) async fn run(
        self: Rc<Self>,
        permits: Rc<Semaphore>,
        mut wake: watch::Receiver<bool>,
    ) {
        let line = {
            let Ok(_permit) = permits.acquire().await else { return };
            match self.connect_and_attach(None).await {
                Ok(line) => line,
                Err(error) => return self.fail(&format!("{error:#}")),
            }
        };
        self.counters.ready.set(self.counters.ready.get() + 1);
        if self.is_sender() {
            return self.send_and_read(line).await;
        }
        if !self.is_stalled() {
            let reason = self.read(line).await;
            return self.fail(&reason);
        }
        if wake.wait_for(|woken| *woken).await.is_err() {
            return;
        }
        let mut reason = self.read(line).await;
        for _ in 0..ATTEMPTS {
            match self.reconnect().await {
                Ok(Some(line)) => reason = self.read(line).await,
                Ok(None) => break,
                Err(error) => reason = format!("{error:#}"),
            }
        }
        self.fail(&reason);
    }

    fn fail(&self, reason: &str) {
        increase(&self.counters.closed);
        self.counters.complain(reason);
    }

    /// Reconnects if the protocol can resume.
    async fn reconnect(&self) -> anyhow::Result<Option<BenchSocket>> {
        let cursor = match (self.plan.wire.resumes(), self.view.borrow().epoch.clone()) {
            (ResumeSupport::Exactly, Some(epoch)) => {
                Some(ResumePoint { epoch, seq: self.view.borrow().seqs.last() })
            }
            (ResumeSupport::Repeating, _) => {
                self.view.borrow_mut().delivery.may_repeat();
                None
            }
            (ResumeSupport::Exactly, None) | (ResumeSupport::Never, _) => return Ok(None),
        };
        increase(&self.counters.reconnected);
        self.view.borrow_mut().is_ready = false;
        self.connect_and_attach(cursor.as_ref()).await.map(Some)
    }

    /// Connects, sends the greeting and waits until the reader is attached.
    async fn connect_and_attach(
        &self,
        cursor: Option<&ResumePoint>,
    ) -> anyhow::Result<BenchSocket> {
        let name = format!("{}-{}", self.plan.name, self.who);
        let known_as = self.is_stalled().then_some(name.as_str());
        let path = self.plan.wire.path(known_as);
        let mut line = connect(&self.plan, self.who, &path).await?;
        for frame in self.plan.wire.greeting(&self.session.place, known_as, cursor) {
            line.send(Message::text(frame)).await?;
        }
        if self.plan.wire.is_ready_at_once() {
            return Ok(line);
        }
        while !self.view.borrow().is_ready {
            match tokio::time::timeout(self.plan.patience, line.next()).await {
                Ok(Some(message)) => self.take(&message?)?,
                Ok(None) => anyhow::bail!("the server closed a connection before it was attached"),
                Err(_) => anyhow::bail!("the server did not answer a greeting in time"),
            }
        }
        Ok(line)
    }

    /// Reads until the connection ends; returns why it ended.
    async fn read(&self, mut line: BenchSocket) -> String {
        while let Some(message) = line.next().await {
            let taken =
                message.map_err(anyhow::Error::from).and_then(|message| self.take(&message));
            if let Err(error) = taken {
                return format!("{error:#}");
            }
        }
        "the server closed a connection".to_owned()
    }

    /// Reads, and sends its session's inputs when they are due.
    async fn send_and_read(&self, mut line: BenchSocket) {
        loop {
            tokio::select! {
                message = line.next() => {
                    let taken = match message {
                        Some(message) => message
                            .map_err(anyhow::Error::from)
                            .and_then(|message| self.take(&message)),
                        None => Err(anyhow::anyhow!("the server closed a connection")),
                    };
                    if let Err(error) = taken {
                        return self.fail(&format!("{error:#}"));
                    }
                }
                () = self.session.wake.notified() => {}
            }
            while let Some(number) = self.session.next() {
                let input = self.plan.wire.input(&self.session.place, number);
                if let Err(error) = line.send(Message::text(input)).await {
                    return self.fail(&error.to_string());
                }
            }
        }
    }

    /// Handles a message.
    fn take(&self, message: &Message) -> anyhow::Result<()> {
        if let Some((code, reason)) = message.as_close() {
            anyhow::bail!("the server closed a connection: {} {reason}", u16::from(code));
        }
        if !message.is_text() && !message.is_binary() {
            return Ok(());
        }
        let frame: &[u8] = message.as_payload();
        self.counters.frame(frame.len());
        let class = self.plan.wire.classify(frame, self.plan.load.deltas);
        let mut view = self.view.borrow_mut();
        if let FrameClass::Pieces(Some(seq))
        | FrameClass::Whole(Some(seq))
        | FrameClass::Ended(Some(seq))
        | FrameClass::Failed(Some(seq))
        | FrameClass::Other(Some(seq)) = class
        {
            view.seqs.take(seq);
        }
        match class {
            FrameClass::Pieces(_) => self.pieces(&mut view, frame),
            FrameClass::Whole(_) => self.whole(&mut view, frame),
            FrameClass::SoFar => {
                if let Some(mark) = marks(frame).last() {
                    let moved = view.delivery.supersede(mark);
                    self.moved(moved, now());
                }
            }
            FrameClass::Ready => view.is_ready = true,
            FrameClass::Attached => {
                let attached: AttachedHead = serde_json::from_slice(frame)?;
                if view.epoch.is_none() {
                    view.seqs.begin(attached.head);
                }
                view.epoch = Some(attached.epoch);
            }
            FrameClass::Ended(_) => self.turn_ended(),
            FrameClass::Failed(_) => {
                let said = String::from_utf8_lossy(frame);
                if self.counters.begun.get() == 0 {
                    anyhow::bail!("the server refused: {said}");
                }
                if self.is_sender() {
                    increase(&self.counters.failed);
                    self.counters.complain(&said);
                    self.turn_ended();
                }
            }
            FrameClass::Other(_) => {}
        }
        Ok(())
    }

    fn pieces(&self, view: &mut ReaderState, frame: &[u8]) {
        let mut at = 0;
        for mark in marks(frame) {
            if at == 0 {
                at = now();
            }
            let moved = view.delivery.take(mark);
            if moved > 0 && !self.is_stalled() {
                self.counters.piece(at.saturating_sub(mark.due), at);
            }
            self.moved(moved, at);
            if mark.n == self.plan.load.items && moved > 0 && !self.plan.wire.tells_ends() {
                self.turn_ended();
            }
        }
    }

    /// Checks that the message event contains all deltas of its input.
    fn whole(&self, view: &mut ReaderState, frame: &[u8]) {
        let mut count = 0;
        let mut last = None;
        for mark in marks(frame) {
            count += 1;
            if mark.n != count {
                break;
            }
            last = Some(mark);
        }
        if let Some(mark) = last {
            let moved = view.delivery.supersede(mark);
            self.moved(moved, now());
        }
        if count != self.plan.load.items {
            view.delivery.broken();
        }
    }

    fn moved(&self, by: u64, at: u64) {
        // Stalled readers are reported separately.
        if !self.is_stalled() {
            self.counters.moved(by, at);
        }
    }

    fn turn_ended(&self) {
        if !self.is_sender() {
            return;
        }
        if let Some(due) = self.session.end() {
            self.counters.turn(due.elapsed());
        }
        if self.plan.arrivals.is_none()
            && self.session.wants_more(self.plan.until, self.counters.started.get())
        {
            self.session.ask(tokio::time::Instant::now());
        }
    }
}
