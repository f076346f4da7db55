//! The native dialect's codec, with `vectors/native.jsonl`.

use serde_json::Value;
use thoughtwire_proto::dialect::native::{ClientFrame, ServerFrame, encode, normalise, render};
use thoughtwire_proto::{Emission, Event, Record, RefusalCode, Seq, SessionId, Timestamp};

const VECTORS: &str = include_str!("../../../../vectors/native.jsonl");
const EVENTS: &str = include_str!("../../../../vectors/events.jsonl");

pub(crate) fn rows() -> impl Iterator<Item = Value> {
    VECTORS.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_vector_is_read_or_refused() {
    for row in rows() {
        let wire = row["wire"].as_str().unwrap();
        match normalise(wire) {
            // As text, so that the order of keys counts.
            Ok(frame) => assert_eq!(frame.to_string(), row["ok"].to_string(), "{row}"),
            Err(refusal) => {
                assert_eq!(refusal.code.as_str(), row["error"]["code"], "{row}");
                if let Some(reason) = row["error"]["reason"].as_str() {
                    assert_eq!(refusal.reason, reason, "{row}");
                }
            }
        }
    }
}

#[test]
fn normalised_frames_do_not_change() {
    for row in rows().filter(|row| row.get("ok").is_some()) {
        let text = render(&row["ok"]).unwrap();
        assert_eq!(text, row["ok"].to_string(), "{row}");
        assert_eq!(normalise(&text).unwrap(), row["ok"]);
    }
}

#[test]
fn each_side_reads_only_its_own_direction() {
    for row in rows().filter(|row| row.get("ok").is_some()) {
        let wire = row["wire"].as_str().unwrap();
        if row["from"] == "client" {
            assert_eq!(ClientFrame::decode(wire).unwrap().encode(), row["ok"].to_string());
            // `cancel` goes both ways.
            if row["ok"]["type"] != "cancel" {
                assert!(
                    matches!(ServerFrame::decode(wire).unwrap(), ServerFrame::Other(_)),
                    "{row}"
                );
            }
        } else {
            let frame = ServerFrame::decode(wire).unwrap();
            assert_eq!(frame.encode(), row["ok"].to_string());
            assert!(!matches!(frame, ServerFrame::Other(_)), "{row}");
            if row["ok"]["type"] != "cancel" {
                assert_eq!(
                    ClientFrame::decode(wire).unwrap_err().refusal.code,
                    RefusalCode::UnknownType
                );
            }
        }
    }
}

#[test]
fn the_vectors_have_every_type() {
    let types: Vec<_> =
        rows().filter_map(|row| row["ok"]["type"].as_str().map(str::to_owned)).collect();
    let all = "hello attach detach create_agent create_session delete_session send withdraw cancel \
               decide tool_return rename watch offer say ping run approval_settled tool_returned \
               offer_ended welcome attached caught_up ack refused event delta partial status \
               presence session session_gone detached pong goaway";
    for name in all.split_whitespace() {
        assert!(types.iter().any(|known| known == name), "no vector for {name}");
    }
}

#[test]
fn stored_events_have_the_form_of_the_vectors() {
    for line in EVENTS.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event.kind(), row["kind"]);
        assert_eq!(matches!(event, Event::Other(_)), !Event::knows(event.kind()));

        let record = Record {
            seq: Seq(3),
            at: Timestamp::from_millis(1_767_225_600_000),
            turn: "t-1".parse().ok(),
            event,
        };
        let session: SessionId = "s-1".parse().unwrap();
        let frame = encode(&session, &Emission::Record(record));
        let shown = format!(
            concat!(
                r#"{{"type":"event","session":"s-1","seq":3,"at":"2026-01-01T00:00:00.000Z","#,
                r#""turn":"t-1","event":{line}}}"#
            ),
            line = line
        );
        assert_eq!(frame, shown);
        assert_eq!(ServerFrame::decode(&frame).unwrap().encode(), frame);
    }
    for kind in Event::known_kinds() {
        assert!(EVENTS.contains(&format!(r#"{{"kind":"{kind}","#)), "no vector for {kind}");
    }
}

/// Found by `make fuzz`: a number was read as a neighbouring one.
#[test]
fn numbers_of_unknown_events_are_kept_exactly() {
    for number in ["9999999999990000000000085608679", "0.1", "1e-310", "123456789.12345679", "-0.0"]
    {
        let first: Event =
            serde_json::from_str(&format!(r#"{{"kind":"later","n":{number}}}"#)).unwrap();
        let stored = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), first, "{stored}");
    }
}

#[test]
fn an_undecoded_frame_keeps_its_id() {
    let undecoded = ClientFrame::decode(r#"{"type":"send","id":"m1"}"#).unwrap_err();
    assert_eq!(undecoded.id, "m1".parse().ok());
    assert_eq!(ClientFrame::decode(r#"{"type":"send","id":7}"#).unwrap_err().id, None);
}
