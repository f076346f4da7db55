//! The `thoughtwire` binary: the server, and its owner's tools.
//!
//! This is the only place that exits: 0 done, 1 failed, 2 usage.

mod agents;
mod archival;
mod backup;
mod bench;
mod chat;
mod cli;
mod client;
mod config;
mod doctor;
mod frame;
mod keys;
mod memory;
mod out;
mod place;
mod rest;
mod send;
mod serve;
mod sessions;
mod story;
mod tls;
mod view;
mod visible;
mod wrap;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{BackupFlags, BenchFlags, ChatFlags, Cli, Command, DoctorFlags, SendFlags};
use crate::out::Look;

/// Turns allocate in one thread and free in another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A command line that parses but cannot be meant.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// How a command came out, when it could be carried out at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            // Clap's own: 2 for what cannot be read, 0 for help and version.
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        // Whoever read our output has enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out::remark(Look::Bad, &format!("thoughtwire: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let Cli { url, command } = cli;
    match command {
        Command::Serve(flags) => serve::run(flags),
        Command::Chat(flags) => {
            let reach = flags.reach.or(url);
            block_on(chat::run(ChatFlags { reach, ..flags }))
        }
        Command::Send(flags) => {
            let reach = flags.reach.or(url);
            block_on(send::run(SendFlags { reach, ..flags }))
        }
        Command::Agents { reach, command } => block_on(agents::run(reach.or(url), command)),
        Command::Memory { reach, command } => block_on(memory::run(reach.or(url), command)),
        Command::Archival { reach, command } => block_on(archival::run(reach.or(url), command)),
        Command::Sessions { reach, command } => block_on(sessions::run(reach.or(url), command)),
        Command::Keys { reach, command } => block_on(keys::run(reach.or(url), command)),
        Command::Backup(flags) => {
            let reach = flags.reach.or(url);
            block_on(backup::back_up(BackupFlags { reach, ..flags }))
        }
        Command::Restore(flags) => backup::restore(flags),
        Command::Doctor(flags) => {
            let url = flags.url.clone().or(url);
            block_on(doctor::run(DoctorFlags { url, ..flags }))
        }
        Command::Config { command } => config::run(command),
        Command::Frame { command } => frame::run(&command),
        Command::Bench(flags) => {
            let reach = flags.reach.or(url);
            block_on(bench::run(BenchFlags { reach, ..flags }))
        }
    }
}

/// Clients wait for one server; one thread is enough for that.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A thread may still wait for a line that nobody types.
    runtime.shutdown_background();
    outcome
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
