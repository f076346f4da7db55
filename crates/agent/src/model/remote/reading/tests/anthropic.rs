use super::*;

fn events(blocks: &[&str]) -> String {
    let stop = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let all: Vec<&str> = [r#"{"type":"message_start","message":{"content":[]}}"#]
        .into_iter()
        .chain(blocks.iter().copied())
        .chain([stop, r#"{"type":"message_stop"}"#])
        .collect();
    sse(&all)
}

fn start(index: &str, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: &str, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn stop(index: &str) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

const TEXT: &str = r#"{"type":"text","text":""}"#;
const CALL: &str = r#"{"type":"tool_use","id":"a","name":"sum","input":{}}"#;
const WORDS: &str = r#"{"type":"text_delta","text":"42."}"#;
const ARGS: &str = r#"{"type":"input_json_delta","partial_json":"{\"a\":1}"}"#;

#[test]
fn blocks_and_deltas_are_read_in_any_form() {
    let plain = [start("0", TEXT), delta("0", WORDS), stop("0")];
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let call = |first: &str, second: &str| {
        let all = [start(first, CALL), delta(second, ARGS), stop(second)];
        events(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let with = |more: &[String]| {
        let all: Vec<&str> = more.iter().map(String::as_str).chain(plain.iter().copied()).collect();
        events(&all)
    };
    let whole = r#"{"type":"message","content":[{"type":"thinking","thinking":"Six."},
{"type":"text","text":"42."},{"type":"tool_use","id":"a","name":"sum","input":{"a":1.10}}],
"stop_reason":"tool_use"}"#;
    let one = r#"sum({"a":1})"#;
    check(
        ProviderWire::Anthropic,
        &[
            ("no event lines", events(&plain), "42."),
            (
                "event lines only",
                "event: content_block_delta\ndata: {\"index\":0,\"delta\":\
              {\"type\":\"text_delta\",\"text\":\"42.\"}}\n\nevent: message_stop\ndata: {}\n\n"
                    .to_owned(),
                "42.",
            ),
            (
                "no end marker",
                events(&plain).replace(r#"data: {"type":"message_stop"}"#, ""),
                "42.",
            ),
            ("no start of a block", events(&[&delta("0", WORDS)]), "42."),
            ("a delta without its type", events(&[&delta("0", r#"{"text":"42."}"#)]), "42."),
            (
                "unknown kinds",
                with(&[
                    r#"{"type":"vendor_event","x":1}"#.to_owned(),
                    start("7", r#"{"type":"server_tool_use","id":"s","name":"web","input":{}}"#),
                    delta("7", ARGS),
                    stop("7"),
                    start("8", r#"{"type":"hologram"}"#),
                    delta("8", r#"{"type":"hologram_delta"}"#),
                    stop("8"),
                ]),
                "42.",
            ),
            (
                "interleaved",
                events(&[
                    &start("0", TEXT),
                    &start("1", CALL),
                    &delta("1", r#"{"type":"input_json_delta","partial_json":"{\"a\""}"#),
                    &delta("0", WORDS),
                    &delta("1", r#"{"type":"input_json_delta","partial_json":":1}"}"#),
                    &stop("0"),
                    &stop("1"),
                ]),
                r#"42. | sum({"a":1})"#,
            ),
            ("a call", call("0", "0"), one),
            ("no index", call("null", "null"), one),
            ("text and number", call(r#""0""#, "0"), one),
            ("floats", call("0.0", "0"), one),
            ("huge", call("1e300", "1e300"), one),
            ("negative", call("-1", "-1"), one),
            ("another index", call("0", "5"), one),
            (
                "input at once",
                events(&[&start(
                    "0",
                    r#"{"type":"tool_use","id":"a","name":"sum","input":{"a":1}}"#,
                )]),
                one,
            ),
            (
                "input as text",
                events(&[
                    &start("0", r#"{"type":"tool_use","id":"a","name":"sum","input":"{\"a\":1}"}"#),
                    &stop("0"),
                ]),
                one,
            ),
            (
                "equal ids",
                events(&[
                    &start("0", CALL),
                    &delta("0", ARGS),
                    &stop("0"),
                    &start("1", CALL),
                    &delta("1", ARGS),
                    &stop("1"),
                ]),
                r#"sum({"a":1}) | sum({"a":1})"#,
            ),
            (
                "halves",
                events(&[
                    &delta("0", r#"{"type":"text_delta","text":"\ud83e"}"#),
                    &delta("0", r#"{"type":"text_delta","text":"\udd80"}"#),
                ]),
                "🦀",
            ),
            ("a JSON body", whole.to_owned(), r#"thought: Six. | 42. | sum({"a":1.10})"#),
            (
                "a JSON body without a type",
                whole.replace(r#""type":"message","#, ""),
                r#"thought: Six. | 42. | sum({"a":1.10})"#,
            ),
            ("neither reason nor marker", sse(&plain), "42. | failed model_cut"),
            (
                "huge counts",
                sse(&[
                    r#"{"type":"message_start","message":{"usage":{"input_tokens":1e300}}}"#,
                    &delta("0", WORDS),
                    r#"{"type":"message_stop"}"#,
                ]),
                "42.",
            ),
            ("error null", with(&[r#"{"type":"ping","error":null}"#.to_owned()]), "42."),
        ],
    );
}
