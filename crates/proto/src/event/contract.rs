//! Shape of an event for the generated schemas and types: one flat list of all groups.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use ts_rs::{Config, TS};

use super::{Event, InputEvent, SessionEvent, TurnEvent};

const DESCRIPTION: &str = include_str!("event.md");

impl JsonSchema for Event {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let groups = [
            SessionEvent::json_schema(generator),
            InputEvent::json_schema(generator),
            TurnEvent::json_schema(generator),
        ];
        let mut kinds: Vec<Value> = groups
            .iter()
            .filter_map(|group| group.get("oneOf").and_then(Value::as_array))
            .flatten()
            .cloned()
            .collect();
        kinds.sort_by_key(|kind| place(kind["properties"]["kind"]["const"].as_str()));
        json_schema!({ "anyOf": kinds, "description": DESCRIPTION.trim_end() })
    }
}

impl TS for Event {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn name(_config: &Config) -> String {
        "Event".to_owned()
    }

    fn decl(config: &Config) -> String {
        format!("type Event = {};", Self::inline(config))
    }

    fn inline(config: &Config) -> String {
        const START: &str = "{ \"kind\": ";
        let groups =
            [SessionEvent::inline(config), InputEvent::inline(config), TurnEvent::inline(config)];
        let mut kinds: Vec<&str> = groups
            .iter()
            .flat_map(|group| group.split(START))
            .map(|kind| kind.trim_end_matches(" | "))
            .filter(|kind| !kind.is_empty())
            .collect();
        kinds.sort_by_key(|kind| place(kind.split('"').nth(1)));
        let kinds: Vec<String> = kinds.into_iter().map(|kind| format!("{START}{kind}")).collect();
        kinds.join(" | ")
    }
}

/// Place of a kind in the generated files.
fn place(kind: Option<&str>) -> usize {
    const ORDER: [&str; 19] = [
        "session_opened",
        "session_renamed",
        "instructions_changed",
        "user_message",
        "input_withdrawn",
        "turn_started",
        "turn_resumed",
        "thought",
        "tool_called",
        "tool_retried",
        "approval_asked",
        "approval_settled",
        "tool_awaited",
        "tool_returned",
        "message",
        "usage",
        "memory_edited",
        "compacted",
        "turn_ended",
    ];
    ORDER.iter().position(|known| Some(*known) == kind).expect("every kind has a place")
}
