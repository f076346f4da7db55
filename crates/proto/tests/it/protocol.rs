//! Compares `PROTOCOL.md` with the code, so that the document stays correct.

use std::collections::BTreeSet;

use serde_json::Value;
use thoughtwire_proto::connection::Close;
use thoughtwire_proto::dialect::{memgpt, native, sparky};
use thoughtwire_proto::{Event, RefusalCode, Retry};

const DOCUMENT: &str = include_str!("../../../../PROTOCOL.md");
const NATIVE: &str = include_str!("../../../../vectors/native.jsonl");
const EVENTS: &str = include_str!("../../../../vectors/events.jsonl");
const MEMGPT: &str = include_str!("../../../../vectors/memgpt.jsonl");
const SPARKY: &str = include_str!("../../../../vectors/sparky.jsonl");

/// The part of the document under the `## ` heading that begins with this text.
fn part(heading: &str) -> &'static str {
    let found = DOCUMENT.split("\n## ").find(|part| part.starts_with(heading));
    found.unwrap_or_else(|| panic!("PROTOCOL.md has no part {heading:?}"))
}

/// Lines of a part's code blocks in a language, each of which is one example.
fn examples(part: &str, language: &str) -> Vec<String> {
    let mut inside = None;
    let mut lines = Vec::new();
    for line in part.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(opened), None) => inside = Some(opened == language),
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => lines.push(line.to_owned()),
            (None, _) => {}
        }
    }
    assert!(inside.is_none(), "a block is not closed");
    lines
}

fn rows(vectors: &'static str) -> impl Iterator<Item = Value> {
    vectors.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn native_examples_are_vectors_in_their_normal_form() {
    let known: BTreeSet<String> = rows(NATIVE)
        .filter(|row| row.get("ok").is_some())
        .map(|row| row["ok"].to_string())
        .collect();
    let shown = examples(part("Native"), "json");
    assert!(!shown.is_empty());
    for example in shown {
        assert!(known.contains(&example), "no row of vectors/native.jsonl: {example}");
        assert_eq!(native::normalise(&example).unwrap().to_string(), example);
    }
}

#[test]
fn every_native_frame_is_described_and_shown() {
    let text = part("Native");
    let shown: BTreeSet<String> = examples(text, "json")
        .iter()
        .map(|example| {
            serde_json::from_str::<Value>(example).unwrap()["type"].as_str().unwrap().to_owned()
        })
        .collect();
    // Another test checks that the vectors have every type.
    for row in rows(NATIVE).filter(|row| row.get("ok").is_some()) {
        let kind = row["ok"]["type"].as_str().unwrap();
        assert!(shown.contains(kind), "PROTOCOL.md shows no {kind}");
        assert!(text.contains(&format!("**`{kind}`**")), "PROTOCOL.md does not describe {kind}");
    }
}

#[test]
fn every_key_of_an_example_is_named_where_its_frame_is_described() {
    let text = part("Native");
    for row in rows(NATIVE).filter(|row| row.get("ok").is_some()) {
        let frame = row["ok"].as_object().unwrap();
        let kind = frame["type"].as_str().unwrap();
        let described = text.lines().find(|line| line.contains(&format!("**`{kind}`**"))).unwrap();
        for key in frame.keys().filter(|key| *key != "type") {
            // Compares whole words, because `id` is a part of `did`.
            let named = described
                .split(|other: char| !other.is_ascii_alphanumeric() && other != '_')
                .any(|word| word == key);
            assert!(named, "the description of {kind} does not name {key}");
        }
    }
}

#[test]
fn every_kind_of_event_is_described_and_shown() {
    let text = part("Native");
    let shown = examples(text, "jsonl");
    for example in &shown {
        assert!(
            EVENTS.lines().any(|line| line == example),
            "no row of vectors/events.jsonl: {example}"
        );
    }
    for kind in Event::known_kinds() {
        assert!(text.contains(&format!("\n| `{kind}` |")), "PROTOCOL.md does not describe {kind}");
        assert!(
            shown.iter().any(|example| example.starts_with(&format!(r#"{{"kind":"{kind}","#))),
            "PROTOCOL.md shows no {kind}"
        );
    }
}

#[test]
fn every_refusal_code_is_in_its_table_with_its_verdict() {
    for code in RefusalCode::ALL {
        let retry = match code.retry() {
            Retry::Later => "later",
            Retry::Never => "never",
        };
        let row = format!("\n| `{code}` | {retry} | ");
        assert!(part("Native").contains(&row), "PROTOCOL.md lacks {row:?}");
        assert!(
            part("REST").contains(&format!("`{code}`")),
            "PROTOCOL.md gives no HTTP status for {code}"
        );
    }
}

#[test]
fn every_close_code_is_in_its_table_with_its_verdict() {
    let table = part("Native").split("### Close codes").nth(1).unwrap();
    let shown: Vec<&str> = table.lines().filter(|line| line.starts_with("| 1")).collect();
    // The table also has the code that a client chooses.
    assert_eq!(shown.len(), Close::ALL.len() + 1, "{shown:?}");
    for close in Close::ALL {
        let retry = match close.retry() {
            Retry::Later => "later",
            Retry::Never => "never",
        };
        let row = format!("| {} | {retry} | ", close.code());
        assert!(shown.iter().any(|line| line.starts_with(&row)), "PROTOCOL.md lacks {row:?}");
        assert_eq!(Close::of(close.code()), Some(close));
        // Room for the reason in a control frame (RFC 6455, 5.5).
        assert!(close.reason().len() <= 123);
    }
    assert_eq!(Close::of(1000), None);
}

#[test]
fn the_older_wires_examples_are_vectors() {
    let check =
        |heading: &str,
         vectors: &'static str,
         normalise: fn(&str) -> Result<String, thoughtwire_proto::Refusal>| {
            let known: BTreeSet<String> =
                rows(vectors).filter_map(|row| row["wire"].as_str().map(str::to_owned)).collect();
            let shown = examples(part(heading), "json");
            assert!(!shown.is_empty());
            for example in shown {
                assert!(known.contains(&example), "no recorded frame: {example}");
                assert_eq!(normalise(&example).unwrap(), example);
            }
        };
    check("MemGPT", MEMGPT, memgpt::normalise);
    check("Sparky", SPARKY, sparky::normalise);
}
