//! Reasoning effort, which a model's name may end in.

use crate::model::remote::ProviderWire;

/// Amount of reasoning that a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// Models whose own names end like an effort.
const NOT_AN_EFFORT: [&str; 3] = ["deepseek-r1-zero", "qwen3.8-max", "qwen3p8-max"];

impl Effort {
    /// Splits a model's name into the provider's own name and the effort. Ollama has no effort.
    pub(super) fn split(wire: ProviderWire, model: &str) -> (&str, Option<Self>) {
        match wire {
            ProviderWire::Ollama => return (model, None),
            ProviderWire::OpenAi
            | ProviderWire::Responses
            | ProviderWire::Anthropic
            | ProviderWire::Gemini => {}
        }
        if NOT_AN_EFFORT.iter().any(|name| model == *name || model.ends_with(&format!("/{name}"))) {
            return (model, None);
        }
        match model.rsplit_once('-') {
            Some((name, ending)) if !name.is_empty() => match Self::named(ending) {
                Some(effort) => (name, Some(effort)),
                None => (model, None),
            },
            Some(_) | None => (model, None),
        }
    }

    fn named(ending: &str) -> Option<Self> {
        Some(match ending {
            "zero" | "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::XHigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// `OpenAI`'s word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }
}
