//! The native wire's readers: what is read is written in one form, and read back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::dialect::native::{ClientFrame, ServerFrame};

fuzz_target!(|text: &str| {
    if let Ok(frame) = ClientFrame::decode(text) {
        let written = frame.encode();
        let again = ClientFrame::decode(&written)
            .unwrap_or_else(|undecoded| panic!("{written}: {}", undecoded.refusal));
        assert_eq!(again, frame, "{written}");
        assert_eq!(again.encode(), written);
    }
    match ServerFrame::decode(text) {
        // A frame of a newer server is known by its type alone.
        Ok(ServerFrame::Other(_)) | Err(_) => {}
        Ok(frame) => {
            let written = frame.encode();
            let again = ServerFrame::decode(&written).unwrap_or_else(|refusal| {
                panic!(
                    "{written}: \
            {refusal}"
                )
            });
            assert_eq!(again, frame, "{written}");
            assert_eq!(again.encode(), written);
        }
    }
});
