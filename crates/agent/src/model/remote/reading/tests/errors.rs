use super::*;

/// The error at the end of a reply.
fn error(wire: ProviderWire, reply: &str) -> ModelError {
    let mut reading = reading(wire);
    reading.take(reply.as_bytes());
    if !reading.is_over {
        reading.end_of_body();
    }
    let mut found = reading.ready.drain(..).filter_map(Result::err);
    found.next().unwrap_or_else(|| panic!("{wire:?}: no error in {reply}"))
}

#[test]
fn errors_in_a_reply_are_recognised_in_every_form() {
    let errors = [
        (r#""error":{"message":"Credit is used up.","code":402}"#, "model_failed", false),
        (
            r#""error":{"message":"Credit is used up.","type":"insufficient_quota"}"#,
            "model_failed",
            false,
        ),
        (r#""error":"Credit is used up.""#, "model_failed", false),
        (r#""error":{"message":"Credit: bad key","code":"401"}"#, "model_refused_key", false),
        (r#""error":{"message":"Credit","type":"permission_error"}"#, "model_refused_key", false),
        (r#""error":{"message":"Credit","code":403}"#, "model_refused_key", false),
        (
            r#""error":{"message":"Credit: overloaded","type":"overloaded_error"}"#,
            "model_busy",
            true,
        ),
        (r#""error":{"message":"Credit: later","code":429}"#, "model_busy", true),
        (r#""error":{"message":"Credit: later","status":"UNAVAILABLE"}"#, "model_busy", true),
        (r#""error":{"message":"Credit: broke","code":500}"#, "model_failed", true),
        (r#""object":"error","message":"Credit is used up.","code":402"#, "model_failed", false),
        (r#""type":"error","message":"Credit is used up.""#, "model_failed", false),
        (r#""code":401,"msg":"Credit","data":null"#, "model_refused_key", false),
        (r#""code":429,"msg":"Credit: later""#, "model_busy", true),
        (r#""detail":"Credit is used up.""#, "model_failed", false),
    ];
    for wire in ProviderWire::ALL {
        for (fields, code, again) in errors {
            let json = format!("{{{fields}}}");
            for reply in [
                json.clone(),
                format!("[{json}]"),
                json.replace(',', ",\n"),
                format!("data: {json}\n\n"),
                format!("data: {json}\n\ndata: [DONE]\n\n"),
                format!("event: error\ndata: {json}\n\n"),
                format!("{json}\n"),
            ] {
                let error = error(wire, &reply);
                assert_eq!(error.code(), code, "{wire:?}: {reply}: {error}");
                assert_eq!(error.retry_in(0).is_some(), again, "{wire:?}: {reply}: {error}");
                if code != "model_refused_key" {
                    assert!(error.to_string().contains("Credit"), "{wire:?}: {reply}: {error}");
                }
            }
        }
        for (page, code) in [
            ("<html><h1>Credit is used up.</h1></html>", "model_failed"),
            ("Credit is used up.", "model_failed"),
            ("<html><title>503 Service Unavailable (Credit)</title></html>", "model_busy"),
        ] {
            let error = error(wire, page);
            assert_eq!(error.code(), code, "{wire:?}: {page}: {error}");
            assert!(error.to_string().contains("Credit"), "{wire:?}: {page}: {error}");
        }
    }
}

#[test]
fn an_error_in_the_middle_keeps_the_text_before_it() {
    let said = r#"{"choices":[{"delta":{"content":"It is"}}]}"#;
    let error = r#"{"error":{"message":"Overloaded.","code":529}}"#;
    let wanted = "It is | failed model_busy";
    let in_choice = concat!(
        r#"{"choices":[{"delta":{},"finish_reason":"error","#,
        r#""error":{"code":529,"message":"Overloaded."}}]}"#
    );
    check(
        ProviderWire::OpenAi,
        &[
            ("an event", sse(&[said, error]), wanted),
            ("a line without a field", format!("{}{error}\n\n", sse(&[said])), wanted),
            ("in a choice", sse(&[said, in_choice]), wanted),
            ("words", format!("{}event: error\ndata: Overloaded\n\n", sse(&[said])), wanted),
        ],
    );
    let said = r#"{"candidates":[{"content":{"parts":[{"text":"It is"}]}}]}"#;
    check(
        ProviderWire::Gemini,
        &[
            ("in a list", format!("[{said},{error}]"), wanted),
            ("wrapped", sse(&[said, &format!(r#"{{"response":{error}}}"#)]), wanted),
        ],
    );
}
