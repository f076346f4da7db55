//! Frames of all dialects stay within the limit, and the whole text still arrives.

use serde_json::{Map, Value, json};
use thoughtwire_proto::connection::{Encoding, Machine, Output};
use thoughtwire_proto::dialect::memgpt::MemgptMachine;
use thoughtwire_proto::dialect::native::{
    ConnectionLimits, FramePart, NativeMachine, PartJoiner, ServerFrame,
};
use thoughtwire_proto::dialect::sparky::{SparkyMachine, Tools};
use thoughtwire_proto::dialect::{FrameLimit, encode};
use thoughtwire_proto::{
    Delta, Emission, Event, Partial, Record, Refusal, RefusalCode, Seq, SessionEmission,
    StreamKind, ToolStatus, TurnEvent,
};

/// Texts whose JSON is longer than they are, differently per dialect.
fn texts() -> Vec<String> {
    let unit = ["x", "\"", "\\", "\u{1}", "é", "漢", "𝄞", "\u{7f}", "a\n\"b\\ć𝄞"];
    let mut texts: Vec<_> = unit.iter().map(|unit| unit.repeat(9_000)).collect();
    texts.push("x".repeat(FrameLimit::new(4096).bytes() - 50));
    texts
}

fn emissions(text: &str) -> Vec<Emission> {
    let record = |event| {
        let (at, turn) = (Default::default(), "t-1".parse().ok());
        Emission::Record(Record { seq: Seq(u64::MAX >> 12), at, turn, event })
    };
    let (item, call) = (|| "i-1".parse().unwrap(), || "c-1".parse().unwrap());
    let (text, name) = (text.to_owned(), "look".to_owned());
    let args = Map::from_iter([
        ("long".to_owned(), json!(text)),
        ("deep".to_owned(), json!({"list": [text, 1]})),
    ]);
    vec![
        record(Event::Turn(TurnEvent::Thought {
            item: item(),
            text: text.clone(),
            complete: true,
            continues: None,
        })),
        record(Event::Turn(TurnEvent::Message {
            item: item(),
            text: text.clone(),
            complete: true,
            continues: None,
        })),
        record(Event::Turn(TurnEvent::ToolCalled { call: call(), name: name.clone(), args })),
        record(Event::Turn(TurnEvent::ToolReturned {
            call: call(),
            name,
            status: ToolStatus::Error,
            text: text.clone(),
            content: None,
        })),
        record(Event::Turn(TurnEvent::Ended {
            input: item(),
            outcome: thoughtwire_proto::Outcome::Failed,
            code: None,
            reason: Some(text.clone()),
        })),
        Emission::Delta(Delta {
            turn: "t-1".parse().unwrap(),
            item: item(),
            n: 0,
            kind: StreamKind::Message,
            text: text.clone(),
            continues: None,
        }),
        Emission::Partial(Partial {
            turn: "t-1".parse().unwrap(),
            item: item(),
            n: 3,
            kind: StreamKind::Thought,
            text: text.clone(),
            continues: None,
        }),
        Emission::Status { turn: None, text },
    ]
}

fn emitted(emission: Emission) -> SessionEmission {
    SessionEmission { session: "s-1".parse().unwrap(), emission }
}

fn sparky() -> Encoding {
    Encoding::Sparky { session_id: "p".into(), user_id: "u".into(), chat_id: "c".into() }
}

#[test]
fn a_native_frame_comes_whole_or_in_parts() {
    for limit in [4096, 20_000, 1 << 20].map(FrameLimit::new) {
        for emission in texts().iter().flat_map(|text| emissions(text)) {
            let emitted = emitted(emission);
            let frames = encode(&Encoding::Native, &emitted, limit);
            let mut joiner = PartJoiner::default();
            let mut joined = Vec::new();
            for (number, frame) in frames.iter().enumerate() {
                assert!(frame.len() <= limit.bytes(), "{} bytes of {limit:?}", frame.len());
                let read = ServerFrame::decode(frame).unwrap();
                if frames.len() > 1 {
                    let ServerFrame::Part(FramePart { session, seq, part, parts, .. }) = &read
                    else {
                        panic!("{read:?} is no part")
                    };
                    assert_eq!(session.as_ref(), Some(&emitted.session));
                    let is_record = matches!(emitted.emission, Emission::Record(_));
                    assert_eq!(seq.is_some(), is_record);
                    assert_eq!((*part, *parts), (number as u64, frames.len() as u64));
                }
                joined.extend(joiner.take(read).unwrap());
            }
            assert_eq!(joined, [ServerFrame::SessionEmission(emitted)]);
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_not_joined() {
    let part = |part, parts| {
        let data = "{".to_owned();
        ServerFrame::Part(FramePart { session: None, seq: None, part, parts, data })
    };
    for (first, second) in [
        (None, part(1, 2)),
        (Some(part(0, 3)), part(2, 3)),
        (Some(part(0, 3)), part(1, 4)),
        (Some(part(0, 3)), ServerFrame::Pong { id: None }),
        (None, part(0, 1)),
    ] {
        let mut joiner = PartJoiner::default();
        if let Some(first) = first {
            assert_eq!(joiner.take(first), Ok(None));
        }
        assert!(joiner.take(second.clone()).is_err(), "{second:?}");
    }
}

/// The texts in an older dialect's frames, by the key that has them.
fn said(frames: &[String], key: &str) -> String {
    frames
        .iter()
        .map(|frame| {
            let frame: Value = serde_json::from_str(frame).unwrap();
            let frame = if frame.get("data").is_some() { frame["data"].clone() } else { frame };
            frame[key].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_long_text_comes_in_several_frames_on_memgpts_wire() {
    let limit = FrameLimit::new(4096);
    for text in texts() {
        for emission in emissions(&text) {
            let emitted = emitted(emission);
            let whole = encode(&Encoding::Memgpt, &emitted, FrameLimit::new(usize::MAX));
            let frames = encode(&Encoding::Memgpt, &emitted, limit);
            assert!(frames.iter().all(|frame| frame.len() <= limit.bytes()), "{frames:.200?}");
            let Emission::Record(record) = &emitted.emission else {
                assert_eq!(frames, whole);
                continue;
            };
            if let Event::Turn(TurnEvent::Ended { .. }) = record.event {
                assert_eq!(frames.len(), 1, "a client stops at the first");
                assert!(said(&frames, "message").contains("[shortened]"));
                continue;
            }
            assert_eq!(said(&frames, "message"), said(&whole, "message"));
            let kind = |frame: &String| frame.split("\"message\":").next().unwrap().to_owned();
            assert!(frames.iter().all(|frame| kind(frame) == kind(&whole[0])));
        }
    }
}

#[test]
fn a_long_text_comes_in_several_frames_on_sparkys_wire() {
    let limit = FrameLimit::new(4096);
    for text in texts() {
        for emission in emissions(&text) {
            let emitted = emitted(emission);
            let frames = encode(&sparky(), &emitted, limit);
            assert!(frames.iter().all(|frame| frame.len() <= limit.bytes()), "{frames:.200?}");
            let key = match &emitted.emission {
                Emission::Record(record) => match &record.event {
                    Event::Turn(TurnEvent::ToolCalled { .. }) => {
                        assert_eq!(frames.len(), 1);
                        assert!(frames[0].contains("[shortened]"), "{:.200}", frames[0]);
                        assert!(frames[0].contains(r#""name": "look""#));
                        continue;
                    }
                    Event::Turn(TurnEvent::Ended { .. }) => {
                        assert_eq!(frames.len(), 1);
                        continue;
                    }
                    Event::Turn(TurnEvent::ToolReturned { .. }) => "result",
                    _ => "text",
                },
                Emission::Status { .. } => "message",
                _ => continue,
            };
            assert_eq!(said(&frames, key), text);
            assert!(frames.iter().all(|frame| frame.contains(r#""chat_id": "c""#)));
        }
    }
}

#[test]
fn arguments_of_many_short_values_are_shortened_visibly() {
    let limit = FrameLimit::new(4096);
    let args = Map::from_iter([("list".to_owned(), json!(vec![1; 5_000]))]);
    let event = Event::Turn(TurnEvent::ToolCalled {
        call: "c".parse().unwrap(),
        name: "look".to_owned(),
        args,
    });
    let (at, turn) = (Default::default(), None);
    let record = Emission::Record(Record { seq: Seq(1), at, turn, event });
    let frames = encode(&sparky(), &emitted(record), limit);
    assert_eq!(frames.len(), 1);
    assert!(frames[0].len() <= limit.bytes());
    let frame: Value = serde_json::from_str(&frames[0]).unwrap();
    let shortened = frame["data"]["args"]["shortened"].as_str().unwrap();
    assert!(shortened.starts_with(r#"{"list": [1, 1"#) && shortened.ends_with("[shortened]"));
}

#[test]
fn a_machines_own_frames_are_within_the_limit() {
    let limits = ConnectionLimits { frame_bytes: Some(4096), ..ConnectionLimits::default() };
    let refusal = Refusal::new(RefusalCode::BadFrame, "é\"".repeat(9_000));
    let machines: [Box<dyn Machine>; 3] = [
        Box::new(NativeMachine::new(limits, "test/1".to_owned(), false)),
        Box::new(MemgptMachine::new(None).with_frame_limit(FrameLimit::new(4096))),
        Box::new(SparkyMachine::new(Tools::default()).with_frame_limit(FrameLimit::new(4096))),
    ];
    for mut machine in machines {
        machine.unreadable(b"{", &refusal);
        let mut frames = 0;
        while let Some(output) = machine.poll() {
            let Output::Frame(frame) = output else { panic!("{output:?}") };
            assert!(frame.len() <= FrameLimit::new(4096).bytes(), "{frame:.300}");
            frames += 1;
        }
        assert!(frames > 0);
    }
}

#[test]
fn a_refusal_of_an_unreadable_frame_carries_its_id() {
    let mut machine = NativeMachine::new(ConnectionLimits::default(), "test/1".to_owned(), false);
    let answers = |machine: &mut NativeMachine| {
        let frames = std::iter::from_fn(|| machine.poll()).filter_map(|output| match output {
            Output::Frame(frame) => Some(serde_json::from_str::<Value>(&frame).unwrap()),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    answers(&mut machine);
    for frame in [
        r#"{"type":"send","id":"m1","session":"s-1","text":"cut \ud83d"}"#,
        r#"{"type":"send","session":"s-1","text":"\ude00","id":"m1"}"#,
        concat!(
            r#"{"type":"tool_return","id":"m1","session":"s-1","call":"c","#,
            r#""status":"success","text":"x","content":01}"#
        ),
        r#"{"type":"send","id":"m1","session":"s-1","text":"a"} and more"#,
        r#"{"type":"send","id":"m1","session":"s-1","text":"a"#,
        r#"{"id":"m1"}"#,
        r#"{"type":7,"id":"m1"}"#,
        r#"{"type":"send","id":"m1","session":5,"text":"a"}"#,
        r#"{"type":"sing","id":"m1"}"#,
    ] {
        machine.frame(frame);
        let said = answers(&mut machine);
        assert_eq!(said.len(), 1, "{frame}");
        assert_eq!(
            (&said[0]["type"], &said[0]["id"]),
            (&json!("refused"), &json!("m1")),
            "{frame}"
        );
    }
}
