//! Backups of the SQLite file: made while it is written, and restored as another lifetime of its
//! logs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use thoughtwire_proto::Timestamp;

use super::data_file::{DirLock, FILE, make_dir};
use super::{Database, erasing, schema};
use crate::StoreError;

/// Application id of a copy. Opening it as data gives its logs new epochs, since they may continue
/// in another way than the originals. "TWcp" in ASCII.
const COPY: i32 = 0x5457_6370;

/// First bytes of an SQLite file (<https://www.sqlite.org/fileformat2.html>).
const HEADER: &[u8] = b"SQLite format 3\0";

/// Numbers of what a copy contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Agents, of all users.
    pub agents: u64,
    /// Sessions, of all users.
    pub sessions: u64,
    /// Events in their logs.
    pub events: u64,
    /// Keys that are not revoked.
    pub keys: u64,
    /// When a log last grew.
    pub newest: Option<Timestamp>,
}

impl Database {
    /// Copies everything that is on disk at one moment into a file without a name.
    pub(super) fn copy(&self) -> Result<File, StoreError> {
        let _one_at_a_time = self.copying.lock();
        let path = self.file.path().with_file_name("backup.partial");
        self.readers.read_unlimited(|connection| copy(connection, &path))?;
        if let Err(error) = erase_rest(&path) {
            // The first error tells more than a second one would.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        let file = File::open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }
}

/// Checks a copy, or a data file, and counts its contents.
pub(crate) fn inspect(file: &Path) -> Result<Contents, StoreError> {
    contents(&open(file)?, file)
}

/// Makes a directory's data from a copy.
pub(crate) fn restore(file: &Path, dir: &Path) -> Result<Contents, StoreError> {
    let copied = open(file)?;
    let contents = contents(&copied, file)?;
    make_dir(dir)?;
    let _lock = DirLock::of_dir(dir)?;
    let data = dir.join(FILE);
    if data.exists() {
        let (data, dir) = (data.display(), dir.display());
        let reason = format!(
            "there is data in {dir} already, and it was left alone: move {data} away, or choose \
             another --data-dir"
        );
        return Err(StoreError::Invalid(reason));
    }
    let partial = dir.join("restore.partial");
    copy(&copied, &partial)?;
    fs::rename(&partial, &data)?;
    File::open(dir)?.sync_all()?;
    Ok(contents)
}

/// Opens a copy for changing it. Its old state is never needed, so no journal is written.
fn open_copy(copy: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Erases what was deleted from a copy.
fn erase_rest(copy: &Path) -> Result<(), StoreError> {
    let connection = open_copy(copy)?;
    while erasing::erase_deleted(&connection)? {}
    Ok(())
}

/// Deletes the secrets that sign cookies from a copy. Keys stay: only their digests are there, and
/// 32 random bytes cannot be guessed from a digest.
///
/// Invariant: nothing in a copy grants access. Test: `backups::a_backup_has_no_secrets_in_it`.
fn strip(copy: &Path) -> Result<(), StoreError> {
    let connection = open_copy(copy)?;
    // Files of early versions have no such table.
    let has_secrets: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'secrets')",
        [],
        |row| row.get(0),
    )?;
    if has_secrets {
        connection.execute("DELETE FROM secrets", [])?;
    }
    Ok(connection.pragma_update(None, "application_id", COPY)?)
}

/// Writes a compact copy of what a connection sees, and syncs it.
fn copy(from: &Connection, to: &Path) -> Result<(), StoreError> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        // A crash may have left a partial copy.
        Ok(()) | Err(_) => {}
    }
    // Created here first, so that other users cannot read it at any moment.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = (|| {
        let name = to.to_str().ok_or_else(|| {
            StoreError::Io(format!("{} is not a name that SQLite can open", to.display()))
        })?;
        from.execute("VACUUM INTO ?", [name])?;
        strip(to)?;
        Ok(file.sync_all()?)
    })();
    if copied.is_err() {
        // The first error tells more than a second one would.
        drop(fs::remove_file(to));
    }
    copied
}

fn foreign(file: &Path) -> StoreError {
    StoreError::Invalid(format!("{} is not a backup of Thoughtwire's data", file.display()))
}

fn open(file: &Path) -> Result<Connection, StoreError> {
    // SQLite's own errors tell neither a missing file nor a foreign one.
    let mut header = Vec::new();
    let read =
        File::open(file).and_then(|open| open.take(HEADER.len() as u64).read_to_end(&mut header));
    read.map_err(|error| StoreError::Io(format!("{}: {error}", file.display())))?;
    if header != HEADER {
        return Err(foreign(file));
    }
    Ok(Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

fn contents(copy: &Connection, file: &Path) -> Result<Contents, StoreError> {
    if schema::check(copy)? == 0 {
        return Err(foreign(file));
    }
    let health: String = copy.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if health != "ok" {
        return Err(StoreError::Corrupt(health));
    }
    let count = |table: &str| {
        copy.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
            .map_err(|_| foreign(file))
    };
    let keys = if count("sqlite_schema WHERE name = 'keys'")? == 0 { 0 } else { count("keys")? };
    let newest: Option<i64> = copy
        .query_row("SELECT max(updated_at) FROM sessions", [], |row| row.get(0))
        .map_err(|_| foreign(file))?;
    let newest = newest.map(Timestamp::from_millis);
    Ok(Contents {
        agents: count("agents")?,
        sessions: count("sessions")?,
        events: count("events")?,
        keys,
        newest,
    })
}

/// Gives the logs of restored data new epochs, and the directory new secrets, once.
pub(super) fn begin_anew(connection: &mut Connection) -> Result<(), StoreError> {
    let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if found != COPY {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE sessions SET epoch = lower(hex(randomblob(16)))", [])?;
    // Backups of earlier versions contain the secret of their server.
    transaction.execute("DELETE FROM secrets", [])?;
    transaction.pragma_update(None, "application_id", 0)?;
    transaction.commit()?;
    Ok(())
}
