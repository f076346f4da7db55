use super::*;

/// Adds a piece repeatedly until the reading fails. Returns the error code and the bytes read.
fn endless(wire: ProviderWire, first: &str, piece: impl Fn(usize) -> String) -> (String, usize) {
    let mut reading = reading(wire);
    reading.take(first.as_bytes());
    let mut bytes = 0;
    for number in 0.. {
        let piece: String = (0..64).map(|at| piece(number * 64 + at)).collect();
        reading.take(piece.as_bytes());
        bytes += piece.len();
        while reading.reply.pop().is_some() {}
        if reading.is_over || bytes > 2 * MAX_STREAM_BYTES {
            break;
        }
    }
    let error = reading.ready.pop_front().and_then(Result::err);
    (error.map_or_else(String::new, |error| error.code().to_owned()), bytes)
}

#[test]
fn endless_replies_of_every_kind_fail_early() {
    let long = "x".repeat(4_000);
    let wide = |json: &str| format!("data: {}\n\n", json.replace("LONG", &long));
    let delta = |delta: &str| wide(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#));
    let block = |at: usize| {
        format!(
            "data: {{\"type\":\"content_block_start\",\"index\":{at},\
             \"content_block\":{{\"type\":\"text\"}}}}\n\n"
        )
    };
    let item = |at: usize| {
        format!(
            "data: {{\"type\":\"response.output_item.added\",\"output_index\":{at},\
             \"item\":{{\"type\":\"message\",\"id\":\"{at}\"}}}}\n\n"
        )
    };
    let call = |at: usize| {
        delta(&format!(
            r#"{{"tool_calls":[{{"index":{at},"id":"{at}","function":{{"name":"sum"}}}}]}}"#
        ))
    };
    type MakePiece<'a> = Box<dyn Fn(usize) -> String + 'a>;
    let rows: [(&str, ProviderWire, MakePiece<'_>, usize); 11] = [
        ("a line", ProviderWire::OpenAi, Box::new(|_| long.clone()), 8 << 20),
        ("a line", ProviderWire::Ollama, Box::new(|_| long.clone()), 8 << 20),
        ("an event", ProviderWire::OpenAi, Box::new(|_| format!("data: {long}\n")), 8 << 20),
        ("keep-alives", ProviderWire::Gemini, Box::new(|_| format!(": {long}\n\n")), 64 << 20),
        (
            "pings",
            ProviderWire::Anthropic,
            Box::new(|_| wide(r#"{"type":"ping","x":"LONG"}"#)),
            64 << 20,
        ),
        ("text", ProviderWire::OpenAi, Box::new(|_| delta(r#"{"content":"LONG"}"#)), 8 << 20),
        (
            "blanks",
            ProviderWire::OpenAi,
            Box::new(|_| delta(r#"{"content":"                    "}"#)),
            64 << 20,
        ),
        (
            "a name",
            ProviderWire::OpenAi,
            Box::new(|at| {
                let name = format!(r#""name":"x{at}""#);
                delta(&format!(r#"{{"tool_calls":[{{"index":0,"function":{{{name}}}}}]}}"#))
            }),
            1 << 20,
        ),
        ("calls", ProviderWire::OpenAi, Box::new(call), 1 << 20),
        ("blocks", ProviderWire::Anthropic, Box::new(block), 8 << 20),
        ("items", ProviderWire::Responses, Box::new(item), 8 << 20),
    ];
    for (what, wire, piece, max) in rows {
        let (code, bytes) = endless(wire, "", piece);
        assert_eq!(code, "model_too_much", "{what}");
        assert!(bytes <= max, "{what}: {bytes} bytes were read");
    }
}
