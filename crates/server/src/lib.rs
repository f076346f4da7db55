//! Thoughtwire's server: configuration, who may come in, HTTP and REST, the one file that holds a
//! socket, and the wiring of everything below it.
//!
//! ```no_run
//! use thoughtwire_server::{Config, Flags, Server};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (config, _) = Config::load(&Flags::default())?;
//! let server = Server::bind(config, None).await?;
//! println!("{}", server.url());
//! server.run(async { drop(tokio::signal::ctrl_c().await) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It does not interpret frames: the dialects' machines in `thoughtwire-proto` do.

mod access;
mod ag_ui;
mod ai_sdk;
mod at_rest;
mod base_path;
mod body;
mod cluster;
mod config;
mod connection;
mod connection_permits;
mod connection_sink;
mod cors;
mod doctor;
#[cfg(test)]
mod echo;
mod endpoint;
mod event_stream;
mod front;
mod guard;
mod listener;
mod listing;
mod metrics;
mod open_files;
mod openai;
mod origin;
mod owner_file;
mod pace;
mod page;
mod phase;
mod rest;
mod server;
mod stalled;
mod sweeping;
mod takeover;
mod upgrade;
mod upgraded_stream;
mod websocket;

pub use at_rest::AtRest;
pub use base_path::{BadBasePath, BasePath};
pub use config::{
    Auth, Config, ConfigError, DEFAULT_LISTEN, DEFAULT_LOG, Flags, JwtConfig, ServerLimits,
    Setting, TlsConfig, usual_data_dir,
};
pub use doctor::{Finding, Health, examine};
pub use rest::{ROUTES, RequiredScope};
pub use server::{MakeConnector, ServeEnd, ServeError, Server};
pub use thoughtwire_agent::{HUMANS, PERSONAS};
