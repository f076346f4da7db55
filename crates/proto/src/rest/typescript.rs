//! The TypeScript types of REST for `sdk/typescript`, generated from the server's own.
//!
//! `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript` renews the committed file.

use std::path::Path;

use ts_rs::{Config, TS};

use super::*;
use crate::{AgentProfile, AgentSettings, AgentSpec, Key, OnCrash, Scope};

const HEAD: &str = "\
// Bodies of REST, generated from the server's own types by
// `UPDATE_TYPESCRIPT=1 cargo test -p thoughtwire-proto typescript`.
// A newer server may send keys that are not here: pass over what you do not know.

import type {
  Disposition,
  HistoryEntry,
  JsonValue,
  LogRecord,
  Permission,
  Policy,
  Replay,
  Role,
  SessionListing,
  Style,
  Verdict,
} from \"./generated.js\";
";

/// Declarations of types, each exported under its own name.
macro_rules! declarations {
    ($config:expr; $($of:ty),+ $(,)?) => {
        [$(<$of>::decl($config)),+]
    };
}

#[test]
fn the_typescript_types_of_rest_are_those_of_the_server() {
    let config = Config::default().with_large_int("number");
    let declarations = declarations![&config;
        AgentBody, AgentDetails, AgentFile, AgentList, AgentPatch, AgentProfile, AgentSettings,
        AgentSpec, ArchivalNote, Auth, BlockBody, BlockList, BlockPatch, CallListing, CallPage,
        CallState, CallWait, CallerInfo, CancelRequest,
        CommandDone, CoreBlock, DecisionRequest, ErrorBody, ErrorDetail, EventPage, FileNote,
        FileSession, InputAccepted, InputDraft, Key, KeyCreated, KeyList, KeyLogin, LoginAnswer,
        McpServerListing, McpServerPhase, MemoryCounts, NewKey, NewNotes, NodeInfo,
        HitReasons, NodeList, NoteDraft, NotePage, NotesAdded, OnCrash, PresetList, PresetText,
        RecallHit, RecallPage, Scope, SessionCreated,
        SessionDetails, SessionDraft, SessionList, SessionPatch, StreamClosed, StreamEnd,
        StreamRestarted, TicketCreated, ToolListing, ToolSource, TurnResult, InputListing,
        InputList,
    ];
    let mut text = HEAD.to_owned();
    for declaration in declarations {
        text.push_str(&format!("\nexport {}\n", declaration.replace("serde_json.", "")));
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/typescript/src/generated-rest.ts");
    if std::env::var_os("UPDATE_TYPESCRIPT").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "sdk/typescript/src/generated-rest.ts is stale: run the command in its head"
    );
}
