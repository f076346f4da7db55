//! Providers' models against raw replies: what the mock cannot do.

use std::time::Duration;

use serde_json::{Value, json};
use thoughtwire_agent::{AgentOptions, Timeouts};
use thoughtwire_proto::{StreamKind, Style, ToolStatus};

use crate::canned::{Canned, Reply};
use crate::home::Home;
use crate::mock::{WIRES, Wire, home, providers};

/// One wire's raw replies.
struct Transcript {
    wire: Wire,
    /// Reasoning, and two sums at once: 100 tokens in of which 64 cached, 20 out.
    calls: String,
    /// An answer: 50 tokens in, 5 out.
    answer: String,
    /// A message without an end.
    half: String,
    /// Checks that the second request brings back what the provider wants to see.
    returns: fn(&Value),
}

fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| {
            let name = event
                .get("type")
                .and_then(Value::as_str)
                .map_or(String::new(), |kind| format!("event: {kind}\n"));
            format!("{name}data: {event}\n\n")
        })
        .collect()
}

fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn transcripts() -> [Transcript; 5] {
    let [openai_wire, responses_wire, anthropic_wire, gemini_wire, ollama_wire] = WIRES;
    [
        openai(openai_wire),
        responses(responses_wire),
        anthropic(anthropic_wire),
        gemini(gemini_wire),
        ollama(ollama_wire),
    ]
}

fn openai(wire: Wire) -> Transcript {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let args = |index: usize, json: &str| {
        delta(json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]}))
    };
    let call = |index: usize, id: &str| {
        delta(
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "calculator", "arguments": ""}}]}),
        )
    };
    let end = |usage: Value| sse(&[json!({"choices": [], "usage": usage})]) + "data: [DONE]\n\n";
    let half = sse(&[delta(json!({"content": "Well, "}))]);
    let calls = [
        delta(json!({"reasoning_content": "Two "})),
        delta(json!({"reasoning_content": "sums."})),
        call(0, "call_a"),
        call(1, "call_b"),
        args(0, "{\"expression\":"),
        args(1, "{\"expression\":\"1/0\"}"),
        args(0, "\"6*7\"}"),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    Transcript {
        wire,
        calls: sse(&calls)
            + &end(
                json!({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 64}}),
            ),
        answer: half.clone()
            + &sse(&[
                json!({"choices": [{"index": 0, "delta": {"content": "42."}, "finish_reason": "stop"}]}),
            ])
            + &end(json!({"prompt_tokens": 50, "completion_tokens": 5})),
        half,
        returns: |request| {
            let messages = &request["messages"];
            assert_eq!(messages[2]["reasoning_content"], "Two sums.", "{messages:#}");
            assert_eq!(messages[2]["tool_calls"].as_array().unwrap().len(), 2, "{messages:#}");
            assert_eq!(
                [&messages[3]["tool_call_id"], &messages[4]["tool_call_id"]],
                ["call_a", "call_b"],
                "{messages:#}"
            );
        },
    }
}

fn responses(wire: Wire) -> Transcript {
    let completed = |usage: Value| json!({"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed", "output": [], "usage": usage}});
    let call = |id: &str, args: &str| json!({"type": "function_call", "call_id": id, "name": "calculator", "arguments": args});
    let text = |text: &str| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text});
    let half = sse(&[text("Well, ")]);
    let calls = [
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Two sums."}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "encrypted_content": "sealed"}}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": call("call_a", "")}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{\"expression\":"}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "\"6*7\"}"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": call("call_a", "{\"expression\":\"6*7\"}")}),
        // This one comes without a delta.
        json!({"type": "response.output_item.added", "output_index": 2, "item": call("call_b", "")}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": call("call_b", "{\"expression\":\"1/0\"}")}),
        completed(
            json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 20, "total_tokens": 120}),
        ),
    ];
    Transcript {
        wire,
        calls: sse(&calls),
        answer: half.clone()
            + &sse(&[
                text("42."),
                completed(json!({"input_tokens": 50, "output_tokens": 5, "total_tokens": 55})),
            ]),
        half,
        returns: |request| {
            assert_eq!(request["include"][0], "reasoning.encrypted_content");
            let input = request["input"].as_array().unwrap();
            let kinds: Vec<&str> =
                input.iter().map(|item| item["type"].as_str().unwrap_or("message")).collect();
            let wanted = [
                "message",
                "reasoning",
                "function_call",
                "function_call",
                "function_call_output",
                "function_call_output",
            ];
            assert_eq!(kinds, wanted, "{input:#?}");
            assert_eq!(input[1]["encrypted_content"], "sealed");
        },
    }
}

fn anthropic(wire: Wire) -> Transcript {
    let start = |usage: Value| json!({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": usage}});
    let block = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let args = |index: usize, json: &str| {
        delta(index, json!({"type": "input_json_delta", "partial_json": json}))
    };
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let end = |reason: &str, output: u64| {
        [
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": output}}),
            json!({"type": "message_stop"}),
        ]
    };
    let half = sse(&[
        start(json!({"input_tokens": 50, "output_tokens": 1})),
        json!({"type": "ping"}),
        block(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "Well, "})),
    ]);
    let calls = [
        start(json!({"input_tokens": 36, "cache_read_input_tokens": 64, "output_tokens": 1})),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Two "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "sums."})),
        delta(0, json!({"type": "signature_delta", "signature": "signed"})),
        stop(0),
        block(1, json!({"type": "redacted_thinking", "data": "sealed"})),
        stop(1),
        block(2, json!({"type": "tool_use", "id": "toolu_a", "name": "calculator", "input": {}})),
        args(2, "{\"expression\":"),
        args(2, "\"6*7\"}"),
        stop(2),
        block(3, json!({"type": "tool_use", "id": "toolu_b", "name": "calculator", "input": {}})),
        args(3, "{\"expression\":\"1/0\"}"),
        stop(3),
    ];
    Transcript {
        wire,
        calls: sse(&calls) + &sse(&end("tool_use", 20)),
        answer: half.clone()
            + &sse(&[delta(0, json!({"type": "text_delta", "text": "42."})), stop(0)])
            + &sse(&end("end_turn", 5)),
        half,
        returns: |request| {
            assert_eq!(request["max_tokens"], 8192);
            let messages = &request["messages"];
            let said = &messages[1]["content"];
            assert_eq!(
                said[0],
                json!({"type": "thinking", "thinking": "Two sums.", "signature": "signed"}),
                "{messages:#}"
            );
            assert_eq!(
                said[1],
                json!({"type": "redacted_thinking", "data": "sealed"}),
                "{messages:#}"
            );
            assert_eq!([&said[2]["id"], &said[3]["id"]], ["toolu_a", "toolu_b"], "{messages:#}");
            let results = &messages[2]["content"];
            assert_eq!(
                [&results[0]["tool_use_id"], &results[1]["tool_use_id"]],
                ["toolu_a", "toolu_b"],
                "{messages:#}"
            );
        },
    }
}

fn gemini(wire: Wire) -> Transcript {
    let frame = |parts: Value| json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}]});
    let call =
        |sum: &str| json!({"functionCall": {"name": "calculator", "args": {"expression": sum}}});
    let mut first = call("6*7");
    first["thoughtSignature"] = json!("signed");
    let end = |parts: Value, usage: Value| {
        let content = json!({"role": "model", "parts": parts});
        json!({"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": usage})
    };
    let usage = json!({"promptTokenCount": 100, "cachedContentTokenCount": 64, "candidatesTokenCount": 15, "thoughtsTokenCount": 5});
    let half = sse(&[frame(json!([{"text": "Well, "}]))]);
    // The calls have no ids, and come in two frames.
    let calls = [
        frame(json!([{"text": "Two sums.", "thought": true}])),
        frame(json!([first])),
        end(json!([call("1/0")]), usage),
    ];
    Transcript {
        wire,
        calls: sse(&calls),
        answer: half.clone()
            + &sse(&[end(
                json!([{"text": "42."}]),
                json!({"promptTokenCount": 50, "candidatesTokenCount": 5}),
            )]),
        half,
        returns: |request| {
            assert_eq!(request["generationConfig"]["thinkingConfig"]["includeThoughts"], true);
            let contents = &request["contents"];
            let said = contents[1]["parts"].as_array().unwrap();
            assert_eq!(said.len(), 2, "{contents:#}");
            assert_eq!(said[0]["thoughtSignature"], "signed", "{contents:#}");
            assert_eq!(said[1]["functionCall"]["args"]["expression"], "1/0", "{contents:#}");
            let results = contents[2]["parts"].as_array().unwrap();
            assert_eq!(results.len(), 2, "{contents:#}");
            assert_eq!(results[0]["functionResponse"]["name"], "calculator", "{contents:#}");
        },
    }
}

fn ollama(wire: Wire) -> Transcript {
    let message = |message: Value| json!({"message": message, "done": false});
    let end = |input: u64, cached: u64, output: u64| {
        let message = json!({"role": "assistant", "content": ""});
        json!({"message": message, "done": true, "done_reason": "stop", "prompt_eval_count": input,
               "prompt_eval_cached_count": cached, "eval_count": output})
    };
    let call =
        |sum: &str| json!({"function": {"name": "calculator", "arguments": {"expression": sum}}});
    let half = ndjson(&[message(json!({"content": "Well, "}))]);
    let calls = [
        message(json!({"thinking": "Two sums."})),
        message(json!({"tool_calls": [call("6*7"), call("1/0")]})),
        end(100, 64, 20),
    ];
    Transcript {
        wire,
        calls: ndjson(&calls),
        answer: half.clone() + &ndjson(&[message(json!({"content": "42."})), end(50, 0, 5)]),
        half,
        returns: |request| {
            let messages = &request["messages"];
            assert_eq!(messages[2]["tool_calls"].as_array().unwrap().len(), 2, "{messages:#}");
            assert_eq!(
                [&messages[3]["role"], &messages[4]["role"]],
                ["tool", "tool"],
                "{messages:#}"
            );
            assert_eq!(messages[3]["content"], "42", "{messages:#}");
        },
    }
}

#[tokio::test]
async fn what_a_provider_wants_to_see_again_is_brought_back() {
    for Transcript { wire, calls, answer, returns, .. } in transcripts() {
        let canned = Canned::play([Reply::new(calls), Reply::new(answer)]).await;
        let home = home(&canned.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "Two sums!").await;
        assert_eq!(told.thought(), "Two sums.", "{wire:?}: {told:?}");
        let returned = told.returned();
        assert_eq!(
            (returned[0], returned[1].0),
            ((ToolStatus::Success, "42"), ToolStatus::Error),
            "{wire:?}"
        );
        assert_eq!(told.message(), "Well, 42.", "{wire:?}");
        let usage = told.usage().unwrap();
        assert_eq!(
            (usage.input_tokens, usage.output_tokens, usage.cached_tokens),
            (150, 25, Some(64)),
            "{wire:?}"
        );
        returns(&canned.asked()[1]);
    }
}

#[tokio::test]
async fn a_connection_that_closes_as_if_all_was_said_is_a_cut() {
    for Transcript { wire, half, .. } in transcripts() {
        let canned = Canned::play([Reply::new(half)]).await;
        let home = home(&canned.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        assert_eq!(told.end().1, "model_cut", "{wire:?}: {told:?}");
        assert_eq!(told.part(), Some(("Well, ".to_owned(), false)), "{wire:?}");
    }
}

#[tokio::test]
async fn who_hangs_up_before_a_word_is_asked_again() {
    for Transcript { wire, answer, .. } in transcripts() {
        let canned = Canned::play([Reply::new(""), Reply::new(answer)]).await;
        let home = home(&canned.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        assert_eq!(told.message(), "Well, 42.", "{wire:?}: {told:?}");
    }
}

async fn impatient(host: &str, wire: Wire, timeouts: Timeouts) -> Home {
    Home::new(AgentOptions {
        retries: 1,
        timeouts,
        ..AgentOptions::new(wire.model, providers(host))
    })
    .await
}

#[tokio::test]
async fn a_model_that_says_nothing_is_asked_again_and_given_up() {
    for wire in WIRES {
        let canned = Canned::play([]).await;
        let home = impatient(
            &canned.host,
            wire,
            Timeouts { first: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let (outcome, code, reason) = home.say(&session, "hello").await.end();
        assert_eq!(
            (outcome.as_str(), code.as_str()),
            ("Failed", "model_timeout"),
            "{wire:?}: {reason}"
        );
        assert!(reason.contains("sent nothing for 0.3 s"), "{reason}");
        assert_eq!(canned.asked().len(), 2, "{wire:?}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let host = socket.local_addr().unwrap();
    // Nobody accepts, and one or two that wait fill the queue: the next gets no answer.
    let _listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(host)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue has no end");
    }
    for wire in WIRES {
        let home = impatient(
            &host.to_string(),
            wire,
            Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        let (_, code, reason) = told.end();
        assert_eq!(code, "model_timeout", "{wire:?}: {reason}");
        assert!(
            reason.contains("took too long to take the connection") && reason.contains(wire.url),
            "{reason}"
        );
        assert_eq!(told.statuses.len(), 1, "it was asked once more");
    }
}

#[tokio::test]
async fn a_model_that_falls_silent_is_not_asked_again_and_its_part_is_kept() {
    for Transcript { wire, half, .. } in transcripts() {
        let canned = Canned::play([Reply::unfinished(half)]).await;
        let home = impatient(
            &canned.host,
            wire,
            Timeouts { silence: Duration::from_millis(300), ..Timeouts::default() },
        )
        .await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        let (_, code, reason) = told.end();
        assert_eq!(code, "model_timeout", "{wire:?}: {reason}");
        assert!(reason.contains("fell silent in the middle of its reply, for 0.3 s"), "{reason}");
        assert_eq!(told.part(), Some(("Well, ".to_owned(), false)), "{wire:?}");
        assert_eq!(canned.asked().len(), 1, "{wire:?}");
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_told_apart() {
    let [openai, responses, anthropic, gemini, ollama] = WIRES;
    let failed = json!({"type": "response.failed", "response": {"id": "r", "model": "m", "status": "failed", "output": [],
        "error": {"code": "context_length_exceeded", "message": "Your input exceeds the context window of this model."}}});
    for (wire, reply) in [
        (
            openai,
            Reply::refusal(
                400,
                r#"{"error": {"message": "Too much.", "code": "context_length_exceeded"}}"#,
            ),
        ),
        (
            openai,
            Reply::refusal(
                400,
                r#"{"error": {"message": "This model's maximum context length is 8192 tokens."}}"#,
            ),
        ),
        (responses, Reply::new(sse(&[failed]))),
        (
            anthropic,
            Reply::refusal(
                400,
                r#"{"type": "error", "error": {"message": "prompt is too long: 200015 tokens > 200000 maximum"}}"#,
            ),
        ),
        (
            gemini,
            Reply::refusal(
                400,
                r#"[{"error": {"message": "The input token count exceeds the maximum number of tokens allowed."}}]"#,
            ),
        ),
        (
            ollama,
            Reply::refusal(
                400,
                r#"{"error": "prompt too long; exceeded max context length by 4 tokens"}"#,
            ),
        ),
        (
            ollama,
            Reply::refusal(
                400,
                r#"{"error": {"message": "the request exceeds the available context size"}}"#,
            ),
        ),
    ] {
        // It is asked three times more, with less and less of the conversation.
        let canned = Canned::play(vec![reply; 4]).await;
        let home = home(&canned.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let (_, code, reason) = home.say(&session, "hello").await.end();
        assert_eq!(code, "model_window", "{wire:?}: {reason}");
        assert_eq!(canned.asked().len(), 4, "{wire:?}");
    }
}

#[tokio::test]
async fn errors_that_pass_are_waited_out() {
    let [openai, responses, anthropic, gemini, ollama] = WIRES;
    let delay = json!({"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.25s"}]}});
    for (wire, reply) in [
        (openai, Reply::new(sse(&[json!({"error": {"message": "Oops", "type": "server_error"}})]))),
        (
            responses,
            Reply::new(sse(&[json!({"type": "error", "code": "server_error", "message": "Oops"})])),
        ),
        (
            anthropic,
            Reply::new(sse(&[
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            ])),
        ),
        (gemini, Reply::refusal(429, delay.to_string())),
        (ollama, Reply::refusal(500, r#"{"error": "the model runner has stopped"}"#)),
    ] {
        let Some(Transcript { answer, .. }) =
            transcripts().into_iter().find(|transcript| transcript.wire.model == wire.model)
        else {
            panic!("no transcript of {wire:?}")
        };
        let canned = Canned::play([reply, Reply::new(answer)]).await;
        let home = home(&canned.host, wire).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        assert_eq!(told.message(), "Well, 42.", "{wire:?}: {told:?}");
        assert_eq!(told.statuses.len(), 1, "{wire:?}: {:?}", told.statuses);
        if wire.model.starts_with("gemini/") {
            assert!(
                told.statuses[0].contains("in 0.2 s") || told.statuses[0].contains("in 0.3 s"),
                "{:?}",
                told.statuses
            );
        }
    }
}

#[tokio::test]
async fn a_blocked_prompt_is_told_in_words() {
    let [_, _, _, gemini, _] = WIRES;
    let canned =
        Canned::play([Reply::new(sse(&[json!({"promptFeedback": {"blockReason": "OTHER"}})]))])
            .await;
    let home = home(&canned.host, gemini).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let (_, code, reason) = home.say(&session, "hello").await.end();
    assert!(
        code == "model_filtered" && reason.contains("may have blocked the prompt (OTHER)"),
        "{code}: {reason}"
    );
}

#[tokio::test]
async fn models_that_do_not_reason_are_not_asked_to() {
    for (model, asks) in [
        ("openai-responses/gpt-4o", false),
        ("openai-responses/gpt-5-mini", true),
        ("gemini/gemini-2.0-flash", false),
        ("gemini/gemini-3-pro", true),
    ] {
        let canned = Canned::play([Reply::refusal(400, "{}")]).await;
        let home = Home::new(AgentOptions::new(model, providers(&canned.host))).await;
        let (_, session) = home.agent("tess", Style::Native).await;
        let told = home.say(&session, "hello").await;
        assert!(told.streamed(StreamKind::Message).is_empty());
        let asked = canned.asked()[0].to_string();
        assert_eq!(
            asked.contains("includeThoughts") || asked.contains("reasoning.encrypted_content"),
            asks,
            "{model}"
        );
    }
}
