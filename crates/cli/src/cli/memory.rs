//! `memory` and `archival`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Form;

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
        limit: Option<usize>,
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
