//! The three wires, each hand-mapping its frames to the one vocabulary.
//!
//! Dialects never import each other; what both older ones share is Python's JSON.

pub mod line;
pub mod memgpt;
pub mod native;
pub mod python;
pub mod sparky;

use crate::Emitted;
use crate::connection::Encoding;

/// An emission's frames in an encoding: none, one or several.
#[must_use]
pub fn encode(encoding: &Encoding, emitted: &Emitted) -> Vec<String> {
    match encoding {
        Encoding::Native => vec![native::encode(&emitted.session, &emitted.emission)],
        Encoding::Memgpt => memgpt::encode(emitted),
        Encoding::Sparky { session_id, user_id, chat_id } => {
            sparky::encode(emitted, session_id, user_id, chat_id)
        }
    }
}
