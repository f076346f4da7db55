//! The wires of model providers.

use crate::model::{Endpoint, ModelError, Providers};

/// A provider's API. All facts about it are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProviderWire {
    /// Chat completions, by `OpenAI` and compatible providers.
    OpenAi,
    /// `OpenAI`'s Responses API.
    Responses,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// Ollama's own chat API.
    Ollama,
}

impl ProviderWire {
    pub(crate) const ALL: [Self; 5] =
        [Self::OpenAi, Self::Responses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// Prefix of model names, without the slash.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Responses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// Splits `prefix/name` into the wire and the provider's own name. Absent if the prefix is
    /// unknown.
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

    /// The environment variable of the key. Absent if the provider takes none.
    pub(super) const fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Responses => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::Ollama => None,
        }
    }

    /// The environment variable of the address.
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

    /// A description of such an endpoint.
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

    /// Whether to ask a model for its reasoning. If that takes a parameter, models that do not
    /// reason would refuse the request.
    pub(super) fn asks_for_reasoning(self, model: &str) -> bool {
        let silent: &[&str] = match self {
            Self::OpenAi | Self::Anthropic | Self::Ollama => &[],
            Self::Responses => &["gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"],
            Self::Gemini => &["gemini-1", "gemini-2.0", "gemma-"],
        };
        !silent.iter().any(|prefix| model.starts_with(prefix))
    }
}
