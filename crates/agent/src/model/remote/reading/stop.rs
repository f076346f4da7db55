//! Stop reasons, in all words that providers use for them.

/// The reason why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A normal end, or an unknown reason.
    Finished,
    /// A length limit.
    Length,
    /// A filter.
    Filtered,
    /// The model refused.
    Refused,
    /// A call that the provider could not read.
    MalformedCall,
    /// The provider gave up in the middle.
    Cut,
    /// An error of the provider.
    Failed,
}

/// Words of all wires, in lower case without separators. Gateways pass on the words of the models
/// behind them.
const WORDS: [(&str, Reason); 55] = [
    ("length", Reason::Length),
    ("maxtokens", Reason::Length),
    ("maxoutputtokens", Reason::Length),
    ("maxcompletiontokens", Reason::Length),
    ("maxlength", Reason::Length),
    ("modellength", Reason::Length),
    ("modelcontextwindowexceeded", Reason::Length),
    ("contextlength", Reason::Length),
    ("contextlengthexceeded", Reason::Length),
    ("tokenlimit", Reason::Length),
    ("maxnewtokens", Reason::Length),
    ("errorlimit", Reason::Length),
    ("truncated", Reason::Length),
    ("contentfilter", Reason::Filtered),
    ("contentfiltered", Reason::Filtered),
    ("filtered", Reason::Filtered),
    ("safety", Reason::Filtered),
    ("imagesafety", Reason::Filtered),
    ("recitation", Reason::Filtered),
    ("imagerecitation", Reason::Filtered),
    ("language", Reason::Filtered),
    ("blocklist", Reason::Filtered),
    ("prohibitedcontent", Reason::Filtered),
    ("imageprohibitedcontent", Reason::Filtered),
    ("spii", Reason::Filtered),
    ("modelarmor", Reason::Filtered),
    ("sensitive", Reason::Filtered),
    ("guardrailintervened", Reason::Filtered),
    ("errortoxic", Reason::Filtered),
    ("blocked", Reason::Filtered),
    ("moderation", Reason::Filtered),
    ("flagged", Reason::Filtered),
    ("refusal", Reason::Refused),
    ("refused", Reason::Refused),
    ("malformedfunctioncall", Reason::MalformedCall),
    ("malformedtooluse", Reason::MalformedCall),
    ("malformedtoolcall", Reason::MalformedCall),
    ("malformedmodeloutput", Reason::MalformedCall),
    ("malformedresponse", Reason::MalformedCall),
    ("unexpectedtoolcall", Reason::MalformedCall),
    ("toomanytoolcalls", Reason::MalformedCall),
    ("abort", Reason::Cut),
    ("aborted", Reason::Cut),
    ("cancelled", Reason::Cut),
    ("canceled", Reason::Cut),
    ("timeout", Reason::Cut),
    ("usercancel", Reason::Cut),
    ("incomplete", Reason::Cut),
    // Google's word for reasons that it does not name.
    ("other", Reason::Cut),
    ("error", Reason::Failed),
    ("networkerror", Reason::Failed),
    ("servererror", Reason::Failed),
    ("failed", Reason::Failed),
    ("insufficientsystemresource", Reason::Failed),
    ("missingthoughtsignature", Reason::Failed),
];

impl Reason {
    /// Parses a provider's word.
    pub(super) fn of(word: &str) -> Self {
        let plain: String = word
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .take(64)
            .collect();
        let known = WORDS.iter().find(|(word, _)| *word == plain);
        known.map_or(Self::Finished, |(_, reason)| *reason)
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn stop_reasons_are_known_in_any_spelling() {
        for (word, reason) in [
            ("stop", Reason::Finished),
            ("tool_calls", Reason::Finished),
            ("something_new", Reason::Finished),
            ("length", Reason::Length),
            ("MAX_TOKENS", Reason::Length),
            ("max_output_tokens", Reason::Length),
            ("content-filter", Reason::Filtered),
            ("SAFETY", Reason::Filtered),
            ("MALFORMED_FUNCTION_CALL", Reason::MalformedCall),
            ("refusal", Reason::Refused),
            ("error", Reason::Failed),
        ] {
            assert_eq!(Reason::of(word), reason, "{word}");
        }
    }
}
