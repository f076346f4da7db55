//! A client that sends inputs, each with its id, until the session has acknowledged it.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_websockets::Message;

use super::cluster::NODES;
use super::rest;
use super::stage::{ChaosStage, Round};
use crate::live::TestClient;

/// Pause between two inputs while nothing happens.
const PAUSE: Duration = Duration::from_secs(6);
/// Pause before a command is sent again.
const RETRY: Duration = Duration::from_millis(50);
/// Time after which an input without an answer is sent through another node.
const ANSWER_PATIENCE: Duration = Duration::from_secs(12);

/// How a writer sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SendingWire {
    /// Over a WebSocket, acknowledged when the input is saved.
    Native,
    /// By requests that wait for the end of the turn.
    Rest,
}

/// Sends the inputs of one session, through one node after the other.
pub(super) struct ChaosWriter {
    session: String,
    wire: SendingWire,
    /// Where it connects next.
    node: usize,
    stage: Arc<ChaosStage>,
    connection: Option<TestClient>,
    written: Written,
}

/// An input that was acknowledged.
pub(super) struct AcknowledgedText {
    pub(super) text: String,
    /// The position that the server gave, where the wire has it.
    pub(super) seq: Option<u64>,
}

/// Account of a writer at the end.
#[derive(Default)]
pub(super) struct Written {
    /// AcknowledgedText inputs in their order.
    pub(super) acknowledged: Vec<AcknowledgedText>,
    /// Inputs of a wire without command ids that may have been taken.
    pub(super) unsure: Vec<String>,
    /// On such a wire, the texts that each connection read.
    pub(super) transcripts: Option<Vec<Vec<String>>>,
    /// Number of commands that were sent again.
    pub(super) repeated: usize,
    /// Number of acknowledgements that said `duplicate`.
    pub(super) duplicates: usize,
}

impl ChaosWriter {
    pub(super) fn new(
        session: String,
        wire: SendingWire,
        node: usize,
        stage: Arc<ChaosStage>,
    ) -> Self {
        Self { session, wire, node, stage, connection: None, written: Written::default() }
    }

    /// Sends inputs until the run is over.
    pub(super) async fn run(mut self) -> Written {
        let mut rounds = self.stage.round.subscribe();
        loop {
            let round = *rounds.borrow_and_update();
            if round.is_over {
                return self.written;
            }
            let id = format!("{}-{}", self.session, self.written.acknowledged.len());
            let seq = self.say(&id, &mut rounds).await;
            self.written.acknowledged.push(AcknowledgedText { text: id, seq: Some(seq) });
            self.stage.note_answer(&self.session, round);
            pause(&mut rounds, round, seq).await;
        }
    }

    /// Sends an input until it is acknowledged. Gives its position.
    async fn say(&mut self, id: &str, rounds: &mut watch::Receiver<Round>) -> u64 {
        let command = json!({"type": "send", "id": id, "session": self.session, "text": id});
        let mut attempts = 0;
        loop {
            if attempts > 0 {
                sleep(RETRY).await;
            }
            if let Some(answer) = self.attempt(&command, rounds).await {
                if answer["type"] == "ack" {
                    self.written.repeated += attempts;
                    self.written.duplicates += usize::from(answer["duplicate"] == true);
                    return answer["seq"].as_u64().unwrap();
                }
                if answer["retry"] != true {
                    self.stage.breach(format!("{id} was refused: {answer}"));
                }
            }
            attempts += 1;
            self.connection = None;
            self.node += 1;
        }
    }

    /// Sends a command once. Gives its answer, if the connection lasts and no fault happens.
    async fn attempt(
        &mut self,
        command: &Value,
        rounds: &mut watch::Receiver<Round>,
    ) -> Option<Value> {
        let before = *rounds.borrow_and_update();
        let is_fault = |now: &Round| now.number != before.number && now.fault_at.is_some();
        tokio::select! {
            answer = timeout(ANSWER_PATIENCE, self.answer(command)) => answer.ok().flatten(),
            _ = rounds.wait_for(is_fault) => None,
        }
    }

    async fn answer(&mut self, command: &Value) -> Option<Value> {
        if self.wire == SendingWire::Rest {
            let url = self.stage.url(self.node % NODES)?;
            return rest::send(&self.stage.http, &url, &self.session, command).await;
        }
        // Clients of a node that is known to be gone use another.
        if self.connection.is_none() || self.stage.url(self.node % NODES).is_none() {
            self.connection = self.stage.connect(self.node % NODES).await;
        }
        let client = self.connection.as_mut()?;
        client.socket.send(Message::text(command.to_string())).await.ok()?;
        loop {
            let frame = client.next_or_close().await.ok()?;
            if frame["id"] == command["id"] {
                return Some(frame);
            }
        }
    }
}

/// Waits some seconds, or until something happens. Nothing is sent at the same moment by all,
/// except behind a fault.
pub(super) async fn pause(rounds: &mut watch::Receiver<Round>, round: Round, draw: u64) {
    let is_news = |now: &Round| now.number != round.number || now.is_over;
    let spread = PAUSE / 2 + PAUSE.mul_f64(f64::from(u8::try_from(draw % 100).unwrap()) / 100.0);
    drop(timeout(spread, rounds.wait_for(is_news)).await);
}
