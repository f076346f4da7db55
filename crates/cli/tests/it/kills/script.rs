//! The scripts of turns: what the model says and calls in each step.

use serde_json::{Value, json};
use thoughtwire_proto::Style;

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

/// One answer of the model: a thought, a message, then calls.
///
/// In MemGPT style the thought is the answer's text, and the message an argument of
/// `send_message`. Other models here have no thoughts.
pub(super) struct ScriptStep {
    /// Number of the step, from 0.
    pub(super) step: usize,
    pub(super) thought: ScriptText,
    pub(super) message: ScriptText,
    /// Names and arguments.
    pub(super) calls: Vec<(String, Value)>,
}

/// A text of numbered words, each of which occurs nowhere else.
pub(super) struct ScriptText {
    mark: String,
    /// Number of words.
    pub(super) words: usize,
}

impl ScriptText {
    pub(super) fn new(mark: &str, words: usize) -> Self {
        Self { mark: mark.to_owned(), words }
    }

    pub(super) fn word(&self, at: usize) -> String {
        let end = if at + 1 == self.words { "." } else { " " };
        format!("{}{at:02}{end}", self.mark)
    }

    /// Words from `from` up to `to`.
    pub(super) fn text(&self, from: usize, to: usize) -> String {
        (from..to).map(|at| self.word(at)).collect()
    }

    pub(super) fn whole(&self) -> String {
        self.text(0, self.words)
    }

    /// Number of words, from the first on, that texts have.
    pub(super) fn words_in(&self, texts: &str) -> usize {
        (0..self.words).take_while(|at| texts.contains(self.word(*at).trim_end())).count()
    }
}

/// The line that is in the agent's core memory at the end of a turn.
pub(super) fn memory_line(round: &str, style: Style) -> String {
    match style {
        Style::Native => first_memory_line(round),
        Style::Memgpt => format!("{round} is under way"),
    }
}

/// The line that a turn adds to the agent's core memory. In MemGPT style it is replaced later.
fn first_memory_line(round: &str) -> String {
    format!("{round} is on its way")
}

/// The note that a turn writes.
pub(super) fn note(round: &str) -> String {
    format!("{round} was begun")
}

/// The steps of a round's turn, in order.
pub(super) fn steps(round: &str, style: Style) -> Vec<ScriptStep> {
    let tool = |at: usize| {
        let tool: &ScriptTool = &TOOLS[at];
        (tool.full_name(), json!({"round": round}))
    };
    let named = |name: &str, args: Value| (name.to_owned(), args);
    let first = first_memory_line(round);
    let append = named("core_memory_append", json!({"name": "human", "content": first}));
    let insert = named("archival_memory_insert", json!({"content": note(round)}));
    // Words of the thought and of the message, and calls.
    let steps = match style {
        Style::Native => vec![
            (0, 8, vec![tool(0)]),
            (0, 0, vec![tool(1), tool(2)]),
            (0, 0, vec![append, insert]),
            (0, 5, vec![tool(3)]),
            (0, 40, vec![]),
        ],
        Style::Memgpt => {
            let args = json!({"name": "human", "old_content": first,
                "new_content": memory_line(round, style)});
            vec![
                (6, 0, vec![append]),
                (3, 0, vec![tool(0)]),
                (0, 0, vec![tool(1), tool(2)]),
                (0, 8, vec![]),
                (4, 0, vec![named("core_memory_replace", args), insert]),
                (0, 0, vec![tool(3)]),
                (5, 40, vec![]),
            ]
        }
    };
    let steps = steps.into_iter().enumerate();
    let step = |(step, (thought, message, calls))| ScriptStep {
        step,
        thought: ScriptText::new(&format!("s{step}t"), thought),
        message: ScriptText::new(&format!("s{step}w"), message),
        calls,
    };
    steps.map(step).collect()
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
