//! Flags of `memory` and `archival`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::OutputFlags;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire memory show ada
  thoughtwire memory edit ada human --text \"Her name is Ada.\"
  thoughtwire memory edit ada plans --description \"What we are up to.\" --limit 4000 --text \"\"
  thoughtwire memory search ada tea --in archival

Each edit is an event of the agent's main session, with the text before and after. With
--data-dir the commands use the server that runs on that directory. Without one they open the
directory themselves.")]
pub(crate) enum MemoryCommand {
    /// Show an agent's core memory: the blocks that are part of every prompt.
    Show {
        /// Name or id of the agent.
        agent: String,
        /// Show only this block.
        label: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Edit, create or delete a block.
    Edit {
        /// Name or id of the agent.
        agent: String,
        /// Label of the block, such as `persona` or `human`.
        label: String,
        /// New text; `-` reads it from standard input.
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
        /// Read the new text from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "text")]
        file: Option<PathBuf>,
        /// Most characters of the block.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Purpose of the block, as the model sees it.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Delete the block.
        #[arg(long, conflicts_with_all = ["text", "file", "limit", "description"])]
        delete: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Search earlier messages or archival notes.
    Search {
        /// Name or id of the agent.
        agent: String,
        /// Search text.
        query: String,
        /// Memory to search.
        #[arg(long = "in", value_enum, default_value_t = SearchIn::Recall)]
        place: SearchIn,
        /// Most results.
        #[arg(long, value_name = "N", default_value_t = 10)]
        limit: u64,
        /// Tell why each result was found: points from its words, its meaning and its neighbours.
        #[arg(long)]
        why: bool,
        #[command(flatten)]
        output: OutputFlags,
    },
}

/// The values of `--in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchIn {
    /// All earlier messages.
    Recall,
    /// Archival notes.
    Archival,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thoughtwire archival import ada notes/*.md
  thoughtwire archival import ada facts.jsonl      one note per line: {\"text\": \"…\"} or \"…\"
  thoughtwire archival export ada > notes.jsonl

Existing notes are skipped, so an interrupted import continues when it is run again.")]
pub(crate) enum ArchivalCommand {
    /// Add notes from text, Markdown and JSONL files. Long texts are split at paragraphs.
    Import {
        /// Name or id of the agent.
        agent: String,
        /// Files to import.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Most characters of one note.
        #[arg(long, value_name = "N", default_value_t = 1500)]
        chunk: usize,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// Write all notes as JSONL, one per line.
    Export {
        /// Name or id of the agent.
        agent: String,
        /// Write to this new file [default: standard output].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}
