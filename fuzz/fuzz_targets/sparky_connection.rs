//! Frames and answers in any order into a connection of Sparky's wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_fuzz::{Conversation, Wire};
use thoughtwire_proto::dialect::sparky::{Loading, ServerLoading, SparkyMachine, Tools, WsMessage};

fuzz_target!(|script: &[u8]| {
    let server = |name: &str, loading| ServerLoading { name: name.to_owned(), loading };
    let lost = Loading::Failed("gone".to_owned());
    let servers = vec![
        server("clock", Loading::Loaded),
        server("slow", Loading::Begun),
        server("lost", lost),
    ];
    let tools = Tools { loaded: 3, servers };
    let machine = Box::new(SparkyMachine::new(tools));
    Conversation::of(Wire { machine, check, last: "nothing" }, script);
});

fn check(frame: &str) {
    WsMessage::from_text(frame).unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
}
