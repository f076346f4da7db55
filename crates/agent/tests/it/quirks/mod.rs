//! Odd replies that providers and gateways really send, as a table for each wire.
#![allow(
    clippy::needless_pass_by_value,
    reason = "tables are easier to read with values than with references"
)]

mod anthropic;
mod bounds;
mod errors;
mod gemini;
mod ollama;
mod openai;
mod openai_shapes;
mod responses;
mod stops;
mod text;

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{Event, Style, ToolStatus, TurnEvent};

use crate::canned::{CannedProvider, CannedReply};
use crate::harness::{AgentHarness, TurnLog};
use crate::mock::{MockWire, WIRES, providers};

/// The wires by name.
const OPENAI: MockWire = WIRES[0];
const RESPONSES: MockWire = WIRES[1];
const ANTHROPIC: MockWire = WIRES[2];
const GEMINI: MockWire = WIRES[3];
const OLLAMA: MockWire = WIRES[4];

/// Arguments of the calculator with the results 42 and 2.
const SIX_BY_SEVEN: &str = r#"{"expression": "6*7"}"#;
const ONE_AND_ONE: &str = r#"{"expression": "1+1"}"#;

/// A turn that completes: its messages and thoughts, and the results of its calls, which all
/// succeed.
struct QuirkRow {
    name: &'static str,
    reply: CannedReply,
    said: &'static str,
    thought: &'static str,
    ran: &'static [&'static str],
}

/// A row with an answer.
fn says(name: &'static str, reply: impl Into<CannedReply>, said: &'static str) -> QuirkRow {
    QuirkRow { name, reply: reply.into(), said, thought: "", ran: &[] }
}

/// A row with a thought and an answer.
fn thinks(
    name: &'static str,
    reply: impl Into<CannedReply>,
    thought: &'static str,
    said: &'static str,
) -> QuirkRow {
    QuirkRow { thought, ..says(name, reply, said) }
}

/// A row with calls.
fn runs(
    name: &'static str,
    reply: impl Into<CannedReply>,
    ran: &'static [&'static str],
) -> QuirkRow {
    QuirkRow { ran, ..says(name, reply, "Done.") }
}

impl From<String> for CannedReply {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

/// Runs each row in a session of its own. The model's next reply is a plain answer.
async fn check(wire: MockWire, rows: Vec<QuirkRow>) {
    for QuirkRow { name, reply, said, thought, ran } in rows {
        let (log, asked) = turn(wire, vec![reply, answer(wire).into()], AgentOptions::new).await;
        assert_eq!(log.end().0, "Completed", "{wire:?}, {name}: {log:?}");
        assert_eq!(messages(&log), (said.to_owned(), true), "{wire:?}, {name}: {log:?}");
        assert_eq!(log.thought().replace('\n', ""), thought, "{wire:?}, {name}: {log:?}");
        let wanted: Vec<_> = ran.iter().map(|text| (ToolStatus::Success, *text)).collect();
        assert_eq!(log.returned(), wanted, "{wire:?}, {name}: {log:?}");
        assert_eq!(asked.len(), if ran.is_empty() { 1 } else { 2 }, "{wire:?}, {name}");
    }
}

/// The first turn of a new agent, and its requests.
async fn turn(
    wire: MockWire,
    replies: Vec<CannedReply>,
    options: impl Fn(String, thoughtwire_agent::Providers) -> AgentOptions,
) -> (TurnLog, Vec<Value>) {
    let canned = CannedProvider::play(replies).await;
    let harness = AgentHarness::new(options(wire.model.to_owned(), providers(&canned.host))).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "hello").await;
    (log, canned.requests())
}

/// The messages of a turn as one text, and whether all are complete.
fn messages(log: &TurnLog) -> (String, bool) {
    let mut said = (String::new(), true);
    for record in &log.records {
        if let Event::Turn(TurnEvent::Message { text, complete, .. }) = &record.event {
            said.0.push_str(text);
            said.1 &= complete;
        }
    }
    said
}

/// Formats JSON values as server-sent events.
fn sse(values: &[Value]) -> String {
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}

/// Formats JSON values as lines.
fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// A plain answer on any wire.
fn answer(wire: MockWire) -> String {
    let name = wire.model.split('/').next().unwrap();
    match name {
        "openai" => openai::stream(&[openai::content("Done."), openai::finish("stop")]),
        "openai-responses" => sse(&[responses::said("Done."), responses::completed(&[])]),
        "anthropic" => anthropic::reply(&anthropic::text(0, "Done."), "end_turn"),
        "gemini" => sse(&[gemini::chunk(&[json!({"text": "Done."})], Some("STOP"))]),
        "ollama" => lines(&[ollama::content("Done."), ollama::done("stop")]),
        other => panic!("no wire {other}"),
    }
}
