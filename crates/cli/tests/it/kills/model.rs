//! The model: an OpenAI-compatible endpoint that continues the script where the prompt stands.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use thoughtwire_proto::Style;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::round::{FaultPoint, KillAt, KillRound};
use super::script::{ScriptStep, ScriptText, steps};

/// The tool that sends a message in MemGPT style.
const SEND_MESSAGE: &str = "send_message";
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

    /// Begins a call, with the beginning of its arguments.
    async fn call(&mut self, at: usize, id: &str, name: &str, args: &str) -> Option<()> {
        let function = json!({"name": name, "arguments": args});
        let call = json!({"index": at, "id": id, "type": "function", "function": function});
        self.chunk(&json!({"tool_calls": [call]}), None).await
    }

    /// Continues the arguments of a call.
    async fn args(&mut self, at: usize, args: &str) -> Option<()> {
        let call = json!({"index": at, "function": {"arguments": args}});
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
    let steps = steps(&round.name, round.style);
    let said = PromptSaid::read(messages);
    let mut writer = ChunkWriter::begin(stream).await?;
    // Nothing may be missing behind a text that was cut.
    if let Some(step) = steps.iter().find(|step| !said.has(step)) {
        let is_last = step.step + 1 == steps.len();
        say_step(&mut writer, step, &said, is_last, round).await?;
        writer.end(if step.calls.is_empty() { "stop" } else { "tool_calls" }).await?;
    } else {
        writer.end("stop").await?;
    }
    round.passes(FaultPoint::ModelAnswered);
    Some(())
}

/// Sends what a step has and the prompt has not.
async fn say_step(
    writer: &mut ChunkWriter<'_>,
    step: &ScriptStep,
    said: &PromptSaid,
    is_last: bool,
    round: &KillRound,
) -> Option<()> {
    let id = |at: usize| format!("call_{}_{at}", step.step);
    // The prompt has no thought in front of a message that was cut, and asks for its rest only.
    if step.message.words_in(&said.texts) == 0 {
        say(writer, &step.thought, said, TextPlace::Content, round).await?;
    }
    let has_message = step.message.words > 0;
    match round.style {
        Style::Native => say(writer, &step.message, said, TextPlace::Content, round).await?,
        Style::Memgpt if has_message => {
            writer.call(0, &id(0), SEND_MESSAGE, "{\"message\":\"").await?;
            say(writer, &step.message, said, TextPlace::Args, round).await?;
            let end = format!("\",\"request_heartbeat\":{}}}", !is_last);
            writer.args(0, &end).await?;
        }
        Style::Memgpt => {}
    }
    for (at, (name, args)) in step.calls.iter().enumerate() {
        let mut args = args.clone();
        if round.style == Style::Memgpt {
            args["request_heartbeat"] = json!(true);
        }
        writer.call(at, &id(at), name, &args.to_string()).await?;
    }
    Some(())
}

/// Place of a text in an answer.
#[derive(Clone, Copy)]
enum TextPlace {
    /// The answer's text.
    Content,
    /// The arguments of the first call.
    Args,
}

/// Sends the words of a text that the prompt has not, one by one.
async fn say(
    writer: &mut ChunkWriter<'_>,
    text: &ScriptText,
    said: &PromptSaid,
    place: TextPlace,
    round: &KillRound,
) -> Option<()> {
    let from = text.words_in(&said.texts);
    // The longest text only.
    let is_long = text.words > WORDS_TO_CHECKPOINT + WORDS_AFTER_CHECKPOINT;
    for at in from..text.words {
        match place {
            TextPlace::Content => writer.word(&text.word(at)).await?,
            TextPlace::Args => writer.args(0, &text.word(at)).await?,
        }
        round.passes(FaultPoint::WordSent);
        tokio::time::sleep(BETWEEN_WORDS).await;
        if is_long && at == WORDS_TO_CHECKPOINT {
            await_checkpoint(round, &text.text(from, at)).await;
        }
        if is_long && at == WORDS_TO_CHECKPOINT + WORDS_AFTER_CHECKPOINT {
            round.passes(FaultPoint::WordAfterCheckpoint);
        }
    }
    Some(())
}

/// The texts and calls of the model that its prompt has.
struct PromptSaid {
    /// Texts, and messages of `send_message`.
    texts: String,
    /// Names of the calls.
    calls: Vec<String>,
}

impl PromptSaid {
    fn read(messages: &[Value]) -> Self {
        let mut said = Self { texts: String::new(), calls: Vec::new() };
        for message in messages.iter().filter(|message| message["role"] == "assistant") {
            said.texts.push_str(message["content"].as_str().unwrap_or_default());
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let name = call["function"]["name"].as_str().unwrap();
                if name == SEND_MESSAGE {
                    said.texts.push_str(call["function"]["arguments"].as_str().unwrap());
                }
                said.calls.push(name.to_owned());
            }
        }
        said
    }

    /// Whether a step is done: its calls are made, or it has none and its message is whole.
    fn has(&self, step: &ScriptStep) -> bool {
        let is_called = |(name, _): &(String, Value)| self.calls.contains(name);
        if step.calls.is_empty() {
            step.message.words_in(&self.texts) == step.message.words
        } else {
            step.calls.iter().all(is_called)
        }
    }
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
