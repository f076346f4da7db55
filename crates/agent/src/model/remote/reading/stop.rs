//! Stop reasons, in all words that providers use for them.

/// The reason why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
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
const WORDS: [(&str, StopReason); 55] = [
    ("length", StopReason::Length),
    ("maxtokens", StopReason::Length),
    ("maxoutputtokens", StopReason::Length),
    ("maxcompletiontokens", StopReason::Length),
    ("maxlength", StopReason::Length),
    ("modellength", StopReason::Length),
    ("modelcontextwindowexceeded", StopReason::Length),
    ("contextlength", StopReason::Length),
    ("contextlengthexceeded", StopReason::Length),
    ("tokenlimit", StopReason::Length),
    ("maxnewtokens", StopReason::Length),
    ("errorlimit", StopReason::Length),
    ("truncated", StopReason::Length),
    ("contentfilter", StopReason::Filtered),
    ("contentfiltered", StopReason::Filtered),
    ("filtered", StopReason::Filtered),
    ("safety", StopReason::Filtered),
    ("imagesafety", StopReason::Filtered),
    ("recitation", StopReason::Filtered),
    ("imagerecitation", StopReason::Filtered),
    ("language", StopReason::Filtered),
    ("blocklist", StopReason::Filtered),
    ("prohibitedcontent", StopReason::Filtered),
    ("imageprohibitedcontent", StopReason::Filtered),
    ("spii", StopReason::Filtered),
    ("modelarmor", StopReason::Filtered),
    ("sensitive", StopReason::Filtered),
    ("guardrailintervened", StopReason::Filtered),
    ("errortoxic", StopReason::Filtered),
    ("blocked", StopReason::Filtered),
    ("moderation", StopReason::Filtered),
    ("flagged", StopReason::Filtered),
    ("refusal", StopReason::Refused),
    ("refused", StopReason::Refused),
    ("malformedfunctioncall", StopReason::MalformedCall),
    ("malformedtooluse", StopReason::MalformedCall),
    ("malformedtoolcall", StopReason::MalformedCall),
    ("malformedmodeloutput", StopReason::MalformedCall),
    ("malformedresponse", StopReason::MalformedCall),
    ("unexpectedtoolcall", StopReason::MalformedCall),
    ("toomanytoolcalls", StopReason::MalformedCall),
    ("abort", StopReason::Cut),
    ("aborted", StopReason::Cut),
    ("cancelled", StopReason::Cut),
    ("canceled", StopReason::Cut),
    ("timeout", StopReason::Cut),
    ("usercancel", StopReason::Cut),
    ("incomplete", StopReason::Cut),
    // Google's word for reasons that it does not name.
    ("other", StopReason::Cut),
    ("error", StopReason::Failed),
    ("networkerror", StopReason::Failed),
    ("servererror", StopReason::Failed),
    ("failed", StopReason::Failed),
    ("insufficientsystemresource", StopReason::Failed),
    ("missingthoughtsignature", StopReason::Failed),
];

impl StopReason {
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
    use super::StopReason;

    #[test]
    fn stop_reasons_are_known_in_any_spelling() {
        for (word, reason) in [
            ("stop", StopReason::Finished),
            ("tool_calls", StopReason::Finished),
            ("something_new", StopReason::Finished),
            ("length", StopReason::Length),
            ("MAX_TOKENS", StopReason::Length),
            ("max_output_tokens", StopReason::Length),
            ("content-filter", StopReason::Filtered),
            ("SAFETY", StopReason::Filtered),
            ("MALFORMED_FUNCTION_CALL", StopReason::MalformedCall),
            ("refusal", StopReason::Refused),
            ("error", StopReason::Failed),
        ] {
            assert_eq!(StopReason::of(word), reason, "{word}");
        }
    }
}
