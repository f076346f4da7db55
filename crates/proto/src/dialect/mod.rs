//! The three dialects. Each maps its frames to the one vocabulary by hand.
//!
//! Dialects never import each other. The two older ones share Python's JSON.

mod limit;
pub mod line;
pub mod memgpt;
pub mod native;
pub mod python;
mod shorten;
pub mod sparky;

use crate::SessionEmission;
use crate::connection::{Encoding, Frame};

pub use limit::FrameLimit;

/// Frames of an emission in an encoding: none, one or several, each within the limit.
#[must_use]
pub fn encode(encoding: &Encoding, emitted: &SessionEmission, limit: FrameLimit) -> Vec<Frame> {
    let (frames, fit): (_, fn(Frame, FrameLimit) -> Vec<Frame>) = match encoding {
        Encoding::Native => {
            (vec![native::encode(&emitted.session, &emitted.emission)], native::fit)
        }
        Encoding::Memgpt => (memgpt::encode(emitted), memgpt::fit),
        Encoding::Sparky { session_id, user_id, chat_id } => {
            (sparky::encode(emitted, session_id, user_id, chat_id), sparky::fit)
        }
    };
    if frames.iter().all(|frame| frame.len() <= limit.bytes()) {
        return frames;
    }
    frames.into_iter().flat_map(|frame| fit(frame, limit)).collect()
}
