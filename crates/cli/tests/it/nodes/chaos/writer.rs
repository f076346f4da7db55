//! A client that sends inputs, each with its id, until the session has acknowledged it.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_websockets::Message;

use super::cluster::NODES;
use super::stage::{Round, Stage};
use crate::live::TestClient;

/// Pause between two inputs while nothing happens.
const PAUSE: Duration = Duration::from_secs(6);
/// Pause before a command is sent again.
const RETRY: Duration = Duration::from_millis(50);
/// Time after which an input without an answer is sent through another node.
const ANSWER_PATIENCE: Duration = Duration::from_secs(12);

/// Sends the inputs of one session, through one node after the other.
pub(super) struct ChaosWriter {
    pub(super) session: String,
    /// Where it connects next.
    pub(super) node: usize,
    pub(super) stage: Arc<Stage>,
    connection: Option<TestClient>,
    written: Written,
}

/// What a writer knows at the end.
#[derive(Default)]
pub(super) struct Written {
    /// Acknowledged inputs in their order, with the position that the server gave.
    pub(super) acknowledged: Vec<(String, u64)>,
    /// Number of commands that were sent again.
    pub(super) repeated: usize,
    /// Number of acknowledgements that said `duplicate`.
    pub(super) duplicates: usize,
}

impl ChaosWriter {
    pub(super) fn new(session: String, node: usize, stage: Arc<Stage>) -> Self {
        Self { session, node, stage, connection: None, written: Written::default() }
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
            self.written.acknowledged.push((id, seq));
            self.stage.note_answer(&self.session, round);
            let is_news = |now: &Round| now.number != round.number || now.is_over;
            // Nothing is sent at the same moment by all, except behind a fault.
            let spread =
                PAUSE / 2 + PAUSE.mul_f64(f64::from(u8::try_from(seq % 100).unwrap()) / 100.0);
            drop(timeout(spread, rounds.wait_for(is_news)).await);
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
        if self.connection.is_none() {
            self.connection = self.stage.connect(self.node % NODES).await;
        }
        let client = self.connection.as_mut()?;
        client.socket.send(Message::text(command.to_string())).await.ok()?;
        let before = *rounds.borrow_and_update();
        let answer = async {
            loop {
                let frame = client.next_or_close().await.ok()?;
                if frame["id"] == command["id"] {
                    return Some(frame);
                }
            }
        };
        let is_fault = |now: &Round| now.number != before.number && now.fault_at.is_some();
        tokio::select! {
            answer = timeout(ANSWER_PATIENCE, answer) => answer.ok().flatten(),
            _ = rounds.wait_for(is_fault) => None,
        }
    }
}
