//! The storage form of events, and each event as the three wires say it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::{FrameLimit, encode, memgpt, native, sparky};
use thoughtwire_proto::{Emission, Event, Record, Seq, SessionEmission, SessionId, Timestamp};

fuzz_target!(|text: &str| {
    let Ok(event) = serde_json::from_str::<Event>(text) else { return };
    let stored = serde_json::to_string(&event).expect("an event can be stored");
    let again: Event =
        serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{stored}: {error}"));
    assert_eq!(again, event, "{stored}");
    assert_eq!(serde_json::to_string(&again).expect("an event can be stored"), stored);

    let session: SessionId = "s-1".parse().expect("an id");
    let record =
        Record { seq: Seq(1), at: Timestamp::from_millis(0), turn: "t-1".parse().ok(), event };
    let emitted = SessionEmission { session, emission: Emission::Record(record) };
    let labels =
        Encoding::Sparky { session_id: "p-1".into(), user_id: "u-1".into(), chat_id: "c-1".into() };
    for encoding in [Encoding::Native, Encoding::Memgpt, labels] {
        for frame in encode(&encoding, &emitted, FrameLimit::new(usize::MAX)) {
            match &encoding {
                Encoding::Native => {
                    let read = native::ServerFrame::decode(&frame)
                        .unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
                    assert_eq!(
                        read,
                        native::ServerFrame::SessionEmission(emitted.clone()),
                        "{frame}"
                    );
                }
                Encoding::Memgpt => {
                    let read = memgpt::MemgptFrame::decode(&frame)
                        .unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
                    assert!(matches!(read, memgpt::MemgptFrame::Server(_)), "{frame}");
                }
                Encoding::Sparky { .. } => {
                    sparky::WsMessage::from_text(&frame)
                        .unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
                }
            }
        }
    }
});
