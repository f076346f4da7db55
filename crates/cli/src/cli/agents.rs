//! Flags of `agents`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use thoughtwire_proto::{OnCrash, Style};

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire agents create ada --persona \"You are Ada, patient and exact.\"
  thoughtwire agents create sam --persona sam_pov --human cs_phd    use presets
  thoughtwire agents edit ada --model anthropic/claude-sonnet-4-5 --fallback openai/gpt-5-mini
  thoughtwire agents edit ada --allow 'files__*' --ask fetch_url --deny files__write_file
  thoughtwire agents edit ada --on-crash stop               end interrupted turns
  thoughtwire agents export ada --history > ada.json
  thoughtwire agents import ada.json --name ada2

With --data-dir the commands use the server that runs on that directory. Without one they open
the directory themselves.")]
pub(crate) enum AgentsCommand {
    /// List all agents.
    List {
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Show an agent with its memory and tools.
    Show {
        /// Name or id of the agent.
        agent: String,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Create an agent and its main session.
    Create {
        /// Name of the agent.
        name: String,
        /// Text of the block `persona`, or a preset's name (see `agents presets`).
        #[arg(long, value_name = "TEXT")]
        persona: Option<String>,
        /// Read the persona from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "persona")]
        persona_file: Option<PathBuf>,
        /// Text of the block `human` (about the user), or a preset's name.
        #[arg(long, value_name = "TEXT")]
        human: Option<String>,
        /// Read the block `human` from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "human")]
        human_file: Option<PathBuf>,
        #[command(flatten)]
        settings: SettingFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Change an agent's settings. For its persona, see `thoughtwire memory edit`.
    Edit {
        /// Name or id of the agent.
        agent: String,
        /// New name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        settings: SettingFlags,
        /// Reset a setting to its default, such as `on-crash`; may be repeated.
        #[arg(long, value_name = "SETTING")]
        unset: Vec<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Delete an agent with all its sessions and memory permanently.
    Delete {
        /// Name or id of the agent.
        agent: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Export an agent as one JSON file: persona, memory and settings.
    Export {
        /// Name or id of the agent.
        agent: String,
        /// Include all sessions' events.
        #[arg(long)]
        history: bool,
        /// Write to this new file [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Create an agent from a file of `export`.
    Import {
        /// File to import; `-` reads standard input.
        file: PathBuf,
        /// Name of the new agent [default: the name in the file].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List the presets for --persona and --human.
    Presets {
        #[command(flatten)]
        output: OutputFlags,
    },
}

/// Settings of an agent.
#[derive(Debug, Args)]
pub(crate) struct SettingFlags {
    /// Model, as provider/name [default: the server's].
    #[arg(long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// Model to use when the first one is unavailable; may be repeated.
    #[arg(long = "fallback", value_name = "PROVIDER/NAME")]
    pub(crate) fallbacks: Vec<String>,
    /// How the model's output becomes messages [default: native].
    #[arg(long, value_enum)]
    pub(crate) style: Option<StyleChoice>,
    /// Most tokens of prompt and reply together.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) context_window: Option<u32>,
    /// Most tokens of one reply.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_output_tokens: Option<u32>,
    /// Most model calls per turn.
    #[arg(long, value_name = "N")]
    pub(crate) max_steps: Option<u32>,
    /// Most tokens per turn, read and written.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) token_budget: Option<u64>,
    /// Delete turns this many days after they ended.
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
    /// Delete a session's oldest turns while its log has more than N events.
    #[arg(long, value_name = "N")]
    pub(crate) keep_events: Option<u64>,
    /// Treatment of a turn that a crash or a stop of the server interrupts [default: resume].
    #[arg(long, value_enum)]
    pub(crate) on_crash: Option<OnCrashChoice>,
    /// Allow this tool; a final `*` matches the rest of a name; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) allow: Vec<String>,
    /// Require approval for each call of this tool; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) ask: Vec<String>,
    /// Forbid this tool; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) deny: Vec<String>,
}

/// The values of `--style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StyleChoice {
    /// Plain text is the message.
    Native,
    /// Plain text is a thought; the tool `send_message` sends messages.
    Memgpt,
}

impl From<StyleChoice> for Style {
    fn from(choice: StyleChoice) -> Self {
        match choice {
            StyleChoice::Native => Self::Native,
            StyleChoice::Memgpt => Self::Memgpt,
        }
    }
}

/// The values of `--on-crash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnCrashChoice {
    /// The turn goes on after the start.
    Resume,
    /// The turn ends as `interrupted`.
    Stop,
}

impl From<OnCrashChoice> for OnCrash {
    fn from(choice: OnCrashChoice) -> Self {
        match choice {
            OnCrashChoice::Resume => Self::Resume,
            OnCrashChoice::Stop => Self::Stop,
        }
    }
}
