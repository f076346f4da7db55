//! Limits of a turn.

use thoughtwire_proto::{AgentSpec, Timestamp};

/// The limits of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnLimits {
    pub(crate) max_steps: usize,
    pub(crate) token_budget: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) context_window: usize,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) approval_ms: i64,
    pub(crate) client_tool_ms: i64,
    pub(crate) output_bytes: usize,
    pub(crate) clock: fn() -> Timestamp,
}

impl TurnLimits {
    /// Applies an agent's own settings on top of the server's.
    pub(crate) fn of(mut self, spec: &AgentSpec) -> Self {
        let settings = &spec.settings;
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        self.max_steps = settings.max_steps.map_or(self.max_steps, size);
        self.token_budget = settings.token_budget.or(self.token_budget);
        self.context_window = settings.context_window.map_or(self.context_window, size);
        self.max_output_tokens = settings.max_output_tokens.or(self.max_output_tokens);
        self
    }
}
