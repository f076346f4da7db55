//! A client of an older protocol, which has no command ids and no cursor.
//!
//! It cannot repeat an input whose answer it did not get. It sends the next input instead. The
//! server answers that one only after everything before it.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_websockets::Message;

use super::cluster::NODES;
use super::rest::only_session;
use super::stage::{ChaosStage, Round};
use super::writer::{AcknowledgedText, Written, pause};
use crate::live::{Live, TestClient};

/// Pause before it connects again.
const RETRY: Duration = Duration::from_millis(50);
/// Pause behind a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(400);
/// Number of failures in a row with which it connects to another node. A connection that is left at
/// once proves nothing that it has read, so that the next one is told of the same failure.
const FAILURES: usize = 3;
/// Time after which it connects to another node.
const ANSWER_PATIENCE: Duration = Duration::from_secs(12);
/// The offline model repeats what follows.
const REPEAT: &str = "say: ";

/// An older protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OlderWire {
    MemGpt,
    Sparky,
}

/// A client that sends, and reads what the agent says.
pub(super) struct OlderClient {
    pub(super) wire: OlderWire,
    pub(super) session: String,
    /// The name under which servers know it.
    pub(super) name: String,
    /// Where it connects next.
    pub(super) node: usize,
    pub(super) stage: Arc<ChaosStage>,
}

/// Meaning of a frame.
enum HeardFrame {
    /// A text of the agent.
    Said(String),
    /// Something was refused, or a turn failed.
    Failed,
    Other,
}

/// Outcome of an input.
enum InputOutcome {
    /// The agent answered it.
    Answered,
    /// It failed, or an earlier one did.
    Failed,
    /// The connection ended, or nothing came.
    Nothing,
}

impl OlderClient {
    /// Sends inputs until the run is over.
    pub(super) async fn run(mut self) -> Written {
        let mut rounds = self.stage.round.subscribe();
        let (mut written, mut transcripts) = (Written::default(), Vec::new());
        let (mut connection, mut failures) = (None, 0);
        for number in 0.. {
            let round = *rounds.borrow_and_update();
            if round.is_over {
                break;
            }
            let id = format!("{}-{number}", self.session);
            let text = format!("{REPEAT}{id}");
            // Clients of a node that is known to be gone use another.
            connection = connection.filter(|_| self.stage.url(self.node % NODES).is_some());
            loop {
                let Some(client) = &mut connection else {
                    let mut said = Vec::new();
                    connection = self.connect(&mut said).await;
                    match connection {
                        Some(_) => transcripts.push(said),
                        None => sleep(RETRY).await,
                    }
                    continue;
                };
                let said = transcripts.last_mut().unwrap();
                match self.say(client, &id, said, &mut rounds).await {
                    InputOutcome::Answered => {
                        written.acknowledged.push(AcknowledgedText { text, seq: None });
                        self.stage.note_answer(&self.session, round);
                        failures = 0;
                        pause(&mut rounds, round, number * 37).await;
                    }
                    InputOutcome::Failed if failures < FAILURES => {
                        written.unsure.push(text);
                        failures += 1;
                        sleep(FAILURE_PAUSE).await;
                    }
                    InputOutcome::Failed | InputOutcome::Nothing => {
                        written.unsure.push(text);
                        failures = 0;
                        connection = None;
                        self.node += 1;
                    }
                }
                break;
            }
        }
        written.transcripts = Some(transcripts);
        written
    }

    /// Sends an input once, and reads its answer.
    async fn say(
        &self,
        client: &mut TestClient,
        id: &str,
        said: &mut Vec<String>,
        rounds: &mut watch::Receiver<Round>,
    ) -> InputOutcome {
        let text = format!("{REPEAT}{id}");
        let frame = match self.wire {
            OlderWire::MemGpt => json!({"type": "user_message", "message": text,
                "agent_name": self.name}),
            OlderWire::Sparky => json!({"type": "message", "data": {"text": text}}),
        };
        if client.socket.send(Message::text(frame.to_string())).await.is_err() {
            return InputOutcome::Nothing;
        }
        let before = *rounds.borrow_and_update();
        let answered = async {
            let mut heard = String::new();
            loop {
                let Ok(frame) = client.next_or_close().await else { return InputOutcome::Nothing };
                match self.heard(&frame) {
                    // A text that was cut comes in pieces.
                    HeardFrame::Said(text) => {
                        heard.push_str(&text);
                        said.push(text);
                        if heard.ends_with(id) {
                            return InputOutcome::Answered;
                        }
                    }
                    HeardFrame::Failed => return InputOutcome::Failed,
                    HeardFrame::Other => {}
                }
            }
        };
        let is_fault = |now: &Round| now.number != before.number && now.fault_at.is_some();
        tokio::select! {
            answered = timeout(ANSWER_PATIENCE, answered) => {
                answered.unwrap_or(InputOutcome::Nothing)
            }
            _ = rounds.wait_for(is_fault) => InputOutcome::Nothing,
        }
    }

    fn heard(&self, frame: &Value) -> HeardFrame {
        let said = |text: &Value| HeardFrame::Said(text.as_str().unwrap().to_owned());
        match (self.wire, frame["type"].as_str().unwrap()) {
            (OlderWire::MemGpt, "agent_response")
                if frame["message_type"] == "assistant_message" =>
            {
                said(&frame["message"])
            }
            (OlderWire::Sparky, "message") => said(&frame["data"]["text"]),
            (_, "agent_response_error" | "server_error" | "error") => HeardFrame::Failed,
            _ => HeardFrame::Other,
        }
    }

    /// Connects to the next node, and goes on where it was.
    async fn connect(&mut self, said: &mut Vec<String>) -> Option<TestClient> {
        let connected = timeout(ANSWER_PATIENCE, self.try_connect(said)).await.ok().flatten();
        if connected.is_none() {
            self.node += 1;
        }
        connected
    }

    async fn try_connect(&self, said: &mut Vec<String>) -> Option<TestClient> {
        let node = self.node % NODES;
        let (path, hello) = match self.wire {
            OlderWire::MemGpt => {
                let load = json!({"type": "command", "command": "load_agent", "name": self.name});
                (format!("/memgpt?client={}", self.name), load)
            }
            OlderWire::Sparky => {
                let data = json!({"user_id": self.name, "session_id": self.name});
                ("/ws/chat".to_owned(), json!({"type": "connect", "data": data}))
            }
        };
        let mut client = self.stage.connect_to(node, &path).await?;
        client.socket.send(Message::text(hello.to_string())).await.ok()?;
        loop {
            let frame = client.next_or_close().await.ok()?;
            match (self.heard(&frame), frame["type"].as_str().unwrap()) {
                (HeardFrame::Said(text), _) => said.push(text),
                (HeardFrame::Failed, _) => return None,
                (HeardFrame::Other, "ready") => return Some(client),
                (HeardFrame::Other, "command_response") => {
                    let is_loaded = frame["status"].as_str().unwrap().starts_with("OK");
                    return is_loaded.then_some(client);
                }
                (HeardFrame::Other, "session_info") if frame["data"]["is_new"] != false => {
                    return None;
                }
                (HeardFrame::Other, _) => {}
            }
        }
    }
}

/// Opens the first chat of a Sparky user. Gives its session.
pub(super) async fn open_chat(http: &reqwest::Client, live: &Live, name: &str) -> String {
    let mut client = live.sparky(json!({"user_id": name, "session_id": name})).await;
    client.until_type("ready").await;
    client.send(json!({"type": "start_chat", "data": {"chat_id": name}})).await;
    client.until_type("chat_ready").await;
    only_session(http, &live.url, &format!("sparky:{name}")).await
}
