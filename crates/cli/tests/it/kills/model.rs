//! The model: an OpenAI-compatible endpoint that continues the script where the prompt stands.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::round::{FaultPoint, KillAt, KillRound};
use super::script::{ScriptStep, steps};

/// Pause between two words, so that they are read one by one.
const BETWEEN_WORDS: Duration = Duration::from_millis(4);
/// Number of words after which the model waits for a checkpoint of its text, if a kill wants one.
const WORDS_TO_CHECKPOINT: usize = 12;
/// Number of words that it sends after the checkpoint.
const WORDS_AFTER_CHECKPOINT: usize = 6;

/// Writes an answer in chunks.
pub(super) struct ChunkWriter<'a> {
    stream: &'a mut TcpStream,
}

impl<'a> ChunkWriter<'a> {
    pub(super) async fn begin(stream: &'a mut TcpStream) -> Option<Self> {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.ok()?;
        Some(Self { stream })
    }

    async fn chunk(&mut self, delta: &Value, finish: Option<&str>) -> Option<()> {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"object": "chat.completion.chunk", "choices": [choice]});
        self.stream.write_all(format!("data: {chunk}\n\n").as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    pub(super) async fn word(&mut self, word: &str) -> Option<()> {
        self.chunk(&json!({"content": word}), None).await
    }

    pub(super) async fn call(
        &mut self,
        at: usize,
        id: &str,
        name: &str,
        args: &Value,
    ) -> Option<()> {
        let function = json!({"name": name, "arguments": args.to_string()});
        let call = json!({"index": at, "id": id, "type": "function", "function": function});
        self.chunk(&json!({"tool_calls": [call]}), None).await
    }

    pub(super) async fn end(mut self, finish: &str) -> Option<()> {
        self.chunk(&json!({}), Some(finish)).await?;
        let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
        let last = json!({"object": "chat.completion.chunk", "choices": [], "usage": usage});
        let last = format!("data: {last}\n\ndata: [DONE]\n\n");
        self.stream.write_all(last.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }
}

/// Answers a request. Stops where the server that asked is gone.
pub(super) async fn answer(stream: &mut TcpStream, body: &Value, round: &KillRound) {
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let is_summary = messages[0]["content"]
        .as_str()
        .is_some_and(|text| text.starts_with("You keep the memory of a conversation"));
    // Absent if the server was killed meanwhile.
    let _answered = if is_summary {
        summarize(stream, round).await
    } else {
        continue_script(stream, &messages, round).await
    };
}

async fn summarize(stream: &mut TcpStream, round: &KillRound) -> Option<()> {
    round.passes(FaultPoint::SummaryAsked);
    let mut writer = ChunkWriter::begin(stream).await?;
    writer.word(&format!("Much was said before {}", round.name)).await?;
    writer.end("stop").await?;
    round.passes(FaultPoint::SummaryAnswered);
    Some(())
}

async fn continue_script(
    stream: &mut TcpStream,
    messages: &[Value],
    round: &KillRound,
) -> Option<()> {
    round.passes(FaultPoint::ModelAsked);
    let steps = steps(&round.name);
    let step = next_step(&steps, messages);
    let from = words_said(step, messages);
    let mut writer = ChunkWriter::begin(stream).await?;
    for at in from..step.words {
        writer.word(&step.word(at)).await?;
        round.passes(FaultPoint::WordSent);
        tokio::time::sleep(BETWEEN_WORDS).await;
        if step.calls.is_empty() && at == WORDS_TO_CHECKPOINT {
            await_checkpoint(round, &step.text(from, at)).await;
        }
        if step.calls.is_empty() && at == WORDS_TO_CHECKPOINT + WORDS_AFTER_CHECKPOINT {
            round.passes(FaultPoint::WordAfterCheckpoint);
        }
    }
    for (at, (name, args)) in step.calls.iter().enumerate() {
        writer.call(at, &format!("call_{}_{at}", step.step), name, args).await?;
    }
    writer.end(if step.calls.is_empty() { "stop" } else { "tool_calls" }).await?;
    round.passes(FaultPoint::ModelAnswered);
    Some(())
}

/// The first step whose calls are not in the prompt.
fn next_step<'s>(steps: &'s [ScriptStep], messages: &[Value]) -> &'s ScriptStep {
    let called: Vec<&str> = messages
        .iter()
        .filter_map(|message| message["tool_calls"].as_array())
        .flatten()
        .filter_map(|call| call["function"]["name"].as_str())
        .collect();
    let is_done = |step: &&ScriptStep| {
        !step.calls.is_empty() && step.calls.iter().all(|(name, _)| called.contains(&name.as_str()))
    };
    steps.iter().find(|step| !is_done(step)).unwrap()
}

/// Number of words of a step that the prompt has already.
fn words_said(step: &ScriptStep, messages: &[Value]) -> usize {
    let said: Vec<&str> = messages
        .iter()
        .filter(|message| message["role"] == "assistant")
        .filter_map(|message| message["content"].as_str())
        .collect();
    let has = |at: &usize| said.iter().any(|text| text.contains(step.word(*at).trim_end()));
    (0..step.words).take_while(has).count()
}

/// Waits until a text is on disk as a checkpoint, if the next kill is one behind a checkpoint.
async fn await_checkpoint(round: &KillRound, text: &str) {
    if round.next_kill() != Some(KillAt(FaultPoint::WordAfterCheckpoint, 1)) {
        return;
    }
    while !has_checkpoint(round, text) {
        tokio::time::sleep(BETWEEN_WORDS).await;
    }
    round.set_checkpointed(text.to_owned());
}

fn has_checkpoint(round: &KillRound, text: &str) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(store) = Connection::open_with_flags(&round.data, flags) else { return false };
    let query = "SELECT count(*) FROM open_items WHERE text LIKE ?1 || '%'";
    store.query_row(query, [text], |row| row.get::<_, i64>(0)).is_ok_and(|count| count > 0)
}
