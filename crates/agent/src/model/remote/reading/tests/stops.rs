use super::*;

/// A reply that the model stopped for this reason, after some text.
fn stopped(wire: ProviderWire, word: &str) -> String {
    match wire {
        ProviderWire::OpenAi => sse(&[
            r#"{"choices":[{"delta":{"content":"It is"}}]}"#,
            &format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{word}"}}]}}"#),
        ]),
        ProviderWire::Responses => sse(&[
            r#"{"type":"response.output_text.delta","delta":"It is"}"#,
            &format!(
                concat!(
                    r#"{{"type":"response.incomplete","response":{{"status":"incomplete","#,
                    r#""incomplete_details":{{"reason":"{word}"}}}}}}"#
                ),
                word = word
            ),
        ]),
        ProviderWire::Anthropic => sse(&[
            concat!(
                r#"{"type":"content_block_delta","index":0,"#,
                r#""delta":{"type":"text_delta","text":"It is"}}"#
            ),
            &format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}}}}"#),
        ]),
        ProviderWire::Gemini => sse(&[
            r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]}}]}"#,
            &format!(r#"{{"candidates":[{{"finishReason":"{word}"}}]}}"#),
        ]),
        ProviderWire::Ollama => format!(
            concat!(
                "{{\"message\":{{\"content\":\"It is\"}}}}\n",
                "{{\"done\":true,\"done_reason\":\"{word}\"}}\n"
            ),
            word = word
        ),
    }
}

#[test]
fn every_reason_has_its_code_on_every_wire() {
    let codes = [
        (&["length", "max_tokens", "MAX_TOKENS", "max_output_tokens"][..], "stopped model_length"),
        (
            &["content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT"],
            "stopped model_filtered",
        ),
        (&["refusal"], "stopped model_refused"),
        (&["MALFORMED_FUNCTION_CALL", "malformed_tool_use"], "stopped model_malformed_call"),
        (&["error"], "failed model_failed"),
        (&["abort", "OTHER"], "failed model_cut"),
    ];
    for wire in ProviderWire::ALL {
        for (words, code) in codes {
            for word in words {
                let wanted = format!("It is | {code}");
                check(wire, &[(word, stopped(wire, word), &wanted)]);
            }
        }
        if wire != ProviderWire::Responses {
            for word in ["stop", "STOP", "end_turn", "tool_calls", "something_new"] {
                check(wire, &[(word, stopped(wire, word), "It is")]);
            }
        }
    }
}

#[test]
fn a_blocked_prompt_is_filtered() {
    for why in ["SAFETY", "OTHER", "BLOCKLIST"] {
        let reply = sse(&[&format!(r#"{{"promptFeedback":{{"blockReason":"{why}"}}}}"#)]);
        check(ProviderWire::Gemini, &[(why, reply, "stopped model_filtered")]);
    }
}
