//! `thoughtwire frame`: what is decoded can be encoded, and decoded again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thoughtwire_proto::dialect::line::{Dialect, decode, encode};

fuzz_target!(|line: &str| {
    for dialect in Dialect::ALL {
        if let Ok(decoded) = decode(dialect, line) {
            assert!(!decoded.contains('\n'), "a line in is a line out: {decoded:?}");
            let sent = encode(dialect, &decoded).unwrap_or_else(|refusal| {
                panic!(
                    "{dialect:?} \
            {decoded}: {refusal}"
                )
            });
            assert_eq!(decode(dialect, &sent).as_ref(), Ok(&decoded), "{dialect:?}");
            assert_eq!(
                encode(dialect, &format!(r#"{{"ok":{decoded}}}"#)).as_ref(),
                Ok(&sent),
                "{dialect:?}"
            );
        }
        if let Ok(sent) = encode(dialect, line) {
            assert!(!sent.contains('\n'), "a line in is a line out: {sent:?}");
            let decoded = decode(dialect, &sent).unwrap_or_else(|refusal| {
                panic!(
                    "{dialect:?} \
            {sent}: {refusal}"
                )
            });
            assert_eq!(encode(dialect, &decoded).as_ref(), Ok(&sent), "{dialect:?}");
        }
    }
});
