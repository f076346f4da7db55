//! Call ids in the form that each provider accepts.

use std::collections::HashSet;

use crate::model::remote::ProviderWire;
use crate::model::remote::provider_state::MADE_UP;

/// Assigns a unique id to each call of a request.
///
/// A call of the same model keeps the provider's id. Every other call gets nine letters or digits
/// derived from our id, a form that all providers accept. Both depend only on earlier calls:
/// requests of later steps and turns begin with the same bytes, and the provider can cache them.
#[derive(Debug)]
pub(super) struct CallIds {
    wire: ProviderWire,
    given: HashSet<String>,
}

impl CallIds {
    pub(super) fn new(wire: ProviderWire) -> Self {
        Self { wire, given: HashSet::new() }
    }

    /// Assigns the next call's id. `ours` is the id in the log. `provider` is the maker's id, if
    /// the same model is asked now.
    pub(super) fn assign(&mut self, ours: &str, provider: Option<&str>) -> String {
        if let Some(id) = provider.filter(|id| self.accepts(id))
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

    /// Whether the provider accepts an id of its own.
    fn accepts(&self, id: &str) -> bool {
        if id.starts_with(MADE_UP) {
            return false;
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self.wire {
            ProviderWire::OpenAi => {
                (1..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
            }
            ProviderWire::Responses => {
                (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
            }
            ProviderWire::Anthropic => (1..=64).contains(&id.len()) && id.bytes().all(is_word),
            // These match results with calls by name and order.
            ProviderWire::Gemini | ProviderWire::Ollama => false,
        }
    }
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Nine letters or digits derived from a text; another nine in each round.
pub(super) fn short(text: &str, round: u64) -> String {
    let bytes = text.bytes().chain(round.to_le_bytes());
    // FNV-1a, because the result must be the same in every build. The standard hasher does not
    // promise it.
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
