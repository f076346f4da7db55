//! Extraction of the text of a `send_message` call while its arguments arrive.

/// Extracts the text of the key `message` from JSON that arrives in pieces, so that people see it
/// at once. Anything unexpected is ignored, because the complete arguments are parsed later.
#[derive(Default)]
pub(crate) struct MessageExtractor {
    json: String,
    /// Number of bytes of `json` that are processed.
    at: usize,
    stage: ExtractorStage,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum ExtractorStage {
    /// Before the text.
    #[default]
    Before,
    /// Inside of the text.
    Within,
    /// Behind the text, or not found.
    Over,
}

impl MessageExtractor {
    /// Adds a piece of the JSON text and returns the new text.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        if self.stage == ExtractorStage::Over {
            return String::new();
        }
        self.json.push_str(piece);
        if self.stage == ExtractorStage::Before {
            self.find();
        }
        if self.stage == ExtractorStage::Within { self.read() } else { String::new() }
    }

    /// Finds the opening quote of the first key's value. Models write keys in the schema's order,
    /// and `message` is the first. In any other order the text is not streamed.
    fn find(&mut self) {
        let mut rest = self.json.as_str();
        for token in ["{", "\"message\"", ":", "\""] {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(token) {
                rest = after;
            } else {
                if !token.starts_with(rest) {
                    self.stage = ExtractorStage::Over;
                }
                return;
            }
        }
        self.at = self.json.len() - rest.len();
        self.stage = ExtractorStage::Within;
    }

    /// Reads up to the closing quote, or as far as characters are complete.
    fn read(&mut self) -> String {
        let mut words = String::new();
        while let Some(rest) = self.json.get(self.at..) {
            let Some(plain) = rest.find(['"', '\\']) else {
                words.push_str(rest);
                self.at = self.json.len();
                break;
            };
            words.extend(rest.get(..plain));
            self.at += plain;
            let rest = rest.get(plain..).unwrap_or_default();
            if rest.starts_with('"') {
                self.stage = ExtractorStage::Over;
                break;
            }
            let Some(length) = escape_length(rest) else { break };
            let escape = rest.get(..length).unwrap_or_default();
            match serde_json::from_str::<String>(&format!("\"{escape}\"")) {
                Ok(character) => words.push_str(&character),
                // A lone surrogate.
                Err(_) if escape.starts_with("\\u") => words.push(char::REPLACEMENT_CHARACTER),
                Err(_) => {
                    self.stage = ExtractorStage::Over;
                    break;
                }
            }
            self.at += length;
        }
        words
    }
}

/// Length of the escape at the beginning of a text. Absent if the escape is incomplete.
fn escape_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if *bytes.get(1)? != b'u' {
        return Some(2);
    }
    let high = text.get(2..6)?;
    let is_surrogate = high.get(..2).is_some_and(|start| {
        matches!(start.to_ascii_lowercase().as_str(), "d8" | "d9" | "da" | "db")
    });
    // The other half follows at once or not at all.
    let other = text.get(6..).unwrap_or_default();
    match (is_surrogate, other) {
        (false, _) => Some(6),
        (true, "" | "\\") => None,
        (true, other) if !other.starts_with("\\u") => Some(6),
        (true, other) if other.len() < 6 => None,
        (true, other) if is_low(other.get(2..6)) => Some(12),
        (true, _) => Some(6),
    }
}

/// Whether the digits of an escape are a low surrogate.
fn is_low(digits: Option<&str>) -> bool {
    let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    unit.is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit))
}
