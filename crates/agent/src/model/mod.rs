//! Models: the trait, and the models of one process by name.

mod error;
mod load;
mod name;
mod offline;
mod probe;
mod providers;
pub(crate) mod remote;

use std::sync::{Arc, OnceLock};

use futures::stream::BoxStream;
use thoughtwire_proto::Usage;

use crate::Prompt;
use name::ModelName;
use offline::OfflineModel;
use remote::{ModelHttp, ProviderMemory, RemoteModel};

pub use error::{ModelError, ModelWait};
pub use name::check_model;
pub use probe::try_model;
pub use providers::{Endpoint, Providers, Timeouts};
pub use remote::{ProviderCall, ProviderReasoning, ProviderState, ProviderThought};

/// A language model, or a program in its place.
pub trait LanguageModel: Send + Sync + 'static {
    /// Streams the reply to a prompt.
    ///
    /// The stream ends with [`ReplyPiece::End`]; without it, the reply was cut off. Dropping the
    /// stream cancels the request.
    fn reply(&self, prompt: Arc<Prompt>) -> BoxStream<'static, Result<ReplyPiece, ModelError>>;
}

/// A piece of a model's reply.
///
/// Consecutive thought or message pieces form one item. A piece of the other kind, a call or a
/// whole message ends the item.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyPiece {
    /// Text of a thought.
    Thought(String),
    /// Text of a message.
    Message(String),
    /// Text beside the calls in MemGPT style. It is a thought. If the turn ends without a message,
    /// it becomes the message.
    Monologue(String),
    /// A message that is not streamed.
    Whole(String),
    /// The beginning of a call.
    Call {
        /// Identifies the call within this reply.
        index: usize,
        /// The tool.
        name: String,
        /// The provider's own id for the call, which later requests repeat.
        provider_id: Option<String>,
    },
    /// A part of the JSON text of a call's arguments.
    Args {
        /// The call's index.
        index: usize,
        /// The part.
        json: String,
    },
    /// The message text so far was a thought, as a closing tag has shown. The message follows.
    WasThought,
    /// State that the provider wants back together with this reply's calls.
    ProviderState(ProviderState),
    /// The end of the reply.
    End(ReplyEnd),
}

/// The end of a reply.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ReplyEnd {
    /// Tokens that the reply cost.
    pub usage: Usage,
    /// A last message that was not streamed, so that it can be saved together with the end of the
    /// turn.
    pub last: Option<String>,
    /// The reason why the model stopped early: a limit, a filter, a refusal or a malformed call.
    /// Calls of such a reply are not run.
    pub stopped: Option<ModelError>,
}

/// The models of one process. They share one HTTP client, which is created when first needed.
pub(crate) struct ModelResolver {
    providers: Providers,
    timeouts: Timeouts,
    http: OnceLock<Result<ModelHttp, ModelError>>,
    memory: ProviderMemory,
}

impl ModelResolver {
    pub(crate) fn new(providers: Providers, timeouts: Timeouts) -> Self {
        Self { providers, timeouts, http: OnceLock::new(), memory: ProviderMemory::default() }
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<dyn LanguageModel>, ModelError> {
        Ok(match ModelName::parse(name, &self.providers)? {
            ModelName::Offline => Arc::new(OfflineModel),
            ModelName::Load(load) => Arc::new(load),
            ModelName::Remote { model, address } => {
                let http = self.http.get_or_init(|| ModelHttp::new(self.timeouts)).clone()?;
                let memory = self.memory.clone();
                Arc::new(RemoteModel::new(http, address, model, self.timeouts, memory))
            }
        })
    }
}
