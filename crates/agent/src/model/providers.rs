//! Endpoints, keys and time limits of model providers.

use std::fmt;
use std::time::Duration;

/// Endpoints of model providers, read by the owner of the configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Providers {
    /// `OPENAI_API_KEY` and `OPENAI_BASE_URL`: any OpenAI-compatible endpoint, including its `/v1`.
    pub openai: Endpoint,
    /// `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`, with or without its `/v1`.
    pub anthropic: Endpoint,
    /// `GEMINI_API_KEY` and `GEMINI_BASE_URL`, with or without its `/v1beta`.
    pub gemini: Endpoint,
    /// `OLLAMA_HOST`, which may lack the scheme and the port; Ollama takes no key.
    pub ollama: Endpoint,
}

/// One provider's address and key.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The key.
    pub api_key: Option<String>,
    /// The address. The provider's own if absent.
    pub base_url: Option<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("base_url", &self.base_url)
            .finish()
    }
}

/// Time limits of model requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Time limit for the connection; `first` includes it.
    pub connect: Duration,
    /// Time limit from the request to the first output: large models read and think before they
    /// answer.
    pub first: Duration,
    /// Time limit from one output to the next. Keep-alives without text extend this limit and
    /// `first`, up to five times.
    pub silence: Duration,
}

impl Default for Timeouts {
    /// 10 seconds to connect, 120 to the first output, 60 between outputs.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first: Duration::from_secs(120),
            silence: Duration::from_secs(60),
        }
    }
}
