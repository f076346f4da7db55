//! Replies as providers and gateways really write them: a table of quirks for each wire.
#![allow(
    clippy::needless_pass_by_value,
    reason = "tables are easier to read where values are handed over as they are made"
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

use crate::canned::{Canned, Reply};
use crate::home::{Home, Told};
use crate::mock::{WIRES, Wire, providers};

/// The wires by name.
const OPENAI: Wire = WIRES[0];
const RESPONSES: Wire = WIRES[1];
const ANTHROPIC: Wire = WIRES[2];
const GEMINI: Wire = WIRES[3];
const OLLAMA: Wire = WIRES[4];

/// Arguments of the calculator, which answers 42, and 2.
const SIX_BY_SEVEN: &str = r#"{"expression": "6*7"}"#;
const ONE_AND_ONE: &str = r#"{"expression": "1+1"}"#;

/// A turn that completes: what is said and thought, and the results of calls, which all succeed.
struct Row {
    name: &'static str,
    reply: Reply,
    said: &'static str,
    thought: &'static str,
    ran: &'static [&'static str],
}

/// A row of an answer.
fn says(name: &'static str, reply: impl Into<Reply>, said: &'static str) -> Row {
    Row { name, reply: reply.into(), said, thought: "", ran: &[] }
}

/// A row of a thought and an answer.
fn thinks(
    name: &'static str,
    reply: impl Into<Reply>,
    thought: &'static str,
    said: &'static str,
) -> Row {
    Row { thought, ..says(name, reply, said) }
}

/// A row of calls.
fn runs(name: &'static str, reply: impl Into<Reply>, ran: &'static [&'static str]) -> Row {
    Row { ran, ..says(name, reply, "Done.") }
}

impl From<String> for Reply {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

/// Runs each row in a session of its own. The model's next reply is a plain answer.
async fn check(wire: Wire, rows: Vec<Row>) {
    for Row { name, reply, said, thought, ran } in rows {
        let (told, asked) = turn(wire, vec![reply, answer(wire).into()], AgentOptions::new).await;
        assert_eq!(told.end().0, "Completed", "{wire:?}, {name}: {told:?}");
        assert_eq!(messages(&told), (said.to_owned(), true), "{wire:?}, {name}: {told:?}");
        assert_eq!(told.thought().replace('\n', ""), thought, "{wire:?}, {name}: {told:?}");
        let wanted: Vec<_> = ran.iter().map(|text| (ToolStatus::Success, *text)).collect();
        assert_eq!(told.returned(), wanted, "{wire:?}, {name}: {told:?}");
        assert_eq!(asked.len(), if ran.is_empty() { 1 } else { 2 }, "{wire:?}, {name}");
    }
}

/// The first turn of a new agent, and the requests that were made for it.
async fn turn(
    wire: Wire,
    replies: Vec<Reply>,
    options: impl Fn(String, thoughtwire_agent::Providers) -> AgentOptions,
) -> (Told, Vec<Value>) {
    let canned = Canned::play(replies).await;
    let home = Home::new(options(wire.model.to_owned(), providers(&canned.host))).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "hello").await;
    (told, canned.asked())
}

/// What the messages of a turn say together, and whether all are complete.
fn messages(told: &Told) -> (String, bool) {
    let mut said = (String::new(), true);
    for record in &told.records {
        if let Event::Turn(TurnEvent::Message { text, complete, .. }) = &record.event {
            said.0.push_str(text);
            said.1 &= complete;
        }
    }
    said
}

/// Server-sent events of JSON values.
fn sse(values: &[Value]) -> String {
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}

/// JSON values, one on each line.
fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// A plain answer on any wire.
fn answer(wire: Wire) -> String {
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
