//! SIGTERM while a hundred turns run: all of them go on after the start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::checks::KilledLog;
use super::fakes::{Fakes, name_in};
use super::model::ChunkWriter;
use super::script::ScriptText;
use super::server::{KillSite, PATIENCE, send};

const TURNS: usize = 100;
/// Number of words of each text, and of those that are sent before the stop.
const WORDS: usize = 12;
const WORDS_BEFORE: usize = 5;

/// A model whose texts wait in their middle.
#[derive(Default)]
pub(super) struct Crowd {
    waiting: AtomicUsize,
    go_on: Notify,
    /// Number of requests whose prompt has a part of the text.
    continued: AtomicUsize,
}

impl Crowd {
    /// Answers a request. The first one of a turn stops in its middle and never goes on.
    pub(super) async fn answer(&self, stream: &mut TcpStream, body: &Value) {
        // Absent if the server has gone meanwhile.
        let _answered = self.try_answer(stream, body).await;
    }

    async fn try_answer(&self, stream: &mut TcpStream, body: &Value) -> Option<()> {
        let (input, text) = (name_in(&body.to_string(), "crowd-")?, text());
        let said = body["messages"].as_array()?.iter();
        let said = said.filter(|message| message["role"] == "assistant");
        let said: String = said.filter_map(|message| message["content"].as_str()).collect();
        let from = text.words_in(&said);
        let mut writer = ChunkWriter::begin(stream).await?;
        if from == 0 {
            for at in 0..WORDS_BEFORE {
                writer.word(&text.word(at)).await?;
            }
            if self.waiting.fetch_add(1, Ordering::SeqCst) < TURNS {
                // Until the server is gone.
                self.go_on.notified().await;
                return None;
            }
            panic!("{input} lost its text");
        }
        self.continued.fetch_add(1, Ordering::SeqCst);
        for at in from..WORDS {
            writer.word(&text.word(at)).await?;
        }
        writer.end("stop").await
    }
}

fn text() -> ScriptText {
    ScriptText::new("w", WORDS)
}

#[tokio::test]
async fn a_hundred_turns_go_on_after_a_planned_stop() {
    let crowd = Arc::new(Crowd::default());
    let fakes = Fakes::start(Some(Arc::clone(&crowd))).await;
    let mut site = KillSite::new(&fakes.host, None);
    let server = site.start().await.expect("it starts");
    let (agent, main) = site.agent("crowd").await;
    let mut sessions = vec![main];
    for _ in 1..TURNS {
        let made = site.rest("POST", "/v1/sessions", Some(json!({"agent": agent}))).await;
        sessions.push(made["session"].as_str().unwrap().to_owned());
    }
    let mut client = site.connect().await.expect("it runs");
    for (number, session) in sessions.iter().enumerate() {
        let attach = json!({"type": "attach", "session": session, "after": 0});
        send(&mut client, &attach).await.unwrap();
        let input = json!({"type": "send", "id": format!("m-{number}"), "session": session,
            "text": format!("Begin crowd-{number}.")});
        send(&mut client, &input).await.unwrap();
    }
    // All texts are in their middle.
    let before = text().text(0, WORDS_BEFORE);
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    while seen.values().filter(|text| **text == before).count() < TURNS {
        let frame = tokio::time::timeout(PATIENCE, client.next()).await.unwrap();
        let session = frame["session"].as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str() {
            Some("delta") => {
                seen.entry(session).or_default().push_str(frame["text"].as_str().unwrap());
            }
            Some("partial") => {
                drop(seen.insert(session, frame["text"].as_str().unwrap().to_owned()));
            }
            Some(_) | None => {}
        }
    }
    assert_eq!(site.terminate(server).await.code(), Some(0), "{}", site.errors());

    site.start().await.expect("it starts");
    let mut client = site.connect().await.expect("it runs");
    for session in &sessions {
        let attach = json!({"type": "attach", "session": session, "after": 0});
        send(&mut client, &attach).await.unwrap();
    }
    let mut ended = 0;
    while ended < TURNS {
        let frame = tokio::time::timeout(PATIENCE, client.next()).await.unwrap();
        ended += usize::from(frame["event"]["kind"] == "turn_ended");
    }
    for session in &sessions {
        let path = format!("/v1/sessions/{session}/events?limit=1000");
        let log = KilledLog::new(&site.rest("GET", &path, None).await["events"]);
        log.check_ends();
        // A planned stop does not count as an attempt.
        let resumed: Vec<&Value> = log.of("turn_resumed").collect();
        assert_eq!(resumed.len(), 1, "{log}");
        assert_eq!(
            (&resumed[0]["attempt"], &resumed[0]["reason"]),
            (&json!(0), &json!("restart")),
            "{log}"
        );
        let cut = log.of("message").next().unwrap();
        assert_eq!((&cut["text"], &cut["complete"]), (&json!(before), &json!(false)), "{log}");
        assert_eq!(log.joined_texts("message"), [text().whole()], "{log}");
    }
    assert_eq!(crowd.waiting.load(Ordering::SeqCst), TURNS, "no text began twice");
    assert_eq!(crowd.continued.load(Ordering::SeqCst), TURNS);
}
