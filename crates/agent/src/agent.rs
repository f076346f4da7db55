//! The memory agent.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use thoughtwire_hub::{Agent, AgentError, Turn};
use thoughtwire_proto::{Style, Timestamp};
use thoughtwire_store::Store;

use crate::memory::CoreMemory;
use crate::model::{Model, Models, Providers};
use crate::step::Steps;
use crate::tools::{Tool, Toolbox};

/// An agent with memory, tools and a model.
pub struct MemoryAgent {
    toolbox: Arc<Toolbox>,
    minds: Minds,
    limits: Limits,
    default_model: String,
}

/// What a [`MemoryAgent`] is made with.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The model of agents that name none.
    pub default_model: String,
    /// Where real models are.
    pub providers: Providers,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// How many model calls one turn may take.
    pub max_steps: usize,
    /// How often a model that is busy or out of reach is asked again, before anything was said.
    pub retries: u32,
    /// About how many tokens of the past go into a prompt; older turns are left out.
    pub context_tokens: usize,
}

impl AgentOptions {
    /// The usual limits: 50 steps, 3 retries, 24,000 tokens of the past.
    #[must_use]
    pub fn new(default_model: impl Into<String>, providers: Providers) -> Self {
        Self {
            default_model: default_model.into(),
            providers,
            clock: thoughtwire_hub::now,
            max_steps: 50,
            retries: 3,
            context_tokens: 24_000,
        }
    }
}

/// The limits of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_steps: usize,
    pub(crate) retries: u32,
    pub(crate) context_tokens: usize,
    pub(crate) clock: fn() -> Timestamp,
}

/// Which model a turn asks.
enum Minds {
    /// The one that the agent names.
    Named(Models),
    /// Always this one.
    One(Arc<dyn Model>),
}

impl MemoryAgent {
    /// An agent whose models go by name.
    #[must_use]
    pub fn new(store: Arc<Store>, options: AgentOptions) -> Self {
        let minds = Minds::Named(Models::new(options.providers.clone()));
        Self::with_minds(store, options, minds)
    }

    /// An agent that thinks with a model of one's own, whatever its profile names.
    #[must_use]
    pub fn with_model(store: Arc<Store>, options: AgentOptions, model: Arc<dyn Model>) -> Self {
        Self::with_minds(store, options, Minds::One(model))
    }

    fn with_minds(store: Arc<Store>, options: AgentOptions, minds: Minds) -> Self {
        let AgentOptions { default_model, providers: _, clock, max_steps, retries, context_tokens } = options;
        let toolbox = Arc::new(Toolbox { memory: CoreMemory::new(Arc::clone(&store)), store, clock });
        Self { toolbox, minds, default_model, limits: Limits { max_steps, retries, context_tokens, clock } }
    }

    fn model(&self, turn: &Turn) -> Result<Arc<dyn Model>, AgentError> {
        match &self.minds {
            Minds::One(model) => Ok(Arc::clone(model)),
            Minds::Named(models) => {
                let name = turn.agent.spec.model.as_deref().unwrap_or(&self.default_model);
                models.get(name).map_err(|error| AgentError::new(error.code(), error.to_string()))
            }
        }
    }
}

impl Agent for MemoryAgent {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let model = self.model(&turn);
        let (toolbox, limits) = (Arc::clone(&self.toolbox), self.limits);
        async move { Steps::new(turn, model?, toolbox, limits).run().await }.boxed()
    }

    fn tools(&self) -> Vec<String> {
        Tool::of(Style::Memgpt).map(|tool| tool.name().to_owned()).collect()
    }
}
