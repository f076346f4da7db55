use super::*;

fn chunk(parts: &str, more: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}{more}}}]}}"#)
}

#[test]
fn chunks_are_read_in_any_form() {
    let stop = r#","finishReason":"STOP""#;
    let early = chunk(r#"{"text":"It "}"#, stop);
    let last = chunk(r#"{"text":"is 42."}"#, stop);
    let thoughts = concat!(
        r#"{"text":"Six. ","thought":true},{"text":"Seven.","thought":true},"#,
        r#"{"text":"42."},{"text":" Yes."}"#
    );
    let call = r#"{"functionCall":{"name":"sum","args":{"a":1}}}"#;
    let one = r#"sum({"a":1})"#;
    check(
        ProviderWire::Gemini,
        &[
            ("an early reason", sse(&[&early, &last]), "It is 42."),
            ("several parts", sse(&[&chunk(thoughts, stop)]), "thought: Six. Seven. | 42. Yes."),
            (
                "no candidates",
                sse(&[
                    r#"{"usageMetadata":{"promptTokenCount":-1}}"#,
                    r#"{"candidates":null,"modelVersion":"x"}"#,
                    r#"{"candidates":[]}"#,
                    &early,
                    &last,
                ]),
                "It is 42.",
            ),
            (
                "no content",
                sse(&[r#"{"candidates":[{}]}"#, r#"{"candidates":[null]}"#, &early, &last]),
                "It is 42.",
            ),
            (
                "no parts",
                sse(&[
                    r#"{"candidates":[{"content":{"role":"model"}}]}"#,
                    r#"{"candidates":[{"content":{"parts":null}}]}"#,
                    &early,
                    &last,
                ]),
                "It is 42.",
            ),
            ("a list", format!("[{early},\n{last}]"), "It is 42."),
            (
                "wrapped",
                sse(&[&format!(r#"{{"response":{early}}}"#), &format!(r#"{{"response":{last}}}"#)]),
                "It is 42.",
            ),
            (
                "snake case",
                sse(&[&chunk(call, stop)
                    .replace("functionCall", "function_call")
                    .replace("finishReason", "finish_reason")]),
                one,
            ),
            ("a call", sse(&[&chunk(call, stop)]), one),
            (
                "two calls alike",
                sse(&[&chunk(&format!("{call},{call}"), stop)]),
                r#"sum({"a":1}) | sum({"a":1})"#,
            ),
            (
                "equal ids",
                sse(&[
                    &chunk(r#"{"functionCall":{"id":"","name":"sum","args":{"a":1}}}"#, ""),
                    &chunk(r#"{"functionCall":{"id":"","name":"sum","args":{"a":2}}}"#, stop),
                ]),
                r#"sum({"a":1}) | sum({"a":2})"#,
            ),
            (
                "arguments as text",
                sse(&[&chunk(r#"{"functionCall":{"name":"sum","args":"{\"a\":1}"}}"#, stop)]),
                one,
            ),
            ("no arguments", sse(&[&chunk(r#"{"functionCall":{"name":"sum"}}"#, stop)]), "sum({})"),
            (
                "null arguments",
                sse(&[&chunk(r#"{"functionCall":{"name":"sum","args":null}}"#, stop)]),
                "sum({})",
            ),
            (
                "exact numbers",
                sse(&[&chunk(r#"{"functionCall":{"name":"sum","args":{"a":1.10}}}"#, stop)]),
                r#"sum({"a":1.10})"#,
            ),
            ("no reason", sse(&[&chunk(r#"{"text":"42."}"#, "")]), "42. | failed model_cut"),
            (
                "error null",
                sse(&[&chunk(r#"{"text":"42."}"#, stop).replacen('{', r#"{"error":null,"#, 1)]),
                "42.",
            ),
            (
                "a half",
                sse(&[&chunk(r#"{"text":"a\ud83e"}"#, ""), &chunk(r#"{"text":"\udd80"}"#, stop)]),
                "a🦀",
            ),
            (
                "tags",
                sse(&[&chunk(r#"{"text":"<think>Six.</think>42."}"#, stop)]),
                "thought: Six. | 42.",
            ),
        ],
    );
}
