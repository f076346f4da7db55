//! Generates the protocol's types for `sdk/typescript` from the server's types.
//!
//! `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript` renews the committed file.

use std::path::Path;

use ts_rs::{Config, TS};

use super::client::Verdict;
use super::server::Limits;
use super::wire::{AgentWire, ClientWire, ServerWire};
use crate::connection::Close;
use crate::{
    Awaits, Decision, Disposition, Event, HistoryEntry, Input, MemoryBlock, Offer, Outcome,
    Permission, Policy, Record, Retry, Role, Run, SessionListing, StreamKind, Style,
    ToolDeclaration, ToolStatus, Usage, Verb, WaitingCall,
};

const HEAD: &str = "\
// Written from the server's own types: `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send types, kinds and keys that are not here: pass over what you do not know.

/** Any JSON. */
export type JsonValue = number | string | boolean | JsonValue[] | { [key: string]: JsonValue } | null;
";

#[test]
fn the_typescript_types_are_those_of_the_server() {
    let config = Config::default().with_large_int("number");
    let mut text = HEAD.to_owned();
    let mut write = |declaration: String| {
        text.push_str(&format!("\nexport {}\n", declaration.replace("serde_json.", "")));
    };
    write(ClientWire::decl(&config));
    write(ServerWire::decl(&config));
    write(AgentWire::decl(&config));
    write(Event::decl(&config));
    write(HistoryEntry::decl(&config));
    write(Role::decl(&config));
    write(Decision::decl(&config));
    write(ToolStatus::decl(&config));
    write(Outcome::decl(&config));
    write(Usage::decl(&config));
    write(StreamKind::decl(&config));
    write(Policy::decl(&config));
    write(Disposition::decl(&config));
    write(Style::decl(&config));
    write(ToolDeclaration::decl(&config));
    write(SessionListing::decl(&config));
    write(Verdict::decl(&config));
    write(Offer::decl(&config));
    write(Run::decl(&config));
    write(Input::decl(&config));
    write(Record::decl(&config));
    write(MemoryBlock::decl(&config));
    write(WaitingCall::decl(&config));
    write(Awaits::decl(&config));
    write(Permission::decl(&config));
    write(Verb::decl(&config));
    write(Limits::decl(&config));
    let last: Vec<u16> = Close::ALL
        .into_iter()
        .filter(|close| close.retry() == Retry::Never)
        .map(Close::code)
        .collect();
    text.push_str(&format!(
        "\n/** Close codes after which the same would end the same way. */\nexport const FINAL_CODES: readonly number[] = {last:?};\n"
    ));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/typescript/src/generated.ts");
    if std::env::var_os("UPDATE_TYPESCRIPT").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "sdk/typescript/src/generated.ts is of another version: run the command in its first line"
    );
}
