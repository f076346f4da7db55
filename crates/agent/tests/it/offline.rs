//! The offline model in both styles: everything that a first run shows.

use thoughtwire_proto::{Event, Policy, StreamKind, Style, ToolStatus, TurnEvent};

use crate::home::{Home, options};

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
        let home = Home::new(options("offline")).await;
        let (_, session) = home.agent("tess", style).await;
        for (input, tools, answer) in turns {
            let told = home.say(&session, input).await;
            let called: Vec<&str> =
                told.called().into_iter().filter(|name| *name != "send_message").collect();
            assert_eq!(called, tools, "{style:?}: {input}: {}", told.message());
            assert!(told.message().contains(answer), "{style:?}: {input}: {}", told.message());
            assert!(!told.thought().is_empty(), "{style:?}: {input}: no thought");
            assert_eq!(told.end().0, "Completed", "{style:?}: {input}");
            assert!(
                told.usage().is_some_and(|usage| usage.input_tokens > 0 && usage.output_tokens > 0),
                "{style:?}: {input}"
            );
        }
        home.close().await;
    }
}

#[tokio::test]
async fn it_introduces_itself_in_the_first_turn_only() {
    for style in STYLES {
        let home = Home::new(options("offline")).await;
        let (_, session) = home.agent("tess", style).await;
        let first = home.say(&session, "Hello").await.message();
        assert!(
            first.contains("not an LLM")
                && first.contains("OPENAI_API_KEY")
                && first.contains("--model openai/NAME"),
            "{first}"
        );
        assert!(!home.say(&session, "Hello again").await.message().contains("LLM"));
        home.close().await;
    }
}

#[tokio::test]
async fn words_are_streamed_and_superseded_by_the_message() {
    for style in STYLES {
        let home = Home::new(options("offline")).await;
        let (_, session) = home.agent("tess", style).await;
        let words = "say: \"one\" two\tthree\nfour, ☕ and \\ five";
        let told = home.say(&session, words).await;
        assert_eq!(told.message(), "\"one\" two\tthree\nfour, ☕ and \\ five");
        let pieces = told.streamed(StreamKind::Message);
        assert!(pieces.len() > 3, "{pieces:?}");
        assert_eq!(pieces.concat(), told.message());
        assert_eq!(told.streamed(StreamKind::Thought).concat(), told.thought());
        home.close().await;
    }
}

#[tokio::test]
async fn a_memgpt_turn_has_the_message_inside_its_call() {
    let home = Home::new(options("offline")).await;
    let (_, session) = home.agent("tess", Style::Memgpt).await;
    let told = home.say(&session, "what is 2+2?").await;
    let kinds = told.kinds();
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
    assert_eq!(told.called(), ["calculator", "send_message"]);
    assert_eq!(told.returned(), [(ToolStatus::Success, "4"), (ToolStatus::Success, "None")]);
    let streamed = told.streamed(StreamKind::ToolArgs).concat();
    let args = serde_json::Deserializer::from_str(&streamed)
        .into_iter::<serde_json::Value>()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(args, serde_json::json!({"expression": "2+2", "request_heartbeat": true}));
    home.close().await;
}

#[tokio::test]
async fn a_native_turn_ends_with_usage_message_and_end() {
    let home = Home::new(options("offline")).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "what is 2+2?").await;
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
    assert_eq!(told.kinds(), expected);
    home.close().await;
}

#[tokio::test]
async fn facts_outlive_the_session_and_the_process() {
    for style in STYLES {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path(), options("offline")).await;
        let (agent, session) = home.agent("tess", style).await;
        home.say(&session, "my name is Ada").await;
        let long =
            format!("remember that the recipe of the cake says {}", "flour and sugar ".repeat(20));
        let told = home.say(&session, &long).await;
        assert_eq!(told.called().first(), Some(&"archival_memory_insert"));
        let other = home.session("tess").await;
        assert!(home.say(&other, "what is my name?").await.message().contains("Your name is Ada."));
        home.close().await;

        let home = Home::open(dir.path(), options("offline")).await;
        assert_eq!(home.block(&agent, "human").await.lines().last(), Some("my name is Ada"));
        let third = home.session("tess").await;
        assert!(home.say(&third, "what is my name?").await.message().contains("Your name is Ada."));
        let told = home.say(&third, "what do you know about the recipe?").await;
        assert!(told.message().contains("flour and sugar"), "{}", told.message());
        let told = home.say(&third, "what did I say about cake?").await;
        assert!(told.message().contains("the recipe of the cake"), "{}", told.message());
        home.close().await;
    }
}

#[tokio::test]
async fn another_agent_knows_nothing_of_it() {
    let home = Home::new(options("offline")).await;
    let (_, ada) = home.agent("tess", Style::Native).await;
    let (_, bob) = home.agent("rolf", Style::Native).await;
    home.say(&ada, "my name is Ada").await;
    let told = home.say(&bob, "what is my name?").await;
    assert!(!told.message().contains("Ada"), "{}", told.message());
    home.close().await;
}

#[tokio::test]
async fn counting_is_one_message_of_many_pieces() {
    let home = Home::new(options("offline")).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "count to 3000").await;
    let numbers: Vec<u64> =
        told.message().split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=3000).collect::<Vec<u64>>());
    home.close().await;
}

#[tokio::test]
async fn an_input_that_joins_the_turn_is_answered_in_it() {
    let home = Home::new(options("offline")).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home
        .listen(&session, |_| false, async {
            home.send(&session, "count to 20000", Policy::Queue).await;
            home.send(&session, "what is 6*7?", Policy::Steer).await;
        })
        .await;
    // In the first step or behind it, as it comes.
    assert!(told.message().contains("6*7 = 42"), "the joined input was not answered");
    let turns = told
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::Turn(TurnEvent::Started { .. })))
        .count();
    assert_eq!(turns, 1);
    home.close().await;
}
