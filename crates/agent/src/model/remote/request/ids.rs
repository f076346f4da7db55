//! Ids of calls, in the form that each provider takes.

use std::collections::HashSet;

use crate::model::remote::Wire;
use crate::model::remote::kept::MADE_UP;

/// Gives each call of a request its id, different from all others.
///
/// The id is the provider's own where the same model made the call. Every other call gets nine
/// letters or digits made from our id, a form that all providers take. Both depend only on the
/// calls before, so that requests of later steps and turns begin alike.
#[derive(Debug)]
pub(super) struct Ids {
    wire: Wire,
    given: HashSet<String>,
}

impl Ids {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, given: HashSet::new() }
    }

    /// The id of the next call: `ours` is the log's, `provider` its maker's if that is asked now.
    pub(super) fn give(&mut self, ours: &str, provider: Option<&str>) -> String {
        if let Some(id) = provider.filter(|id| self.takes(id))
            && self.given.insert(id.to_owned())
        {
            return id.to_owned();
        }
        let mut id = short(ours, 0);
        for round in 1_u64.. {
            if self.given.insert(id.clone()) {
                break;
            }
            id = short(ours, round);
        }
        id
    }

    /// Whether a provider takes back an id of its own.
    fn takes(&self, id: &str) -> bool {
        if id.starts_with(MADE_UP) {
            return false;
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self.wire {
            Wire::OpenAi => {
                (1..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
            }
            Wire::Responses => {
                (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
            }
            Wire::Anthropic => (1..=64).contains(&id.len()) && id.bytes().all(is_word),
            // These match results to calls by name and order.
            Wire::Gemini | Wire::Ollama => false,
        }
    }
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Nine letters or digits that stand for a text; another nine in each round.
pub(super) fn short(text: &str, round: u64) -> String {
    let bytes = text.bytes().chain(round.to_le_bytes());
    // FNV-1a: the result must be the same in every build; the standard hasher does not promise it.
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^= hash >> 29;
    let digit = |_| {
        let at = usize::try_from(hash % 62).unwrap_or_default();
        hash /= 62;
        DIGITS.get(at).copied().map_or('0', char::from)
    };
    (0..9).map(digit).collect()
}
