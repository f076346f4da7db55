//! `thoughtwire serve`.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use thoughtwire_server::{Config, DEFAULT_LOG, ServeEnd, ServeError, Server};
use thoughtwire_store::StoreError;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::CommandStatus;
use crate::cli::ServeFlags;
use crate::{node_connector, out};

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

async fn serve(mut config: Config) -> anyhow::Result<CommandStatus> {
    // Installed before anything is opened, so that a signal at any time stops the server cleanly.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stop = std::pin::pin!(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let server = bind(config.clone()).await?;
    out::line(&format!("Thoughtwire is listening on {}", server.url()))?;
    config.listen = server.addresses().to_vec();
    let mut end = server.run(&mut stop).await?;
    while end == ServeEnd::LeaseLost {
        // Other nodes have its sessions now. It serves again as a new one.
        let server = tokio::select! {
            server = bind_again(&config) => server?,
            () = &mut stop => return Ok(CommandStatus::Done),
        };
        tracing::info!("serving again, with a new lease");
        end = server.run(&mut stop).await?;
    }
    Ok(CommandStatus::Done)
}

async fn bind(config: Config) -> anyhow::Result<Server> {
    let dir = config.data_dir.clone();
    Server::bind(config, Some(node_connector::make)).await.map_err(|error| {
        let says_where = matches!(&error, ServeError::Store(StoreError::Locked { .. }));
        let is_store = matches!(&error, ServeError::Store(_));
        let error = anyhow::Error::from(error);
        if is_store && !says_where { error.context(dir.display().to_string()) } else { error }
    })
}

/// Binds once the database can be reached.
async fn bind_again(config: &Config) -> anyhow::Result<Server> {
    loop {
        match Server::bind(config.clone(), Some(node_connector::make)).await {
            Err(ServeError::Store(StoreError::Away(_))) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            bound => return Ok(bound?),
        }
    }
}
