use super::*;

#[test]
fn lines_are_read_in_any_form() {
    let said = r#"{"message":{"content":"42."},"done":false}"#;
    let done = r#"{"message":{"content":""},"done":true,"done_reason":"stop","eval_count":1e300}"#;
    let lines = |lines: &[&str]| lines.join("\n") + "\n";
    let calls = |calls: &str| lines(&[&format!(r#"{{"message":{{"tool_calls":{calls}}}}}"#), done]);
    let one = r#"sum({"a":1})"#;
    check(
        ProviderWire::Ollama,
        &[
            ("lines", lines(&[said, done]), "42."),
            ("a whole body", r#"{"message":{"content":"42."},"done":true}"#.to_owned(), "42."),
            (
                "a body on several lines",
                "{\"message\":\n{\"content\":\"42.\"},\n\"done\":true}".to_owned(),
                "42.",
            ),
            ("server-sent events", sse(&[said, done]), "42."),
            ("only a reason", lines(&[said, r#"{"done_reason":"stop"}"#]), "42."),
            ("no end", lines(&[said]), "42. | failed model_cut"),
            ("error null", lines(&[r#"{"message":{"content":"42."},"error":null}"#, done]), "42."),
            (
                "a thought",
                lines(&[r#"{"message":{"thinking":"Six."}}"#, said, done]),
                "thought: Six. | 42.",
            ),
            (
                "tags",
                lines(&[r#"{"message":{"content":"<think>Six.</think>"}}"#, said, done]),
                "thought: Six. | 42.",
            ),
            ("a call", calls(r#"[{"function":{"name":"sum","arguments":{"a":1}}}]"#), one),
            (
                "arguments as text",
                calls(r#"[{"function":{"name":"sum","arguments":"{\"a\":1}"}}]"#),
                one,
            ),
            (
                "null arguments",
                calls(r#"[{"function":{"name":"sum","arguments":null}}]"#),
                "sum({})",
            ),
            ("not a list", calls(r#"{"function":{"name":"sum","arguments":{"a":1}}}"#), one),
            (
                "two without ids",
                calls(concat!(
                    r#"[{"function":{"name":"sum","arguments":{"a":1}}},"#,
                    r#"{"function":{"name":"sum","arguments":{"a":1}}}]"#
                )),
                r#"sum({"a":1}) | sum({"a":1})"#,
            ),
            (
                "huge index",
                calls(r#"[{"function":{"index":1e300,"name":"sum","arguments":{"a":1}}}]"#),
                one,
            ),
            (
                "equal ids",
                calls(concat!(
                    r#"[{"id":"","function":{"name":"sum","arguments":{"a":1}}},"#,
                    r#"{"id":"","function":{"name":"time","arguments":{}}}]"#
                )),
                r#"sum({"a":1}) | time({})"#,
            ),
            (
                "halves",
                lines(&[
                    r#"{"message":{"content":"\ud83e"}}"#,
                    r#"{"message":{"content":"\udd80"}}"#,
                    done,
                ]),
                "🦀",
            ),
        ],
    );
}
