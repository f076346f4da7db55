//! Models: what decides the next words and calls, behind one trait.

mod load;
mod offline;
pub(crate) mod remote;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::BoxStream;
use thoughtwire_proto::Usage;

use crate::Prompt;
use load::Load;
use offline::Offline;
use remote::{Provider, Remote, Wire};

/// Decides what comes next in a conversation.
pub trait Model: Send + Sync + 'static {
    /// Answers a prompt piece by piece. The stream ends with [`Piece::Done`]; one that ends without
    /// it was cut. Dropping the stream cancels the request.
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<Piece, ModelError>>;
}

/// A piece of a model's reply.
///
/// Thought and message pieces that follow each other are one item; a piece of the other kind, a
/// call or a whole message ends it.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Words of a thought.
    Thought(String),
    /// Words of a message.
    Message(String),
    /// A message that is not streamed.
    Whole(String),
    /// A call begins.
    Call {
        /// Names the call within this reply.
        index: usize,
        /// The tool.
        name: String,
        /// The provider's own id for the call, which it wants to see again.
        provider_id: Option<String>,
    },
    /// A piece of the JSON text of a call's arguments.
    Args {
        /// The call's index.
        index: usize,
        /// The piece.
        json: String,
    },
    /// The reply is complete.
    Done(Done),
}

/// What a reply ends with.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Done {
    /// What the reply cost.
    pub usage: Usage,
    /// A last message that was not streamed: it can go out together with the end of the turn.
    pub last: Option<String>,
    /// What the provider wants to see again together with the reply's calls, while the turn runs.
    pub carried: Option<serde_json::Value>,
}

/// Why a model did not answer. Each has a sentence for people; keys are never in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No model has this name, or its parameters are wrong.
    #[error("{0}")]
    Unknown(String),
    /// Something that the provider needs is not set.
    #[error("{0}")]
    Unset(String),
    /// The provider did not take the key.
    #[error("{0}")]
    RefusedKey(String),
    /// The provider could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The provider asks to come again later.
    #[error("{reason}")]
    Busy {
        /// The sentence.
        reason: String,
        /// For how long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The provider said nothing in time.
    #[error("{0}")]
    Late(String),
    /// The prompt does not fit the model's context window.
    #[error("{0}")]
    TooLong(String),
    /// The provider has a defect or an outage of its own.
    #[error("{0}")]
    Broken(String),
    /// The reply broke off.
    #[error("{0}")]
    Cut(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl ModelError {
    /// The stable word with which a turn fails.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "model_unknown",
            Self::Unset(_) => "model_unset",
            Self::RefusedKey(_) => "model_refused_key",
            Self::Unreachable(_) => "model_unreachable",
            Self::Busy { .. } => "model_busy",
            Self::Late(_) => "model_late",
            Self::TooLong(_) => "model_window",
            Self::Cut(_) => "model_cut",
            Self::Broken(_) | Self::Failed(_) => "model_failed",
        }
    }

    /// How long to wait before the same request may succeed; none when it will not.
    ///
    /// Exponential back-off with full jitter, so that many agents that were turned away together do
    /// not come back together; what a provider asks for is kept exactly.
    pub(crate) fn retry_in(&self, attempt: u32) -> Option<Duration> {
        let ceiling = Duration::from_secs(1) * 2_u32.saturating_pow(attempt.min(4));
        let backoff = ceiling.mul_f64(0.1 + 0.9 * fastrand::f64());
        match self {
            Self::Busy { retry_after, .. } => {
                let wait = retry_after.unwrap_or(backoff);
                // Longer than people wait for an answer: better to say so at once.
                (wait <= Duration::from_secs(30)).then_some(wait)
            }
            Self::Unreachable(_) | Self::Late(_) | Self::Broken(_) => Some(backoff),
            Self::Unknown(_) | Self::Unset(_) | Self::RefusedKey(_) | Self::TooLong(_) | Self::Cut(_) | Self::Failed(_) => None,
        }
    }

    /// Whether another model may do better with the same prompt.
    pub(crate) const fn is_elsewhere_better(&self) -> bool {
        match self {
            Self::Unknown(_)
            | Self::Unset(_)
            | Self::RefusedKey(_)
            | Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::Late(_)
            | Self::Broken(_)
            | Self::Cut(_)
            | Self::Failed(_) => true,
            Self::TooLong(_) => false,
        }
    }
}

/// How long a model is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the first piece of a reply: large models take their time to read.
    pub first: Duration,
    /// Between two pieces.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), first: Duration::from_secs(120), silence: Duration::from_secs(60) }
    }
}

/// One provider, as read by whoever owns the configuration.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What lets one in.
    pub api_key: Option<String>,
    /// Where it is, if not at its usual place.
    pub base_url: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("api_key", &self.api_key.as_ref().map(|_| "***")).field("base_url", &self.base_url).finish()
    }
}

/// Where real models are and how to be let in.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Providers {
    /// `OpenAI`, and any endpoint that is compatible with it: the address is taken up to and including its `/v1`.
    pub openai: Endpoint,
    /// Anthropic.
    pub anthropic: Endpoint,
    /// Google's Gemini.
    pub gemini: Endpoint,
    /// Ollama; it needs no key.
    pub ollama: Endpoint,
}

/// Says whether a model can be asked at all: its name is known, its parameters are right, and what
/// its provider needs is set. Reaches no network.
///
/// ```
/// use thoughtwire_agent::{Providers, check_model};
/// assert!(check_model("offline", &Providers::default()).is_ok());
/// let error = check_model("openai/gpt-5-mini", &Providers::default()).unwrap_err();
/// assert!(error.to_string().contains("OPENAI_API_KEY"));
/// ```
///
/// # Errors
/// What is wrong, and what to do.
pub fn check_model(name: &str, providers: &Providers) -> Result<(), ModelError> {
    Name::parse(name, providers).map(drop)
}

/// What a model's name means.
enum Name {
    Offline,
    Load(Load),
    Remote { model: String, wire: Wire },
}

impl Name {
    fn parse(name: &str, providers: &Providers) -> Result<Self, ModelError> {
        if name == "offline" {
            return Ok(Self::Offline);
        }
        if let Some(parameters) = name.strip_prefix("load:").or_else(|| (name == "load").then_some("")) {
            return Load::parse(parameters).map(Self::Load);
        }
        match Provider::of(name) {
            Some((_, "")) => Err(ModelError::Unknown(format!("the model `{name}` lacks its name, as in `openai/gpt-5-mini`"))),
            Some((provider, model)) => Ok(Self::Remote { model: model.to_owned(), wire: Wire::new(provider, providers)? }),
            None => Err(ModelError::Unknown(format!(
                "there is no model `{}`; known are `offline`, `openai/NAME`, `openai-responses/NAME`, `anthropic/NAME`, `gemini/NAME`, \
                 `ollama/NAME` and `load:items=N,bytes=B,rate=R,deltas=yes|no`",
                name.escape_debug()
            ))),
        }
    }
}

/// The models of one process. They share one HTTP client, made when first needed.
pub(crate) struct Models {
    providers: Providers,
    timeouts: Timeouts,
    client: OnceLock<Result<genai::Client, ModelError>>,
}

impl Models {
    pub(crate) fn new(providers: Providers, timeouts: Timeouts) -> Self {
        Self { providers, timeouts, client: OnceLock::new() }
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<dyn Model>, ModelError> {
        Ok(match Name::parse(name, &self.providers)? {
            Name::Offline => Arc::new(Offline),
            Name::Load(load) => Arc::new(load),
            Name::Remote { model, wire } => {
                let client = self.client.get_or_init(|| remote::client(self.timeouts.connect)).clone()?;
                Arc::new(Remote::new(client, wire, model, self.timeouts))
            }
        })
    }
}
