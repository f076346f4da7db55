//! The command line: what can be asked, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use thoughtwire_proto::{Policy, SessionId, Style};

/// The session server for LLM agents: durable, resumable, three WebSocket wires.
#[derive(Debug, Parser)]
#[command(
    name = "thoughtwire",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  thoughtwire serve                         serve on 127.0.0.1:8282, no key needed
  thoughtwire chat                          talk to the agent `main`
  thoughtwire send \"What is 6*7?\"           one question, one answer, for scripts
  thoughtwire sessions list --json          what there is

Environment:
  THOUGHTWIRE_URL    the server to talk to (default http://127.0.0.1:8282)
  THOUGHTWIRE_KEY    the key to show it, where it wants one
  NO_COLOR           no colours"
)]
pub(crate) struct Cli {
    /// The server to talk to; may also stand behind the command [default: THOUGHTWIRE_URL, else http://127.0.0.1:8282].
    #[arg(long = "url", id = "url-first", value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(ServeFlags),
    /// Talk to an agent.
    Chat(ChatFlags),
    /// Send one input and print the answer.
    Send(SendFlags),
    /// List, show, create, edit and delete agents; carry them from one place to another.
    Agents {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: AgentsCommand,
    },
    /// Look at what an agent remembers, and change it.
    Memory {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: MemoryCommand,
    },
    /// Fill an agent's archival memory from files, and write it out.
    Archival {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: ArchivalCommand,
    },
    /// List, show, export and delete sessions.
    Sessions {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Show and check the server's configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Read and write single frames of any of the wires.
    Frame {
        #[command(subcommand)]
        command: FrameCommand,
    },
}

/// Which server to talk to.
#[derive(Debug, Default, Args)]
pub(crate) struct Reach {
    /// The server's address; http, https, ws and wss mean the same here [default: THOUGHTWIRE_URL, else http://127.0.0.1:8282].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The data directory whose server to talk to.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "url")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Run the server.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  thoughtwire serve
  thoughtwire serve --data-dir ./data --model ollama/llama3.2
  OPENAI_API_KEY=… thoughtwire serve --model openai/gpt-5-mini
  thoughtwire serve --listen 0.0.0.0:8282 --auth keys

Prints one line with its URL when it is ready; logs go to stderr. SIGTERM and Ctrl-C let
running turns finish, then close every connection with 1012.

Every flag can be a variable (THOUGHTWIRE_MODEL=…) or stand in the configuration file;
`thoughtwire config show` tells what holds and where it came from.")]
pub(crate) struct ServeFlags {
    /// An address to listen on; may be repeated [default: 127.0.0.1:8282].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Where everything durable lies [default: the platform's data directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The model of new agents, as provider/name [default: offline, which needs no network].
    #[arg(long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// Whether clients need a key [default: none on loopback, keys elsewhere].
    #[arg(long, value_name = "none|keys")]
    pub(crate) auth: Option<AuthChoice>,
    /// An origin whose pages may connect, besides those of this machine; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
}

/// The values of `--auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthChoice {
    None,
    Keys,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire chat                          the agent `main`, made on first use
  thoughtwire chat --agent ada              another one
  thoughtwire chat --session SESSION        a session other than the agent's main one
  printf 'Hi\\nWhat is 6*7?\\n' | thoughtwire chat    one line, one turn; exit 1 if one fails

While chatting: Ctrl-C cancels what the agent is doing, Ctrl-D leaves (the agent goes on
without you), arrow keys bring back what you said, /help lists the rest.")]
pub(crate) struct ChatFlags {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// The agent; made if it is not there [default: main].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// An existing session [default: the agent's main one].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// With piped input: print every event of each turn as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// With piped input: print thoughts and tools as well.
    #[arg(long, conflicts_with = "json")]
    pub(crate) thoughts: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire send \"What is 6*7?\"
  thoughtwire send --agent ada \"And again?\" 2>/dev/null     the answer alone
  git diff | thoughtwire send -                             the text from standard input
  thoughtwire send --json \"Hi\" | jq -r .event.kind          every event
  thoughtwire send --id order-66 \"Ship it\"                  takes effect once, however often it is sent

The answer goes to stdout, thoughts and tools to stderr. Exit code 1 if the turn did not complete.")]
pub(crate) struct SendFlags {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// What to say; `-` reads it from standard input.
    pub(crate) text: String,
    /// The agent, which must be there [default: main, made on first use].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// A session [default: the agent's main one].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// What to do if a turn runs.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Queue)]
    pub(crate) policy: PolicyChoice,
    /// A name for this input, unique in its session: sent again under the same name it is not said again.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<thoughtwire_proto::CommandId>,
    /// Print every event of the turn as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The values of `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// Wait for it to end.
    Queue,
    /// Cancel it.
    Interrupt,
    /// Be refused.
    Reject,
    /// Join it.
    Steer,
}

impl From<PolicyChoice> for Policy {
    fn from(choice: PolicyChoice) -> Self {
        match choice {
            PolicyChoice::Queue => Self::Queue,
            PolicyChoice::Interrupt => Self::Interrupt,
            PolicyChoice::Reject => Self::Reject,
            PolicyChoice::Steer => Self::Steer,
        }
    }
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire agents create ada --persona \"You are Ada, patient and exact.\"
  thoughtwire agents create sam --persona sam_pov --human cs_phd    presets by name
  thoughtwire agents edit ada --model anthropic/claude-sonnet-4-5 --fallback openai/gpt-5-mini
  thoughtwire agents edit ada --allow 'files__*' --ask fetch_url --deny files__write_file
  thoughtwire agents export ada --history > ada.json
  thoughtwire agents import ada.json --name ada2

With --data-dir they reach the server that runs on that directory, or open it themselves
when none does.")]
pub(crate) enum AgentsCommand {
    /// List all agents.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show one agent and its memory.
    Show {
        /// Its name or id.
        agent: String,
        #[command(flatten)]
        form: Form,
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
        form: Form,
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
        form: Form,
    },
    /// Delete an agent with all its sessions and its memory, for good.
    Delete {
        /// Its name or id.
        agent: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        form: Form,
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
        form: Form,
    },
    /// List the personas and humans that have names.
    Presets {
        #[command(flatten)]
        form: Form,
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

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire memory show ada
  thoughtwire memory edit ada human --text \"Her name is Ada.\"
  thoughtwire memory edit ada plans --description \"What we are up to.\" --limit 4000 --text \"\"
  thoughtwire memory search ada tea --in archival

Every edit is an event of the agent's main session, with the text before and after. With
--data-dir they reach the server that runs on that directory, or open it themselves when
none does.")]
pub(crate) enum MemoryCommand {
    /// Show an agent's core memory: the blocks that it always has before its eyes.
    Show {
        /// The agent's name or id.
        agent: String,
        /// Only this block.
        label: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Edit a block, or make one.
    Edit {
        /// The agent's name or id.
        agent: String,
        /// The block's label, such as `persona` or `human`.
        label: String,
        /// Its text from now on; `-` reads standard input.
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
        /// Its text from now on, from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "text")]
        file: Option<PathBuf>,
        /// The most characters it may have.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// What it is for, as the model is told.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Take the block away.
        #[arg(long, conflicts_with_all = ["text", "file", "limit", "description"])]
        delete: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Search what was said, or the notes.
    Search {
        /// The agent's name or id.
        agent: String,
        /// What to look for.
        query: String,
        /// Where.
        #[arg(long = "in", value_enum, default_value_t = SearchIn::Recall)]
        place: SearchIn,
        /// At most so many results.
        #[arg(long, value_name = "N", default_value_t = 10)]
        limit: u64,
        #[command(flatten)]
        form: Form,
    },
}

/// The values of `--in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchIn {
    /// Everything that was said.
    Recall,
    /// The notes, by words and by meaning.
    Archival,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire archival import ada notes/*.md
  thoughtwire archival import ada facts.jsonl      one note per line: {\"text\": \"…\"} or \"…\"
  thoughtwire archival export ada > notes.jsonl

What is there already is skipped, so an import that was cut goes on when it is run again.")]
pub(crate) enum ArchivalCommand {
    /// Add notes from text, Markdown and JSONL files; long texts are cut into notes at their paragraphs.
    Import {
        /// The agent's name or id.
        agent: String,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The most characters of one note.
        #[arg(long, value_name = "N", default_value_t = 1500)]
        chunk: usize,
        #[command(flatten)]
        form: Form,
    },
    /// Write all notes out, one line of JSON for each.
    Export {
        /// The agent's name or id.
        agent: String,
        /// Into this file, which must not be there yet [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
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

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire sessions list --agent ada --limit 5
  thoughtwire sessions show SESSION --last 10
  thoughtwire sessions export SESSION > session.jsonl
  thoughtwire sessions export SESSION --format markdown --output talk.md
  thoughtwire sessions delete SESSION

With --data-dir they reach the server that runs on that directory, or open it themselves
when none does.")]
pub(crate) enum SessionsCommand {
    /// List sessions, newest activity first.
    List {
        /// Only this agent's; its name or id.
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        form: Form,
    },
    /// Show a session and its newest events.
    Show {
        /// Its id.
        session: SessionId,
        /// How many of the newest events.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: u64,
        #[command(flatten)]
        form: Form,
    },
    /// Write out a session's whole log.
    Export {
        /// Its id.
        session: SessionId,
        /// In which form.
        #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
        format: ExportFormat,
        /// Into this file, which must not be there yet [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// One line of JSON per event; what `--format jsonl` does.
        #[arg(long, conflicts_with = "format")]
        json: bool,
    },
    /// Delete sessions and their logs, for good.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        form: Form,
    },
}

/// The values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One event per line, as stored.
    Jsonl,
    /// For people.
    Markdown,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Form {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire config show                   what holds, and where each value came from
  thoughtwire config check --config ./thoughtwire.toml

They take the flags of `serve`, so what they say is what `serve` would do.")]
pub(crate) enum ConfigCommand {
    /// Print the configuration that `serve` would run with; secrets are masked.
    Show {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        form: Form,
    },
    /// Say whether `serve` could run with it.
    Check {
        #[command(flatten)]
        flags: ServeFlags,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  echo '{\"type\":\"send\",\"session\":\"s\"}' | thoughtwire frame decode --dialect native
  thoughtwire frame decode --dialect sparky < captured.txt | thoughtwire frame encode --dialect sparky

One frame per line in, one line out for each. It judges the shape of frames, not whether what
they name is there.")]
pub(crate) enum FrameCommand {
    /// Read frames as sent; print {"ok": <the frame, normalised>} or {"error": {"code", "reason"}} for each.
    Decode {
        #[arg(long, value_enum)]
        dialect: Dialect,
    },
    /// Read normalised frames, alone or as `decode` printed them; print each as sent.
    Encode {
        #[arg(long, value_enum)]
        dialect: Dialect,
    },
}

/// The values of `--dialect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    Memgpt,
    Sparky,
    Native,
}
