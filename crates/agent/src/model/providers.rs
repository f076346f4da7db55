//! Where real models are, how to be let in, and how long to wait for them.

use std::fmt;
use std::time::Duration;

/// Real models' endpoints, as read by whoever owns the configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Providers {
    /// `OPENAI_API_KEY` and `OPENAI_BASE_URL`: any OpenAI-compatible endpoint, up to and including its `/v1`.
    pub openai: Endpoint,
    /// `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`, with or without its `/v1`.
    pub anthropic: Endpoint,
    /// `GEMINI_API_KEY` and `GEMINI_BASE_URL`, with or without its `/v1beta`.
    pub gemini: Endpoint,
    /// `OLLAMA_HOST`, which may lack the scheme and the port; Ollama takes no key.
    pub ollama: Endpoint,
}

/// One provider's address and the key to it.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The key.
    pub api_key: Option<String>,
    /// The address; the provider's own when absent.
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

/// How long a real model is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection; it counts into `first` too.
    pub connect: Duration,
    /// From the request to the first piece of the reply: large models read and think before they speak.
    pub first: Duration,
    /// From one piece to the next. Signs of life that carry no words count as pieces, here and before
    /// the first one, for at most five times as long.
    pub silence: Duration,
}

impl Default for Timeouts {
    /// 10 seconds to connect, 120 to the first piece, 60 between two.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first: Duration::from_secs(120),
            silence: Duration::from_secs(60),
        }
    }
}
