//! Frames and answers in any order into a connection of Sparky's wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_fuzz::{Conversation, Wire};
use thoughtwire_proto::dialect::sparky::{Loading, Message, SparkyMachine, ToolLoading};

fuzz_target!(|script: &[u8]| {
    let tool = |name: &str, loading| ToolLoading { name: name.to_owned(), loading };
    let tools = vec![tool("clock", Loading::Loaded), tool("slow", Loading::Begun), tool("lost", Loading::Failed("gone".to_owned()))];
    let machine = Box::new(SparkyMachine::new(tools));
    Conversation::of(Wire { machine, check, last: "nothing" }, script);
});

fn check(frame: &str) {
    Message::from_text(frame).unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
}
