//! Shared by all clients of a run: where the nodes are, what happens, what was measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_websockets::ClientBuilder;

use super::cluster::NODES;
use super::rest::http_client;
use crate::live::TestClient;

/// Time after which a client tries another node.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// The present state of a run.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// Number of faults so far.
    pub(super) number: usize,
    /// Since when, if it is a fault. Otherwise the clients are only asked to send something.
    pub(super) fault_at: Option<Instant>,
    pub(super) is_over: bool,
    /// Whether a fault is under way, or its effects may be.
    pub(super) is_disturbed: bool,
}

const FIRST: Round = Round { number: 0, fault_at: None, is_over: false, is_disturbed: false };

/// Shared by the clients of a run.
pub(super) struct ChaosStage {
    /// URLs of the nodes that clients use.
    urls: Mutex<[Option<String>; NODES]>,
    pub(super) http: reqwest::Client,
    pub(super) round: watch::Sender<Round>,
    /// By session, the time from the fault until it answered.
    answered: Mutex<BTreeMap<String, Duration>>,
    answers: Notify,
    /// Each breach of the protocol that a client saw.
    breaches: Mutex<Vec<String>>,
}

impl ChaosStage {
    pub(super) fn new(urls: [Option<String>; NODES]) -> Arc<Self> {
        Arc::new(Self {
            urls: Mutex::new(urls),
            http: http_client(),
            round: watch::Sender::new(FIRST),
            answered: Mutex::default(),
            answers: Notify::new(),
            breaches: Mutex::default(),
        })
    }

    /// Tells clients where a node is, or that they should use the others.
    pub(super) fn set_url(&self, node: usize, url: Option<String>) {
        self.urls.lock().unwrap()[node] = url;
    }

    /// Asks all writers for an input.
    pub(super) fn stir(&self) {
        self.round.send_modify(|round| {
            round.number += 1;
            round.fault_at = None;
            round.is_disturbed = false;
        });
    }

    /// Notes that a fault follows.
    pub(super) fn disturb(&self) {
        self.round.send_modify(|round| round.is_disturbed = true);
    }

    /// Tells all writers of a fault.
    pub(super) fn tell_of_fault(&self) {
        self.answered.lock().unwrap().clear();
        self.round.send_modify(|round| {
            round.number += 1;
            round.fault_at = Some(Instant::now());
        });
    }

    pub(super) fn end(&self) {
        self.round.send_modify(|round| round.is_over = true);
    }

    /// Notes that a session has answered an input that was first sent behind a fault.
    pub(super) fn note_answer(&self, session: &str, round: Round) {
        let current = self.round.borrow().number;
        if let Some(at) = round.fault_at.filter(|_| round.number == current) {
            self.answered.lock().unwrap().entry(session.to_owned()).or_insert(at.elapsed());
            self.answers.notify_one();
        }
    }

    /// Waits until all sessions have answered behind a fault. Gives the times.
    pub(super) async fn until_answered(&self, sessions: usize) -> BTreeMap<String, Duration> {
        loop {
            {
                let answered = self.answered.lock().unwrap();
                if answered.len() == sessions {
                    return answered.clone();
                }
            }
            self.answers.notified().await;
        }
    }

    pub(super) fn answered(&self) -> BTreeMap<String, Duration> {
        self.answered.lock().unwrap().clone()
    }

    pub(super) fn breach(&self, what: String) {
        self.breaches.lock().unwrap().push(what);
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        self.breaches.lock().unwrap().clone()
    }

    /// The URL of a node, if clients use it.
    pub(super) fn url(&self, node: usize) -> Option<String> {
        self.urls.lock().unwrap()[node].clone()
    }

    /// Connects to a node if clients use it and it answers. Gives a connection past `welcome`.
    pub(super) async fn connect(&self, node: usize) -> Option<TestClient> {
        let connected = timeout(CONNECT_PATIENCE, async {
            let mut client = self.connect_to(node, "/v1/ws").await?;
            let welcome = client.next_or_close().await.ok()?;
            (welcome["type"] == "welcome").then_some(client)
        });
        connected.await.ok().flatten()
    }

    /// Connects to a path of a node, if clients use it.
    pub(super) async fn connect_to(&self, node: usize, path: &str) -> Option<TestClient> {
        let uri = format!("{}{path}", self.url(node)?.replace("http", "ws")).parse().unwrap();
        let connecting = ClientBuilder::from_uri(uri);
        let connected = timeout(CONNECT_PATIENCE, connecting.connect()).await.ok()?;
        Some(TestClient { socket: connected.ok()?.0 })
    }
}
