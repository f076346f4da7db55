//! Connections to the database: its address, encryption, and the connections that read.

use std::future::poll_fn;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::encryption;
use super::sql::SqlFuture;
use crate::StoreError;
use crate::error::READ_LIMIT;
use crate::shares::ReadShares;

/// Maximum time of one attempt to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Maximum time for which the database's machine may not answer on an open connection.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Number of connections that read, where the address names none.
const READERS: usize = 8;

/// The address of a database, with the settings in it.
///
/// It is a connection URI as `libpq` has it
/// (<https://www.postgresql.org/docs/current/libpq-connect.html>), with two parameters of our own:
/// `pool_size`, the number of connections that read (8), and `statement_timeout`, the seconds that
/// a statement of a read may take (10).
#[derive(Clone)]
pub(super) struct DatabaseAddress {
    config: Config,
    tls: MakeRustlsConnect,
    pool_size: usize,
    read_limit: Duration,
}

impl DatabaseAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it cannot be understood, or a certificate that it names cannot be read.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut pool_size, mut read_limit) = (Vec::new(), READERS, READ_LIMIT);
        let (mut mode, mut roots) = ("prefer", None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("pool_size", value) => pool_size = positive("pool_size", value)?,
                ("statement_timeout", value) => {
                    let seconds = positive("statement_timeout", value)?;
                    read_limit = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
                }
                ("sslmode", value) => mode = value,
                ("sslrootcert", value) => roots = Some(value.to_owned()),
                _ => kept.push(pair),
            }
        }
        let encryption = encryption::Encryption::parse(mode, roots)?;
        let address = format!("{base}?{}", kept.join("&"));
        let mut config: Config =
            address.trim_end_matches('?').parse().map_err(|error: tokio_postgres::Error| {
                invalid(&format!("{}; such as postgres://user@host/database", reason(&error)))
            })?;
        config
            .ssl_mode(encryption.mode())
            .application_name("thoughtwire")
            .connect_timeout(CONNECT_LIMIT)
            .keepalives_idle(SILENCE_LIMIT)
            .tcp_user_timeout(SILENCE_LIMIT);
        // A standby among several hosts cannot save anything.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, tls: encryption.connector()?, pool_size, read_limit })
    }
}

fn positive(name: &str, value: &str) -> Result<usize, StoreError> {
    let number = value.parse().ok().filter(|number: &usize| *number > 0);
    number.ok_or_else(|| invalid(&format!("{name} has to be a number from 1 up, not '{value}'")))
}

fn invalid(reason: &str) -> StoreError {
    StoreError::Invalid(format!("the database's address is wrong: {reason}"))
}

/// An error of the driver with its cause.
pub(super) fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    reason
}

/// The database.
pub(super) struct Connections {
    address: DatabaseAddress,
    readers: Pool,
    shares: ReadShares,
}

impl Connections {
    pub(super) fn new(address: DatabaseAddress) -> Result<Self, StoreError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(address.config.clone(), address.tls.clone(), recycling);
        let readers = Pool::builder(manager)
            .max_size(address.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                // Reads wait for their share, which is never more than the connections.
                wait: None,
                create: Some(CONNECT_LIMIT),
                recycle: Some(CONNECT_LIMIT),
            })
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { shares: ReadShares::new(address.pool_size), readers, address })
    }

    /// Opens a connection of its own.
    ///
    /// # Errors
    /// [`StoreError::Away`] when that fails.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        self.connect_listening(|_| {}).await
    }

    /// Opens a connection of its own. `hear` is called with each notification that it gets.
    ///
    /// # Errors
    /// [`StoreError::Away`] when that fails.
    pub(super) async fn connect_listening(
        &self,
        hear: impl Fn(&str) + Send + 'static,
    ) -> Result<Client, StoreError> {
        let connecting = self.address.config.connect(self.address.tls.clone());
        let (client, mut connection) = match timeout(2 * CONNECT_LIMIT, connecting).await {
            Ok(connected) => connected.map_err(|error| StoreError::Away(reason(&error)))?,
            Err(_) => return Err(StoreError::Away("it does not answer".to_owned())),
        };
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => hear(notification.payload()),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(
                            error = reason(&error),
                            "a connection to the database ended"
                        );
                        return;
                    }
                }
            }
        });
        Ok(client)
    }

    /// Reads on a connection of the pool, within a user's share of it, for a limited time.
    pub(super) async fn read<T>(
        &self,
        user: Option<&str>,
        read: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T>,
    ) -> Result<T, StoreError> {
        self.read_within(user, Some(self.address.read_limit), read).await
    }

    /// Reads as [`Connections::read`] does, without a time limit: for the server's own upkeep.
    pub(super) async fn read_unlimited<T>(
        &self,
        read: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T>,
    ) -> Result<T, StoreError> {
        self.read_within(None, None, read).await
    }

    async fn read_within<T>(
        &self,
        user: Option<&str>,
        limit: Option<Duration>,
        read: impl for<'a> FnOnce(&'a Client) -> SqlFuture<'a, T>,
    ) -> Result<T, StoreError> {
        let _permit = self.shares.permit(user).await;
        let reader = self.readers.get().await.map_err(|error| match error {
            PoolError::Closed => StoreError::Stopped,
            PoolError::Backend(error) => StoreError::Away(reason(&error)),
            PoolError::Timeout(_)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => StoreError::Away(error.to_string()),
        })?;
        let mut guard = ReadGuard {
            cancel: Some((reader.cancel_token(), self.address.tls.clone())),
            reader: Some(reader),
        };
        let Some(client) = &guard.reader else { return Err(StoreError::Stopped) };
        let outcome = match limit {
            None => read(client).await,
            Some(limit) => match timeout(limit, read(client)).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(StoreError::TooSlow { seconds: limit.as_secs() }),
            },
        };
        guard.cancel = None;
        outcome
    }

    pub(super) fn stop(&self) {
        self.readers.close();
    }
}

/// A connection that reads. A read that is given up, or takes too long, is cancelled in the
/// database, and its connection is not used again.
struct ReadGuard {
    reader: Option<Object>,
    cancel: Option<(CancelToken, MakeRustlsConnect)>,
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let Some((token, tls)) = self.cancel.take() else { return };
        drop(self.reader.take().map(Object::take));
        // Outside a runtime the connection is gone as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // A statement that is not cancelled ends by itself.
                drop(timeout(CONNECT_LIMIT, token.cancel_query(tls)).await);
            });
        }
    }
}
