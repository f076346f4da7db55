//! Session events as text for people. All wording for transcripts is here.

use std::borrow::Cow;

use serde_json::{Map, Value};
use thoughtwire_proto::transcript::{
    Approval, EntryBody, InputStatus, ToolCallEntry, TranscriptEntry,
};
use thoughtwire_proto::{
    ApprovalAbout, Decision, Event, Outcome as TurnOutcome, ResumeReason, SessionEvent, ToolStatus,
    TurnEvent,
};

use crate::out::TextStyle;
use crate::visible::visible;

/// The most characters of a call's arguments or of its result on one line.
const MAX_LINE: usize = 80;

/// A text and its style.
pub(crate) type StyledText = (TextStyle, String);

/// Foreign text with marks in place of control and invisible characters.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    visible(text)
}

/// The first line of a text, cut to [`MAX_LINE`] characters.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(MAX_LINE).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    clean(&short).into_owned()
}

/// A tool call and its result on one line.
pub(crate) fn call(call: &ToolCallEntry) -> String {
    let args = call.args.as_ref().map(arguments).unwrap_or_default();
    let name = clean(&call.name);
    let again = match call.retries {
        0 => String::new(),
        1 => " (run again)".to_owned(),
        retries => format!(" (run again {retries} times)"),
    };
    match &call.returned {
        None => format!("⚙ {name}({args}){again}"),
        Some(returned) => {
            let sign = match returned.status {
                ToolStatus::Success => "→",
                ToolStatus::Error => "✗",
                ToolStatus::Unknown => "? outcome unknown:",
            };
            format!("⚙ {name}({args}){again} {sign} {}", one_line(&returned.text))
        }
    }
}

/// Tells a reader who cannot answer here that a call waits for the owner.
pub(crate) fn waits_elsewhere(about: ApprovalAbout) -> &'static str {
    match about {
        ApprovalAbout::Run => {
            "(a call is waiting for your approval: decide it in `thoughtwire chat`, on the page or \
             in another client)"
        }
        ApprovalAbout::Retry => {
            "(a call was interrupted and may have taken effect: say in `thoughtwire chat`, on the \
             page or in another client whether to run it again)"
        }
    }
}

/// A call's arguments. A single argument is shown without its name.
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
    one_line(&said)
}

/// The end of a turn; `None` if it completed.
pub(crate) fn turn_end(outcome: TurnOutcome, reason: Option<&str>) -> Option<StyledText> {
    let (look, what) = match outcome {
        TurnOutcome::Completed => return None,
        TurnOutcome::Cancelled => (TextStyle::Dim, "cancelled"),
        TurnOutcome::Failed => (TextStyle::Bad, "failed"),
        TurnOutcome::Interrupted => (TextStyle::Bad, "interrupted"),
    };
    let told =
        reason.map_or_else(|| format!("✗ {what}"), |reason| format!("✗ {what}: {}", clean(reason)));
    Some((look, told))
}

/// A transcript entry; `None` for one that only programs need.
pub(crate) fn entry(entry: &TranscriptEntry) -> Option<StyledText> {
    Some(match &entry.body {
        EntryBody::Input { text, from, status, .. } => {
            let (look, mut told) = input(text, from.as_deref());
            match status {
                InputStatus::Withdrawn => told.push_str(" (withdrawn)"),
                InputStatus::Waits => told.push_str(" (queued)"),
                InputStatus::Runs | InputStatus::Ended(_) => {}
            }
            (look, told)
        }
        EntryBody::Thought { text, complete, .. } => (TextStyle::Dim, cut(text, *complete)),
        EntryBody::Message { text, complete, .. } => (TextStyle::Plain, cut(text, *complete)),
        EntryBody::Call(made) => (TextStyle::Dim, call(made)),
        EntryBody::Ended { outcome, reason, .. } => return turn_end(*outcome, reason.as_deref()),
        EntryBody::Fact(event) => return fact(event),
    })
}

/// An input, with its origin unless that is a program such as this one.
pub(crate) fn input(text: &str, from: Option<&str>) -> StyledText {
    let from = from.filter(|from| !["cli", "rest", "native"].contains(from));
    let from = from.map(|from| format!("{}: ", clean(from))).unwrap_or_default();
    (TextStyle::Bold, format!("› {from}{}", clean(text)))
}

/// A call's request for approval, or the decision about it.
pub(crate) fn approval(asked: &ToolCallEntry) -> Option<StyledText> {
    match &asked.approval {
        Some(Approval::Asked(until)) => {
            let until = jiff::Timestamp::from_millisecond(until.as_millis())
                .ok()?
                .to_zoned(jiff::tz::TimeZone::system());
            let until = until.strftime("%H:%M:%S");
            let question = match asked.about {
                ApprovalAbout::Run => {
                    format!("? {} needs your approval until {until}", call(asked))
                }
                ApprovalAbout::Retry => format!(
                    "? {} was interrupted and may already have taken effect. Run it again? Answer \
                     until {until}: y to run it again, d if it was done, n if it failed",
                    call(asked)
                ),
            };
            Some((TextStyle::Bold, question))
        }
        Some(Approval::Settled(decision)) => {
            let word = match decision {
                Decision::Approved => return None,
                Decision::Denied if asked.about == ApprovalAbout::Retry => "failed, says its owner",
                Decision::Denied => "denied",
                Decision::Done => "done, says its owner",
                Decision::Expired => "nobody decided in time",
                Decision::Void => "its turn ended first",
            };
            Some((TextStyle::Dim, format!("? {}: {word}", clean(&asked.name))))
        }
        None => None,
    }
}

fn fact(event: &Event) -> Option<StyledText> {
    Some(match event {
        Event::Session(SessionEvent::Renamed { title }) => {
            (TextStyle::Dim, format!("✎ the session is now called {}", clean(title)))
        }
        Event::Session(SessionEvent::MemoryEdited { block, after, by, .. }) => {
            let by = if by == "agent" { String::new() } else { format!(" (by {})", clean(by)) };
            (TextStyle::Dim, format!("✎ memory, {}{by}: {}", clean(block), one_line(after)))
        }
        Event::Session(SessionEvent::Compacted { .. }) => {
            (TextStyle::Dim, "✎ the oldest part of the conversation was summarised".to_owned())
        }
        Event::Session(SessionEvent::InstructionsChanged { instructions }) => {
            (TextStyle::Dim, format!("✎ instructions: {}", one_line(instructions)))
        }
        Event::Turn(TurnEvent::Resumed { reason, .. }) => {
            let cause = match reason {
                ResumeReason::Restart => "the server was restarted",
                ResumeReason::Moved => "the session moved to another server",
                ResumeReason::WorkerLost => "the worker was lost",
            };
            (TextStyle::Dim, format!("↻ {cause}; the turn goes on"))
        }
        Event::Session(SessionEvent::Opened { .. })
        | Event::Input(_)
        | Event::Turn(_)
        | Event::Other(_) => return None,
    })
}

/// A text, with an ellipsis if it was cut and nothing continues it.
fn cut(text: &str, complete: bool) -> String {
    if complete { clean(text).into_owned() } else { format!("{}…", clean(text)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use thoughtwire_proto::transcript::{CallResult, ToolCallEntry};

    use super::*;

    #[test]
    fn a_call_is_one_line() {
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
                about: ApprovalAbout::Run,
                retries: 0,
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
    fn control_characters_are_marked() {
        assert_eq!(clean("a\x1b[2Jb\tc\nd\u{9b}e"), "a‹U+001B›[2Jb\tc\nd‹U+009B›e");
        assert!(matches!(clean("plain ü 漢"), Cow::Borrowed(_)));
    }
}
