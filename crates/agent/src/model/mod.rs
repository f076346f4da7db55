//! Models: what decides the next words and calls, behind one trait.

mod error;
mod load;
mod name;
mod offline;
mod providers;
pub(crate) mod remote;
mod trying;

use std::sync::{Arc, OnceLock};

use futures::stream::BoxStream;
use thoughtwire_proto::Usage;

use crate::Prompt;
use name::Name;
use offline::Offline;
use remote::{Http, ProviderMemory, Remote};

pub use error::{Awaited, ModelError};
pub use name::check_model;
pub use providers::{Endpoint, Providers, Timeouts};
pub use remote::{Kept, KeptCall, KeptReasoning, KeptThought};
pub use trying::try_model;

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
    /// Words beside the calls in MemGPT's style. They are a thought, unless the turn ends without a
    /// message: then they are what the person is told.
    Monologue(String),
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
    /// The message text so far was a thought, as its end has shown. What follows is the message.
    WasThought,
    /// What the provider wants to see again together with this reply's calls.
    Kept(Kept),
    /// The reply is over.
    Done(Done),
}

/// What a reply ends with.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Done {
    /// What the reply cost.
    pub usage: Usage,
    /// A last message that was not streamed: it can go out together with the end of the turn.
    pub last: Option<String>,
    /// Why the model stopped before it had said all: a limit, a filter, a refusal or a malformed call.
    /// Calls of such a reply are not run.
    pub stopped: Option<ModelError>,
}

/// The models of one process. They share one HTTP client, made when first needed.
pub(crate) struct Models {
    providers: Providers,
    timeouts: Timeouts,
    http: OnceLock<Result<Http, ModelError>>,
    memory: ProviderMemory,
}

impl Models {
    pub(crate) fn new(providers: Providers, timeouts: Timeouts) -> Self {
        Self { providers, timeouts, http: OnceLock::new(), memory: ProviderMemory::default() }
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<dyn Model>, ModelError> {
        Ok(match Name::parse(name, &self.providers)? {
            Name::Offline => Arc::new(Offline),
            Name::Load(load) => Arc::new(load),
            Name::Remote { model, address } => {
                let http = self.http.get_or_init(|| Http::new(self.timeouts)).clone()?;
                let memory = self.memory.clone();
                Arc::new(Remote::new(http, address, model, self.timeouts, memory))
            }
        })
    }
}
