//! A client that follows a session at its cursor, from one living node to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_websockets::Message;

use super::cluster::NODES;
use super::rest::ServerEvents;
use super::stage::ChaosStage;
use crate::live::TestClient;

/// How a reader reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadingWire {
    /// Over a WebSocket, with streamed text.
    Native,
    /// Server-sent events.
    Events,
}

/// Reads one session.
pub(super) struct ChaosReader {
    pub(super) session: String,
    pub(super) wire: ReadingWire,
    pub(super) node: usize,
    pub(super) stage: Arc<ChaosStage>,
    /// The position at which it stops.
    pub(super) goal: watch::Receiver<u64>,
    pub(super) read: ChaosRead,
}

/// Account of a reader.
#[derive(Default)]
pub(super) struct ChaosRead {
    /// Frames of events, in order.
    pub(super) log: Vec<Value>,
    pub(super) epoch: Option<Value>,
    /// Open items by id.
    open: HashMap<String, OpenText>,
    /// Number of messages that were streamed whole.
    pub(super) streamed: usize,
    /// Number of messages that were streamed in part when a fault came, and read whole.
    pub(super) streamed_in_part: usize,
    /// Number of times that it attached.
    pub(super) attached: usize,
}

/// The streamed text of an open item.
#[derive(Default)]
struct OpenText {
    text: String,
    /// Number of the next delta.
    next: u64,
    /// Round in which it began, unless a fault was under way.
    calm_round: Option<usize>,
}

impl ChaosReader {
    /// Reads up to the goal.
    pub(super) async fn run(mut self) -> ChaosRead {
        loop {
            match self.wire {
                ReadingWire::Native => self.connection().await,
                ReadingWire::Events => self.stream().await,
            }
            if self.read.last() >= *self.goal.borrow() {
                return self.read;
            }
            self.node += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads with one connection, until it ends or the goal is reached.
    async fn connection(&mut self) {
        let Some(mut client) = self.stage.connect(self.node % NODES).await else { return };
        let mut attach = json!({"type": "attach", "session": self.session,
            "after": self.read.last()});
        if let Some(epoch) = &self.read.epoch {
            attach["epoch"] = epoch.clone();
        }
        if client.socket.send(Message::text(attach.to_string())).await.is_err() {
            return;
        }
        self.read.open.clear();
        while self.read.last() < *self.goal.borrow() {
            let frame = tokio::select! {
                frame = next_frame(&mut client) => frame,
                _ = self.goal.changed() => continue,
            };
            let Some(frame) = frame else { return };
            if frame["type"] == "detached" || frame["type"] == "refused" {
                if frame["retry"] == false {
                    self.stage.breach(format!("{} was refused to a reader: {frame}", self.session));
                }
                return;
            }
            self.take(frame);
        }
    }

    /// Reads with one stream of server-sent events, until it ends or the goal is reached.
    async fn stream(&mut self) {
        let Some(url) = self.stage.url(self.node % NODES) else { return };
        let after = self.read.epoch.as_ref().map(|epoch| {
            let epoch = epoch.as_str().unwrap();
            format!("{epoch}:{}", self.read.last())
        });
        let opened = ServerEvents::open(&self.stage.http, &url, &self.session, after).await;
        let Some(mut stream) = opened else { return };
        self.read.attached += 1;
        while self.read.last() < *self.goal.borrow() {
            let event = tokio::select! {
                event = stream.next() => event,
                _ = self.goal.changed() => continue,
            };
            let Some(event) = event else { return };
            match event.name.as_str() {
                "event" => {
                    let (epoch, _) = event.id.split_once(':').unwrap();
                    let known = self.read.epoch.get_or_insert_with(|| json!(epoch));
                    if known != epoch {
                        self.stage.breach(format!("{}: the epoch is {epoch}", self.session));
                    }
                    let mut frame = event.data;
                    frame["type"] = json!("event");
                    frame["session"] = json!(self.session);
                    self.take(frame);
                }
                "closed" => return,
                _ => self.stage.breach(format!("{}: {} {}", self.session, event.name, event.data)),
            }
        }
    }

    fn take(&mut self, frame: Value) {
        let round = *self.stage.round.borrow();
        let calm_round = (!round.is_disturbed).then_some(round.number);
        if let Err(breach) = self.read.take(frame, calm_round) {
            let (session, node) = (&self.session, self.node % NODES);
            self.stage.breach(format!("{session} at node {node}: {breach}"));
        }
    }
}

/// The next frame, whenever it comes; `None` at the end of the connection.
async fn next_frame(client: &mut TestClient) -> Option<Value> {
    loop {
        let message = client.socket.next().await?.ok()?;
        if let Some(text) = message.as_text() {
            return Some(serde_json::from_str(text).unwrap());
        }
        if message.is_close() {
            return None;
        }
    }
}

impl ChaosRead {
    fn last(&self) -> u64 {
        self.log.last().map_or(0, |frame| frame["seq"].as_u64().unwrap())
    }

    fn take(&mut self, frame: Value, calm_round: Option<usize>) -> Result<(), String> {
        match frame["type"].as_str().unwrap() {
            "attached" => {
                self.attached += 1;
                let epoch = self.epoch.get_or_insert_with(|| frame["epoch"].clone());
                if frame["recovered"] != true || *epoch != frame["epoch"] {
                    return Err(format!("the cursor was not used: {frame}"));
                }
            }
            "event" => return self.event(frame, calm_round),
            "partial" => {
                let text = frame["text"].as_str().unwrap().to_owned();
                let next = frame["n"].as_u64().unwrap();
                self.open.insert(item(&frame), OpenText { text, next, calm_round });
            }
            "delta" => {
                let n = frame["n"].as_u64().unwrap();
                let begun = || OpenText { calm_round, ..OpenText::default() };
                let open = self.open.entry(item(&frame)).or_insert_with(begun);
                if n != open.next {
                    return Err(format!("delta {} was expected: {frame}", open.next));
                }
                open.text.push_str(frame["text"].as_str().unwrap());
                open.next += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, frame: Value, calm_round: Option<usize>) -> Result<(), String> {
        if frame["seq"] != self.last() + 1 {
            return Err(format!("record {} was expected: {frame}", self.last() + 1));
        }
        let event = &frame["event"];
        let mut result = Ok(());
        if event["kind"] == "turn_resumed" {
            self.open.clear();
        } else if let Some(open) = self.open.remove(&item(event))
            && event["complete"] == true
        {
            let text = event["text"].as_str().unwrap();
            // Deltas are not kept for a node that loses its connection to the session's owner. The
            // message replaces what was streamed before.
            let may_end_early = open.calm_round.is_none() || open.calm_round != calm_round;
            if text == open.text {
                self.streamed += 1;
            } else if may_end_early && text.starts_with(&open.text) {
                self.streamed_in_part += 1;
            } else {
                result = Err(format!("{:?} was streamed: {frame}", open.text));
            }
        }
        self.log.push(frame);
        result
    }
}

fn item(frame: &Value) -> String {
    frame["item"].as_str().unwrap_or_default().to_owned()
}
