//! The memory agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use thoughtwire_hub::{Agent, AgentError, ToolListing, Turn};
use thoughtwire_proto::{AgentId, AgentSpec, OFFERED, Permission, Replay, SessionId, Timestamp};
use thoughtwire_store::Store;

use crate::archive::Archive;
use crate::embedding::Embedder;
use crate::limits::TurnLimits;
use crate::mcp::McpServers;
use crate::metrics::ModelMetrics;
use crate::model::{LanguageModel, ModelError, ModelResolver, Providers, Timeouts, check_model};
use crate::past_cache::PastCache;
use crate::presets;
use crate::step::{Candidate, StepLoop};
use crate::tools::{self, Fetcher, ReplayClasses, ToolPermissions, Toolbox};

/// An agent with memory, tools and a model.
pub struct MemoryAgent {
    toolbox: Arc<Toolbox>,
    model_choice: ModelChoice,
    limits: TurnLimits,
    default_model: String,
    fallbacks: Vec<String>,
    load_models: bool,
    metrics: ModelMetrics,
    past_cache: Arc<PastCache>,
}

/// Options of a [`MemoryAgent`].
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The model of agents that name none.
    pub default_model: String,
    /// Models to ask, in order, when an agent's own model cannot answer. Used for agents that name
    /// no fallbacks.
    pub fallbacks: Vec<String>,
    /// Keys and addresses of the model providers.
    pub providers: Providers,
    /// Time limits of model requests.
    pub timeouts: Timeouts,
    /// The clock that all times are taken from.
    pub clock: fn() -> Timestamp,
    /// Largest number of model calls in one turn.
    pub max_steps: usize,
    /// Largest number of tokens that one turn may cost, read and written. No limit if absent.
    pub token_budget: Option<u64>,
    /// Number of retries of a model that is busy or unreachable, before any output arrived.
    pub retries: u32,
    /// Context window in tokens: prompt and reply together. Beyond it, the oldest part of a
    /// conversation is summarised.
    pub context_window: usize,
    /// Largest number of tokens in one reply. The provider's own limit applies if absent.
    pub max_output_tokens: Option<u32>,
    /// Permissions by tool name. An agent's own settings can be stricter.
    pub permissions: BTreeMap<String, Permission>,
    /// Tools whose permission an agent's own settings may also loosen: names, or prefixes that end
    /// in `*`.
    pub loosen: Vec<String>,
    /// Treatment of calls that an interruption left without a result, by tool name: names, or
    /// prefixes that end in `*`. It takes precedence over what tools declare.
    pub replay: BTreeMap<String, Replay>,
    /// Proxy for `fetch_url`, as a URL. Proxies from the environment are ignored, because a proxy
    /// resolves host names by itself.
    pub fetch_proxy: Option<String>,
    /// Whether agents may name a model `load:…`, which generates any amount of text for load tests.
    /// The default model and the fallbacks may always be one.
    pub load_models: bool,
    /// How long a call waits for approval, in milliseconds.
    pub approval_ms: i64,
    /// How long a call waits for a client's result, in milliseconds.
    pub client_tool_ms: i64,
    /// Largest part of a tool's output that the model is shown, in bytes.
    pub output_bytes: usize,
    /// Largest amount of text in one agent's archival memory, in bytes.
    pub archival_bytes: u64,
    /// Size of the cache of past conversations, in bytes over all sessions. A past that is not
    /// cached is read from the log.
    pub past_bytes: usize,
    /// The MCP servers.
    pub mcp: McpServers,
    /// The embedding model that searches notes by meaning.
    pub embedder: Option<Embedder>,
}

impl AgentOptions {
    /// Creates options with the usual limits: 50 steps, 3 retries, a context window of 32,000
    /// tokens, an hour for an approval, two minutes for a client's tool, 16 KiB of a tool's output,
    /// 256 MiB of notes, and 64 MiB of cached pasts.
    #[must_use]
    pub fn new(default_model: impl Into<String>, providers: Providers) -> Self {
        Self {
            default_model: default_model.into(),
            fallbacks: Vec::new(),
            providers,
            timeouts: Timeouts::default(),
            clock: thoughtwire_hub::now,
            max_steps: 50,
            token_budget: None,
            retries: 3,
            context_window: 32_000,
            max_output_tokens: None,
            permissions: BTreeMap::new(),
            loosen: Vec::new(),
            replay: BTreeMap::new(),
            fetch_proxy: None,
            load_models: true,
            approval_ms: 3_600_000,
            client_tool_ms: 120_000,
            output_bytes: 16 << 10,
            archival_bytes: 256 << 20,
            past_bytes: 64 << 20,
            mcp: McpServers::none(),
            embedder: None,
        }
    }
}

/// Selects the model of a turn.
enum ModelChoice {
    /// The model that the agent names.
    ByName(Box<ModelResolver>),
    /// The same model for every agent.
    Fixed(Arc<dyn LanguageModel>),
}

impl MemoryAgent {
    /// Creates an agent whose models are selected by name.
    #[must_use]
    pub fn new(store: Arc<Store>, options: AgentOptions) -> Self {
        let model_choice = ModelChoice::ByName(Box::new(ModelResolver::new(
            options.providers.clone(),
            options.timeouts,
        )));
        Self::with_choice(store, options, model_choice)
    }

    /// Creates an agent that always uses the given model, whatever its profile names.
    #[must_use]
    pub fn with_model(
        store: Arc<Store>,
        options: AgentOptions,
        model: Arc<dyn LanguageModel>,
    ) -> Self {
        Self::with_choice(store, options, ModelChoice::Fixed(model))
    }

    fn with_choice(store: Arc<Store>, options: AgentOptions, model_choice: ModelChoice) -> Self {
        let limits = TurnLimits {
            max_steps: options.max_steps,
            token_budget: options.token_budget,
            retries: options.retries,
            context_window: options.context_window,
            max_output_tokens: options.max_output_tokens,
            approval_ms: options.approval_ms,
            client_tool_ms: options.client_tool_ms,
            output_bytes: options.output_bytes,
            clock: options.clock,
        };
        let archive = Archive::new(Arc::clone(&store), options.embedder, options.archival_bytes);
        let metrics = ModelMetrics::default().with_embeddings(archive.embedding_metrics());
        let toolbox = Toolbox {
            store,
            archive,
            mcp: options.mcp,
            fetcher: Fetcher::new(options.fetch_proxy),
            permissions: ToolPermissions { tools: options.permissions, loosen: options.loosen },
            replay_classes: ReplayClasses(options.replay),
            clock: options.clock,
        };
        Self {
            toolbox: Arc::new(toolbox),
            model_choice,
            limits,
            default_model: options.default_model,
            fallbacks: options.fallbacks,
            load_models: options.load_models,
            metrics,
            past_cache: Arc::new(PastCache::new(options.past_bytes)),
        }
    }

    /// The archival memory of all its agents.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.toolbox.archive
    }

    /// Metrics of its model calls.
    #[must_use]
    pub fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// Checks whether an agent's own settings may name this model.
    fn check_allowed(&self, name: &str) -> Result<(), String> {
        if self.load_models || !(name == "load" || name.starts_with("load:")) {
            return Ok(());
        }
        Err(format!(
            "the model `{}` generates text in bulk for load tests; an operator allows agents to \
             use it with `load_models = true`",
            name.escape_debug()
        ))
    }

    /// The agent's model and its fallbacks, in the order in which they are asked.
    fn models(&self, spec: &AgentSpec) -> Vec<Candidate> {
        match &self.model_choice {
            ModelChoice::Fixed(model) => vec![("the model".to_owned(), Ok(Arc::clone(model)))],
            ModelChoice::ByName(models) => {
                let first = spec.model.as_ref().unwrap_or(&self.default_model);
                let own = &spec.settings.fallbacks;
                let others = if own.is_empty() { &self.fallbacks } else { own };
                let is_own =
                    |name: &String| spec.model.as_ref() == Some(name) || own.contains(name);
                let model = |name: &String| match self.check_allowed(name) {
                    Err(reason) if is_own(name) => Err(ModelError::Unset(reason)),
                    Err(_) | Ok(()) => models.get(name),
                };
                std::iter::once(first)
                    .chain(others)
                    .map(|name| (name.clone(), model(name)))
                    .collect()
            }
        }
    }
}

impl Agent for MemoryAgent {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        let models = self.models(&turn.agent.spec);
        let limits = self.limits.of(&turn.agent.spec);
        let (toolbox, metrics, past_cache) =
            (Arc::clone(&self.toolbox), self.metrics.clone(), Arc::clone(&self.past_cache));
        async move {
            let steps = StepLoop::begin(turn, models, toolbox, limits, metrics, past_cache).await?;
            steps.run().await
        }
        .boxed()
    }

    fn turn_ended(&self, agent: &AgentId) {
        self.archive().embed_said(agent);
    }

    fn left(&self, session: &SessionId) {
        drop(self.past_cache.take(session));
    }

    fn prepare(&self, spec: AgentSpec) -> AgentSpec {
        presets::expand_presets(spec)
    }

    fn check(&self, spec: &AgentSpec) -> Result<(), String> {
        let ModelChoice::ByName(models) = &self.model_choice else { return Ok(()) };
        for name in
            spec.model.iter().filter(|model| *model != OFFERED).chain(&spec.settings.fallbacks)
        {
            match check_model(name, models.providers()) {
                // The key may be set later, and need not be known where an agent is edited.
                Ok(()) | Err(ModelError::Unset(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn permit(&self, spec: &AgentSpec) -> Result<(), String> {
        spec.model
            .iter()
            .chain(&spec.settings.fallbacks)
            .try_for_each(|name| self.check_allowed(name))
    }

    fn resumes(&self) -> bool {
        true
    }

    /// Combines the operator's permission with the agent's own, as for tools that clients declare.
    fn permission(&self, spec: &AgentSpec, tool: &str) -> Permission {
        self.toolbox.permissions.of(tool, &spec.settings.permissions, Permission::Allow)
    }

    /// Lets the operator's class decide, as for tools that clients declare.
    fn replay(&self, tool: &str, declared: Option<Replay>) -> Replay {
        self.toolbox.replay_classes.of(tool, declared)
    }

    fn tools(&self, spec: &AgentSpec) -> Vec<ToolListing> {
        tools::listing(spec, &self.toolbox)
    }
}
