//! Chat completions.

use serde_json::{Value, json};

use super::{ONE_AND_ONE, OPENAI, SIX_BY_SEVEN, check, runs, sse};

pub(super) fn stream(chunks: &[Value]) -> String {
    sse(chunks) + "data: [DONE]\n\n"
}

pub(super) fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

pub(super) fn content(text: &str) -> Value {
    delta(json!({"content": text}))
}

pub(super) fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// A part of a call.
pub(super) fn call(call: Value) -> Value {
    delta(json!({"tool_calls": [call]}))
}

pub(super) fn calls(chunks: &[Value]) -> String {
    stream(&[chunks, &[finish("tool_calls")]].concat())
}

/// A function with a name and arguments.
pub(super) fn function(args: &str) -> Value {
    json!({"name": "calculator", "arguments": args})
}

fn args(args: &str) -> Value {
    json!({"arguments": args})
}

#[tokio::test]
async fn calls_may_have_unusual_indexes() {
    let mut rows = vec![runs(
        "missing",
        calls(&[call(json!({"id": "c1", "function": function(SIX_BY_SEVEN)}))]),
        &["42"],
    )];
    for index in [
        json!(null),
        json!("0"),
        json!(0.0),
        json!(1.5),
        json!(-1),
        json!(100_000_000),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!({}),
    ] {
        let pieces = [
            call(json!({"index": index, "id": "c1", "function": function("{\"expres")})),
            call(json!({"index": index, "function": args("sion\": \"6*7\"}")})),
        ];
        rows.push(runs("odd", calls(&pieces), &["42"]));
        let whole = call(json!({"index": index, "id": "c1", "function": function(SIX_BY_SEVEN)}));
        let second = call(json!({"index": index, "id": "c2", "function": function(ONE_AND_ONE)}));
        rows.push(runs("two with the same odd one", calls(&[whole, second]), &["42", "2"]));
    }
    rows.push(runs(
        "with later pieces only",
        calls(&[
            call(json!({"id": "c1", "function": function("")})),
            call(json!({"index": 0, "function": args(SIX_BY_SEVEN)})),
        ]),
        &["42"],
    ));
    rows.push(runs(
        "two whole calls without any, in one list",
        calls(&[delta(json!({"tool_calls": [
            {"id": "c1", "function": function(SIX_BY_SEVEN)},
            {"id": "c2", "function": function(SIX_BY_SEVEN)},
        ]}))]),
        &["42", "42"],
    ));
    check(OPENAI, rows).await;
}

#[tokio::test]
async fn parallel_calls_may_share_an_index_or_an_id() {
    let whole = |index: Value, id: Value, args: &str| {
        call(json!({"index": index, "id": id, "type": "function", "function": function(args)}))
    };
    let both: &[&str] = &["42", "2"];
    let rows = vec![
        runs(
            "one index",
            calls(&[
                whole(0.into(), "c1".into(), SIX_BY_SEVEN),
                whole(0.into(), "c2".into(), ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "one index, the same call twice",
            calls(&[
                whole(0.into(), "c1".into(), SIX_BY_SEVEN),
                whole(0.into(), "c2".into(), SIX_BY_SEVEN),
            ]),
            &["42", "42"],
        ),
        runs(
            "one index in pieces",
            calls(&[
                whole(0.into(), "c1".into(), ""),
                call(json!({"index": 0, "id": "", "function": args("{\"expression\": ")})),
                call(json!({"index": 0, "id": null, "function": args("\"6*7\"}")})),
                whole(0.into(), "c2".into(), ""),
                call(json!({"index": 0, "function": args(ONE_AND_ONE)})),
            ]),
            both,
        ),
        runs(
            "one index, a late name",
            calls(&[
                whole(0.into(), "c1".into(), SIX_BY_SEVEN),
                call(json!({"index": 0, "id": "c2", "function": {"arguments": ""}})),
                call(json!({"index": 0, "function": function(ONE_AND_ONE)})),
            ]),
            both,
        ),
        runs(
            "no index and no id",
            calls(&[
                whole(Value::Null, Value::Null, SIX_BY_SEVEN),
                whole(Value::Null, Value::Null, ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "one index and no id",
            calls(&[
                whole(0.into(), "".into(), SIX_BY_SEVEN),
                whole(0.into(), "".into(), ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "equal ids",
            calls(&[
                whole(0.into(), "c".into(), SIX_BY_SEVEN),
                whole(1.into(), "c".into(), ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "equal ids and no index",
            calls(&[
                whole(Value::Null, "c".into(), SIX_BY_SEVEN),
                whole(Value::Null, "c".into(), ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "equal calls with equal ids",
            calls(&[
                whole(0.into(), "c".into(), SIX_BY_SEVEN),
                whole(1.into(), "c".into(), SIX_BY_SEVEN),
            ]),
            &["42", "42"],
        ),
        runs(
            "empty ids",
            calls(&[
                whole(0.into(), "".into(), SIX_BY_SEVEN),
                whole(1.into(), "".into(), ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "missing ids",
            calls(&[
                whole(0.into(), Value::Null, SIX_BY_SEVEN),
                whole(1.into(), Value::Null, ONE_AND_ONE),
            ]),
            both,
        ),
        runs(
            "an id with each piece",
            calls(&[
                whole(0.into(), "c1".into(), "{\"expression\":"),
                call(json!({"index": 0, "id": "c1", "function": args(" \"6*7\"}")})),
            ]),
            &["42"],
        ),
        runs(
            "another id with each piece",
            calls(&[
                whole(0.into(), "c1".into(), "{\"expression\":"),
                call(json!({"index": 0, "id": "c2", "function": args(" \"6*7\"}")})),
            ]),
            &["42"],
        ),
        runs(
            "a late id",
            calls(&[
                call(json!({"index": 0, "function": function("")})),
                call(json!({"index": 0, "id": "c1", "function": args(SIX_BY_SEVEN)})),
            ]),
            &["42"],
        ),
        runs(
            "interleaved",
            calls(&[
                whole(0.into(), "a".into(), ""),
                whole(1.into(), "b".into(), ""),
                call(json!({"index": 1, "function": args("{\"expression\":")})),
                call(json!({"index": 0, "function": args("{\"expression\": \"6*")})),
                call(json!({"index": 1, "function": args(" \"1+1\"}")})),
                call(json!({"index": 0, "function": args("7\"}")})),
            ]),
            both,
        ),
    ];
    check(OPENAI, rows).await;
}

#[tokio::test]
async fn names_may_arrive_late_in_pieces_or_repeatedly() {
    let named = |name: &str, args: &str| {
        call(json!({"index": 0, "id": "c1", "function": {"name": name, "arguments": args}}))
    };
    let rows = vec![
        runs(
            "late",
            calls(&[
                call(json!({"index": 0, "id": "c1", "function": {"arguments": ""}})),
                call(json!({"index": 0, "function": function(SIX_BY_SEVEN)})),
            ]),
            &["42"],
        ),
        runs(
            "after the arguments",
            calls(&[
                call(json!({"index": 0, "id": "c1", "function": args(SIX_BY_SEVEN)})),
                call(json!({"index": 0, "function": {"name": "calculator"}})),
            ]),
            &["42"],
        ),
        runs(
            "with each piece",
            calls(&[
                named("calculator", "{\"expre"),
                named("calculator", "ssion\": "),
                named("calculator", "\"6*7\"}"),
            ]),
            &["42"],
        ),
        runs(
            "with each piece, the last empty",
            calls(&[named("calculator", SIX_BY_SEVEN), named("calculator", "")]),
            &["42"],
        ),
        runs(
            "in pieces",
            calls(&[named("calc", ""), named("ulator", ""), named("", SIX_BY_SEVEN)]),
            &["42"],
        ),
        runs(
            "in pieces with arguments",
            calls(&[named("calc", "{\"expre"), named("ulator", "ssion\": \"6*7\"}")]),
            &["42"],
        ),
        runs(
            "all of it so far",
            calls(&[named("calc", ""), named("calculator", SIX_BY_SEVEN)]),
            &["42"],
        ),
        runs(
            "empty in later pieces",
            calls(&[named("calculator", "{\"expre"), named("", "ssion\": \"6*7\"}")]),
            &["42"],
        ),
        runs(
            "null in later pieces",
            calls(&[
                named("calculator", "{\"expre"),
                call(json!({"index": 0, "id": null, "type": null, "function": {"name": null,
                        "arguments": "ssion\": \"6*7\"}"}})),
            ]),
            &["42"],
        ),
        runs(
            "beside the function",
            calls(&[call(
                json!({"index": 0, "id": "c1", "name": "calculator", "arguments": SIX_BY_SEVEN}),
            )]),
            &["42"],
        ),
    ];
    check(OPENAI, rows).await;
}

#[tokio::test]
async fn arguments_may_have_other_types_and_be_repeated() {
    let with = |args: Value| {
        call(json!({"index": 0, "id": "c1", "function": {"name": "calculator", "arguments": args}}))
    };
    let object = json!({"expression": "6*7"});
    let more = |json: &str| call(json!({"index": 0, "function": args(json)}));
    let rows = vec![
        runs("an object", calls(&[with(object.clone())]), &["42"]),
        runs("a list with an object", calls(&[with(json!([object]))]), &["42"]),
        runs(
            "JSON within a string",
            calls(&[with(json!(json!(SIX_BY_SEVEN).to_string()))]),
            &["42"],
        ),
        runs("null, then the arguments", calls(&[with(Value::Null), more(SIX_BY_SEVEN)]), &["42"]),
        runs(
            "an empty object, then the arguments",
            calls(&[with(json!("{}")), more(SIX_BY_SEVEN)]),
            &["42"],
        ),
        runs("the same again", calls(&[with(json!(SIX_BY_SEVEN)), more(SIX_BY_SEVEN)]), &["42"]),
        runs(
            "the same again with the name",
            calls(&[with(json!(SIX_BY_SEVEN)), with(json!(SIX_BY_SEVEN))]),
            &["42"],
        ),
        runs(
            "the same again behind pieces",
            calls(&[with(json!("{\"expression\":")), more(" \"6*7\"}"), more(SIX_BY_SEVEN)]),
            &["42"],
        ),
        runs(
            "all of them so far",
            calls(&[with(json!("{\"expr")), more("{\"expression\": \"6"), more(SIX_BY_SEVEN)]),
            &["42"],
        ),
        runs("an object again", calls(&[with(object.clone()), with(object)]), &["42"]),
        runs("blanks behind", calls(&[with(json!(SIX_BY_SEVEN)), more("\n"), more("")]), &["42"]),
    ];
    check(OPENAI, rows).await;
    for none in
        [json!(null), json!(""), json!("null"), json!([]), json!({}), json!("{}"), json!("\"\"")]
    {
        let replies = vec![calls(&[with(none.clone())]).into(), super::answer(OPENAI).into()];
        let (log, _) = super::turn(OPENAI, replies, thoughtwire_agent::AgentOptions::new).await;
        let returned = log.returned();
        assert_eq!(returned.len(), 1, "{none}: {log:?}");
        assert!(
            returned[0].1.contains("expression"),
            "the call ran without arguments: {none}: {log:?}"
        );
    }
}
