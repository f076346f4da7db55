//! `agents`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use thoughtwire_proto::Style;

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire agents create ada --persona \"You are Ada, patient and exact.\"
  thoughtwire agents create sam --persona sam_pov --human cs_phd    presets by name
  thoughtwire agents edit ada --model anthropic/claude-sonnet-4-5 --fallback openai/gpt-5-mini
  thoughtwire agents edit ada --allow 'files__*' --ask fetch_url --deny files__write_file
  thoughtwire agents export ada --history > ada.json
  thoughtwire agents import ada.json --name ada2

With --data-dir they target the server that runs on that directory, or open it themselves
when none does.")]
pub(crate) enum AgentsCommand {
    /// List all agents.
    List {
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Show one agent and its memory.
    Show {
        /// Its name or id.
        agent: String,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Make an agent and its main session.
    Create {
        /// Its name.
        name: String,
        /// Who it is: a text, or a preset's name (see `agents presets`).
        #[arg(long, value_name = "TEXT")]
        persona: Option<String>,
        /// Who it is, from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "persona")]
        persona_file: Option<PathBuf>,
        /// Who it talks to: a text, or a preset's name.
        #[arg(long, value_name = "TEXT")]
        human: Option<String>,
        /// Who it talks to, from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "human")]
        human_file: Option<PathBuf>,
        #[command(flatten)]
        settings: SettingFlags,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Change an agent's settings; its texts are memory blocks: see `thoughtwire memory edit`.
    Edit {
        /// Its name or id.
        agent: String,
        /// Another name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        settings: SettingFlags,
        /// Give a setting back its default; may be repeated.
        #[arg(long, value_name = "SETTING")]
        unset: Vec<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Delete an agent with all its sessions and its memory, for good.
    Delete {
        /// Its name or id.
        agent: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Write an agent out as one JSON file: persona, memory, settings.
    Export {
        /// Its name or id.
        agent: String,
        /// With everything that was said, too.
        #[arg(long)]
        history: bool,
        /// Into this file, which must not be there yet [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make an agent from a file that `export` wrote; `-` reads standard input.
    Import {
        /// The file.
        file: PathBuf,
        /// Under another name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List the personas and humans that have names.
    Presets {
        #[command(flatten)]
        output: OutputFlags,
    },
}

/// Settings of an agent.
#[derive(Debug, Args)]
pub(crate) struct SettingFlags {
    /// Its model, as provider/name [default: the server's].
    #[arg(long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// A model to ask when its own cannot be had; may be repeated.
    #[arg(long = "fallback", value_name = "PROVIDER/NAME")]
    pub(crate) fallbacks: Vec<String>,
    /// How it speaks [default: native].
    #[arg(long, value_enum)]
    pub(crate) style: Option<StyleChoice>,
    /// How many tokens its model reads at most, prompt and reply together.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) context_window: Option<u32>,
    /// How many tokens one reply may have.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_output_tokens: Option<u32>,
    /// How many model calls one turn may take.
    #[arg(long, value_name = "N")]
    pub(crate) max_steps: Option<u32>,
    /// How many tokens one turn may cost.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) token_budget: Option<u64>,
    /// Delete turns that ended so many days ago.
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
    /// Delete the oldest turns of a session while more than so many events stay.
    #[arg(long, value_name = "N")]
    pub(crate) keep_events: Option<u64>,
    /// A tool that it may use; a `*` at the end stands for the rest of the name; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) allow: Vec<String>,
    /// A tool for which it must ask each time; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) ask: Vec<String>,
    /// A tool that it may not use; may be repeated.
    #[arg(long, value_name = "TOOL")]
    pub(crate) deny: Vec<String>,
}

/// The values of `--style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StyleChoice {
    /// Plain content is the message.
    Native,
    /// Plain content is inner monologue, the tool `send_message` speaks.
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
