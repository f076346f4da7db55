//! A client that sends a round's input, reads its turn over all kills, and answers as its owner.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::round::{FaultPoint, KillAt, KillRound};
use super::script::RESULT_OF_OWNER;
use super::server::{KillSite, PATIENCE, send};
use crate::live::TestClient;

/// The owner's answer about a call whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerAnswer {
    /// The call is made again.
    Again,
    /// The call counts as made.
    Done,
    /// The call counts as failed.
    Failed,
}

impl OwnerAnswer {
    pub(super) const ALL: [Self; 3] = [Self::Again, Self::Done, Self::Failed];

    fn frame(self) -> Value {
        match self {
            Self::Again => json!({"decision": "approved"}),
            Self::Done => json!({"decision": "done", "result": RESULT_OF_OWNER}),
            Self::Failed => json!({"decision": "denied"}),
        }
    }
}

/// The turn of a round, as its client saw it.
pub(super) struct PlayedTurn {
    pub(super) session: String,
    pub(super) agent: String,
    pub(super) answer: OwnerAnswer,
    /// The events that the client has read, by position.
    pub(super) log: BTreeMap<u64, Value>,
    /// The streamed texts that the client has read, by item, one for each server.
    pub(super) streamed: Vec<(String, String)>,
    /// The kills that happened.
    pub(super) kills: Vec<KillAt>,
    /// Number of saves that were still to come before a kill in a save, when the turn had ended.
    pub(super) saves_left: Option<usize>,
    /// Calls whose approval was asked for and is not settled, and whether it is for a repetition.
    open: BTreeMap<String, bool>,
    is_sent: bool,
}

/// The server is gone.
struct Gone;

/// Plays a round to the end of its turn. A server must run, and runs afterwards.
pub(super) async fn play(
    site: &mut KillSite,
    round: &KillRound,
    answer: OwnerAnswer,
    history: &Value,
) -> PlayedTurn {
    let name = round.name.replace("round-", "agent-").replace('.', "");
    let agent = site.agent(&name).await.0;
    let settings = json!({"context_window": 9_000, "style": round.style});
    site.rest("PATCH", &format!("/v1/agents/{agent}"), Some(settings)).await;
    let session = json!({"agent": agent, "history": history});
    let session = site.rest("POST", "/v1/sessions", Some(session)).await;
    let session = session["session"].as_str().unwrap().to_owned();
    let mut turn = PlayedTurn {
        session,
        agent,
        answer,
        log: BTreeMap::new(),
        streamed: Vec::new(),
        kills: Vec::new(),
        saves_left: None,
        open: BTreeMap::new(),
        is_sent: false,
    };
    site.arm(round.next_kill());
    while turn.follow(site, round).await.is_err() {
        turn.restart(site, round).await;
    }
    turn.saves_left = site.saves_left();
    site.arm(None);
    // The last kill may come with the turn's end.
    if round.server().is_none() || site.connect().await.is_none() {
        turn.restart(site, round).await;
        site.arm(None);
    }
    turn
}

impl PlayedTurn {
    /// Starts the server again, until it is not killed during the start.
    async fn restart(&mut self, site: &mut KillSite, round: &KillRound) {
        site.ended().await;
        loop {
            self.kills.push(round.take_kill());
            site.arm(round.next_kill());
            if let Some(server) = site.start().await {
                return round.set_server(server);
            }
        }
    }

    /// Reads the session until its turn has ended.
    async fn follow(&mut self, site: &KillSite, round: &KillRound) -> Result<(), Gone> {
        let mut client = site.connect().await.ok_or(Gone)?;
        let after = self.log.keys().last().copied().unwrap_or(0);
        let attach = json!({"type": "attach", "session": self.session, "after": after});
        send(&mut client, &attach).await.ok_or(Gone)?;
        // A command with an id takes effect once, however often it is sent.
        let input = json!({"type": "send", "id": "input", "session": self.session,
            "text": format!("Begin {}", round.name)});
        if !self.is_sent {
            send(&mut client, &input).await.ok_or(Gone)?;
        }
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let ended = loop {
            let frame = tokio::time::timeout(PATIENCE, client.next_or_close());
            let Ok(frame) = frame.await else {
                panic!("nothing comes: {:?} {:#?} {}", self.kills, self.log, site.errors())
            };
            let Ok(frame) = frame else { break Err(Gone) };
            match frame["type"].as_str() {
                Some("event") => {
                    if self.event(&mut client, round, frame).await? {
                        break Ok(());
                    }
                }
                Some("delta") if frame["kind"] != "tool_args" => {
                    let text = texts.entry(item(&frame)).or_default();
                    text.push_str(frame["text"].as_str().unwrap());
                    round.passes(FaultPoint::DeltaRead);
                }
                Some("partial") if frame["kind"] != "tool_args" => {
                    texts.insert(item(&frame), frame["text"].as_str().unwrap().to_owned());
                }
                Some("caught_up") => {
                    for (call, is_retry) in self.open.clone() {
                        self.decide(&mut client, round, &call, is_retry).await?;
                    }
                }
                Some("ack") if frame["id"] == "input" => self.is_sent = true,
                Some("detached") => panic!("{frame}"),
                Some(_) | None => {}
            }
        };
        self.streamed.extend(texts);
        ended
    }

    /// Takes an event. Returns whether it ends the turn.
    async fn event(
        &mut self,
        client: &mut TestClient,
        round: &KillRound,
        frame: Value,
    ) -> Result<bool, Gone> {
        let seq = frame["seq"].as_u64().unwrap();
        let next = self.log.keys().last().map_or(1, |last| last + 1);
        assert_eq!(seq, next, "in order, once: {:#?}", self.log);
        let event = frame["event"].clone();
        self.log.insert(seq, frame);
        round.passes(FaultPoint::EventRead);
        let call = event["call"].as_str().unwrap_or_default().to_owned();
        match event["kind"].as_str() {
            Some("approval_asked") => {
                let is_retry = event["about"] == "retry";
                self.open.insert(call.clone(), is_retry);
                round.passes(FaultPoint::OwnerAsked);
                self.decide(client, round, &call, is_retry).await?;
            }
            Some("approval_settled") => drop(self.open.remove(&call)),
            Some("turn_ended") => return Ok(true),
            Some(_) | None => {}
        }
        Ok(false)
    }

    async fn decide(
        &self,
        client: &mut TestClient,
        round: &KillRound,
        call: &str,
        is_retry: bool,
    ) -> Result<(), Gone> {
        let answer = if is_retry { self.answer } else { OwnerAnswer::Again };
        let mut frame = answer.frame();
        frame["type"] = json!("decide");
        frame["session"] = json!(self.session);
        frame["call"] = json!(call);
        send(client, &frame).await.ok_or(Gone)?;
        round.passes(FaultPoint::OwnerAnswered);
        Ok(())
    }
}

fn item(frame: &Value) -> String {
    frame["item"].as_str().unwrap().to_owned()
}
