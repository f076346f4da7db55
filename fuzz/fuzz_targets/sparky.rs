//! Sparky's reader: what is read is written in one form, and that form is read back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::dialect::sparky::WsMessage;

fuzz_target!(|text: &str| {
    let Ok(message) = WsMessage::from_text(text) else { return };
    let written = message.to_text();
    assert!(written.is_ascii(), "as Python's json.dumps writes: {written}");
    // Only the text: an empty label is read, and not written.
    let again =
        WsMessage::from_text(&written).unwrap_or_else(|refusal| panic!("{written}: {refusal}"));
    assert_eq!(again.to_text(), written);
});
