//! Frames and answers in any order into a connection of MemGPT's wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_fuzz::{Conversation, Wire};
use thoughtwire_proto::dialect::memgpt::{MemgptFrame, MemgptMachine};

fuzz_target!(|script: &[u8]| {
    // A client with a name, or one without.
    let client = (script.first() == Some(&b'+')).then(|| "terminal".to_owned());
    let machine = Box::new(MemgptMachine::new(client));
    Conversation::of(Wire { machine, check, last: r#"{"type":"nothing"}"# }, script);
});

fn check(frame: &str) {
    match MemgptFrame::decode(frame) {
        Ok(MemgptFrame::Server(_)) => {}
        other => panic!("{frame}: {other:?}"),
    }
}
