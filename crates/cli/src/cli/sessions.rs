//! Flags of `sessions` and `frame`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use thoughtwire_proto::{CallId, SessionId, Verdict};

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire sessions list --agent ada --limit 5
  thoughtwire sessions show SESSION --last 10
  thoughtwire sessions calls SESSION --unknown
  thoughtwire sessions export SESSION > session.jsonl
  thoughtwire sessions export SESSION --format markdown --output talk.md
  thoughtwire sessions keep SESSION --days 30
  thoughtwire sessions delete SESSION

With --data-dir the commands use the server that runs on that directory. Without one they open
the directory themselves, except `decide`, which needs a server.")]
pub(crate) enum SessionsCommand {
    /// List sessions, newest activity first.
    List {
        /// Only sessions of this agent (name or id).
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Most sessions to list.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Show a session and its newest events.
    Show {
        /// Id of the session.
        session: SessionId,
        /// Number of events.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: u64,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List a session's tool calls with their states, oldest first.
    #[command(after_help = "\
Examples:
  thoughtwire sessions calls SESSION              every call that the log has
  thoughtwire sessions calls SESSION --unknown    which calls may have taken effect unnoticed?
  thoughtwire sessions calls SESSION --json | jq '.calls[] | select(.state == \"failed\")'

A call is done, failed, running, waiting or unknown. Unknown: a crash or a stop interrupted it, so
it may or may not have taken effect. Check that where the tool has its effect. If the call waits
for you, answer with `thoughtwire sessions decide`.")]
    Calls {
        /// Id of the session.
        session: SessionId,
        /// Only calls whose outcome is unknown.
        #[arg(long)]
        unknown: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Answer a call that waits for you.
    #[command(after_help = "\
Examples:
  thoughtwire sessions calls SESSION                                which calls wait?
  thoughtwire sessions decide SESSION CALL approved                 run it
  thoughtwire sessions decide SESSION CALL done --result \"paid\"    it has been made: do not repeat

A call that has not run is approved or denied. A call whose outcome is unknown is run again with
`approved`, counts as failed with `denied`, and counts as done with `done`.")]
    Decide {
        /// Id of the session.
        session: SessionId,
        /// Id of the call.
        call: CallId,
        /// The decision.
        #[arg(value_enum)]
        decision: DecisionChoice,
        /// With `done`: the call's result, for the model.
        #[arg(long, value_name = "TEXT")]
        result: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Write a session's whole log.
    Export {
        /// Id of the session.
        session: SessionId,
        /// Format of the export.
        #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
        format: ExportFormat,
        /// Write to this new file [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print one line of JSON per event, like `--format jsonl`.
        #[arg(long, conflicts_with = "format")]
        json: bool,
    },
    /// Set how much of a session's log is kept. Without flags, the agent's settings apply.
    Keep {
        /// Id of the session.
        session: SessionId,
        /// Delete turns this many days after they ended.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        /// Delete the oldest turns while the log has more than N events.
        #[arg(long, value_name = "N")]
        events: Option<u64>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Delete sessions and their logs permanently.
    Delete {
        /// Ids of the sessions.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
}

/// The decisions about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecisionChoice {
    /// Run it, or run it again.
    Approved,
    /// Do not run it. A call whose outcome is unknown counts as failed.
    Denied,
    /// It has been made; only for a call whose outcome is unknown.
    Done,
}

impl From<DecisionChoice> for Verdict {
    fn from(choice: DecisionChoice) -> Self {
        match choice {
            DecisionChoice::Approved => Self::Approved,
            DecisionChoice::Denied => Self::Denied,
            DecisionChoice::Done => Self::Done,
        }
    }
}

/// The values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One event per line, as stored.
    Jsonl,
    /// A readable transcript.
    Markdown,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  echo '{\"type\":\"send\",\"session\":\"s\"}' | thoughtwire frame decode --dialect native
  thoughtwire frame decode --dialect sparky < captured.txt

Reads one frame per line and prints one line for each. Checks the form of frames, not whether
the sessions and agents in them exist.")]
pub(crate) enum FrameCommand {
    /// Decode frames as sent. Print {"ok": FRAME} or {"error": {"code", "reason"}} for
    /// each.
    Decode {
        /// WebSocket protocol of the frames.
        #[arg(long, value_enum)]
        dialect: DialectChoice,
    },
    /// Encode normalised frames, bare or as `decode` prints them.
    Encode {
        /// WebSocket protocol of the frames.
        #[arg(long, value_enum)]
        dialect: DialectChoice,
    },
}

/// The values of `--dialect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DialectChoice {
    Memgpt,
    Sparky,
    Native,
}
