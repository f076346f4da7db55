//! The data on disk: as a crash leaves it, and with faults in it.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rusqlite::Connection;
use tempfile::TempDir;

const FILE: &str = "thoughtwire.db";
const WAL: &str = "thoughtwire.db-wal";
const INDEX: &str = "thoughtwire.db-shm";
const PAGE: usize = 4096;
/// A page in the write-ahead log, with what is in front of it.
const FRAME: usize = 24 + PAGE;

/// Memory that looks like a disk: what is tried here is what is written in which order, not how fast.
const QUICK: &str = "/dev/shm";

/// A data directory, and the ones that follow it after each crash.
pub(crate) struct Disk {
    root: TempDir,
    dir: PathBuf,
    copies: u32,
    broken: bool,
}

/// The bytes of the files at one moment.
pub(crate) struct Image {
    file: Vec<u8>,
    wal: Vec<u8>,
}

/// At which moment of a write the crash came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Nothing was being written.
    Between,
    /// Something was to be written, and none of it was.
    Before,
    /// A part of it was.
    Inside,
    /// All of it was, and nobody had been told.
    After,
    /// The write-ahead log was being folded into the file.
    Checkpoint,
    /// The start after a crash was at work.
    Start,
}

pub(crate) fn temporary() -> TempDir {
    if Path::new(QUICK).is_dir()
        && let Ok(dir) = tempfile::tempdir_in(QUICK)
    {
        return dir;
    }
    tempfile::tempdir().unwrap()
}

impl Disk {
    /// A directory that begins with a database file.
    pub(crate) fn new(file: &[u8]) -> Self {
        let root = temporary();
        let dir = root.path().join("0");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(FILE), file).unwrap();
        Self { root, dir, copies: 0, broken: false }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn image(&self) -> Image {
        Image {
            file: fs::read(self.dir.join(FILE)).unwrap(),
            wal: fs::read(self.dir.join(WAL)).unwrap_or_default(),
        }
    }

    /// `kill -9`: what the files hold now is all there is from here on.
    pub(crate) fn crash(&mut self, dice: &mut Rng) {
        let image = self.image();
        self.go_on_with(&image, dice);
    }

    /// `kill -9` in the middle of the write between an earlier image and now: the write-ahead log is
    /// written from front to back, so a part of the write is a beginning of what is new in it.
    pub(crate) fn crash_inside(&mut self, before: &Image, dice: &mut Rng) -> Moment {
        let now = self.image();
        let new = |at: &usize| before.wal.get(*at) != now.wal.get(*at);
        let Some(first) = (0..now.wal.len()).find(new) else {
            self.go_on_with(&now, dice);
            return Moment::Between;
        };
        let last = (0..now.wal.len()).rev().find(new).unwrap_or(first);
        let cut = match dice.u8(0..5) {
            0 => first,
            1 | 2 => last + 1,
            // Whole frames, of which the last one is not the commit.
            3 => (first + dice.usize(0..=(last - first) / FRAME) * FRAME).min(last),
            _ => dice.usize(first..=last),
        };
        let mut wal = now.wal[..cut].to_vec();
        wal.extend_from_slice(before.wal.get(cut..).unwrap_or_default());
        // The file itself is only written once the log is complete.
        let file = if cut > last { &now.file } else { &before.file };
        self.go_on_with(&Image { file: file.clone(), wal }, dice);
        match cut {
            _ if cut == first => Moment::Before,
            _ if cut > last => Moment::After,
            _ => Moment::Inside,
        }
    }

    /// `kill -9` while the write-ahead log is folded into the file: some pages are, some are not.
    pub(crate) fn crash_in_checkpoint(&mut self, dice: &mut Rng) {
        let before = self.image();
        self.checkpoint();
        let after = self.image().file;
        let mut file = before.file;
        for (number, page) in after.chunks(PAGE).enumerate() {
            if dice.bool() {
                let at = number * PAGE;
                if file.len() < at + page.len() {
                    file.resize(at + page.len(), 0);
                }
                file[at..at + page.len()].copy_from_slice(page);
            }
        }
        self.go_on_with(&Image { file, wal: before.wal }, dice);
    }

    /// Folds what can be folded into the file, as `SQLite` does by itself every thousand pages.
    pub(crate) fn checkpoint(&self) {
        let connection = Connection::open(self.dir.join(FILE)).unwrap();
        let _: i64 =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(0)).unwrap();
    }

    fn go_on_with(&mut self, image: &Image, dice: &mut Rng) {
        let old = self.dir.clone();
        self.copies += 1;
        self.dir = self.root.path().join(self.copies.to_string());
        fs::create_dir(&self.dir).unwrap();
        fs::write(self.dir.join(FILE), &image.file).unwrap();
        fs::write(self.dir.join(WAL), &image.wal).unwrap();
        // Its index is left behind as well, and is not to be believed.
        if dice.bool() && old.join(INDEX).exists() {
            fs::copy(old.join(INDEX), self.dir.join(INDEX)).unwrap();
        }
    }

    /// Lets some writes, or all that concerns some table, fail from now on.
    pub(crate) fn break_something(&mut self, dice: &mut Rng) -> &'static str {
        self.heal();
        self.broken = true;
        let connection = self.connection();
        let trigger = |how: &str, table: &str, when: String| {
            format!(
                "CREATE TRIGGER fault BEFORE INSERT ON {table} {when} BEGIN SELECT RAISE({how}, 'a fault'); END"
            )
        };
        let some = format!("WHEN NEW.seq % {} = 0", dice.u32(2..5));
        let (what, statement) = match dice.u8(0..7) {
            0 => ("some events fail", trigger("ABORT", "events", some)),
            1 => ("some transactions fail", trigger("ROLLBACK", "events", some)),
            2 => ("every transaction fails", trigger("ROLLBACK", "events", String::new())),
            3 => ("receipts fail", trigger("ABORT", "receipts", String::new())),
            4 => ("the log cannot be read", "ALTER TABLE events RENAME TO away_events".to_owned()),
            5 => (
                "sessions cannot be read",
                "ALTER TABLE sessions RENAME TO away_sessions".to_owned(),
            ),
            _ => (
                "receipts cannot be read",
                "ALTER TABLE receipts RENAME TO away_receipts".to_owned(),
            ),
        };
        connection.execute_batch(&statement).unwrap();
        what
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn heal(&mut self) {
        if !std::mem::take(&mut self.broken) {
            return;
        }
        let connection = self.connection();
        connection.execute_batch("DROP TRIGGER IF EXISTS fault").unwrap();
        for table in ["events", "sessions", "receipts"] {
            let away: bool = connection
                .query_row(
                    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?",
                    [format!("away_{table}")],
                    |row| row.get(0),
                )
                .unwrap();
            if away {
                connection
                    .execute_batch(&format!("ALTER TABLE away_{table} RENAME TO {table}"))
                    .unwrap();
            }
        }
    }

    /// What there is of sessions that are not there, other than logs that are on the list of those to be erased.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let connection = self.connection();
        let mut found = Vec::new();
        for (table, known) in [
            ("events", "num"),
            ("open_items", "num"),
            ("said", "num"),
            ("outputs", "num"),
            ("receipts", "num"),
            ("chats", "id"),
            ("proven", "id"),
        ] {
            let listed = if ["events", "said", "outputs"].contains(&table) {
                "SELECT session FROM erased_sessions"
            } else {
                "NULL"
            };
            let select = format!(
                "SELECT DISTINCT session FROM {table} WHERE session <> 0
                 AND session NOT IN (SELECT {known} FROM sessions) AND (session IN ({listed})) IS NOT TRUE"
            );
            let mut select = connection.prepare(&select).unwrap();
            let rows = select.query_map([], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
            found.extend(rows.map(|session| format!("{table} of {:?}", session.unwrap())));
        }
        found
    }

    fn connection(&self) -> Connection {
        Connection::open(self.dir.join(FILE)).unwrap()
    }
}
