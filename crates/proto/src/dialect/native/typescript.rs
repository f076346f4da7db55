//! Generates the protocol's types for `sdk/typescript` from the server's types.
//!
//! `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript` renews the committed file.

use std::path::Path;

use ts_rs::{Config, TS};

use super::server::ConnectionLimits;
use super::wire::{AgentWire, ClientWire, ServerWire};
use crate::Verdict;
use crate::connection::Close;
use crate::{
    ApprovalAbout, Awaits, Decision, Disposition, Event, HistoryEntry, Input, MemoryBlock, Offer,
    Outcome, Permission, Policy, Record, Replay, ResumeReason, Retry, RetryReason, Role, Run,
    SessionListing, StreamKind, Style, ToolDeclaration, ToolStatus, Usage, Verb, WaitingCall,
};

const HEAD: &str = "\
// Generated from the server's types. Renew it with
// `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send other types, kinds and keys: ignore unknown ones.

/** Any JSON. */
export type JsonValue =
\t| number
\t| string
\t| boolean
\t| JsonValue[]
\t| { [key: string]: JsonValue }
\t| null;
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
    write(ApprovalAbout::decl(&config));
    write(ResumeReason::decl(&config));
    write(RetryReason::decl(&config));
    write(ToolStatus::decl(&config));
    write(Outcome::decl(&config));
    write(Usage::decl(&config));
    write(StreamKind::decl(&config));
    write(Policy::decl(&config));
    write(Disposition::decl(&config));
    write(Style::decl(&config));
    write(ToolDeclaration::decl(&config));
    write(Replay::decl(&config));
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
    write(ConnectionLimits::decl(&config));
    let last: Vec<u16> = Close::ALL
        .into_iter()
        .filter(|close| close.retry() == Retry::Never)
        .map(Close::code)
        .collect();
    text.push_str(&format!(
        "\n/** Close codes after which a new connection would end the same way. */\n\
         export const FINAL_CODES: readonly number[] = {last:?};\n"
    ));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/typescript/src/generated.ts");
    if std::env::var_os("UPDATE_TYPESCRIPT").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "sdk/typescript/src/generated.ts is out of date: run the command in its first lines"
    );
}
