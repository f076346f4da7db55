//! Errors of the store, as sentences that say what to do.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use thoughtwire_proto::{AgentId, Refusal, RefusalCode, SessionId};

/// Maximum time of one statement of a read.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(10);

const CANNOT_OPEN: &str = "its file cannot be opened; check its permissions, and how many files \
                           this process may open (`ulimit -n`)";

/// Too many open files, of the process or of the system: the same numbers on every Unix, without a
/// name in `std`.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Why a call of the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory.
    #[error(
        "another process uses the data directory {}; stop it, or say another with --data-dir",
        .path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error(
        "the data was written by a newer version of Thoughtwire (schema {found}, this one knows \
         {known}); use that version or a newer one"
    )]
    Newer {
        /// The file's schema.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// No room on the disk.
    #[error("the disk is full, so nothing was saved; make room and try again")]
    Full,
    /// The file cannot be written.
    #[error(
        "the data cannot be written (read-only file or directory), so nothing was saved; check its \
         permissions"
    )]
    ReadOnly,
    /// A commit failed while it was being synced, and the disk does not work again yet.
    #[error(
        "the disk failed while it saved ({0}), so it is unknown whether this was saved; send it \
         again with the same id, which has no second effect"
    )]
    Unknown(String),
    /// The data file is not the one that was opened.
    #[error(
        "{} was deleted or replaced while the server runs, so nothing is saved any more; put it \
         back, or stop the server, restore the data and start it again",
        .path.display()
    )]
    Replaced {
        /// The path that names another file now, or none.
        path: PathBuf,
    },
    /// Another program's lock was not released in time.
    #[error(
        "another program keeps the data file locked, so nothing was read or saved; end its \
         transaction (such as a `sqlite3` shell's) and try again"
    )]
    Busy,
    /// A read took too long.
    #[error("the search took longer than {seconds} seconds and was stopped; ask for less")]
    TooSlow {
        /// The limit.
        seconds: u64,
    },
    /// The file is damaged.
    #[error("the data file is damaged, so nothing was saved; restore it from a backup ({0})")]
    Corrupt(String),
    /// The user has an agent of this name.
    #[error("an agent named '{name}' exists already; choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The agent has as much in its archival memory as it may.
    #[error("archival memory may hold {most} bytes, and this would be more; nothing was added")]
    ArchivalFull {
        /// The most bytes of text.
        most: u64,
    },
    /// Data that does not hold together, or cannot be used here.
    #[error("{0}")]
    Invalid(String),
    /// A session, agent, client or chat that does not exist.
    #[error("there is no {0}")]
    Missing(String),
    /// A batch that does not begin at the log's head.
    #[error("the log ends at {found} where {expected} was expected; read the session again")]
    HeadMoved {
        /// Position of the log's head.
        found: u64,
        /// Position that the batch follows.
        expected: u64,
    },
    /// The file system failed.
    #[error("the data directory cannot be used: {0}")]
    Io(String),
    /// The backend failed otherwise.
    #[error("the data could not be read or saved: {0}")]
    Failed(String),
    /// The database does not answer, or refuses connections.
    #[error(
        "the database cannot be reached, so nothing was read or saved; it goes on when the \
         database is back ({0})"
    )]
    Away(String),
    /// Another node may have this node's sessions.
    #[error("this node has lost its lease in the database, so nothing was saved; send it again")]
    Fenced,
    /// Another node has the session.
    #[error("another node has session {session}")]
    Elsewhere {
        /// The session.
        session: SessionId,
        /// The address under which other nodes reach that node, if it has one.
        url: Option<String>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Stopped,
}

impl StoreError {
    /// Whether the connection to the database was lost, so that the outcome may be unknown.
    pub(crate) fn is_lost_database(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// Whether it says that the store cannot be used at present, whatever is asked of it: a shared
    /// database is away, it broke off a write, or this node has lost its lease.
    #[must_use]
    pub fn is_lost_store(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Unknown(_) | Self::Fenced)
    }

    /// A database that did not answer within a limit.
    pub(crate) fn slow_database(limit: Duration) -> Self {
        Self::Away(format!("it did not answer in {} seconds", limit.as_secs()))
    }

    pub(crate) fn missing_session(id: &SessionId) -> Self {
        Self::Missing(format!("session {id}"))
    }

    pub(crate) fn missing_agent(id: &AgentId) -> Self {
        Self::Missing(format!("agent {id}"))
    }

    pub(crate) fn missing_peer(name: &str) -> Self {
        Self::Missing(format!("client {name}; it has to be opened first"))
    }

    pub(crate) fn missing_chat(chat: &str) -> Self {
        Self::Missing(format!("chat '{chat}'"))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            // A disk without room for the index beside the log has an error of its own.
            Some(ErrorCode::SystemIoFailure)
                if error
                    .sqlite_error()
                    .is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) =>
            {
                Self::Full
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::OperationInterrupted) => {
                Self::TooSlow { seconds: READ_LIMIT.as_secs() }
            }
            Some(ErrorCode::CannotOpen) => Self::Io(CANNOT_OPEN.to_owned()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            Some(_) | None => Self::Failed(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let is_io = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>);
            return if is_io || error.is_closed() {
                Self::Away(error.to_string())
            } else {
                Self::Failed(error.to_string())
            };
        };
        // The classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
        match refusal.code().code() {
            "53100" => Self::Full,
            "57014" => Self::TooSlow { seconds: READ_LIMIT.as_secs() },
            // A connection that broke, too many of them, a server that starts or stops, a standby.
            code if code.starts_with("08")
                || code.starts_with("57P")
                || matches!(code, "53300" | "25006") =>
            {
                Self::Away(refusal.message().to_owned())
            }
            code => Self::Failed(format!("{} ({code})", refusal.message())),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
        let kind = error.kind();
        if kind == StorageFull {
            Self::Full
        } else if kind == ReadOnlyFilesystem || kind == PermissionDenied {
            Self::ReadOnly
        } else if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
            Self::Io(CANNOT_OPEN.to_owned())
        } else {
            Self::Io(error.to_string())
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

/// For clients: the sentence without paths.
impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        let code = match error {
            StoreError::Full => RefusalCode::StoreFull,
            StoreError::NameTaken { .. } => RefusalCode::NameTaken,
            StoreError::ArchivalFull { .. } => RefusalCode::ArchivalFull,
            StoreError::Stopped => RefusalCode::Stopping,
            StoreError::Missing(_) => RefusalCode::UnknownSession,
            StoreError::Invalid(_) => RefusalCode::BadRequest,
            StoreError::Unknown(_) => RefusalCode::StoreUnknown,
            StoreError::Locked { .. }
            | StoreError::Newer { .. }
            | StoreError::Replaced { .. }
            | StoreError::Busy
            | StoreError::TooSlow { .. }
            | StoreError::ReadOnly
            | StoreError::Corrupt(_)
            | StoreError::HeadMoved { .. }
            | StoreError::Io(_)
            | StoreError::Away(_)
            | StoreError::Failed(_) => RefusalCode::StoreFailed,
            StoreError::Fenced | StoreError::Elsewhere { .. } => RefusalCode::Moved,
        };
        let reason = match error {
            StoreError::Locked { .. }
            | StoreError::Io(_)
            | StoreError::Failed(_)
            | StoreError::HeadMoved { .. } => {
                "the data could not be read or saved; see the server's log".to_owned()
            }
            StoreError::Away(_) => {
                "the database cannot be reached, so nothing was read or saved; try again later"
                    .to_owned()
            }
            StoreError::Corrupt(_) => "the data file is damaged; see the server's log".to_owned(),
            StoreError::Replaced { .. } => {
                "the data file was deleted or replaced while the server runs, so nothing is saved; \
                 see the server's log"
                    .to_owned()
            }
            StoreError::Unknown(_) => {
                "the disk failed while it saved, so it is unknown whether this was saved; send it \
                 again with the same id, which has no second effect"
                    .to_owned()
            }
            StoreError::Newer { .. }
            | StoreError::Busy
            | StoreError::Fenced
            | StoreError::Elsewhere { .. }
            | StoreError::TooSlow { .. }
            | StoreError::Full
            | StoreError::ReadOnly
            | StoreError::NameTaken { .. }
            | StoreError::ArchivalFull { .. }
            | StoreError::Invalid(_)
            | StoreError::Missing(_)
            | StoreError::Stopped => error.to_string(),
        };
        Self::new(code, reason)
    }
}
