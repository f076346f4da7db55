//! Capabilities of Anthropic's models, derived from their names.

/// A model's family and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClaudeModel {
    family: ClaudeFamily,
    /// Major and minor version. Absent if they do not follow the family's name.
    version: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaudeFamily {
    Opus,
    Sonnet,
    Haiku,
    /// Fable and Mythos, which always think.
    Newest,
    Unknown,
}

impl ClaudeModel {
    /// Parses a model's name, such as `claude-opus-4-6` or `claude-sonnet-4-5-20250929`.
    pub(super) fn named(model: &str) -> Self {
        let mut words = model.split(|char: char| !char.is_ascii_alphanumeric());
        let family = words.find_map(|word| match word {
            "opus" => Some(ClaudeFamily::Opus),
            "sonnet" => Some(ClaudeFamily::Sonnet),
            "haiku" => Some(ClaudeFamily::Haiku),
            "fable" | "mythos" => Some(ClaudeFamily::Newest),
            _ => None,
        });
        // A longer number is a date.
        let mut number = || words.next().filter(|word| word.len() <= 2)?.parse::<u32>().ok();
        let major = number();
        let version = major.map(|major| (major, number().unwrap_or(0)));
        Self { family: family.unwrap_or(ClaudeFamily::Unknown), version }
    }

    /// Whether the model is of its family's version in the arguments, or later.
    fn is_since(self, opus: (u32, u32), sonnet: (u32, u32), haiku: (u32, u32)) -> bool {
        let since = match self.family {
            ClaudeFamily::Opus => opus,
            ClaudeFamily::Sonnet => sonnet,
            ClaudeFamily::Haiku => haiku,
            ClaudeFamily::Newest => return true,
            ClaudeFamily::Unknown => return false,
        };
        self.version.is_some_and(|version| version >= since)
    }

    /// Whether the effort is set in words.
    pub(super) fn has_effort(self) -> bool {
        self.is_since((4, 5), (4, 6), (5, 0))
    }

    pub(super) fn has_max_effort(self) -> bool {
        self.is_since((4, 6), (4, 6), (5, 0))
    }

    pub(super) fn has_xhigh_effort(self) -> bool {
        self.is_since((4, 7), (5, 0), (5, 0))
    }

    /// Whether the model decides by itself how much to think.
    pub(super) fn is_adaptive(self) -> bool {
        self.is_since((4, 6), (4, 6), (5, 0))
    }

    /// Whether it thinks unless thinking is disabled.
    pub(super) fn thinks_by_default(self) -> bool {
        self.family != ClaudeFamily::Newest && self.is_since((5, 0), (5, 0), (5, 0))
    }
}
