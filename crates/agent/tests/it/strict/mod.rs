//! Requests against providers that are as strict as the real ones.

mod replies;
mod resumed;
mod rules;
mod server;
mod silent;
mod stalled;

use std::collections::HashMap;

use serde_json::{Value, json};
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{AgentSpec, Emission, Event, Policy, Style, ToolDeclaration, TurnEvent};

use crate::harness::AgentHarness;
use crate::mock::providers;
use replies::{ScriptedCall, ScriptedReply, sum};
use server::{RecordedRequest, StrictProvider, StrictWire};

const MODELS: [&str; 6] = [
    "openai/kimi-k2.5",
    "openai-responses/gpt-5-mini-high",
    "anthropic/claude-sonnet-4-5-high",
    "gemini/gemini-3-pro",
    "gemini/gemini-2.5-flash",
    "ollama/qwen3",
];

async fn harness(strict: &StrictProvider, options: AgentOptions) -> AgentHarness {
    AgentHarness::new(AgentOptions { providers: providers(&strict.host), retries: 0, ..options })
        .await
}

async fn agent(harness: &AgentHarness, style: Style) -> thoughtwire_proto::SessionId {
    harness.agent("tess", style).await.1
}

/// Scripted replies; the last one repeats.
fn script(
    replies: Vec<ScriptedReply>,
) -> impl FnMut(&RecordedRequest) -> ScriptedReply + Send + 'static {
    let mut replies = replies.into_iter();
    let mut last = ScriptedReply::Fails;
    move |_| {
        last = replies.next().unwrap_or_else(|| last.clone());
        last.clone()
    }
}

/// A random reply: blank or not, with valid and invalid calls, or with none.
fn any_reply(rng: &mut fastrand::Rng, asked: &RecordedRequest) -> ScriptedReply {
    let texts = ["", "\n\n", " ", "Well.", "It is 42.", "<think>Secret.</think>\n\nIt is 42."];
    let text = texts[rng.usize(..texts.len())];
    let calls_at_most = if asked.body.to_string().len().is_multiple_of(3) { 4 } else { 2 };
    let ids = ["c1", "call 1|x", "functions.calculator:0", "D681PevKs", ""];
    let names = ["calculator", "current_time", "no such tool!", "calculator"];
    let calls = (0..rng.usize(..calls_at_most)).map(|_| ScriptedCall {
        id: match ids[rng.usize(..ids.len())] {
            "" => format!("toolu_{}", "x".repeat(rng.usize(1..90))),
            id => id.to_owned(),
        },
        name: names[rng.usize(..names.len())].to_owned(),
        args: if rng.bool() { json!({"expression": "6*7"}) } else { json!({}) },
    });
    let calls: Vec<ScriptedCall> = calls.collect();
    match rng.usize(..10) {
        0 => ScriptedReply::Fails,
        _ => ScriptedReply::calls(rng.usize(..3) > 0, text, calls),
    }
}

#[tokio::test]
async fn no_history_makes_an_invalid_request() {
    for seed in 0..24 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut server_rng = rng.fork();
        let strict = StrictProvider::start(move |asked| any_reply(&mut server_rng, asked)).await;
        let first = MODELS[seed as usize % MODELS.len()];
        let mut fallbacks = MODELS.map(str::to_owned).to_vec();
        rng.shuffle(&mut fallbacks);
        let options = AgentOptions {
            max_steps: 6,
            fallbacks,
            ..AgentOptions::new(first, Default::default())
        };
        let harness = harness(&strict, options).await;
        let style = if rng.usize(..3) == 0 { Style::Memgpt } else { Style::Native };
        let session = agent(&harness, style).await;
        for _ in 0..5 {
            let inputs = ["hello", "two\nlines", "\u{200b}"];
            let text = inputs[rng.usize(..inputs.len())];
            let send = harness.send(&session, text, Policy::Queue);
            harness.collect_with_tools(&session, odd_tools(), |_| false, send).await;
        }
        let refused = strict.refused();
        let first = refused.first();
        assert!(
            refused.is_empty(),
            "seed {seed}: {:?} of {}: {:#}",
            first.map(|asked| &asked.wrong),
            first.map_or("", |asked| &asked.model),
            first.map_or(&Value::Null, |asked| &asked.body)
        );
        assert!(strict.requests().len() >= 5, "seed {seed}: too few requests");
    }
}

/// Tools of a client whose schemas some providers refuse.
fn odd_tools() -> Vec<ToolDeclaration> {
    let texts = json!({"a": {"type": "string"}, "b": {"type": ["string", "null"]}});
    let schemas = [
        json!({"type": "object", "properties": texts, "oneOf": [
            {"required": ["a"]}, {"required": ["b"]}
        ]}),
        json!({"allOf": [{"$ref": "#/definitions/A"}], "definitions": {
            "A": {"properties": texts}
        }}),
        json!({"type": "object", "properties": {"next": {"$ref": "#"}}}),
        json!({"anyOf": [{"type": "object", "properties": {"x": {"const": 1}}}, {"type": "null"}]}),
        json!({"type": "object", "properties": {
            "list": {"type": "array"},
            "tuple": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
            "number": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
            "any": true,
            "odd": {"type": "file", "required": true},
            "level": {"enum": [1, 2, 3]},
            "word": {"enum": ["", "a", null]},
            "free": {"type": "object"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "either": {"oneOf": [{"type": "string"}, {"type": "number"}], "description": "Either."},
        }, "required": ["list", "list", 3, "absent"], "additionalProperties": false}),
        json!({"type": "string"}),
        json!({}),
    ];
    let named = |(at, schema): (usize, Value)| ToolDeclaration {
        replay: None,
        name: format!("odd_{at}"),
        description: String::new(),
        parameters: schema.as_object().cloned().unwrap(),
    };
    schemas.into_iter().enumerate().map(named).collect()
}

#[tokio::test]
async fn requests_of_a_session_share_their_prefix() {
    for model in MODELS {
        let replies = vec![
            ScriptedReply::calls(true, "Let me see.", vec![sum("c1", "6*7"), sum("c2", "1/0")]),
            ScriptedReply::text("It is 42."),
            ScriptedReply::calls(true, "", vec![sum("c1", "1+1")]),
            ScriptedReply::text("It is 2."),
        ];
        let strict = StrictProvider::start(script(replies)).await;
        let harness = harness(&strict, AgentOptions::new(model, Default::default())).await;
        let session = agent(&harness, Style::Native).await;
        for text in ["six by seven?", "one and one?", "thanks"] {
            assert_eq!(harness.run_turn(&session, text).await.end().0, "Completed", "{model}");
        }
        let asked = strict.requests();
        assert_eq!(asked.len(), 5, "{model}");
        for pair in asked.windows(2) {
            let [(head, old), (new_head, new)] = [&pair[0], &pair[1]].map(parts);
            assert_eq!(head, new_head, "{model}: the heads differ");
            assert_eq!(old[..old.len() - 1], new[..old.len() - 1], "{model}: the messages differ");
        }
    }
}

/// The head of a request, and its messages, without cache marks, which move.
fn parts(asked: &RecordedRequest) -> (Value, Vec<Value>) {
    let mut body = unmarked(&asked.body);
    let key = match asked.wire {
        StrictWire::OpenAi | StrictWire::Anthropic | StrictWire::Ollama => "messages",
        StrictWire::Responses => "input",
        StrictWire::Gemini => "contents",
    };
    let messages = body.as_object_mut().unwrap().remove(key).unwrap();
    (body, messages.as_array().unwrap().clone())
}

fn unmarked(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| *key != "cache_control");
            kept.map(|(key, value)| (key.clone(), unmarked(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(unmarked).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[tokio::test]
async fn signed_reasoning_goes_back_to_its_maker_only() {
    for (model, other) in [
        (MODELS[2], MODELS[3]),
        (MODELS[1], MODELS[2]),
        (MODELS[3], MODELS[1]),
        (MODELS[0], MODELS[2]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let replies = vec![
            ScriptedReply::calls(true, "", vec![sum("c1", "6*7")]),
            ScriptedReply::text("It is 42."),
        ];
        let strict = StrictProvider::start(script(replies)).await;
        let options = || AgentOptions {
            providers: providers(&strict.host),
            ..AgentOptions::new(model, Default::default())
        };
        let harness = AgentHarness::open(dir.path(), options()).await;
        let session = agent(&harness, Style::Native).await;
        harness.run_turn(&session, "six by seven?").await;
        harness.close().await;
        let harness = AgentHarness::open(dir.path(), options()).await;
        harness.run_turn(&session, "thanks").await;
        let asked = strict.requests();
        let signed = |asked: &RecordedRequest| {
            let body = asked.body.to_string();
            body.matches("signed-").count() + body.matches("reasoned-").count()
        };
        assert_eq!(asked.iter().map(signed).collect::<Vec<_>>(), [0, 1, 1], "{model}: {asked:#?}");
        harness.close().await;
        // Another model takes over: the strict server would refuse another model's state.
        let harness = AgentHarness::open(
            dir.path(),
            AgentOptions { default_model: other.to_owned(), ..options() },
        )
        .await;
        harness.run_turn(&session, "and now?").await;
        assert_eq!(signed(strict.requests().last().unwrap()), 0, "{other}");
        assert!(strict.refused().is_empty(), "{:?}", strict.refused());
    }
}

#[tokio::test]
async fn provider_state_is_in_no_event_and_is_deleted_with_its_session() {
    let replies = vec![
        ScriptedReply::calls(true, "", vec![sum("c1", "6*7")]),
        ScriptedReply::text("It is 42."),
    ];
    let strict = StrictProvider::start(script(replies)).await;
    let harness = harness(&strict, AgentOptions::new(MODELS[2], Default::default())).await;
    let (id, main) = harness.agent("tess", Style::Native).await;
    let session = harness.session(id.as_str()).await;
    drop(main);
    harness.run_turn(&session, "six by seven?").await;
    let store = harness.hub.store();
    let logs = store.logs();
    let events = logs.records_after(&session, thoughtwire_proto::Seq::ZERO, 100).await.unwrap();
    assert!(!serde_json::to_string(&events).unwrap().contains("signed-"));
    let kept = async || {
        let all = thoughtwire_proto::Seq(u64::MAX);
        logs.provider_replies(&session, thoughtwire_proto::Seq::ZERO, all).await.unwrap()
    };
    assert!(kept().await[0].1.contains("signed-"), "{:?}", kept().await);
    store.directory().delete_session(&session, None).await.unwrap();
    while store.upkeep().erase_deleted().await.unwrap() {}
    assert!(kept().await.is_empty(), "{:?}", kept().await);
}

#[tokio::test]
async fn the_context_window_is_sent_and_thinking_leaves_room_for_an_answer() {
    let strict = StrictProvider::start(script(vec![ScriptedReply::text("Fine.")])).await;
    for (model, most) in [("ollama/qwen3", None), (MODELS[2], Some(600)), (MODELS[2], Some(4_000))]
    {
        let options = AgentOptions {
            context_window: 64_000,
            max_output_tokens: most,
            ..AgentOptions::new(model, Default::default())
        };
        let harness = harness(&strict, options).await;
        let session = agent(&harness, Style::Native).await;
        assert_eq!(
            harness.run_turn(&session, "hello").await.end().0,
            "Completed",
            "{model} {most:?}"
        );
    }
    let asked = strict.requests();
    assert_eq!(asked[0].body["options"]["num_ctx"], 64_000);
    assert!(asked[1].body.get("thinking").is_none(), "{}", asked[1].body["thinking"]);
    assert_eq!(asked[2].body["thinking"]["budget_tokens"], 3_000);
}

#[tokio::test]
async fn a_tool_with_an_unusable_schema_is_left_out_alone() {
    for model in MODELS {
        let strict = StrictProvider::start(script(vec![ScriptedReply::text("Fine.")])).await;
        let harness = harness(&strict, AgentOptions::new(model, Default::default())).await;
        let session = agent(&harness, Style::Native).await;
        let send = harness.send(&session, "hello", Policy::Queue);
        let log = harness.collect_with_tools(&session, odd_tools(), |_| false, send).await;
        assert_eq!(log.end().0, "Completed", "{model}: {:?}", strict.refused());
        let tools = strict.requests()[0].body["tools"].to_string();
        for name in ["calculator", "odd_0", "odd_1", "odd_2", "odd_3", "odd_4", "odd_6"] {
            assert!(tools.contains(&format!("\"{name}\"")), "{model}: {name} is not in {tools}");
        }
        assert!(!tools.contains("odd_5"), "{model}: arguments that are a text");
    }
}

#[tokio::test]
async fn reasoning_content_is_on_every_call_after_the_endpoint_sent_any() {
    let replies = vec![
        ScriptedReply::calls(true, "Hello.", vec![]),
        ScriptedReply::calls(false, "", vec![sum("c1", "6*7")]),
        ScriptedReply::text("It is 42."),
    ];
    let strict = StrictProvider::start(script(replies)).await;
    let harness = harness(&strict, AgentOptions::new(MODELS[0], Default::default())).await;
    let session = agent(&harness, Style::Native).await;
    for text in ["hello", "six by seven?", "thanks"] {
        let log = harness.run_turn(&session, text).await;
        assert_eq!(log.end().0, "Completed", "{log:?} {:?}", strict.refused());
    }
}

#[tokio::test]
async fn blank_text_makes_no_event() {
    for model in MODELS {
        let replies = vec![
            ScriptedReply::calls(false, "\n\n", vec![sum("c1", "6*7")]),
            ScriptedReply::text("\nIt is 42."),
        ];
        let strict = StrictProvider::start(script(replies)).await;
        let harness = harness(&strict, AgentOptions::new(model, Default::default())).await;
        let log = harness.run_turn(&agent(&harness, Style::Native).await, "hello").await;
        let mut texts = Vec::new();
        for record in &log.records {
            if let Event::Turn(TurnEvent::Message { text, .. } | TurnEvent::Thought { text, .. }) =
                &record.event
            {
                texts.push(text.trim());
            }
        }
        assert_eq!(texts, ["It is 42."], "{model}");
    }
}

#[tokio::test]
async fn an_agent_has_one_system_message_after_a_compaction() {
    for model in MODELS {
        let strict =
            StrictProvider::start(|_: &RecordedRequest| ScriptedReply::text(&"word ".repeat(120)))
                .await;
        let harness = harness(&strict, AgentOptions::new(model, Default::default())).await;
        let spec = AgentSpec { name: "tess".to_owned(), ..AgentSpec::default() };
        let settings =
            thoughtwire_proto::AgentSettings { context_window: Some(5_000), ..Default::default() };
        let (_, session) = harness.create(AgentSpec { settings, ..spec }).await;
        let mut has_compacted = false;
        for number in 0..30 {
            let log = harness
                .run_turn(&session, &format!("question {number} {}", "pad ".repeat(60)))
                .await;
            assert_eq!(log.end().0, "Completed", "{model}: {:?}", strict.refused());
            if has_compacted {
                break;
            }
            has_compacted = log.kinds().contains(&"compacted");
        }
        assert!(has_compacted, "{model}");
        let asked = strict.requests();
        assert!(asked.last().unwrap().body.to_string().contains("What came before, in short:"));
    }
}

#[tokio::test]
async fn call_ids_go_back_to_their_endpoint_unchanged() {
    let ids: HashMap<&str, &str> = HashMap::from([
        ("D681PevKs", "D681PevKs"),
        ("functions.calculator:0", "functions.calculator:0"),
    ]);
    for (id, sent) in ids {
        let replies = vec![
            ScriptedReply::calls(false, "", vec![sum(id, "6*7")]),
            ScriptedReply::text("It is 42."),
        ];
        let strict = StrictProvider::start(script(replies)).await;
        let harness = harness(&strict, AgentOptions::new(MODELS[0], Default::default())).await;
        let session = agent(&harness, Style::Native).await;
        harness.run_turn(&session, "six by seven?").await;
        harness.run_turn(&session, "thanks").await;
        for asked in &strict.requests()[1..] {
            assert_eq!(asked.body["messages"][2]["tool_calls"][0]["id"], sent, "{}", asked.body);
        }
    }
}

#[tokio::test]
async fn a_tool_is_called_by_its_own_name_although_another_was_sent() {
    for model in MODELS {
        let strict = StrictProvider::start(|asked: &RecordedRequest| {
            let tools = asked.body["tools"].to_string();
            let at = tools.find("_7zip_").expect("the tool is offered");
            let name = tools[at..].split('"').next().unwrap().to_owned();
            let call = ScriptedCall { id: "c1".to_owned(), name, args: json!({}) };
            ScriptedReply::calls(false, "", vec![call])
        })
        .await;
        let harness = harness(&strict, AgentOptions::new(model, Default::default())).await;
        let session = agent(&harness, Style::Native).await;
        let tool = ToolDeclaration {
            replay: None,
            name: "7zip".to_owned(),
            description: "Packs a file.".to_owned(),
            parameters: serde_json::Map::new(),
        };
        let is_called = |emission: &Emission| {
            matches!(emission, Emission::Record(record)
                if matches!(record.event, Event::Turn(TurnEvent::ToolCalled { .. })))
        };
        let send = harness.send(&session, "hello", Policy::Queue);
        let log = harness.collect_with_tools(&session, vec![tool], is_called, send).await;
        assert_eq!(log.called(), ["7zip"], "{model}: {:?}", strict.refused());
    }
}
