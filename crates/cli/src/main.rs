//! The `thoughtwire` binary: the server and its command line tools.
//!
//! Only this file exits the process. Exit codes: 0 done, 1 failed, 2 usage error.

mod agents;
mod archival;
mod backup;
mod bench;
mod calls;
mod chat;
mod cli;
mod client;
mod config;
mod doctor;
mod frame;
mod keys;
mod live_view;
mod memory;
mod node_connector;
mod out;
mod render;
mod rest;
mod send;
mod serve;
mod sessions;
mod target;
mod tls;
mod visible;
mod wrap;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{BackupFlags, BenchFlags, ChatFlags, Cli, CliCommand, DoctorFlags, SendFlags};
use crate::out::TextStyle;

/// Turns allocate in one thread and free in another. The system's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An error in the command line that clap cannot detect. Exit code 2.
#[derive(Debug)]
struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The result of a command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandStatus {
    Done,
    Failed,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            // Clap's exit codes: 2 for a usage error, 0 for help and version.
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(CommandStatus::Done) => ExitCode::SUCCESS,
        Ok(CommandStatus::Failed) => ExitCode::from(1),
        // The reader of our output closed the pipe, such as `head`. That is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out::remark(TextStyle::Bad, &format!("thoughtwire: {error:#}"));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<CommandStatus> {
    let Cli { url, command } = cli;
    match command {
        CliCommand::Serve(flags) => serve::run(flags),
        CliCommand::Chat(flags) => {
            let target = flags.target.or(url);
            block_on(chat::run(ChatFlags { target, ..flags }))
        }
        CliCommand::Send(flags) => {
            let target = flags.target.or(url);
            block_on(send::run(SendFlags { target, ..flags }))
        }
        CliCommand::Agents { target, command } => block_on(agents::run(target.or(url), command)),
        CliCommand::Memory { target, command } => block_on(memory::run(target.or(url), command)),
        CliCommand::Archival { target, command } => {
            block_on(archival::run(target.or(url), command))
        }
        CliCommand::Sessions { target, command } => {
            block_on(sessions::run(target.or(url), command))
        }
        CliCommand::Keys { target, command } => block_on(keys::run(target.or(url), command)),
        CliCommand::Backup(flags) => {
            let target = flags.target.or(url);
            block_on(backup::back_up(BackupFlags { target, ..flags }))
        }
        CliCommand::Restore(flags) => backup::restore(flags),
        CliCommand::Doctor(flags) => {
            let url = flags.url.clone().or(url);
            block_on(doctor::run(DoctorFlags { url, ..flags }))
        }
        CliCommand::Config { command } => config::run(command),
        CliCommand::Frame { command } => frame::run(&command),
        CliCommand::Bench(flags) => {
            let target = flags.target.or(url);
            block_on(bench::run(BenchFlags { target, ..flags }))
        }
    }
}

/// Runs a client command. One thread is enough to wait for one server.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // Does not wait for a thread that is blocked on standard input.
    runtime.shutdown_background();
    outcome
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
