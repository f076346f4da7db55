//! A client that follows a session at its cursor, from one living node to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_websockets::Message;

use super::cluster::NODES;
use super::stage::Stage;

/// Reads one session.
pub(super) struct ChaosReader {
    pub(super) session: String,
    pub(super) node: usize,
    pub(super) stage: Arc<Stage>,
    /// The position at which it stops.
    pub(super) goal: watch::Receiver<u64>,
    pub(super) read: Read,
}

/// What a reader has seen.
#[derive(Default)]
pub(super) struct Read {
    /// Frames of events, in order.
    pub(super) log: Vec<Value>,
    epoch: Option<Value>,
    /// Open items by id: the streamed text, and the number of the next delta.
    open: HashMap<String, (String, u64)>,
    /// Number of messages whose streamed text was compared.
    pub(super) compared: usize,
    /// Number of times that it attached.
    pub(super) attached: usize,
}

impl ChaosReader {
    /// Reads up to the goal.
    pub(super) async fn run(mut self) -> Read {
        loop {
            self.connection().await;
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
                frame = client.next_or_close() => frame,
                _ = self.goal.changed() => continue,
            };
            let Ok(frame) = frame else { return };
            if frame["type"] == "detached" || frame["type"] == "refused" {
                if frame["retry"] == false {
                    self.stage.breach(format!("{} was refused to a reader: {frame}", self.session));
                }
                return;
            }
            if let Err(breach) = self.read.take(frame) {
                let (session, node) = (&self.session, self.node % NODES);
                self.stage.breach(format!("{session} at node {node}: {breach}"));
            }
        }
    }
}

impl Read {
    fn last(&self) -> u64 {
        self.log.last().map_or(0, |frame| frame["seq"].as_u64().unwrap())
    }

    fn take(&mut self, frame: Value) -> Result<(), String> {
        match frame["type"].as_str().unwrap() {
            "attached" => {
                self.attached += 1;
                let epoch = self.epoch.get_or_insert_with(|| frame["epoch"].clone());
                if frame["recovered"] != true || *epoch != frame["epoch"] {
                    return Err(format!("the cursor was not used: {frame}"));
                }
            }
            "event" => return self.event(frame),
            "partial" => {
                let text = frame["text"].as_str().unwrap().to_owned();
                self.open.insert(item(&frame), (text, frame["n"].as_u64().unwrap()));
            }
            "delta" => {
                let n = frame["n"].as_u64().unwrap();
                let (text, next) = self.open.entry(item(&frame)).or_default();
                if n != *next {
                    return Err(format!("delta {next} was expected: {frame}"));
                }
                text.push_str(frame["text"].as_str().unwrap());
                *next += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, frame: Value) -> Result<(), String> {
        if frame["seq"] != self.last() + 1 {
            return Err(format!("record {} was expected: {frame}", self.last() + 1));
        }
        let event = &frame["event"];
        let mut result = Ok(());
        if event["kind"] == "turn_resumed" {
            self.open.clear();
        } else if let Some((streamed, _)) = self.open.remove(&item(event)) {
            if event["complete"] == true {
                self.compared += 1;
                if event["text"] != streamed.as_str() {
                    result = Err(format!("{streamed:?} was streamed: {frame}"));
                }
            }
        }
        self.log.push(frame);
        result
    }
}

fn item(frame: &Value) -> String {
    frame["item"].as_str().unwrap_or_default().to_owned()
}
