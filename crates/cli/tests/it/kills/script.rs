//! The script of a turn: what the model says and calls in each step.

use serde_json::{Value, json};

/// Name of the MCP server in the configuration.
pub(super) const SERVER: &str = "fx";

/// A tool of the MCP server: its name, its replay class, and its annotations.
pub(super) struct ScriptTool {
    pub(super) name: &'static str,
    pub(super) replay: ScriptReplay,
}

/// How the server may repeat a call whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptReplay {
    /// Without asking: the tool is annotated as idempotent.
    Safe,
    /// If its owner says so: the tool has no annotations.
    Ask,
    /// Never: the configuration says so.
    Never,
}

/// All tools. `approved` needs an approval before it runs.
pub(super) const TOOLS: [ScriptTool; 4] = [
    ScriptTool { name: "safe", replay: ScriptReplay::Safe },
    ScriptTool { name: "never", replay: ScriptReplay::Never },
    ScriptTool { name: "plain", replay: ScriptReplay::Ask },
    ScriptTool { name: "approved", replay: ScriptReplay::Ask },
];

impl ScriptTool {
    /// The tool's name as models and logs know it.
    pub(super) fn full_name(&self) -> String {
        format!("{SERVER}__{}", self.name)
    }
}

/// One answer of the model: words, then calls.
pub(super) struct ScriptStep {
    /// Number of the step, which its words have in them.
    pub(super) step: usize,
    pub(super) words: usize,
    /// Names and arguments.
    pub(super) calls: Vec<(String, Value)>,
}

impl ScriptStep {
    /// A word of the step's text.
    pub(super) fn word(&self, at: usize) -> String {
        let end = if at + 1 == self.words { "." } else { " " };
        format!("s{}w{at:02}{end}", self.step)
    }

    /// Words from `from` up to `to`.
    pub(super) fn text(&self, from: usize, to: usize) -> String {
        (from..to).map(|at| self.word(at)).collect()
    }

    pub(super) fn whole(&self) -> String {
        self.text(0, self.words)
    }
}

/// The line that the turn adds to the agent's core memory.
pub(super) fn memory_line(round: &str) -> String {
    format!("{round} is on its way")
}

/// The note that the turn writes.
pub(super) fn note(round: &str) -> String {
    format!("{round} was begun")
}

/// The steps of a round's turn, in order.
pub(super) fn steps(round: &str) -> Vec<ScriptStep> {
    let tool = |at: usize| {
        let tool: &ScriptTool = &TOOLS[at];
        (tool.full_name(), json!({"round": round}))
    };
    let memory = json!({"name": "human", "content": memory_line(round)});
    let calls = [
        vec![tool(0)],
        vec![tool(1), tool(2)],
        vec![
            ("core_memory_append".to_owned(), memory),
            ("archival_memory_insert".to_owned(), json!({"content": note(round)})),
        ],
        vec![tool(3)],
        vec![],
    ];
    let words = [8, 0, 0, 5, 40];
    let steps = calls.into_iter().zip(words).enumerate();
    steps.map(|(step, (calls, words))| ScriptStep { step, words, calls }).collect()
}

/// The result that the owner gives to a call that was made.
pub(super) const RESULT_OF_OWNER: &str = "The owner has seen the effect.";

/// Messages from before the session, which a prompt has no room for.
pub(super) fn history(round: &str) -> Value {
    let entry = |at: usize| {
        let role = if at.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "text": format!("{at} before {round} {}", "and so on ".repeat(80))})
    };
    (0..40).map(entry).collect()
}
