//! The memory agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use thoughtwire_hub::{Agent, AgentError, ToolListing, Turn};
use thoughtwire_proto::{AgentSpec, OFFERED, Permission, SessionId, Timestamp};
use thoughtwire_store::Store;

use crate::archive::Archive;
use crate::embedding::Embedder;
use crate::limits::Limits;
use crate::mcp::McpServers;
use crate::metrics::Metrics;
use crate::model::{Model, ModelError, Models, Providers, Timeouts, check_model};
use crate::pasts::Pasts;
use crate::presets;
use crate::step::{Candidate, Steps};
use crate::tools::{self, Fetcher, Permissions, Toolbox};

/// An agent with memory, tools and a model.
pub struct MemoryAgent {
    toolbox: Arc<Toolbox>,
    minds: Minds,
    limits: Limits,
    default_model: String,
    fallbacks: Vec<String>,
    load_models: bool,
    metrics: Metrics,
    pasts: Arc<Pasts>,
}

/// What a [`MemoryAgent`] is made with.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The model of agents that name none.
    pub default_model: String,
    /// The models to ask when an agent's own cannot be had, where it names none.
    pub fallbacks: Vec<String>,
    /// Where real models are.
    pub providers: Providers,
    /// How long a model is waited for.
    pub timeouts: Timeouts,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// How many model calls one turn may take.
    pub max_steps: usize,
    /// How many tokens one turn may cost, read and written; none for as many as it takes.
    pub token_budget: Option<u64>,
    /// How often a model that is busy or out of reach is asked again, before anything was said.
    pub retries: u32,
    /// How many tokens a model reads at most, prompt and reply together. Beyond it the oldest part of
    /// a conversation is summed up.
    pub context_window: usize,
    /// How many tokens one reply may have; none for the provider's own limit.
    pub max_output_tokens: Option<u32>,
    /// What may be done with tools, by name. An agent's own settings can be stricter.
    pub permissions: BTreeMap<String, Permission>,
    /// The tools whose permission an agent's own settings may also loosen: names, or beginnings
    /// that end in `*`.
    pub loosen: Vec<String>,
    /// The proxy through which `fetch_url` reads pages, as a URL. Those of the environment are not
    /// used: a proxy resolves names by itself.
    pub fetch_proxy: Option<String>,
    /// Whether agents may name a model `load:…`, which makes any amount of text: for load tests.
    /// The default model and the fallbacks may be one in any case.
    pub load_models: bool,
    /// How long a question for leave waits, in milliseconds.
    pub approval_ms: i64,
    /// How long a client's result is waited for, in milliseconds.
    pub client_tool_ms: i64,
    /// How many bytes of a tool's output the model is shown.
    pub output_bytes: usize,
    /// How many bytes of text an agent's archival memory may have.
    pub archival_bytes: u64,
    /// How many bytes of what sessions said are kept at hand for their next turns, over all sessions:
    /// what is not at hand is read from the log.
    pub past_bytes: usize,
    /// The MCP servers.
    pub mcp: McpServers,
    /// What finds notes by their meaning.
    pub embedder: Option<Embedder>,
}

impl AgentOptions {
    /// The usual limits: 50 steps, 3 retries, a context window of 32,000 tokens, an hour for an
    /// approval, two minutes for a client's tool, 16 KiB of a tool's output, 256 MiB of notes,
    /// 64 MiB of what was said at hand.
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

/// Which model a turn asks.
enum Minds {
    /// The one that the agent names.
    Named(Box<Models>),
    /// Always this one.
    One(Arc<dyn Model>),
}

impl MemoryAgent {
    /// An agent whose models go by name.
    #[must_use]
    pub fn new(store: Arc<Store>, options: AgentOptions) -> Self {
        let minds =
            Minds::Named(Box::new(Models::new(options.providers.clone(), options.timeouts)));
        Self::with_minds(store, options, minds)
    }

    /// An agent that thinks with a model of one's own, whatever its profile names.
    #[must_use]
    pub fn with_model(store: Arc<Store>, options: AgentOptions, model: Arc<dyn Model>) -> Self {
        Self::with_minds(store, options, Minds::One(model))
    }

    fn with_minds(store: Arc<Store>, options: AgentOptions, minds: Minds) -> Self {
        let limits = Limits {
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
        let toolbox = Toolbox {
            store,
            archive,
            mcp: options.mcp,
            fetcher: Fetcher::new(options.fetch_proxy),
            permissions: Permissions { tools: options.permissions, loosen: options.loosen },
            clock: options.clock,
        };
        Self {
            toolbox: Arc::new(toolbox),
            minds,
            limits,
            default_model: options.default_model,
            fallbacks: options.fallbacks,
            load_models: options.load_models,
            metrics: Metrics::default(),
            pasts: Arc::new(Pasts::new(options.past_bytes)),
        }
    }

    /// The notes of its agents.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.toolbox.archive
    }

    /// What it counts of its models.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether an agent's own settings may name a model.
    fn may_name(&self, name: &str) -> Result<(), String> {
        if self.load_models || !(name == "load" || name.starts_with("load:")) {
            return Ok(());
        }
        Err(format!(
            "the model `{}` makes text in bulk, for load tests; agents may have it where the \
             operator sets `load_models = true`",
            name.escape_debug()
        ))
    }

    /// The agent's model and its fallbacks, in the order in which they are asked.
    fn models(&self, spec: &AgentSpec) -> Vec<Candidate> {
        match &self.minds {
            Minds::One(model) => vec![("the model".to_owned(), Ok(Arc::clone(model)))],
            Minds::Named(models) => {
                let first = spec.model.as_ref().unwrap_or(&self.default_model);
                let own = &spec.settings.fallbacks;
                let others = if own.is_empty() { &self.fallbacks } else { own };
                let is_own =
                    |name: &String| spec.model.as_ref() == Some(name) || own.contains(name);
                let model = |name: &String| match self.may_name(name) {
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
        let (toolbox, metrics, pasts) =
            (Arc::clone(&self.toolbox), self.metrics.clone(), Arc::clone(&self.pasts));
        async move { Steps::begin(turn, models, toolbox, limits, metrics, pasts).await?.run().await }.boxed()
    }

    fn left(&self, session: &SessionId) {
        drop(self.pasts.take(session));
    }

    fn prepare(&self, spec: AgentSpec) -> AgentSpec {
        presets::furnish(spec)
    }

    fn check(&self, spec: &AgentSpec) -> Result<(), String> {
        let Minds::Named(models) = &self.minds else { return Ok(()) };
        for name in
            spec.model.iter().filter(|model| *model != OFFERED).chain(&spec.settings.fallbacks)
        {
            match check_model(name, models.providers()) {
                // A key can come later, and need not be known where an agent is edited.
                Ok(()) | Err(ModelError::Unset(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn permit(&self, spec: &AgentSpec) -> Result<(), String> {
        spec.model.iter().chain(&spec.settings.fallbacks).try_for_each(|name| self.may_name(name))
    }

    fn resumes(&self) -> bool {
        true
    }

    /// The operator's permission with the agent's own, as for the tools that clients declare.
    fn permission(&self, spec: &AgentSpec, tool: &str) -> Permission {
        self.toolbox.permissions.of(tool, &spec.settings.permissions, Permission::Allow)
    }

    fn tools(&self, spec: &AgentSpec) -> Vec<ToolListing> {
        tools::listing(spec, &self.toolbox.mcp, &self.toolbox.permissions)
    }
}
