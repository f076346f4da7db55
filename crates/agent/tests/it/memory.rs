//! MemGPT's eight tools and our own, called by a script.

use serde_json::{Value, json};
use thoughtwire_agent::ReplyPiece;
use thoughtwire_hub::BlockChange;
use thoughtwire_proto::{Event, SessionEvent, SessionId, Style, ToolStatus};

use crate::harness::{AgentHarness, ScriptedModel, call, done, options, text};

/// Calls a tool in a turn and returns its result.
async fn returned(name: &str, args: &Value) -> (ToolStatus, String) {
    let script = ScriptedModel::new([call(name, args), text("Done.")]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    // The native style does not offer these two.
    let style = if matches!(name, "send_message" | "pause_heartbeats") {
        Style::Memgpt
    } else {
        Style::Native
    };
    let (_, session) = harness.agent("tess", style).await;
    let log = harness.run_turn(&session, "do it").await;
    assert_eq!(log.end().0, "Completed", "{name}({args}): {:?} {:?}", log.end(), log.records);
    let (status, text) = log.returned()[0];
    (status, text.to_owned())
}

#[tokio::test]
async fn tool_errors_say_what_is_wrong_and_what_to_do() {
    let cases: [(&str, Value, &str); 22] = [
        ("send_message", json!({"message": ""}), "`message` is empty"),
        ("send_message", json!({"text": "hi"}), "send_message needs `message`, a text"),
        (
            "core_memory_append",
            json!({"name": "human"}),
            "core_memory_append needs `content`, a text",
        ),
        (
            "core_memory_append",
            json!({"name": "human", "content": 7}),
            "`content` of core_memory_append is a text, not 7",
        ),
        (
            "core_memory_append",
            json!({"name": "humans", "content": "x"}),
            "There is no memory block `humans`. There are: ",
        ),
        ("core_memory_append", json!({"name": "human", "content": " "}), "`content` is empty"),
        (
            "core_memory_append",
            json!({"name": "human", "content": "x".repeat(100_000)}),
            "more do not fit. Shorten it",
        ),
        (
            "core_memory_replace",
            json!({"name": "human", "old_content": "never said", "new_content": ""}),
            "does not contain \"never said\" word for word",
        ),
        (
            "core_memory_replace",
            json!({"name": "human", "old_content": "", "new_content": "x"}),
            "`old_content` is empty",
        ),
        ("conversation_search", json!({"query": ""}), "`query` is empty"),
        (
            "conversation_search",
            json!({"query": "tea", "page": "two"}),
            "`page` of conversation_search is a whole number from 0, not \"two\"",
        ),
        (
            "conversation_search",
            json!({"query": "tea", "page": 18_446_744_073_709_551_615_u64}),
            "There is no page",
        ),
        (
            "conversation_search_date",
            json!({"start_date": "yesterday", "end_date": "2026-01-01"}),
            "`start_date` is a day as in",
        ),
        (
            "conversation_search_date",
            json!({"start_date": "2026-01-02", "end_date": "2026-01-01"}),
            "is before",
        ),
        ("archival_memory_insert", json!({"content": ""}), "`content` is empty"),
        ("archival_memory_search", json!({}), "archival_memory_search needs `query`"),
        ("pause_heartbeats", json!({"minutes": 0}), "from 1 to 360, not 0"),
        ("pause_heartbeats", json!({"minutes": 361}), "from 1 to 360, not 361"),
        ("calculator", json!({"expression": "7 apples"}), "cannot be worked out"),
        ("calculator", json!({"expression": "1/0"}), "divides by zero"),
        ("calculator", json!({"expression": "(".repeat(501)}), "at most 500"),
        (
            "current_time",
            json!({"timezone": "Mars/Olympus"}),
            "There is no time zone `Mars/Olympus`",
        ),
    ];
    for (name, args, complaint) in cases {
        let (status, text) = returned(name, &args).await;
        assert_eq!(status, ToolStatus::Error, "{name}({args}): {text}");
        assert!(text.contains(complaint), "{name}({args}): {text}");
    }
}

#[tokio::test]
async fn tool_results_are_readable() {
    let cases: [(&str, Value, &str); 14] = [
        (
            "core_memory_append",
            json!({"name": "human", "content": "She likes tea."}),
            "`human` is changed; it has ",
        ),
        ("conversation_search", json!({"query": "unheard-of"}), "No results."),
        ("archival_memory_search", json!({"query": "\"AND (", "page": "0"}), "No results."),
        ("archival_memory_insert", json!({"content": "a note"}), "The note is in archival memory."),
        ("pause_heartbeats", json!({"minutes": 5.0}), "Timed heartbeats are paused for 5 minutes."),
        ("calculator", json!({"expression": "2^10 - 24"}), "1000"),
        ("calculator", json!({"expression": "(".repeat(240) + "1" + &")".repeat(240)}), "1"),
        ("calculator", json!({"expression": "sqrt(2) * sqrt(2)"}), "2"),
        ("calculator", json!({"expression": "7 % 4"}), "3"),
        ("calculator", json!({"expression": "2 * 10 % 4 + 7 % 6 / 2"}), "0.5"),
        ("calculator", json!({"expression": "8 / 2 * 4 - 1 - 1"}), "14"),
        ("calculator", json!({"expression": "(2 + 3) × 4 ÷ 2"}), "10"),
        ("calculator", json!({"expression": "10^300 * 10"}), "e301"),
        ("current_time", json!({"timezone": "UTC"}), "UTC+00:00"),
    ];
    for (name, args, expected) in cases {
        let (status, text) = returned(name, &args).await;
        assert_eq!(status, ToolStatus::Success, "{name}({args}): {text}");
        let fits =
            if name == "calculator" { text.ends_with(expected) } else { text.contains(expected) };
        assert!(fits, "{name}({args}): {text}");
    }
}

#[tokio::test]
async fn a_memory_edit_is_logged_and_visible_to_the_next_step() {
    let append = json!({"name": "human", "content": "She likes tea."});
    let replace = json!({"name": "human", "old_content": "tea", "new_content": "coffee"});
    let script = ScriptedModel::new([
        call("core_memory_append", &append),
        call("core_memory_replace", &replace),
        text("Noted."),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (agent, session) = harness.agent("tess", Style::Native).await;
    let before = harness.block(&agent, "human").await;
    let log = harness.run_turn(&session, "I like tea. No, coffee.").await;
    assert_eq!(
        log.kinds(),
        [
            "user_message",
            "turn_started",
            "tool_called",
            "memory_edited",
            "tool_returned",
            "tool_called",
            "memory_edited",
            "tool_returned",
            "usage",
            "message",
            "turn_ended"
        ]
    );
    let edits: Vec<_> = log
        .records
        .iter()
        .filter_map(|record| {
            if let Event::Session(SessionEvent::MemoryEdited { block, before, after, by }) =
                &record.event
            {
                Some((block, before, after, by))
            } else {
                None
            }
        })
        .collect();
    assert_eq!((edits[0].0.as_str(), edits[0].1, edits[0].3.as_str()), ("human", &before, "agent"));
    assert_eq!(edits[1].1, edits[0].2);
    assert!(edits[1].2.ends_with("She likes coffee."));
    assert_eq!(&harness.block(&agent, "human").await, edits[1].2);
    let systems: Vec<bool> =
        script.prompts().iter().map(|prompt| prompt.system.contains("She likes tea.")).collect();
    assert_eq!(systems, [false, true, false]);
}

#[tokio::test]
async fn a_full_block_reports_the_excess() {
    let fill = async |harness: &AgentHarness, agent| {
        let blocks = harness.hub.store().memory().blocks(agent).await.unwrap();
        let human = blocks.iter().find(|block| block.label == "human").unwrap();
        (human.limit, human.text.chars().count())
    };
    let probe = AgentHarness::new(options("offline")).await;
    let (agent, _) = probe.agent("tess", Style::Native).await;
    let (limit, used) = fill(&probe, &agent).await;
    let break_ = usize::from(used > 0);
    let almost = json!({"name": "human", "content": "ä".repeat(limit - used - break_ - 10)});
    let more = json!({"name": "human", "content": "y".repeat(20)});
    let script = ScriptedModel::new([
        call("core_memory_append", &almost),
        call("core_memory_append", &more),
        text("It is full."),
    ]);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (agent, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "fill up").await;
    let results = log.returned();
    assert_eq!(
        (results[0].0, results[1].0),
        (ToolStatus::Success, ToolStatus::Error),
        "{results:?}"
    );
    assert!(results[1].1.contains("21 more do not fit"), "{}", results[1].1);
    assert_eq!(fill(&harness, &agent).await.1, limit - 10);
}

#[tokio::test]
async fn edits_from_many_sessions_lose_nothing() {
    let replies = (0..20).flat_map(|n| {
        [
            call("core_memory_append", &json!({"name": "human", "content": format!("fact {n}.")})),
            text("Noted."),
        ]
    });
    let script = ScriptedModel::new(replies);
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (agent, _) = harness.agent("tess", Style::Native).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(harness.session("tess").await);
    }
    // Any turn may get any reply: each text ends one turn, and there are as many texts as turns.
    let run = |session| {
        let harness = &harness;
        async move {
            for _ in 0..5 {
                harness.run_turn(session, "go on").await;
            }
        }
    };
    futures::future::join_all(sessions.iter().map(run)).await;
    let human = harness.block(&agent, "human").await;
    let kept = (0..20).filter(|n| human.lines().any(|line| line == format!("fact {n}."))).count();
    assert_eq!(kept, 20, "{human}");
}

#[tokio::test]
async fn searches_have_pages_and_leave_out_the_question() {
    let harness = AgentHarness::new(options("offline")).await;
    let (agent, session) = harness.agent("tess", Style::Native).await;
    for n in 0..7 {
        harness.run_turn(&session, &format!("say: parrot number {n}")).await;
        let note = thoughtwire_agent::Archive::note(
            format!("parrot note {n}"),
            thoughtwire_hub::now(),
            None,
        );
        harness.hub.store().memory().add_notes(&agent, vec![note], u64::MAX, None).await.unwrap();
    }
    let today = thoughtwire_hub::now().to_string();
    let day = today.get(..10).unwrap();
    let log = harness.run_turn(&session, &format!("what did I say on {day}?")).await;
    assert!(
        log.returned()[0].1.starts_with("Showing 5 of 14 results (page 0):"),
        "{:?}",
        log.returned()
    );
    assert!(log.message().contains("user: say: parrot number 0"), "{}", log.message());
    let log =
        harness.run_turn(&session, "what did I say about parrots and nothing else, parrot?").await;
    assert!(!log.returned()[0].1.contains("what did I say about"), "{:?}", log.returned());
    let note = harness.run_turn(&session, "what do you know about note?").await;
    assert!(
        note.returned()[0].1.starts_with("Showing 5 of 7 results (page 0):"),
        "{:?}",
        note.returned()
    );
}

#[tokio::test]
async fn a_thousand_edits_from_two_sessions_and_the_owner_lose_nothing() {
    // In this style a turn ends with its calls: each turn takes the next ten edits, in any session.
    let script = ScriptedModel::new((0..100).map(|turn| {
        let edit = |n: usize| {
            let args = json!({"name": "human", "content": format!("{turn} {n}")});
            [
                ReplyPiece::Call {
                    index: n,
                    name: "core_memory_append".to_owned(),
                    provider_id: None,
                },
                ReplyPiece::Args { index: n, json: args.to_string() },
            ]
        };
        let spoken = ReplyPiece::Message(format!("Edits of turn {turn}."));
        [spoken].into_iter().chain((0..10).flat_map(edit)).chain([done()]).collect()
    }));
    let harness = AgentHarness::scripted(&script, options("offline")).await;
    let (agent, one) = harness.agent("tess", Style::Memgpt).await;
    let other = harness.session("tess").await;
    let wide =
        BlockChange { limit: Some(100_000), text: Some(String::new()), ..BlockChange::default() };
    harness.hub.directory().edit_block(&harness.user, "tess", "human", wide).await.unwrap();
    let edits = |session: SessionId| {
        let harness = &harness;
        async move {
            for _ in 0..50 {
                assert_eq!(harness.run_turn(&session, "go on").await.end().0, "Completed");
            }
        }
    };
    let owner = async {
        for n in 0..50 {
            let change = BlockChange {
                description: Some(format!("Description {n}.")),
                ..BlockChange::default()
            };
            harness
                .hub
                .directory()
                .edit_block(&harness.user, "tess", "human", change)
                .await
                .unwrap();
        }
    };
    tokio::join!(edits(one), edits(other), owner);
    let text = harness.block(&agent, "human").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1_000);
    for turn in 0..100 {
        let of_turn: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(&format!("{turn} "))).collect();
        assert_eq!(
            of_turn,
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            "the edits of one step stay in order"
        );
    }
}
