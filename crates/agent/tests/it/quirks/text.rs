//! Characters, tags and torn bytes on all wires.

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;

use super::{
    ANTHROPIC, GEMINI, MockWire, OLLAMA, OPENAI, RESPONSES, check, lines, says, sse, thinks, turn,
};
use crate::canned::{CannedProvider, CannedReply};
use crate::harness::AgentHarness;
use crate::mock::{WIRES, providers};
use thoughtwire_proto::Style;

/// A reply whose text arrives in these pieces of JSON strings, as written.
fn pieces(wire: MockWire, pieces: &[&str]) -> String {
    const MARK: &str = "MARK";
    let (frame, end): (Value, Vec<Value>) = match wire.model.split('/').next().unwrap() {
        "openai" => (super::openai::content(MARK), vec![super::openai::finish("stop")]),
        "openai-responses" => {
            (super::responses::said(MARK), vec![super::responses::completed(&[])])
        }
        "anthropic" => (
            super::anthropic::words(0, MARK),
            vec![super::anthropic::reason("end_turn"), json!({"type": "message_stop"})],
        ),
        "gemini" => (
            super::gemini::chunk(&[json!({"text": MARK})], None),
            vec![super::gemini::chunk(&[], Some("STOP"))],
        ),
        _ => (super::ollama::content(MARK), vec![super::ollama::done("stop")]),
    };
    let write =
        |values: &[Value]| if wire.model == OLLAMA.model { lines(values) } else { sse(values) };
    let frame = write(&[frame]);
    pieces.iter().map(|piece| frame.replace(MARK, piece)).collect::<String>() + &write(&end)
}

#[tokio::test]
async fn surrogate_halves_are_joined_or_replaced_on_all_wires() {
    for wire in [OPENAI, RESPONSES, ANTHROPIC, GEMINI, OLLAMA] {
        let rows = vec![
            says(
                "in two pieces",
                pieces(wire, &["Crab ", "\\ud83e", "\\udd80 said", "."]),
                "Crab 🦀 said.",
            ),
            says("in one piece", pieces(wire, &["Crab \\ud83e\\udd80 said."]), "Crab 🦀 said."),
            says("the first alone", pieces(wire, &["Crab \\ud83e said."]), "Crab \u{FFFD} said."),
            says("the first alone at the end", pieces(wire, &["Crab \\ud83e"]), "Crab \u{FFFD}"),
            says(
                "the second alone",
                pieces(wire, &["Crab \\uDD80", " said."]),
                "Crab \u{FFFD} said.",
            ),
        ];
        check(wire, rows).await;
    }
}

#[tokio::test]
async fn arguments_with_surrogate_halves_reach_the_tool() {
    let frame = super::openai::call(
        json!({"index": 0, "id": "c1", "function": {"name": "archival_memory_insert",
            "arguments": "MARK"}}),
    );
    for (args, kept) in [
        (&["{\\\"content\\\": \\\"Crab \\ud83e", "\\udd80.\\\"}"][..], "Crab 🦀."),
        (&["{\\\"content\\\": \\\"Crab \\\\ud83e", "\\\\udd80.\\\"}"], "Crab 🦀."),
        (&["{\\\"content\\\": \\\"Crab \\\\ud83e.\\\"}"], "Crab \u{FFFD}."),
        (&["{\\\"content\\\": \\\"Crab \\ud83e.\\\"}"], "Crab \u{FFFD}."),
    ] {
        let stream: String = args
            .iter()
            .map(|args| sse(std::slice::from_ref(&frame)).replace("MARK", args))
            .collect();
        let reply = stream + &super::openai::stream(&[super::openai::finish("tool_calls")]);
        let (log, _) =
            turn(OPENAI, vec![reply.into(), super::answer(OPENAI).into()], AgentOptions::new).await;
        let args = log.records.iter().find_map(|record| {
            if let thoughtwire_proto::Event::Turn(thoughtwire_proto::TurnEvent::ToolCalled {
                args,
                ..
            }) = &record.event
            {
                args["content"].as_str()
            } else {
                None
            }
        });
        assert_eq!(args, Some(kept), "{log:?}");
        assert_eq!(log.returned().len(), 1, "{log:?}");
        assert!(matches!(log.returned()[0].0, thoughtwire_proto::ToolStatus::Success), "{log:?}");
    }
}

#[tokio::test]
async fn torn_and_invalid_bytes_are_read() {
    for wire in [OPENAI, RESPONSES, ANTHROPIC, GEMINI, OLLAMA] {
        let stream = pieces(wire, &["Crab 🦀 said."]);
        let at = stream.find('🦀').unwrap();
        let cut = |stream: &[u8], at: usize| {
            CannedReply::torn(vec![stream[..at].to_vec(), stream[at..].to_vec()])
        };
        let crlf = stream.replace('\n', "\r\n");
        let mut rows: Vec<_> = (1..4)
            .map(|byte| {
                says("within a character", cut(stream.as_bytes(), at + byte), "Crab 🦀 said.")
            })
            .collect();
        rows.push(says(
            "between CR and LF",
            cut(crlf.as_bytes(), crlf.find('\r').unwrap() + 1),
            "Crab 🦀 said.",
        ));
        rows.push(says(
            "between the CRLFs of an event",
            cut(crlf.as_bytes(), crlf.find('\r').unwrap() + 3),
            "Crab 🦀 said.",
        ));
        rows.push(says("CR only", stream.replace('\n', "\r"), "Crab 🦀 said."));
        rows.push(says("a byte order mark", format!("\u{FEFF}{stream}"), "Crab 🦀 said."));
        let mut broken = stream.into_bytes();
        broken.splice(at..at + 4, [0xF0, 0x9F]);
        rows.push(says("half a character", CannedReply::torn(vec![broken]), "Crab \u{FFFD} said."));
        check(wire, rows).await;
    }
    let sse_only = pieces(OPENAI, &["Said."]);
    check(
        OPENAI,
        vec![
            says("no blank behind the colon", sse_only.replace("data: ", "data:"), "Said."),
            says(
                "comments and other fields",
                format!(": alive\n\nid: 1\nretry: 5\nfoo: bar\n\n{sse_only}"),
                "Said.",
            ),
            says(
                "data in several lines",
                sse_only.replace("{\"choices\"", "{\ndata: \"choices\""),
                "Said.",
            ),
            says("empty data", format!("data:\n\ndata: \n\n{sse_only}"), "Said."),
            says("no blank lines", sse_only.replace("\n\n", "\n"), "Said."),
            says("no last blank line", sse_only.trim_end().to_owned(), "Said."),
        ],
    )
    .await;
}

#[tokio::test]
async fn thoughts_in_tags_are_not_part_of_the_answer() {
    for wire in [OPENAI, RESPONSES, ANTHROPIC, GEMINI, OLLAMA] {
        let rows = vec![
            thinks(
                "torn tags",
                pieces(wire, &["<th", "ink>\\nSec", "ret.\\n</thi", "nk>\\n\\nIt is 42."]),
                "Secret.",
                "It is 42.",
            ),
            thinks(
                "another tag",
                pieces(wire, &["<thinking>Secret.</thinking>It is 42."]),
                "Secret.",
                "It is 42.",
            ),
            thinks(
                "no opening tag",
                pieces(wire, &["Secret.", "\\n</think>\\n\\n", "It is 42."]),
                "Secret.",
                "It is 42.",
            ),
            thinks(
                "no closing tag",
                pieces(wire, &["<think>Secret."]),
                "Secret.",
                "(The model said nothing.)",
            ),
            says(
                "quoted",
                pieces(wire, &["Write <think>", "x</think> first."]),
                "Write <think>x</think> first.",
            ),
            says("none", pieces(wire, &["a <", " b"]), "a < b"),
        ];
        for row in rows {
            // A turn without a message has a placeholder, which is tested elsewhere.
            if row.said.starts_with("(The model") {
                let (log, _) = turn(wire, vec![row.reply], AgentOptions::new).await;
                assert_eq!(log.thought(), row.thought, "{log:?}");
                assert!(!super::messages(&log).0.contains("Secret"), "{log:?}");
            } else {
                check(wire, vec![row]).await;
            }
        }
    }
}

#[tokio::test]
async fn thoughts_in_tags_are_not_sent_back() {
    for wire in WIRES {
        for content in
            [&["<think>Secret.</think>It is 42."][..], &["Secret.\\n</think>\\n\\nIt is 42."]]
        {
            let canned =
                CannedProvider::play([pieces(wire, content).into(), super::answer(wire).into()])
                    .await;
            let harness =
                AgentHarness::new(AgentOptions::new(wire.model, providers(&canned.host))).await;
            let (_, session) = harness.agent("tess", Style::Native).await;
            harness.run_turn(&session, "hello").await;
            harness.run_turn(&session, "and now?").await;
            let asked = canned.requests()[1].to_string();
            assert!(asked.contains("It is 42.") && !asked.contains("Secret"), "{wire:?}: {asked}");
        }
    }
}
