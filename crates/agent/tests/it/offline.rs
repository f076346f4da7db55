//! The offline model in both styles, as a first run shows it.

use thoughtwire_proto::{Event, Policy, StreamKind, Style, ToolStatus, TurnEvent};

use crate::harness::{AgentHarness, options};

const STYLES: [Style; 2] = [Style::Native, Style::Memgpt];

#[tokio::test]
async fn answers_use_the_tools_they_need() {
    let turns: [(&str, &[&str], &str); 30] = [
        ("Hello!", &[], "Hello!"),
        ("my name is Ada", &["core_memory_append"], "I will remember that your name is Ada."),
        ("What is my name?", &[], "Your name is Ada."),
        (
            "Hi! I like green tea. I live in Porto.",
            &["core_memory_append", "core_memory_append"],
            "I will remember that you live in Porto.",
        ),
        ("what do I like?", &[], "You like green tea."),
        ("Where do I live?", &[], "You live in Porto."),
        ("my name is Bea", &["core_memory_replace"], "your name is Bea"),
        ("who am I?", &[], "Your name is Bea. You like green tea. You live in Porto."),
        (
            "Remember that the code word is banana.",
            &["core_memory_append"],
            "the code word is banana",
        ),
        ("what do you remember about the code word?", &[], "The code word is banana."),
        ("i like green tea", &[], "I know that you like green tea already."),
        (
            "what did I say about tea?",
            &["conversation_search"],
            "user: Hi! I like green tea. I live in Porto.",
        ),
        ("what is 6*7?", &["calculator"], "6*7 = 42"),
        ("12 / 5 + 1", &["calculator"], "12 / 5 + 1 = 3.4"),
        ("What is 0.1 plus 0.2?", &["calculator"], "0.1 + 0.2 = 0.3"),
        ("Could you compute (2.5 + 1.5) * 10 for me?", &["calculator"], "(2.5 + 1.5) * 10 = 40"),
        ("Dial 555-1234 tonight.", &[], "You say: Dial 555-1234 tonight."),
        ("how are you?", &[], "I am well"),
        ("Are you happy with me?", &[], "Am I happy with you?"),
        (
            "I play chess and I speak Dutch",
            &["core_memory_append", "core_memory_append"],
            "I will remember that you speak Dutch.",
        ),
        ("Do you know what I play?", &[], "You play chess."),
        ("Please remember to buy milk.", &["core_memory_append"], "I will remember: to buy milk."),
        ("The meeting with Zoe is at nine.", &[], "You say:"),
        (
            "When is the meeting?",
            &["archival_memory_search", "conversation_search"],
            "user: The meeting with Zoe is at nine.",
        ),
        ("Can you tell me the time?", &["current_time"], "It is "),
        ("1/0", &["calculator"], "divides by zero"),
        ("What time is it in Europe/Berlin?", &["current_time"], "(Europe/Berlin, UTC+0"),
        ("Who are you?", &[], "not an LLM"),
        (
            "What is the airspeed of a swallow?",
            &["archival_memory_search", "conversation_search"],
            "I do not remember anything about that",
        ),
        ("My day was long.", &[], "You say: Your day was long. Tell me more."),
    ];
    for style in STYLES {
        let harness = AgentHarness::new(options("offline")).await;
        let (_, session) = harness.agent("tess", style).await;
        for (input, tools, answer) in turns {
            let log = harness.run_turn(&session, input).await;
            let called: Vec<&str> =
                log.called().into_iter().filter(|name| *name != "send_message").collect();
            assert_eq!(called, tools, "{style:?}: {input}: {}", log.message());
            assert!(log.message().contains(answer), "{style:?}: {input}: {}", log.message());
            assert!(!log.thought().is_empty(), "{style:?}: {input}: no thought");
            assert_eq!(log.end().0, "Completed", "{style:?}: {input}");
            assert!(
                log.usage().is_some_and(|usage| usage.input_tokens > 0 && usage.output_tokens > 0),
                "{style:?}: {input}"
            );
        }
        harness.close().await;
    }
}

#[tokio::test]
async fn it_introduces_itself_in_the_first_turn_only() {
    for style in STYLES {
        let harness = AgentHarness::new(options("offline")).await;
        let (_, session) = harness.agent("tess", style).await;
        let first = harness.run_turn(&session, "Hello").await.message();
        assert!(
            first.contains("not an LLM")
                && first.contains("OPENAI_API_KEY")
                && first.contains("--model openai/NAME"),
            "{first}"
        );
        assert!(!harness.run_turn(&session, "Hello again").await.message().contains("LLM"));
        harness.close().await;
    }
}

#[tokio::test]
async fn deltas_are_streamed_and_superseded_by_the_message() {
    for style in STYLES {
        let harness = AgentHarness::new(options("offline")).await;
        let (_, session) = harness.agent("tess", style).await;
        let words = "say: \"one\" two\tthree\nfour, ☕ and \\ five";
        let log = harness.run_turn(&session, words).await;
        assert_eq!(log.message(), "\"one\" two\tthree\nfour, ☕ and \\ five");
        let pieces = log.streamed(StreamKind::Message);
        assert!(pieces.len() > 3, "{pieces:?}");
        assert_eq!(pieces.concat(), log.message());
        assert_eq!(log.streamed(StreamKind::Thought).concat(), log.thought());
        harness.close().await;
    }
}

#[tokio::test]
async fn a_memgpt_turn_has_the_message_inside_its_call() {
    let harness = AgentHarness::new(options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Memgpt).await;
    let log = harness.run_turn(&session, "what is 2+2?").await;
    let kinds = log.kinds();
    let expected = [
        "user_message",
        "turn_started",
        "thought",
        "tool_called",
        "tool_returned",
        "thought",
        "tool_called",
        "message",
        "tool_returned",
        "usage",
        "turn_ended",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(log.called(), ["calculator", "send_message"]);
    assert_eq!(log.returned(), [(ToolStatus::Success, "4"), (ToolStatus::Success, "None")]);
    let streamed = log.streamed(StreamKind::ToolArgs).concat();
    let args = serde_json::Deserializer::from_str(&streamed)
        .into_iter::<serde_json::Value>()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(args, serde_json::json!({"expression": "2+2", "request_heartbeat": true}));
    harness.close().await;
}

#[tokio::test]
async fn a_native_turn_ends_with_usage_message_and_end() {
    let harness = AgentHarness::new(options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "what is 2+2?").await;
    let expected = [
        "user_message",
        "turn_started",
        "thought",
        "tool_called",
        "tool_returned",
        "thought",
        "usage",
        "message",
        "turn_ended",
    ];
    assert_eq!(log.kinds(), expected);
    harness.close().await;
}

#[tokio::test]
async fn facts_survive_the_session_and_a_restart() {
    for style in STYLES {
        let dir = tempfile::tempdir().unwrap();
        let harness = AgentHarness::open(dir.path(), options("offline")).await;
        let (agent, session) = harness.agent("tess", style).await;
        harness.run_turn(&session, "my name is Ada").await;
        let long =
            format!("remember that the recipe of the cake says {}", "flour and sugar ".repeat(20));
        let log = harness.run_turn(&session, &long).await;
        assert_eq!(log.called().first(), Some(&"archival_memory_insert"));
        let other = harness.session("tess").await;
        assert!(
            harness
                .run_turn(&other, "what is my name?")
                .await
                .message()
                .contains("Your name is Ada.")
        );
        harness.close().await;

        let harness = AgentHarness::open(dir.path(), options("offline")).await;
        assert_eq!(harness.block(&agent, "human").await.lines().last(), Some("my name is Ada"));
        let third = harness.session("tess").await;
        assert!(
            harness
                .run_turn(&third, "what is my name?")
                .await
                .message()
                .contains("Your name is Ada.")
        );
        let log = harness.run_turn(&third, "what do you know about the recipe?").await;
        assert!(log.message().contains("flour and sugar"), "{}", log.message());
        let log = harness.run_turn(&third, "what did I say about cake?").await;
        assert!(log.message().contains("the recipe of the cake"), "{}", log.message());
        harness.close().await;
    }
}

#[tokio::test]
async fn another_agent_does_not_know_the_facts() {
    let harness = AgentHarness::new(options("offline")).await;
    let (_, ada) = harness.agent("tess", Style::Native).await;
    let (_, bob) = harness.agent("rolf", Style::Native).await;
    harness.run_turn(&ada, "my name is Ada").await;
    let log = harness.run_turn(&bob, "what is my name?").await;
    assert!(!log.message().contains("Ada"), "{}", log.message());
    harness.close().await;
}

#[tokio::test]
async fn counting_streams_one_message_in_many_pieces() {
    let harness = AgentHarness::new(options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "count to 3000").await;
    let numbers: Vec<u64> =
        log.message().split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=3000).collect::<Vec<u64>>());
    harness.close().await;
}

#[tokio::test]
async fn a_steered_input_is_answered_in_the_running_turn() {
    let harness = AgentHarness::new(options("offline")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness
        .collect(&session, |_| false, async {
            harness.send(&session, "count to 20000", Policy::Queue).await;
            harness.send(&session, "what is 6*7?", Policy::Steer).await;
        })
        .await;
    // The input may be answered in the first step or in a later one.
    assert!(log.message().contains("6*7 = 42"), "the joined input was not answered");
    let turns = log
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::Turn(TurnEvent::Started { .. })))
        .count();
    assert_eq!(turns, 1);
    harness.close().await;
}
