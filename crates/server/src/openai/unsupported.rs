//! Parameters that change the meaning of a reply and that no agent here follows.

use serde_json::Value;

use super::{OpenAiRefusal, OpenAiResult};

/// Reason for refusing formats other than text.
pub(super) const ONLY_TEXT: &str = "agents reply in text; describe the form in a message, or \
                                    offer a tool whose arguments have it";

/// Reason for refusing log probabilities.
pub(super) const NO_LOGPROBS: &str = "agents do not tell log probabilities";

/// Refuses the first parameter that is used: each comes with whether it is, and the reason.
pub(super) fn refuse_used(params: &[(&str, bool, &str)]) -> OpenAiResult<()> {
    match params.iter().find(|(_, is_used, _)| *is_used) {
        Some((param, _, reason)) => Err(OpenAiRefusal::unsupported(param, *reason)),
        None => Ok(()),
    }
}

/// Whether a parameter has a value.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null())
}

/// The refusal of a tool that is no function.
pub(super) fn not_a_function(kind: &str) -> OpenAiRefusal {
    let message = format!("a tool of the type {kind:?} is not possible here; functions are");
    OpenAiRefusal::unsupported("tools", message)
}
