//! Opening and closing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use thoughtwire_proto::Timestamp;

use crate::data_file::{DataFile, DirLock, FILE, make_dir};
use crate::reader::Readers;
use crate::writer::{Pen, Writer};
use crate::{Metrics, StoreError, backup, peers, recovery, schema};

/// Everything durable: one `SQLite` file, one writer, readers beside it.
pub struct Store {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) file: Arc<DataFile>,
    /// The operating system's locks on the directory, for as long as the store is open.
    lock: Mutex<Option<DirLock>>,
    by_hand: bool,
    /// Held while a copy is made.
    pub(crate) copying: Mutex<()>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there; brings its schema up to
    /// date and ends what a crash interrupted.
    ///
    /// # Errors
    /// When another process has it, when it was written by a newer version, and when the disk says no.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let (connection, file, lock) = prepare(dir, now)?;
        let readers = Readers::new(&file);
        let writer = Writer::start(connection, Arc::clone(&file), readers.open_anchor()?)?;
        Ok(Self::of(writer, readers, file, lock, false))
    }

    /// [`Store::open`] without threads: nothing is written but by the pen that comes with it, and
    /// those who read through the hub read where they stand. So a test decides what happens in which
    /// order, and can do it again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_by_hand(dir: &Path, now: Timestamp) -> Result<(Self, Pen), StoreError> {
        let (connection, file, lock) = prepare(dir, now)?;
        let readers = Readers::new(&file);
        let (writer, pen) = Writer::by_hand(connection, Arc::clone(&file), readers.open_anchor()?);
        Ok((Self::of(writer, readers, file, lock, true), pen))
    }

    fn of(
        writer: Writer,
        readers: Readers,
        file: Arc<DataFile>,
        lock: DirLock,
        by_hand: bool,
    ) -> Self {
        Self {
            writer,
            readers,
            file,
            lock: Mutex::new(Some(lock)),
            by_hand,
            copying: Mutex::new(()),
        }
    }

    /// What it counts of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.writer.metrics
    }

    /// Whether it can save: at once where the newest write worked, and else by trying another.
    ///
    /// # Errors
    /// When it cannot, also because the data file was deleted or replaced.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.file.check()?;
        if !self.writer.is_failing() {
            return Ok(());
        }
        self.writer.write(crate::writer::probe).await
    }

    /// Reads what the server itself needs, without holding up whoever else is on the thread: on
    /// tokio's blocking pool, and where it stands if the store was opened with
    /// [`Store::open_by_hand`]. It waits for its turn: more reads at once than there are connections
    /// only hold threads.
    ///
    /// # Errors
    /// The read's.
    pub async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reading_of(None, read).await
    }

    /// Reads what a user asked for, as [`Store::reading`] does. The reads of one user, named by the id
    /// of the user or of an agent, have a share of the connections, so that expensive ones hold up
    /// nobody else.
    ///
    /// # Errors
    /// The read's.
    pub async fn reading_for<T: Send + 'static>(
        self: &Arc<Self>,
        user: &str,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reading_of(Some(user), read).await
    }

    async fn reading_of<T: Send + 'static>(
        self: &Arc<Self>,
        user: Option<&str>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.by_hand {
            return read(self);
        }
        let turn = self.readers.turn(user).await;
        let store = Arc::clone(self);
        let work = move || {
            // Who asked may leave meanwhile; the read holds its turn until it is over.
            let _turn = turn;
            read(&store)
        };
        // Only a runtime that is shutting down takes no more.
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped))
    }

    /// The file with the data in a directory.
    #[must_use]
    pub fn file(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Whether some process has the store in a directory open.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub fn is_locked(dir: &Path) -> Result<bool, StoreError> {
        DirLock::is_taken(dir)
    }

    /// Saves what is under way and lets go of the file. Whatever is asked afterwards is answered with [`StoreError::Stopped`].
    pub fn close(&self) {
        self.readers.stop();
        self.writer.stop();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the directory, the file and its schema ready, and ends what a crash cut.
fn prepare(dir: &Path, now: Timestamp) -> Result<(Connection, Arc<DataFile>, DirLock), StoreError> {
    make_dir(dir)?;
    let lock = DirLock::of_data(dir)?;
    let file = DataFile::of(dir);
    let mut connection = file.open_writer()?;
    schema::migrate(&mut connection)?;
    backup::begin_anew(&mut connection)?;
    let ended = recovery::recover(&mut connection, now)?;
    if ended > 0 {
        tracing::info!(turns = ended, "ended turns that were cut when the server last stopped");
    }
    peers::close_all(&connection, now)?;
    file.check()?;
    Ok((connection, Arc::new(file), lock))
}
