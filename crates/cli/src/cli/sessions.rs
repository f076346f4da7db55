//! `sessions`, and `frame`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use thoughtwire_proto::SessionId;

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire sessions list --agent ada --limit 5
  thoughtwire sessions show SESSION --last 10
  thoughtwire sessions export SESSION > session.jsonl
  thoughtwire sessions export SESSION --format markdown --output talk.md
  thoughtwire sessions keep SESSION --days 30
  thoughtwire sessions delete SESSION

With --data-dir they target the server that runs on that directory, or open it themselves
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
        output: OutputFlags,
    },
    /// Show a session and its newest events.
    Show {
        /// Its id.
        session: SessionId,
        /// How many of the newest events.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: u64,
        #[command(flatten)]
        output: OutputFlags,
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
    /// Say how much of a session's log is kept; without a number it is as its agent's settings have it.
    Keep {
        /// Its id.
        session: SessionId,
        /// Delete turns that ended so many days ago.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        /// Delete the oldest turns while more than so many events stay.
        #[arg(long, value_name = "N")]
        events: Option<u64>,
        #[command(flatten)]
        output: OutputFlags,
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
        output: OutputFlags,
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
        dialect: DialectChoice,
    },
    /// Read normalised frames, alone or as `decode` printed them; print each as sent.
    Encode {
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
