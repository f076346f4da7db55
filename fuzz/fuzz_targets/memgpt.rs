//! MemGPT's reader: what is read is written in one form, and read back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::dialect::memgpt::MemgptFrame;

fuzz_target!(|text: &str| {
    let Ok(frame) = MemgptFrame::decode(text) else { return };
    let written = frame.encode();
    assert!(written.is_ascii(), "as Python's json.dumps writes: {written}");
    let again =
        MemgptFrame::decode(&written).unwrap_or_else(|refusal| panic!("{written}: {refusal}"));
    assert_eq!(again, frame, "{written}");
    assert_eq!(again.encode(), written);
});
