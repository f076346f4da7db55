//! Raw replies of each wire.

use serde_json::{Value, json};

use crate::mock::{MockWire, WIRES};

/// Raw replies of one wire.
pub(super) struct WireTranscript {
    pub(super) wire: MockWire,
    /// Reasoning, and two sums at once: 100 tokens in of which 64 cached, 20 out.
    pub(super) calls: String,
    /// An answer: 50 tokens in, 5 out.
    pub(super) answer: String,
    /// A message without an end.
    pub(super) half: String,
    /// Checks the provider state in the second request.
    pub(super) returns: fn(&Value),
}

pub(super) fn sse(events: &[Value]) -> String {
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

pub(super) fn transcripts() -> [WireTranscript; 5] {
    let [openai_wire, responses_wire, anthropic_wire, gemini_wire, ollama_wire] = WIRES;
    [
        openai(openai_wire),
        responses(responses_wire),
        anthropic(anthropic_wire),
        gemini(gemini_wire),
        ollama(ollama_wire),
    ]
}

fn openai(wire: MockWire) -> WireTranscript {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let args = |index: usize, json: &str| {
        delta(json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]}))
    };
    let call = |index: usize, id: &str| {
        let function = json!({"name": "calculator", "arguments": ""});
        delta(json!({"tool_calls": [
            {"index": index, "id": id, "type": "function", "function": function},
        ]}))
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
    WireTranscript {
        wire,
        calls: sse(&calls)
            + &end(json!({
                "prompt_tokens": 100, "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 64},
            })),
        answer: half.clone()
            + &sse(&[json!({"choices": [
                {"index": 0, "delta": {"content": "42."}, "finish_reason": "stop"},
            ]})])
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

fn responses(wire: MockWire) -> WireTranscript {
    let completed = |usage: Value| {
        json!({"type": "response.completed", "response": {
            "id": "r", "model": "m", "status": "completed", "output": [], "usage": usage,
        }})
    };
    let call = |id: &str, args: &str| {
        json!({
            "type": "function_call", "call_id": id, "name": "calculator", "arguments": args,
        })
    };
    let text = |text: &str| {
        json!({
            "type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "delta": text,
        })
    };
    let item = |kind: &str, index: usize, item: Value| {
        let kind = format!("response.output_item.{kind}");
        json!({"type": kind, "output_index": index, "item": item})
    };
    let args = |json: &str| {
        json!({
            "type": "response.function_call_arguments.delta", "output_index": 1, "delta": json,
        })
    };
    let half = sse(&[text("Well, ")]);
    let calls = [
        json!({
            "type": "response.reasoning_summary_text.delta", "output_index": 0,
            "summary_index": 0, "delta": "Two sums.",
        }),
        item("done", 0, json!({"type": "reasoning", "encrypted_content": "sealed"})),
        item("added", 1, call("call_a", "")),
        args("{\"expression\":"),
        args("\"6*7\"}"),
        item("done", 1, call("call_a", "{\"expression\":\"6*7\"}")),
        // This call has no delta.
        item("added", 2, call("call_b", "")),
        item("done", 2, call("call_b", "{\"expression\":\"1/0\"}")),
        completed(json!({
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 64},
            "output_tokens": 20, "total_tokens": 120,
        })),
    ];
    WireTranscript {
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

fn anthropic(wire: MockWire) -> WireTranscript {
    let start = |usage: Value| {
        json!({"type": "message_start", "message": {
            "id": "m", "role": "assistant", "content": [], "usage": usage,
        }})
    };
    let block = |index: usize, block: Value| {
        let kind = "content_block_start";
        json!({"type": kind, "index": index, "content_block": block})
    };
    let delta = |index: usize, delta: Value| {
        let kind = "content_block_delta";
        json!({"type": kind, "index": index, "delta": delta})
    };
    let args = |index: usize, json: &str| {
        delta(index, json!({"type": "input_json_delta", "partial_json": json}))
    };
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let end = |reason: &str, output: u64| {
        [
            json!({
                "type": "message_delta", "delta": {"stop_reason": reason},
                "usage": {"output_tokens": output},
            }),
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
    WireTranscript {
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

fn gemini(wire: MockWire) -> WireTranscript {
    let frame = |parts: Value| {
        let content = json!({"role": "model", "parts": parts});
        json!({"candidates": [{"content": content, "index": 0}]})
    };
    let call =
        |sum: &str| json!({"functionCall": {"name": "calculator", "args": {"expression": sum}}});
    let mut first = call("6*7");
    first["thoughtSignature"] = json!("signed");
    let end = |parts: Value, usage: Value| {
        let content = json!({"role": "model", "parts": parts});
        let candidate = json!({"content": content, "finishReason": "STOP", "index": 0});
        json!({"candidates": [candidate], "usageMetadata": usage})
    };
    let usage = json!({
        "promptTokenCount": 100, "cachedContentTokenCount": 64, "candidatesTokenCount": 15,
        "thoughtsTokenCount": 5,
    });
    let half = sse(&[frame(json!([{"text": "Well, "}]))]);
    // The calls have no ids and arrive in two frames.
    let calls = [
        frame(json!([{"text": "Two sums.", "thought": true}])),
        frame(json!([first])),
        end(json!([call("1/0")]), usage),
    ];
    WireTranscript {
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

fn ollama(wire: MockWire) -> WireTranscript {
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
    WireTranscript {
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
