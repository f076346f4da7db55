use super::*;

#[test]
fn events_are_read_in_any_form() {
    let message = r#"{"type":"message","id":"m","content":[{"type":"output_text","text":"42."}]}"#;
    let call =
        r#"{"type":"function_call","id":"f","call_id":"c","name":"sum","arguments":"{\"a\":1}"}"#;
    let end = |items: &str| {
        format!(
            concat!(
                r#"{{"type":"response.completed","response":{{"status":"completed","error":null,"#,
                r#""output":[{items}]}}}}"#
            ),
            items = items
        )
    };
    let done = |item: &str| {
        format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#)
    };
    let added = |item: &str| {
        format!(r#"{{"type":"response.output_item.added","output_index":0,"item":{item}}}"#)
    };
    let said =
        r#"{"type":"response.output_text.delta","output_index":0,"item_id":"m","delta":"42."}"#;
    let args = concat!(
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"f","#,
        r#""delta":"{\"a\":1}"}"#
    );
    let begun = |args: &str| added(&call.replace(r#""{\"a\":1}""#, args));
    let one = r#"sum({"a":1})"#;
    check(
        ProviderWire::Responses,
        &[
            ("only the last event", sse(&[&end(message)]), "42."),
            ("only items", sse(&[&done(message), &end("")]), "42."),
            (
                "nothing twice",
                sse(&[
                    &added(r#"{"type":"message","id":"m"}"#),
                    said,
                    concat!(
                        r#"{"type":"response.output_text.done","output_index":0,"#,
                        r#""item_id":"m","text":"42."}"#
                    ),
                    &done(message),
                    &end(message),
                ]),
                "42.",
            ),
            ("no last event", sse(&[said, &done(message)]), "42."),
            ("no end", sse(&[said]), "42. | failed model_cut"),
            (
                "a JSON body",
                format!(
                    concat!(
                        r#"{{"object":"response","status":"completed","error":null,"#,
                        r#""output":[{message},{call}]}}"#
                    ),
                    message = message,
                    call = call
                ),
                r#"42. | sum({"a":1})"#,
            ),
            (
                "still running",
                format!(r#"{{"object":"response","status":"in_progress","output":[{message}]}}"#),
                "42. | failed model_cut",
            ),
            (
                "only its text",
                sse(&[r#"{"type":"response.completed","response":{"output_text":"42."}}"#]),
                "42.",
            ),
            (
                "event types in lines",
                concat!(
                    "event: response.output_text.delta\ndata: {\"delta\":\"42.\"}\n\n",
                    "event: response.completed\ndata: {}\n\n"
                )
                .to_owned(),
                "42.",
            ),
            ("call in the last event", sse(&[&end(call)]), one),
            ("call in pieces", sse(&[&begun(r#""""#), args, &done(call), &end(call)]), one),
            ("braces first", sse(&[&begun(r#""{}""#), args, &end("")]), one),
            ("only the beginning", sse(&[&begun(r#""{\"a\":1}""#), &end("")]), one),
            (
                "an object",
                sse(&[&done(&call.replace(r#""{\"a\":1}""#, r#"{"a":1.10}"#)), &end("")]),
                r#"sum({"a":1.10})"#,
            ),
            (
                "an object at the end",
                sse(&[&end(&call.replace(r#""{\"a\":1}""#, r#"{"a":1.10}"#))]),
                r#"sum({"a":1.10})"#,
            ),
            (
                "a huge index",
                sse(&[
                    &begun(r#""""#).replace(r#"index":0"#, r#"index":1e300"#),
                    &args.replace(r#"index":0"#, r#"index":1e300"#),
                    &end(""),
                ]),
                one,
            ),
            (
                "equal ids",
                sse(&[&end(&format!("{call},{}", call.replace(r#"\"a\":1"#, r#"\"a\":2"#)))]),
                r#"sum({"a":1}) | sum({"a":2})"#,
            ),
            (
                "halves",
                sse(&[&said.replace("42.", r"\ud83e"), &said.replace("42.", r"\udd80"), &end("")]),
                "🦀",
            ),
            (
                "a refusal",
                sse(&[r#"{"type":"response.refusal.delta","delta":"No."}"#, &end("")]),
                "No. | stopped model_refused",
            ),
            (
                "a refusal in an item",
                sse(&[&end(
                    r#"{"type":"message","content":[{"type":"refusal","refusal":"No."}]}"#,
                )]),
                "No. | stopped model_refused",
            ),
            (
                "failed",
                sse(&[concat!(
                    r#"{"type":"response.failed","response":"#,
                    r#"{"error":{"code":"server_error","message":"No."}}}"#
                )]),
                "failed model_failed",
            ),
        ],
    );
}
