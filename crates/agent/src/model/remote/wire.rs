//! The languages that providers speak.

use crate::model::{Endpoint, ModelError, Providers};

/// A provider's language. Its facts stand here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// Chat completions, by `OpenAI` and all who are compatible.
    OpenAi,
    /// `OpenAI`'s Responses.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// Ollama's own chat.
    Ollama,
}

impl Wire {
    pub(crate) const ALL: [Self; 5] =
        [Self::OpenAi, Self::Responses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// What stands before the slash of a model's name.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Responses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// The wire and the provider's own name of `prefix/name`; none when the prefix is no wire's.
    pub(crate) fn of(name: &str) -> Option<(Self, Result<&str, ModelError>)> {
        let (prefix, model) = name.split_once('/')?;
        let wire = Self::ALL.into_iter().find(|wire| wire.prefix() == prefix)?;
        let lacking = || {
            ModelError::Unknown(format!(
                "the model `{prefix}/` lacks its name, as in `{prefix}/{}`",
                wire.example()
            ))
        };
        Some((wire, if model.is_empty() { Err(lacking()) } else { Ok(model) }))
    }

    const fn example(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "gpt-5-mini",
            Self::Anthropic => "claude-haiku-4-5",
            Self::Gemini => "gemini-2.5-flash",
            Self::Ollama => "llama3.2",
        }
    }

    /// The variable that has the key; none where none is taken.
    pub(super) const fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Responses => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::Ollama => None,
        }
    }

    /// The variable that has the address.
    pub(super) const fn url_variable(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "OPENAI_BASE_URL",
            Self::Anthropic => "ANTHROPIC_BASE_URL",
            Self::Gemini => "GEMINI_BASE_URL",
            Self::Ollama => "OLLAMA_HOST",
        }
    }

    pub(super) const fn default_url(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "https://api.openai.com/v1/",
            Self::Anthropic => "https://api.anthropic.com/v1/",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/",
            Self::Ollama => "http://127.0.0.1:11434/",
        }
    }

    /// What such an endpoint is called.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::OpenAi => "an OpenAI-compatible endpoint",
            Self::Responses => "an endpoint of OpenAI's Responses API",
            Self::Anthropic => "an endpoint of Anthropic's Messages API",
            Self::Gemini => "an endpoint of the Gemini API",
            Self::Ollama => "an Ollama server",
        }
    }

    pub(super) const fn endpoint(self, providers: &Providers) -> &Endpoint {
        match self {
            Self::OpenAi | Self::Responses => &providers.openai,
            Self::Anthropic => &providers.anthropic,
            Self::Gemini => &providers.gemini,
            Self::Ollama => &providers.ollama,
        }
    }

    /// Whether to ask a model for its reasoning. Where that takes a parameter, models that do not
    /// reason refuse the request for it.
    pub(super) fn asks_for_reasoning(self, model: &str) -> bool {
        let silent: &[&str] = match self {
            Self::OpenAi | Self::Anthropic | Self::Ollama => &[],
            Self::Responses => &["gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"],
            Self::Gemini => &["gemini-1", "gemini-2.0", "gemma-"],
        };
        !silent.iter().any(|prefix| model.starts_with(prefix))
    }
}
