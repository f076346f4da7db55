//! Faults of the machine: each with the sentence that the user sees, and nothing
//! that was acknowledged is lost when the fault is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tokio_websockets::ClientBuilder;

use super::support::{Live, TestClient, events};

/// Inputs of one session that were acknowledged.
#[derive(Default)]
struct Acknowledged {
    session: String,
    texts: BTreeSet<String>,
}

impl Acknowledged {
    async fn open(live: &Live) -> (TestClient, Self) {
        let (client, session) = live.agent("ada", "load:items=2,bytes=20").await;
        (client, Self { session, texts: BTreeSet::new() })
    }

    /// Sends an input; gives the refusal if there is one.
    async fn send(&mut self, client: &mut TestClient, text: &str) -> Option<Value> {
        let id = text.split(' ').next().unwrap();
        let answer = client
            .ask(json!({"type": "send", "id": id, "session": self.session, "text": text}))
            .await;
        if answer["type"] != "ack" {
            return Some(answer);
        }
        self.texts.insert(text.to_owned());
        None
    }

    /// Each of them is there once, each ran once, and another one runs.
    async fn check(&mut self, live: &Live) {
        let mut client = live.native().await;
        let (_, frames) = client.attach(&self.session, Some(0)).await;
        let mut log = events(&frames);
        client
            .send(json!({"type": "send", "id": "after-all", "session": self.session,
            "text": "after-all"}))
            .await;
        let is = |frame: &Value, kind: &str| frame["event"]["kind"] == kind;
        let count = |log: &[Value], kind: &str| log.iter().filter(|frame| is(frame, kind)).count();
        while !log.iter().any(|frame| frame["event"]["text"] == "after-all")
            || count(&log, "turn_ended") < count(&log, "user_message")
        {
            let frame = client.next().await;
            if frame["type"] == "event" {
                log.push(frame);
            }
        }
        let seqs: Vec<u64> = log.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
        for text in &self.texts {
            let times = log
                .iter()
                .filter(|frame| {
                    is(frame, "user_message") && frame["event"]["text"] == text.as_str()
                })
                .count();
            assert_eq!(times, 1, "{:?} was acknowledged", &text[..text.len().min(40)]);
        }
        assert_eq!(count(&log, "turn_started"), count(&log, "user_message"), "each ran once");
    }
}

/// A small file system of one's own, where the tests may mount one.
pub(super) struct Small(tempfile::TempDir);

impl Small {
    pub(super) fn mount(options: &str) -> Option<Self> {
        let small = Self(tempfile::tempdir().unwrap());
        if small.run(options) {
            return Some(small);
        }
        eprintln!("not run: file systems cannot be mounted here (it needs root)");
        None
    }

    pub(super) fn remount(&self, options: &str) {
        assert!(self.run(&format!("remount,{options}")));
    }

    fn run(&self, options: &str) -> bool {
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0.path())
            .stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(
            std::process::Command::new("umount")
                .arg("-l")
                .arg(self.0.path())
                .stderr(std::process::Stdio::null())
                .status(),
        );
    }
}

#[tokio::test]
async fn stopped_under_load_it_says_so_and_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let mut clients = Vec::new();
    for number in 0..4 {
        let (mut client, session) =
            live.agent(&format!("ada-{number}"), "load:items=40,bytes=50,rate=400").await;
        client.attach(&session, None).await;
        clients.push(tokio::spawn(async move {
            let mut kept = Acknowledged { session, texts: BTreeSet::new() };
            let (mut asked, mut told) = (0, false);
            loop {
                // A few under way at any moment, until the server says that it goes.
                while !told && asked < kept.texts.len() + 3 {
                    let text = format!("m-{asked}");
                    client
                        .send(json!({"type": "send", "id": text, "session": kept.session,
                        "text": text, "policy": "interrupt"}))
                        .await;
                    asked += 1;
                }
                match client.next_or_close().await {
                    Ok(frame) if frame["type"] == "ack" => {
                        kept.texts.insert(frame["id"].as_str().unwrap().to_owned());
                    }
                    Ok(frame) if frame["type"] == "goaway" => {
                        assert_eq!(frame["reason"], "the server is stopping");
                        told = true;
                    }
                    Ok(frame) if frame["type"] == "error" => {
                        assert_eq!(frame["code"], "stopping", "{frame}");
                    }
                    Ok(_) => {}
                    Err(code) => return (kept, told, code),
                }
            }
        }));
    }
    // When the load is on: somebody else has seen a good deal of it.
    let mut witness = live.native().await;
    witness.send(json!({"type": "watch", "id": "w"})).await;
    let mut seen = 0;
    let load = witness.until(|frame| {
        seen += u32::from(frame["type"] == "session");
        seen > 200
    });
    load.await;
    let exit = live.terminate().await;
    assert_eq!(exit, Some(0));
    let live = Live::on(dir.path(), &[]).await;
    for client in clients {
        let (mut kept, told, code) = client.await.unwrap();
        assert!(told, "goaway comes before the end");
        assert_eq!(code, 1012);
        assert!(!kept.texts.is_empty());
        kept.check(&live).await;
    }
}

#[tokio::test]
async fn on_a_full_disk_it_refuses_and_goes_on_when_there_is_room() {
    let Some(disk) = Small::mount("size=2m") else { return };
    let mut live = Live::on(disk.path(), &[]).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    let mut number = 0;
    let refusal = loop {
        let text = format!("m-{number} {}", "x".repeat(20_000));
        if let Some(refusal) = kept.send(&mut client, &text).await {
            break refusal;
        }
        number += 1;
        assert!(number < 1_000);
    };
    assert_eq!(refusal["code"], "store_full");
    assert_eq!(
        refusal["reason"],
        "the disk is full, so nothing was saved; make room and try again"
    );
    // Reading goes on meanwhile, and so does whoever comes now.
    let mut reader = live.native().await;
    let (_, frames) = reader.attach(&kept.session, Some(0)).await;
    assert!(events(&frames).len() > kept.texts.len());

    // Stopped on the full disk, it does not start there either, and says why.
    assert_eq!(live.terminate().await, Some(0));
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    let said = Live::refused(disk.path(), None).await;
    assert!(
        said.contains("the disk is full, so nothing was saved; make room and try again"),
        "{said}"
    );

    disk.remount("size=32m");
    kept.check(&Live::on(disk.path(), &[]).await).await;
}

#[tokio::test]
async fn data_that_may_only_be_read_is_not_served_and_not_touched() {
    let Some(disk) = Small::mount("size=8m") else { return };
    let mut live = Live::on(disk.path(), &[]).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    assert_eq!(kept.send(&mut client, "m-1").await, None);
    live.kill().await;
    disk.remount("ro");
    let said = Live::refused(disk.path(), None).await;
    assert!(
        said.contains(
            "the data cannot be written (read-only file or directory), so nothing was \
        saved; check its permissions"
        ),
        "{said}"
    );
    disk.remount("rw");
    kept.check(&Live::on(disk.path(), &[]).await).await;
}

#[tokio::test]
async fn a_damaged_page_is_called_so_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    for number in 0..100 {
        assert_eq!(
            kept.send(&mut client, &format!("m-{number} {}", "needle ".repeat(100))).await,
            None
        );
    }
    // All of them have run: nothing is left to do at the next start.
    let mut reader = live.native().await;
    reader.send(json!({"type": "attach", "session": kept.session, "after": 0})).await;
    let mut ended = 0;
    let all = reader.until(|frame| {
        ended += u32::from(frame["event"]["kind"] == "turn_ended");
        ended == 100
    });
    all.await;
    let other = live.agent("bob", "load:items=1,bytes=10").await.1;
    assert_eq!(live.terminate().await, Some(0));
    let file = dir.path().join("thoughtwire.db");
    let whole = fs::read(&file).unwrap();

    // A page of the log: the one in which the fiftieth input stands, as an event and not as what is
    // searched.
    const WORDS: &[u8] = br#""text":"m-50 needle "#;
    let at = whole.windows(WORDS.len()).position(|window| window == WORDS).unwrap();
    let page = at - at % 4096;
    let mut damaged = whole.clone();
    damaged[page..page + 4096].fill(0xAA);
    fs::write(&file, &damaged).unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let mut client = live.native().await;
    client.send(json!({"type": "attach", "session": kept.session, "after": 0})).await;
    let frames = client.until(|frame| frame["type"] == "detached").await;
    assert_eq!(frames.last().unwrap()["reason"], "the data file is damaged; see the server's log");
    let (_, frames) = client.attach(&other, Some(0)).await;
    assert!(!events(&frames).is_empty(), "other sessions are read as before");
    live.kill().await;

    // The first page: nothing can be told from such a file.
    let mut damaged = whole.clone();
    damaged[..4096].fill(0xAA);
    for name in ["thoughtwire.db-wal", "thoughtwire.db-shm"] {
        drop(fs::remove_file(dir.path().join(name)));
    }
    fs::write(&file, &damaged).unwrap();
    let said = Live::refused(dir.path(), None).await;
    assert!(
        said.contains("the data file is damaged, so nothing was saved; restore it from a backup"),
        "{said}"
    );
    assert_eq!(fs::read(&file).unwrap(), damaged, "it is left as it is");

    // Restored, as it says.
    fs::write(&file, &whole).unwrap();
    kept.check(&Live::on(dir.path(), &[]).await).await;
}

#[tokio::test]
async fn a_write_ahead_log_with_a_torn_end_costs_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    for number in 0..20 {
        assert_eq!(kept.send(&mut client, &format!("m-{number}")).await, None);
    }
    live.kill().await;
    // A torn write leaves the beginning of one more frame, and a frame without its bytes.
    let wal = dir.path().join("thoughtwire.db-wal");
    let whole = fs::read(&wal).unwrap();
    let frame = &whole[whole.len() - (24 + 4096)..];
    for torn in [frame[..1000].to_vec(), [&frame[..24], &[0; 4096][..]].concat(), vec![0xAA; 5000]]
    {
        fs::write(&wal, [&whole[..], &torn[..]].concat()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for name in ["thoughtwire.db", "thoughtwire.db-wal"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        kept.check(&Live::on(copy.path(), &[]).await).await;
    }
}

#[tokio::test]
async fn with_few_files_the_connection_too_many_is_refused_and_not_left_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let errors = dir.path().join("errors");
    let data = dir.path().join("data");
    let said = Live::refused(&data, Some("-n 12")).await;
    assert!(
        said.contains(
            "its file cannot be opened; check its permissions, and how many files this \
        process may open (`ulimit -n`)"
        ),
        "{said}"
    );

    let live = Live::with_limit(&data, "-n 64", &errors).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    let mut others = Vec::new();
    let refused = loop {
        let uri = live.ws("/v1/ws").parse().unwrap();
        match ClientBuilder::from_uri(uri).connect().await {
            Ok((socket, _)) => others.push(TestClient { socket }),
            Err(error) => break error,
        }
        assert!(others.len() < 64);
    };
    assert_eq!(others.len(), 31, "with the first one 32, and 32 are kept for the server itself");
    assert!(format!("{refused:?}").contains("429"), "{refused:?}");
    let response = upgrade(&live).await;
    assert!(response.contains("the server has as many connections as it may have"), "{response}");
    assert_eq!(kept.send(&mut client, "m-1").await, None);
    drop(others);
    // The server notices by and by that they are gone.
    while !upgrade(&live).await.starts_with("HTTP/1.1 101") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let warned = fs::read_to_string(&errors).unwrap();
    assert!(warned.contains("at most 32 connections can be open at once, not 20000"), "{warned}");
    assert!(warned.contains("raise `ulimit -n`"), "{warned}");
    kept.check(&live).await;
}

/// The answer to a refused upgrade.
async fn upgrade(live: &Live) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = live.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn out_of_memory_it_ends_with_a_sentence_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, errors) = (dir.path().join("data"), dir.path().join("errors"));
    let mut live = Live::on(&data, &[]).await;
    let (mut client, mut kept) = Acknowledged::open(&live).await;
    for number in 0..30 {
        assert_eq!(
            kept.send(&mut client, &format!("m-{number} {}", "x".repeat(900_000))).await,
            None
        );
    }
    assert_eq!(live.terminate().await, Some(0));
    // Enough to start and to hand out such a log with, not enough for a frame that is larger than
    // all of it.
    let limit = "-v 500000 && export THOUGHTWIRE_LIMITS__FRAME_BYTES=1000000000";
    let mut live = Live::with_limit(&data, limit, &errors).await;
    let mut client = live.native().await;
    client.attach(&kept.session, Some(0)).await;
    let huge = json!({"type": "send", "id": "huge", "session": kept.session,
        "text": "x".repeat(600_000_000)});
    // It ends in the middle of this.
    let _cut = futures::SinkExt::send(
        &mut client.socket,
        tokio_websockets::Message::text(huge.to_string()),
    )
    .await;
    while client.next_or_close().await.is_ok() {}
    assert!(live.end().await.signal().is_some(), "it was ended, it did not stop");
    let said = fs::read_to_string(&errors).unwrap();
    assert!(said.contains("memory allocation of"), "{said}");
    kept.check(&Live::on(&data, &[]).await).await;
}
