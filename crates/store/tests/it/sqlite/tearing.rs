//! Files as a crash leaves them: a write-ahead log that ends inside a transaction, and one that was
//! being folded into the file. A log is then a beginning of the appended records, without gaps, and
//! has everything that was acknowledged before.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tempfile::TempDir;
use thoughtwire_proto::{SessionId, StreamKind, TurnId};
use thoughtwire_store::{BatchExtras, OpenItem, Receipt, Store};

use crate::support::{NOW, agent, append, batch, log, says, session, started, stored, user};

const FILE: &str = "thoughtwire.db";
const WAL: &str = "thoughtwire.db-wal";
const INDEX: &str = "thoughtwire.db-shm";
const PAGE: usize = 4096;
/// Bytes of a page in the write-ahead log, with its header.
const FRAME: usize = 24 + PAGE;
const ROUNDS: u64 = 60;

/// The bytes of the files at one moment.
struct Image {
    file: Vec<u8>,
    wal: Vec<u8>,
}

impl Image {
    fn of(dir: &Path) -> Self {
        Self {
            file: fs::read(dir.join(FILE)).unwrap(),
            wal: fs::read(dir.join(WAL)).unwrap_or_default(),
        }
    }

    /// Writes the files to a new directory. The index of the log is stale, if it is there.
    fn write(&self, old: &Path, to: PathBuf, dice: &mut Rng) -> PathBuf {
        fs::create_dir(&to).unwrap();
        fs::write(to.join(FILE), &self.file).unwrap();
        fs::write(to.join(WAL), &self.wal).unwrap();
        if dice.bool() && old.join(INDEX).exists() {
            fs::copy(old.join(INDEX), to.join(INDEX)).unwrap();
        }
        to
    }

    /// The files when the write between this image and a later one is cut. The log is written from
    /// front to back, so a part of the write is a beginning of what is new in it.
    fn cut(&self, later: &Self, dice: &mut Rng) -> Self {
        let is_new = |at: &usize| self.wal.get(*at) != later.wal.get(*at);
        let first = (0..later.wal.len()).find(is_new).unwrap();
        let last = (0..later.wal.len()).rev().find(is_new).unwrap();
        let cut = match dice.u8(0..5) {
            0 => first,
            1 => last + 1,
            // Whole frames, of which the last one is not the commit.
            2 | 3 => (first + dice.usize(0..=(last - first) / FRAME) * FRAME).min(last),
            _ => dice.usize(first..=last),
        };
        let mut wal = later.wal[..cut].to_vec();
        wal.extend_from_slice(self.wal.get(cut..).unwrap_or_default());
        // The file itself is only written once the log is complete.
        let file = if cut > last { &later.file } else { &self.file };
        Self { file: file.clone(), wal }
    }

    /// The files when the log is being folded into the file: some pages are, some are not.
    fn fold(self, dir: &Path, dice: &mut Rng) -> Self {
        let connection = rusqlite::Connection::open(dir.join(FILE)).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        let after = fs::read(dir.join(FILE)).unwrap();
        let mut file = self.file;
        for (number, page) in after.chunks(PAGE).enumerate().filter(|_| dice.bool()) {
            let at = number * PAGE;
            file.resize(file.len().max(at + page.len()), 0);
            file[at..at + page.len()].copy_from_slice(page);
        }
        Self { file, wal: self.wal }
    }
}

fn receipt(number: u64) -> Receipt {
    Receipt {
        user: user(),
        id: format!("c-{number}").parse().unwrap(),
        digest: "d".into(),
        answer: "{}".into(),
    }
}

async fn load(store: &Store, id: &SessionId) -> usize {
    store.logs().load(id, NOW).await.unwrap().unwrap();
    log(store, id).await.len()
}

#[tokio::test]
async fn a_torn_write_is_there_whole_or_not_at_all() {
    for seed in 0..ROUNDS {
        let mut dice = Rng::with_seed(seed);
        let root = TempDir::new().unwrap();
        let dir = root.path().join("first");
        let store = Store::open(&dir, NOW).unwrap();
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        for number in 0..dice.u64(0..40) {
            let text = "x".repeat(dice.usize(1..3_000));
            append(&store, &mut ada, vec![(None, says(&format!("i-{number}"), &text))]).await;
        }
        let (before, acknowledged) = (Image::of(&dir), log(&store, &ada.id).await);
        let many = (0..dice.u64(1..30))
            .map(|number| (None, says(&format!("j-{number}"), &"y".repeat(dice.usize(1..3_000)))))
            .collect();
        let extras = BatchExtras { receipt: Some(receipt(seed)), ..BatchExtras::default() };
        let whole = batch(&mut ada, many).with(extras);
        let length = acknowledged.len() + whole.records().len();
        store.logs().append(whole).await.unwrap();
        let after = before.cut(&Image::of(&dir), &mut dice);
        let torn = after.write(&dir, root.path().join("torn"), &mut dice);
        let store = Store::open(&torn, NOW).unwrap();
        let left = log(&store, &ada.id).await;
        assert_eq!(left[..acknowledged.len()], acknowledged, "seed {seed}");
        assert!([acknowledged.len(), length].contains(&left.len()), "seed {seed}");
        let state = stored(&store, &ada.id).await.unwrap().state;
        assert_eq!(state.head().0 as usize, left.len(), "seed {seed}");
        let found = store.logs().receipt(&user(), &ada.id, &receipt(seed).id).await.unwrap();
        assert_eq!(found.is_some(), left.len() == length, "seed {seed}");
    }
}

#[tokio::test]
async fn a_log_that_was_being_folded_in_loses_nothing_and_recovery_starts_anew() {
    for seed in 0..ROUNDS / 3 {
        let mut dice = Rng::with_seed(seed);
        let root = TempDir::new().unwrap();
        let dir = root.path().join("first");
        let store = Store::open(&dir, NOW).unwrap();
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let turn: TurnId = "t-1".parse().unwrap();
        let begun = vec![(None, says("i-1", "go")), (Some(&turn), started("i-1"))];
        append(&store, &mut ada, begun).await;
        for number in 0..dice.u64(1..40) {
            let text = "x".repeat(dice.usize(1..3_000));
            append(&store, &mut ada, vec![(None, says(&format!("j-{number}"), &text))]).await;
        }
        let open = OpenItem {
            item: "m-1".parse().unwrap(),
            turn,
            kind: StreamKind::Message,
            text: "Once upon".to_owned(),
            continues: None,
        };
        store.logs().checkpoint(&ada.id, open).await.unwrap();
        let image = Image::of(&dir).fold(&dir, &mut dice);
        let folded = image.write(&dir, root.path().join("folded"), &mut dice);
        let store = Store::open(&folded, NOW).unwrap();
        let before = Image::of(&folded);
        assert_eq!(log(&store, &ada.id).await.len(), ada.state.head().0 as usize, "seed {seed}");
        let recovered = load(&store, &ada.id).await;
        assert_eq!(recovered, ada.state.head().0 as usize + 1, "seed {seed}");
        // Another crash, inside the recovery.
        let torn = before.cut(&Image::of(&folded), &mut dice);
        let torn = torn.write(&folded, root.path().join("torn"), &mut dice);
        let store = Store::open(&torn, NOW).unwrap();
        assert_eq!(load(&store, &ada.id).await, recovered, "seed {seed}");
    }
}
