use super::*;

/// Chunks with these deltas, followed by the stop reason and the end marker.
fn deltas(deltas: &[&str]) -> String {
    let chunks: Vec<String> = deltas
        .iter()
        .map(|delta| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#))
        .chain([r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.to_owned()])
        .collect();
    sse(&chunks.iter().map(String::as_str).collect::<Vec<_>>()) + "data: [DONE]\n\n"
}

fn calls(pieces: &[&str]) -> String {
    let all: Vec<String> =
        pieces.iter().map(|piece| format!(r#"{{"tool_calls":[{piece}]}}"#)).collect();
    deltas(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn calls_are_joined_by_any_form_of_index() {
    for index in [
        "",
        r#""index":null,"#,
        r#""index":"0","#,
        r#""index":0.0,"#,
        r#""index":-1,"#,
        r#""index":1e300,"#,
        r#""index":18446744073709551615,"#,
        r#""index":{},"#,
    ] {
        let first =
            format!(r#"{{{index}"id":"a","function":{{"name":"sum","arguments":"{{\"a\""}}}}"#);
        let second = format!(r#"{{{index}"function":{{"arguments":":1}}"}}}}"#);
        check(ProviderWire::OpenAi, &[(index, calls(&[&first, &second]), r#"sum({"a":1})"#)]);
    }
}

#[test]
fn calls_are_told_apart_by_any_ids() {
    let pair = |first: &str, second: &str| {
        calls(&[
            &format!(r#"{{{first}"function":{{"name":"sum","arguments":"{{\"a\":1}}"}}}}"#),
            &format!(r#"{{{second}"function":{{"name":"sum","arguments":"{{\"a\":2}}"}}}}"#),
        ])
    };
    let both = r#"sum({"a":1}) | sum({"a":2})"#;
    check(
        ProviderWire::OpenAi,
        &[
            ("one index", pair(r#""index":0,"id":"a","#, r#""index":0,"id":"b","#), both),
            ("no index", pair(r#""id":"a","#, r#""id":"b","#), both),
            ("equal ids", pair(r#""index":0,"id":"a","#, r#""index":1,"id":"a","#), both),
            (
                "equal ids, one index",
                pair(r#""index":0,"id":"a","#, r#""index":0,"id":"a","#),
                both,
            ),
            ("empty ids", pair(r#""index":0,"id":"","#, r#""index":1,"id":"","#), both),
            ("no ids", pair(r#""index":0,"#, r#""index":1,"#), both),
            ("nothing", pair("", ""), both),
        ],
    );
}

#[test]
fn names_and_arguments_are_read_in_any_form() {
    let one = r#"sum({"a":1})"#;
    let args = |args: &str| {
        calls(&[&format!(
            r#"{{"index":0,"id":"a","function":{{"name":"sum","arguments":{args}}}}}"#
        )])
    };
    let named = |first: &str, second: &str| {
        calls(&[
            &format!(r#"{{"index":0,"id":"a","function":{{{first}"arguments":"{{\"a\":"}}}}"#),
            &format!(r#"{{"index":0,"function":{{{second}"arguments":"1}}"}}}}"#),
        ])
    };
    check(
        ProviderWire::OpenAi,
        &[
            ("late name", named("", r#""name":"sum","#), one),
            ("partial name", named(r#""name":"su","#, r#""name":"m","#), one),
            ("repeated name", named(r#""name":"sum","#, r#""name":"sum","#), one),
            ("null name", named(r#""name":"sum","#, r#""name":null,"#), one),
            ("an object", args(r#"{"a":1}"#), one),
            ("a list", args(r#"[{"a":1}]"#), one),
            (
                "exact numbers",
                args(r#"{"a":1.10,"b":100000000000000000000001}"#),
                r#"sum({"a":1.10,"b":100000000000000000000001})"#,
            ),
            ("an empty list", args("[]"), "sum({})"),
            ("null", args("null"), "sum()"),
            ("an empty text", args(r#""""#), "sum()"),
            (
                "repeated whole",
                calls(&[
                    r#"{"index":0,"id":"a","function":{"name":"sum","arguments":"{\"a\":"}}"#,
                    r#"{"index":0,"function":{"arguments":"1}"}}"#,
                    r#"{"index":0,"id":"a","function":{"name":"sum","arguments":"{\"a\":1}"}}"#,
                ]),
                one,
            ),
            (
                "braces first",
                calls(&[
                    r#"{"index":0,"id":"a","function":{"name":"sum","arguments":"{}"}}"#,
                    r#"{"index":0,"function":{"arguments":"{\"a\":1}"}}"#,
                ]),
                one,
            ),
            (
                "deprecated",
                deltas(&[
                    r#"{"function_call":{"name":"sum","arguments":"{\"a\":"}}"#,
                    r#"{"function_call":{"arguments":"1}"}}"#,
                ]),
                one,
            ),
            (
                "not a list",
                deltas(&[
                    r#"{"tool_calls":{"id":"a","function":{"name":"sum","arguments":{"a":1}}}}"#,
                ]),
                one,
            ),
            ("no function", calls(&[r#"{"id":"a","name":"sum","arguments":{"a":1}}"#]), one),
        ],
    );
}

#[test]
fn text_is_read_in_any_form() {
    let message = |message: &str, more: &str| {
        format!(r#"{{"choices":[{{"message":{{"content":{message}}}{more}}}]}}"#)
    };
    let delta = r#"{"choices":[{"delta":{"content":"It is "}}]}"#;
    let stop = r#","finish_reason":"stop""#;
    let chunk = r#"{"object":"chat.completion.chunk","choices":[{"message":{"content":"It"}}]}"#;
    check(
        ProviderWire::OpenAi,
        &[
            (
                "message for delta",
                sse(&[&message(r#""It is ""#, ""), &message(r#""42.""#, stop)]),
                "It is 42.",
            ),
            ("message in chunks, cut", sse(&[chunk]), "It | failed model_cut"),
            (
                "so far",
                sse(&[&message(r#""It is ""#, ""), &message(r#""It is 42.""#, stop)]),
                "It is 42.",
            ),
            (
                "the same twice",
                sse(&[&message(r#""ha""#, ""), &message(r#""ha""#, ""), &message("null", stop)]),
                "haha",
            ),
            (
                "delta and message",
                sse(&[
                    r#"{"choices":[{"delta":{"content":"It "},"message":{"content":"It "}}]}"#,
                    r#"{"choices":[{"delta":{"content":"is."},"message":{"content":"It is."},
"finish_reason":"stop"}]}"#
                        .replace('\n', "")
                        .as_str(),
                ]),
                "It is.",
            ),
            ("whole at the end", sse(&[delta, &message(r#""It is 42.""#, stop)]), "It is 42."),
            ("a JSON body", message(r#""It is 42.""#, stop), "It is 42."),
            (
                "a JSON body on several lines",
                message(r#""It is 42.""#, stop).replace(',', ",\n"),
                "It is 42.",
            ),
            ("a JSON body without a reason", message(r#""It is 42.""#, ""), "It is 42."),
            (
                "parts",
                deltas(&[r#"{"content":[{"type":"thinking","thinking":
[{"type":"text","text":"Six."}]},{"type":"text","text":"It is 42."}]}"#
                    .replace('\n', "")
                    .as_str()]),
                "thought: Six. | It is 42.",
            ),
            ("texts as parts", deltas(&[r#"{"content":["It ",{"text":"is."}]}"#]), "It is."),
            (
                "two keys of reasoning",
                deltas(&[
                    r#"{"reasoning":"Six.","reasoning_content":"Six."}"#,
                    r#"{"content":"42."}"#,
                ]),
                "thought: Six. | 42.",
            ),
            (
                "tags",
                deltas(&[r#"{"content":"<thi"}"#, r#"{"content":"nk>Six.</think>42."}"#]),
                "thought: Six. | 42.",
            ),
            (
                "other tags",
                deltas(&[r#"{"content":"<thinking>Six.</thinking>\n\n42."}"#]),
                "thought: Six. | 42.",
            ),
            (
                "tags, not opened",
                deltas(&[r#"{"content":"Six.</think>\n\n42."}"#]),
                "Six. | was thought:  | 42.",
            ),
            ("halves", deltas(&[r#"{"content":"a\ud83e"}"#, r#"{"content":"\udd80b"}"#]), "a🦀b"),
            ("a half", deltas(&[r#"{"content":"a\ud83e"}"#, r#"{"content":"b"}"#]), "a\u{FFFD}b"),
            (
                "a half at the end",
                sse(&[r#"{"choices":[{"delta":{"content":"a\ud83e"}}]}"#]),
                "a\u{FFFD} | failed model_cut",
            ),
            (
                "halves in arguments",
                calls(&[
                    concat!(
                        r#"{"index":0,"id":"a","function":{"name":"sum","#,
                        r#""arguments":"{\"a\":\"\ud83e"}}"#
                    ),
                    r#"{"index":0,"function":{"arguments":"\udd80\"}"}}"#,
                ]),
                r#"sum({"a":"\ud83e\udd80"})"#,
            ),
            (
                "huge counts",
                sse(&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],
"usage":{"prompt_tokens":1e308,"completion_tokens":-5}}"#
                    .replace('\n', "")
                    .as_str()]),
                "a",
            ),
        ],
    );
}

#[test]
fn a_stream_may_end_in_any_way() {
    let words = r#"{"choices":[{"delta":{"content":"42."}}]}"#;
    let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    check(
        ProviderWire::OpenAi,
        &[
            ("no marker", sse(&[words, stop]), "42."),
            ("no marker, no blank line", sse(&[words, stop]).trim_end().to_owned(), "42."),
            ("no reason", sse(&[words, "[DONE]"]), "42."),
            ("neither", sse(&[words]), "42. | failed model_cut"),
            ("nothing", String::new(), "failed model_unreachable"),
            ("comments only", ": alive\n\n: alive\n\n".to_owned(), "failed model_unreachable"),
            ("comments", format!("\u{FEFF}: alive\n\n{}", sse(&[words, stop])), "42."),
            ("error null", sse(&[words, r#"{"error":null,"choices":[]}"#, stop]), "42."),
            ("words after the reason", sse(&[stop, words]), "42."),
            ("no choices", sse(&[r#"{"choices":null,"usage":null}"#, words, stop]), "42."),
        ],
    );
    let torn = [
        &b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xF0\x9F\"}}]}\n\n"[..],
        b"data: {\"choices\":[{\"delta\":{\"content\":\"\xA6\x80b\"},\
          \"finish_reason\":\"stop\"}]}\n\n",
    ];
    let text = read(ProviderWire::OpenAi, torn);
    assert!(text.starts_with('a') && text.ends_with('b') && text.contains('\u{FFFD}'), "{text}");
}
