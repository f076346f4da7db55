//! `thoughtwire serve`.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use thoughtwire_server::{Config, DEFAULT_LOG, ServeError, Server};
use thoughtwire_store::StoreError;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::CommandStatus;
use crate::cli::ServeFlags;
use crate::out;

pub(crate) fn run(flags: ServeFlags) -> anyhow::Result<CommandStatus> {
    let (config, settings) = Config::load(&flags.into())?;
    let log = settings
        .iter()
        .find(|setting| setting.name == "log")
        .map_or(DEFAULT_LOG, |setting| setting.value.as_str());
    let filter = EnvFilter::try_new(log)
        .with_context(|| format!("the setting `log` is invalid: {log:?}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<CommandStatus> {
    // Installed before anything is opened, so that a signal at any time stops the server cleanly.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let dir = config.data_dir.clone();
    let server = Server::bind(config).await.map_err(|error| {
        let says_where = matches!(&error, ServeError::Store(StoreError::Locked { .. }));
        let is_store = matches!(&error, ServeError::Store(_));
        let error = anyhow::Error::from(error);
        if is_store && !says_where { error.context(dir.display().to_string()) } else { error }
    })?;
    out::line(&format!("Thoughtwire is listening on {}", server.url()))?;
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    Ok(CommandStatus::Done)
}
