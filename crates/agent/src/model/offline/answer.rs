//! Decisions of the offline model: call a tool, or reply.

use std::collections::VecDeque;

use serde_json::{Map, Value};
use thoughtwire_proto::ToolStatus;

use super::request::OfflineRequest;
use super::{INTRODUCTION, OfflineResult, words};
use crate::prompt::Prompt;
use crate::tool::BuiltInTool;

/// The next step for one request.
pub(super) enum OfflineStep {
    Call { thought: String, tool: String, args: Map<String, Value> },
    Say { thought: String, pieces: Vec<String> },
}

/// Longest fact for core memory, in characters. Longer facts go to archival memory.
const LONG_FACT: usize = 200;
const MAX_COUNTED: u64 = 100_000;
const ABOUT_THE_PERSON: &str = "human";

/// Decides the next step, and takes the results that belong to this request.
pub(super) fn next(
    ask: &OfflineRequest,
    prompt: &Prompt,
    results: &mut VecDeque<OfflineResult>,
) -> OfflineStep {
    match ask {
        OfflineRequest::Repeat(text) if text.is_empty() => {
            say("There is nothing to repeat.", "Say what? Write it behind `say:`.")
        }
        OfflineRequest::Repeat(text) => say("I am to repeat this.", text),
        OfflineRequest::Count(max) if *max == 0 || *max > MAX_COUNTED => say(
            "That is not a number I count to.",
            &format!("I count from 1 to at most {MAX_COUNTED}."),
        ),
        OfflineRequest::Count(max) => OfflineStep::Say {
            thought: format!("I count to {max}."),
            pieces: (1..=*max)
                .map(|n| if n == *max { n.to_string() } else { format!("{n} ") })
                .collect(),
        },
        OfflineRequest::Introduce => {
            let name = INTRODUCTION.trim_matches(['(', ')']);
            say("They want to know what I am; I should be plain about it.", name)
        }
        OfflineRequest::Remember(fact) => remember(fact, prompt, results),
        OfflineRequest::Recall { question, about } => recall(question, about, prompt, results),
        OfflineRequest::FindSaid { about } => find_said(about, results),
        OfflineRequest::FindSaidOn { day } => {
            let args = args(&[("start_date", day), ("end_date", day)]);
            match take(results, &[BuiltInTool::ConversationSearchDate], "start_date", day) {
                None => call(
                    "I look up what was said on that day.",
                    BuiltInTool::ConversationSearchDate,
                    args,
                ),
                Some(returned) => say(
                    "I have looked.",
                    &found(
                        &returned,
                        &format!("Nothing was said on {day}."),
                        &format!("On {day}:"),
                    ),
                ),
            }
        }
        OfflineRequest::Calculate(sum) => {
            match take(results, &[BuiltInTool::Calculator], "expression", sum) {
                None => call(
                    "That is arithmetic; I have a calculator.",
                    BuiltInTool::Calculator,
                    args(&[("expression", sum)]),
                ),
                Some(OfflineResult { status: ToolStatus::Success, text, .. }) => {
                    say("The calculator knows.", &format!("{sum} = {text}"))
                }
                Some(OfflineResult { text, .. }) => {
                    say("That cannot be worked out.", &format!("I cannot work that out. {text}"))
                }
            }
        }
        OfflineRequest::Time { zone } => {
            let args = zone.as_ref().map_or_else(Map::new, |zone| args(&[("timezone", zone)]));
            match take_any(results, BuiltInTool::CurrentTime.name()) {
                None => call("I look at the clock.", BuiltInTool::CurrentTime, args),
                Some(OfflineResult { status: ToolStatus::Success, text, .. }) => {
                    say("I have the time.", &format!("It is {text}."))
                }
                Some(OfflineResult { text, .. }) => say("That did not work.", &text),
            }
        }
        OfflineRequest::CallTool { tool, args } => match take_any(results, tool) {
            None => OfflineStep::Call {
                thought: format!("I am to use {tool}."),
                tool: tool.clone(),
                args: args.clone(),
            },
            Some(OfflineResult { status: ToolStatus::Success, text, .. }) => {
                say("It came back.", &format!("{tool} says: {text}"))
            }
            Some(OfflineResult { text, .. }) => {
                say("That did not work.", &format!("{tool} failed: {text}"))
            }
        },
        OfflineRequest::Other(text) => reflect(text),
    }
}

fn remember(fact: &str, prompt: &Prompt, results: &mut VecDeque<OfflineResult>) -> OfflineStep {
    let that = if fact.starts_with("to ") { ": " } else { " that " };
    let kept = |thought: &str| {
        say(
            thought,
            &format!("I will remember{that}{}.", lowercase_first(&words::swap_person(fact))),
        )
    };
    let core = take(results, &[BuiltInTool::CoreMemoryAppend], "content", fact)
        .or_else(|| take(results, &[BuiltInTool::CoreMemoryReplace], "new_content", fact));
    let note = take(results, &[BuiltInTool::ArchivalMemoryInsert], "content", fact);
    let archive = |thought: &str| {
        call(thought, BuiltInTool::ArchivalMemoryInsert, args(&[("content", fact)]))
    };
    match (core, note) {
        (_, Some(OfflineResult { status: ToolStatus::Success, .. })) => kept("It is in my notes."),
        (_, Some(OfflineResult { text, .. })) => {
            say("It was not kept.", &format!("I could not keep that. {text}"))
        }
        (Some(OfflineResult { status: ToolStatus::Success, .. }), None) => {
            kept("It is in my core memory.")
        }
        (Some(OfflineResult { status: ToolStatus::Error | ToolStatus::Unknown, .. }), None) => {
            archive("My core memory does not take it; then it goes into my notes.")
        }
        (None, None) if fact.chars().count() > LONG_FACT => {
            archive("That is long; it goes into my notes.")
        }
        (None, None) => {
            let lines = lines(prompt, &[ABOUT_THE_PERSON]);
            if lines.iter().any(|line| line.eq_ignore_ascii_case(fact)) {
                return say(
                    "I have that already.",
                    &format!("I know that {} already.", lowercase_first(&words::swap_person(fact))),
                );
            }
            // A person has one name: a second one replaces the first.
            let is_name = |text: &str| text.to_lowercase().starts_with("my name is ");
            match lines.into_iter().find(|line| is_name(fact) && is_name(line)) {
                Some(old) => call(
                    "They have another name now; I correct my memory.",
                    BuiltInTool::CoreMemoryReplace,
                    args(&[
                        ("name", ABOUT_THE_PERSON),
                        ("old_content", &old),
                        ("new_content", fact),
                    ]),
                ),
                None => call(
                    "That is worth remembering.",
                    BuiltInTool::CoreMemoryAppend,
                    args(&[("name", ABOUT_THE_PERSON), ("content", fact)]),
                ),
            }
        }
    }
}

fn recall(
    question: &str,
    about: &[String],
    prompt: &Prompt,
    results: &mut VecDeque<OfflineResult>,
) -> OfflineStep {
    let lines = lines(prompt, &[ABOUT_THE_PERSON]);
    let hits = |line: &String| about.iter().filter(|word| words::mentions(line, word)).count();
    let max = lines.iter().map(hits).max().unwrap_or(0);
    let known: Vec<String> = lines
        .iter()
        .filter(|line| about.is_empty() || (max > 0 && hits(line) == max))
        .map(|line| with_period(&words::capitalize(&words::swap_person(line))))
        .collect();
    if !known.is_empty() {
        return say("My core memory has something on that.", &known.join(" "));
    }
    if about.is_empty() {
        return say(
            "My core memory is empty.",
            "I do not know anything about you yet. Tell me something, and I will remember it.",
        );
    }
    let query = about.join(" ");
    let Some(notes) = take(results, &[BuiltInTool::ArchivalMemorySearch], "query", &query) else {
        return call(
            "My core memory does not say; I look into my notes.",
            BuiltInTool::ArchivalMemorySearch,
            args(&[("query", &query)]),
        );
    };
    if has_results(&notes) {
        return say("My notes have it.", &found(&notes, "", "My notes say:"));
    }
    let Some(heard) = take(results, &[BuiltInTool::ConversationSearch], "query", &query) else {
        return call(
            "My notes do not say; I look through what was said.",
            BuiltInTool::ConversationSearch,
            args(&[("query", &query)]),
        );
    };
    let nothing = format!(
        "I do not remember anything about that ({}).",
        lowercase_first(&words::swap_person(question))
    );
    say(
        "I have looked everywhere.",
        &found(&persons_lines(heard), &nothing, "I remember you saying:"),
    )
}

fn find_said(about: &[String], results: &mut VecDeque<OfflineResult>) -> OfflineStep {
    let query = about.join(" ");
    if query.is_empty() {
        return say("About what?", "About what? Name a word, and I will look for it.");
    }
    match take(results, &[BuiltInTool::ConversationSearch], "query", &query) {
        None => call(
            "I look through what was said.",
            BuiltInTool::ConversationSearch,
            args(&[("query", &query)]),
        ),
        Some(heard) => {
            let nothing = format!("I find nothing that was said about {query}.");
            say(
                "I have looked.",
                &found(&persons_lines(heard), &nothing, &format!("About {query} you said:")),
            )
        }
    }
}

fn reflect(text: &str) -> OfflineStep {
    let short: String =
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    let lower = short.to_lowercase();
    if ["hello", "hi", "hey", "good morning", "good evening", "good day"].iter().any(|word| {
        lower.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    }) {
        return say(
            "Somebody greets me.",
            "Hello! Tell me something about yourself, or ask me what I remember.",
        );
    }
    if lower.starts_with("how are you") {
        return say(
            "Somebody asks how I am.",
            "I am well: everything I was told is still here. And you?",
        );
    }
    if short.ends_with('?') {
        return say(
            "I cannot answer that by myself.",
            &format!("You ask: {} I do not know; what do you think?", words::swap_person(&short)),
        );
    }
    say(
        "I turn this over.",
        &format!("You say: {} Tell me more.", with_period(&words::swap_person(&short))),
    )
}

/// The non-empty lines of some core memory blocks.
fn lines(prompt: &Prompt, labels: &[&str]) -> Vec<String> {
    let blocks = prompt.blocks.iter().filter(|block| labels.contains(&block.label.as_str()));
    blocks
        .flat_map(|block| block.text.lines())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Formats search results as sentences.
fn found(returned: &OfflineResult, nothing: &str, opening: &str) -> String {
    if returned.status == ToolStatus::Error {
        return returned.text.clone();
    }
    let lines: Vec<&str> = returned.text.lines().filter(|line| line.starts_with("- ")).collect();
    if lines.is_empty() { nothing.to_owned() } else { format!("{opening}\n{}", lines.join("\n")) }
}

/// Keeps only what the person told. The agent's own messages and the person's questions contain the
/// keywords, but no facts about them.
fn persons_lines(mut heard: OfflineResult) -> OfflineResult {
    if heard.status == ToolStatus::Success {
        let is_from_person = |line: &&str| line.contains("] user: ") && !line.ends_with('?');
        heard.text = heard.text.lines().filter(is_from_person).collect::<Vec<_>>().join("\n");
    }
    heard
}

fn has_results(returned: &OfflineResult) -> bool {
    returned.status == ToolStatus::Success
        && returned.text.lines().any(|line| line.starts_with("- "))
}

/// Takes the result of a call with this argument.
fn take(
    results: &mut VecDeque<OfflineResult>,
    tools: &[BuiltInTool],
    key: &str,
    value: &str,
) -> Option<OfflineResult> {
    let at = results.iter().position(|result| {
        tools.iter().any(|tool| tool.name() == result.tool)
            && result.args.get(key).and_then(Value::as_str) == Some(value)
    })?;
    results.remove(at)
}

fn take_any(results: &mut VecDeque<OfflineResult>, tool: &str) -> Option<OfflineResult> {
    let at = results.iter().position(|result| result.tool == tool)?;
    results.remove(at)
}

fn args(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::String((*value).to_owned())))
        .collect()
}

fn call(thought: &str, tool: BuiltInTool, args: Map<String, Value>) -> OfflineStep {
    OfflineStep::Call { thought: thought.to_owned(), tool: tool.name().to_owned(), args }
}

fn say(thought: &str, text: &str) -> OfflineStep {
    OfflineStep::Say { thought: thought.to_owned(), pieces: words::pieces(text) }
}

/// Lowercases the first letter, unless the text begins with a name or "I".
fn lowercase_first(text: &str) -> String {
    let mut characters = text.chars();
    let first_word = text.split_whitespace().next().unwrap_or_default();
    match characters.next() {
        Some(first)
            if matches!(
                first_word,
                "Call"
                    | "You"
                    | "Your"
                    | "You're"
                    | "You've"
                    | "What"
                    | "Where"
                    | "When"
                    | "Who"
                    | "Do"
                    | "How"
                    | "My"
            ) =>
        {
            first.to_lowercase().chain(characters).collect()
        }
        Some(_) | None => text.to_owned(),
    }
}

fn with_period(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}
