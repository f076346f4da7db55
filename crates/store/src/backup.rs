//! Copies of the data: made while it is written, and taken back as another lifetime of its logs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::PoisonError;

use rusqlite::{Connection, OpenFlags};
use thoughtwire_proto::Timestamp;

use crate::data_file::{DirLock, FILE, make_dir};
use crate::{Store, StoreError, erasing, schema};

/// What a file begins with that was copied: whoever opens it as data next gives its logs new epochs,
/// since they may go on in another way than those they were copied from. "TWcp" in ASCII.
const COPY: i32 = 0x5457_6370;

/// How a file of SQLite's begins (<https://www.sqlite.org/fileformat2.html>).
const HEADER: &[u8] = b"SQLite format 3\0";

/// What a copy has in it.
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
    /// When anything was last said.
    pub newest: Option<Timestamp>,
}

impl Store {
    /// Copies everything that is on disk at one moment. Writing goes on meanwhile. The copy is a file
    /// without a name: what is not read from it is gone when it is closed.
    ///
    /// # Errors
    /// When the data cannot be read, or there is no room for the copy beside it.
    pub fn backup(&self) -> Result<File, StoreError> {
        let _one_at_a_time = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.file.path().with_file_name("backup.partial");
        self.readers.read_at_length(|connection| copy(connection, &path))?;
        if let Err(error) = erase_rest(&path) {
            // That says more than that the rest of it cannot be removed either.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        let file = File::open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Looks at a copy, or at data: whether it is whole, and what is in it.
    ///
    /// # Errors
    /// When it is neither, is damaged, or is of a newer version.
    pub fn inspect(file: &Path) -> Result<Contents, StoreError> {
        inspect(&open(file)?, file)
    }

    /// Makes a directory's data from a copy. The logs begin another lifetime when the data is next opened.
    ///
    /// # Errors
    /// When the directory has data already, and as [`Store::inspect`].
    pub fn restore(file: &Path, dir: &Path) -> Result<Contents, StoreError> {
        let copied = open(file)?;
        let contents = inspect(&copied, file)?;
        make_dir(dir)?;
        let _lock = DirLock::of_dir(dir)?;
        let data = dir.join(FILE);
        if data.exists() {
            let (data, dir) = (data.display(), dir.display());
            let reason = format!(
                "there is data in {dir} already, and it was left alone: move {data} away, or say another --data-dir"
            );
            return Err(StoreError::Invalid(reason));
        }
        let partial = dir.join("restore.partial");
        copy(&copied, &partial)?;
        fs::rename(&partial, &data)?;
        File::open(dir)?.sync_all()?;
        Ok(contents)
    }
}

/// A copy to be changed. Nobody needs it back as it was, so nothing of it is written elsewhere either.
fn open_copy(copy: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Takes what was deleted, and is on its way out of the data, out of a copy of it.
fn erase_rest(copy: &Path) -> Result<(), StoreError> {
    let connection = open_copy(copy)?;
    while erasing::erase_some(&connection)? {}
    Ok(())
}

/// Takes the secrets that cookies are signed with out of a copy. Keys stay: only their digests are
/// there, and 32 random bytes cannot be guessed from a digest.
///
/// Invariant: nothing in a copy lets anybody in. Test: `keeping::a_backup_has_no_secrets_in_it`.
fn strip(copy: &Path) -> Result<(), StoreError> {
    let connection = open_copy(copy)?;
    // What an early version wrote has no such table.
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

/// Writes a copy of what a connection sees, compact and without what was deleted, to the disk for good.
fn copy(from: &Connection, to: &Path) -> Result<(), StoreError> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        // What a crash left behind.
        Ok(()) | Err(_) => {}
    }
    // Made by us first, so that it is nobody else's to read from its first moment.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = (|| {
        let name = to.to_str().ok_or_else(|| {
            StoreError::Io(format!("{} is no name that SQLite can open", to.display()))
        })?;
        from.execute("VACUUM INTO ?", [name])?;
        strip(to)?;
        Ok(file.sync_all()?)
    })();
    if copied.is_err() {
        // The copy's own failure says more.
        drop(fs::remove_file(to));
    }
    copied
}

fn foreign(file: &Path) -> StoreError {
    StoreError::Invalid(format!("{} is no backup of Thoughtwire's data", file.display()))
}

fn open(file: &Path) -> Result<Connection, StoreError> {
    // SQLite's own words say neither that a file is not there, nor that it is a foreign one.
    let mut begins = Vec::new();
    let read =
        File::open(file).and_then(|open| open.take(HEADER.len() as u64).read_to_end(&mut begins));
    read.map_err(|error| StoreError::Io(format!("{}: {error}", file.display())))?;
    if begins != HEADER {
        return Err(foreign(file));
    }
    Ok(Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

fn inspect(copy: &Connection, file: &Path) -> Result<Contents, StoreError> {
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

/// Gives the logs of data that was copied new epochs, and the directory new secrets, once.
pub(crate) fn begin_anew(connection: &mut Connection) -> Result<(), StoreError> {
    let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if found != COPY {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE sessions SET epoch = lower(hex(randomblob(16)))", [])?;
    // A backup of an earlier version has the secret of the server it was made of.
    transaction.execute("DELETE FROM secrets", [])?;
    transaction.pragma_update(None, "application_id", 0)?;
    transaction.commit()?;
    Ok(())
}
