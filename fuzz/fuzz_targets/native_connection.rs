//! Frames and answers in any order into a native connection: every frame with an id is answered
//! once.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use thoughtwire_fuzz::{Conversation, Wire};
use thoughtwire_proto::CommandId;
use thoughtwire_proto::dialect::native::{
    ClientFrame, ConnectionLimits, NativeMachine, ServerFrame,
};

fuzz_target!(|script: &[u8]| {
    // A server that wants a key first, or one that does not.
    let needs_hello = script.first() == Some(&b'+');
    let limits = ConnectionLimits { attached_sessions: Some(2), ..ConnectionLimits::default() };
    let machine = Box::new(NativeMachine::new(limits, "thoughtwire/0".to_owned(), needs_hello));
    let wire = Wire { machine, check, last: r#"{"type":"ping"}"# };
    let conversation = Conversation::of(wire, script);

    let mut owed: BTreeMap<CommandId, i64> = BTreeMap::new();
    for text in &conversation.sent {
        let id = ClientFrame::decode(text).map_or_else(|undecoded| undecoded.id, |frame| frame.id);
        *id.map_or(&mut 0, |id| owed.entry(id).or_default()) += 1;
    }
    for text in &conversation.said {
        let id = match ServerFrame::decode(text).expect("checked") {
            ServerFrame::Ack(ack) => Some(ack.id),
            ServerFrame::Refused(refused) => refused.id,
            ServerFrame::Attached(attached) => attached.id,
            ServerFrame::Pong { id } => id,
            _ => None,
        };
        *id.map_or(&mut 0, |id| owed.entry(id).or_default()) -= 1;
    }
    owed.retain(|_, owed| *owed != 0);
    assert!(
        owed.is_empty(),
        "answers owed: {owed:?}\n{:#?}\n{:#?}",
        conversation.sent,
        conversation.said
    );
});

fn check(frame: &str) {
    let read = ServerFrame::decode(frame).unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
    assert!(!matches!(read, ServerFrame::Other(_)), "{frame}");
    assert_eq!(read.encode(), frame);
}
