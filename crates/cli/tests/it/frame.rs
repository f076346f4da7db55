//! `thoughtwire frame` on the vectors, and on what is no frame at all.

use serde_json::Value;

use crate::usage::{Ran, thoughtwire};

const VECTORS: &str = include_str!("../../../../vectors/native.jsonl");

fn frame(verb: &str, dialect: &str, input: &[u8]) -> Vec<String> {
    let Ran { code, out, err } = thoughtwire(&["frame", verb, "--dialect", dialect], input);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out.lines().map(str::to_owned).collect()
}

fn decoded(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn every_native_vector_is_decoded_and_encoded_again() {
    let rows: Vec<Value> = VECTORS.lines().map(decoded).collect();
    let input: String =
        rows.iter().map(|row| format!("{}\n", row["wire"].as_str().unwrap())).collect();
    let lines = frame("decode", "native", input.as_bytes());
    assert_eq!(lines.len(), rows.len());
    for (row, line) in rows.iter().zip(&lines) {
        match row.get("ok") {
            Some(ok) => assert_eq!(*line, format!(r#"{{"ok":{ok}}}"#)),
            None => assert_eq!(decoded(line)["error"]["code"], row["error"]["code"], "{row}"),
        }
    }
    let good: Vec<_> = rows.iter().filter_map(|row| row.get("ok")).map(Value::to_string).collect();
    assert_eq!(frame("encode", "native", good.join("\n").as_bytes()), good);
    // `encode` accepts the output of `decode` unchanged.
    let piped: Vec<_> = good.iter().map(|frame| format!(r#"{{"ok":{frame}}}"#)).collect();
    assert_eq!(frame("encode", "native", piped.join("\n").as_bytes()), good);
}

#[test]
fn a_line_in_is_a_line_out_in_every_dialect() {
    for dialect in ["native", "memgpt", "sparky"] {
        // An empty one, one that is no text, one that is no frame; a last one without its end.
        let lines = frame("decode", dialect, b"\n\r\n\xff\xfe\nnot json\n[]\n{}");
        assert_eq!(lines.len(), 6, "{dialect}: {lines:?}");
        for line in &lines {
            let error = &decoded(line)["error"];
            assert!(
                error["code"].is_string() && !error["reason"].as_str().unwrap().is_empty(),
                "{dialect}: {line}"
            );
        }
        assert_eq!(decoded(&lines[2])["error"]["code"], "bad_frame");
        assert!(frame("decode", dialect, b"").is_empty());
        assert_eq!(frame("encode", dialect, b"\nnot json\n\xff\n").len(), 3, "{dialect}");
    }
}

#[test]
fn the_older_wires_frames_come_back_as_they_went_in() {
    for (dialect, frames) in [
        (
            "memgpt",
            &[
                r#"{"type": "server_error", "message": "no"}"#,
                r#"{"type": "agent_response_start"}"#,
            ][..],
        ),
        ("sparky", &[r#"{"type": "message", "data": {"text": "hi"}}"#][..]),
    ] {
        let decoded = frame("decode", dialect, frames.join("\n").as_bytes());
        let again = frame("encode", dialect, decoded.join("\n").as_bytes());
        for (sent, got) in frames.iter().zip(&again) {
            assert_eq!(
                serde_json::from_str::<Value>(got).unwrap(),
                serde_json::from_str::<Value>(sent).unwrap(),
                "{dialect}"
            );
        }
        assert_eq!(again.len(), frames.len());
    }
}
