//! What happened in a session, told to people: one place for its words.

use std::borrow::Cow;

use serde_json::{Map, Value};
use thoughtwire_proto::transcript::{
    Approval, EntryBody, InputStatus, ToolCallEntry, TranscriptEntry,
};
use thoughtwire_proto::{Decision, Event, Outcome, SessionEvent, ToolStatus};

use crate::out::Look;
use crate::visible::visible;

/// The most characters of a call's arguments, and of what it gave back, on one line.
const SHORT: usize = 80;

/// A piece of the story and how it looks.
pub(crate) type Told = (Look, String);

/// Text from elsewhere, with marks for what would command the terminal or not be seen.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    visible(text)
}

/// The first line of a text, cut to a length that fits one line with others.
pub(crate) fn short(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(SHORT).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    clean(&short).into_owned()
}

/// A call and what came of it, folded to a line.
pub(crate) fn call(call: &ToolCallEntry) -> String {
    let args = call.args.as_ref().map(arguments).unwrap_or_default();
    let name = clean(&call.name);
    match &call.returned {
        None => format!("⚙ {name}({args})"),
        Some(returned) => {
            let sign = match returned.status {
                ToolStatus::Success => "→",
                ToolStatus::Error => "✗",
            };
            format!("⚙ {name}({args}) {sign} {}", short(&returned.text))
        }
    }
}

/// Arguments as one would say them: a single one by its value alone.
fn arguments(args: &Map<String, Value>) -> String {
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    let said = match args.len() {
        1 => args.values().map(value).collect(),
        _ => args
            .iter()
            .map(|(name, given)| format!("{name}: {}", value(given)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    short(&said)
}

/// How a turn ended, unless it simply completed.
pub(crate) fn ending(outcome: Outcome, reason: Option<&str>) -> Option<Told> {
    let (look, what) = match outcome {
        Outcome::Completed => return None,
        Outcome::Cancelled => (Look::Dim, "cancelled"),
        Outcome::Failed => (Look::Bad, "failed"),
        Outcome::Interrupted => (Look::Bad, "interrupted"),
    };
    let told =
        reason.map_or_else(|| format!("✗ {what}"), |reason| format!("✗ {what}: {}", clean(reason)));
    Some((look, told))
}

/// An entry as it stands in a transcript; nothing for what only matters to programs.
pub(crate) fn entry(entry: &TranscriptEntry) -> Option<Told> {
    Some(match &entry.body {
        EntryBody::Input { text, from, status, .. } => {
            let (look, mut told) = input(text, from.as_deref());
            match status {
                InputStatus::Withdrawn => told.push_str(" (taken back)"),
                InputStatus::Waits => told.push_str(" (waits)"),
                InputStatus::Runs | InputStatus::Ended(_) => {}
            }
            (look, told)
        }
        EntryBody::Thought { text, complete, .. } => (Look::Dim, cut(text, *complete)),
        EntryBody::Message { text, complete, .. } => (Look::Plain, cut(text, *complete)),
        EntryBody::Call(made) => (Look::Dim, call(made)),
        EntryBody::Ended { outcome, reason, .. } => return ending(*outcome, reason.as_deref()),
        EntryBody::Fact(event) => return fact(event),
    })
}

/// What somebody said, and from where if that was not a program like this one.
pub(crate) fn input(text: &str, from: Option<&str>) -> Told {
    let from = from.filter(|from| !["cli", "rest", "native"].contains(from));
    let from = from.map(|from| format!("{}: ", clean(from))).unwrap_or_default();
    (Look::Bold, format!("› {from}{}", clean(text)))
}

/// A question that waits for its owner.
pub(crate) fn question(asked: &ToolCallEntry) -> Option<Told> {
    match &asked.approval {
        Some(Approval::Asked(until)) => {
            let until = jiff::Timestamp::from_millisecond(until.as_millis())
                .ok()?
                .to_zoned(jiff::tz::TimeZone::system());
            Some((
                Look::Bold,
                format!("? {} wants your leave until {}", call(asked), until.strftime("%H:%M:%S")),
            ))
        }
        Some(Approval::Settled(decision)) => {
            let word = match decision {
                Decision::Approved => return None,
                Decision::Denied => "denied",
                Decision::Expired => "nobody answered in time",
                Decision::Void => "its turn ended first",
            };
            Some((Look::Dim, format!("? {}: {word}", clean(&asked.name))))
        }
        None => None,
    }
}

fn fact(event: &Event) -> Option<Told> {
    Some(match event {
        Event::Session(SessionEvent::Renamed { title }) => {
            (Look::Dim, format!("✎ the session is now called {}", clean(title)))
        }
        Event::Session(SessionEvent::MemoryEdited { block, after, by, .. }) => {
            let by = if by == "agent" { String::new() } else { format!(" (by {})", clean(by)) };
            (Look::Dim, format!("✎ memory, {}{by}: {}", clean(block), short(after)))
        }
        Event::Session(SessionEvent::Compacted { .. }) => {
            (Look::Dim, "✎ the oldest part of the conversation was summarised".to_owned())
        }
        Event::Session(SessionEvent::InstructionsChanged { instructions }) => {
            (Look::Dim, format!("✎ instructions: {}", short(instructions)))
        }
        Event::Session(SessionEvent::Opened { .. })
        | Event::Input(_)
        | Event::Turn(_)
        | Event::Other(_) => return None,
    })
}

/// A text, marked when its turn ended in the middle of it.
fn cut(text: &str, complete: bool) -> String {
    if complete { clean(text).into_owned() } else { format!("{}…", clean(text)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use thoughtwire_proto::transcript::{CallResult, ToolCallEntry};

    use super::*;

    #[test]
    fn calls_are_folded() {
        let told = |args: Value, returned: Option<(ToolStatus, &str)>| {
            let returned = returned.map(|(status, text)| CallResult {
                status,
                text: text.to_owned(),
                content: None,
            });
            let args = args.as_object().cloned();
            call(&ToolCallEntry {
                call: "c".parse().unwrap(),
                name: "calculator".to_owned(),
                args,
                approval: None,
                awaited: None,
                returned,
            })
        };
        assert_eq!(
            told(json!({"expression": "6*7"}), Some((ToolStatus::Success, "42"))),
            "⚙ calculator(6*7) → 42"
        );
        assert_eq!(told(json!({"a": 1, "b": "x"}), None), "⚙ calculator(a: 1, b: x)");
        assert_eq!(
            told(json!({}), Some((ToolStatus::Error, "no\nreally"))),
            "⚙ calculator() ✗ no…"
        );
        assert_eq!(told(Value::Null, None), "⚙ calculator()");
        assert!(told(json!({"x": "y".repeat(500)}), None).chars().count() < 120);
    }

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\tc\nd\u{9b}e"), "a‹U+001B›[2Jb\tc\nd‹U+009B›e");
        assert!(matches!(clean("plain ü 漢"), Cow::Borrowed(_)));
    }
}
