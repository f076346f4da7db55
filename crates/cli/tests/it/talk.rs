//! `chat` through a pipe and `send`, against the real server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::live::lasting_address;
use crate::usage::{Ran, thoughtwire};

/// A running server; killed when dropped.
struct FakeServer {
    child: Child,
    url: String,
}

impl FakeServer {
    fn on(dir: &Path, listen: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
        command
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(dir)
            .env_clear()
            .env("HOME", dir);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url =
            line.split_whitespace().last().expect("the server says where it listens").to_owned();
        Self { child, url }
    }

    fn run(&self, args: &[&str], input: &str) -> Ran {
        thoughtwire(&[&["--url", &self.url], args].concat(), input.as_bytes())
    }

    fn agent(&self, name: &str, model: &str) -> String {
        let made = self.run(&["agents", "create", name, "--model", model, "--json"], "");
        let made: Value = serde_json::from_str(&made.out).unwrap_or_else(|_| panic!("{made:?}"));
        made["agent"]["main_session"].as_str().unwrap().to_owned()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_piped_chat_answers_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::on(dir.path(), "127.0.0.1:0");
    let ran = server.run(&["chat"], "What is 6*7?\n\nWhat is 6*9?\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    let at =
        |answer: &str| ran.out.find(answer).unwrap_or_else(|| panic!("no {answer} in {ran:?}"));
    assert!(at("42") < at("54"));
    assert!(!ran.out.contains("calculator"), "tools are not the answer: {ran:?}");
    assert!(ran.err.contains("created the agent main"), "{ran:?}");

    let ran = server.run(&["chat", "--thoughts"], "What is 6*7?\n");
    assert!(
        ran.out.contains("thought: ") && ran.out.contains("tool: calculator(6*7) → 42"),
        "{ran:?}"
    );
    assert_eq!(ran.err, "");

    let ran = server.run(&["chat", "--json"], "What is 6*7?\n");
    let events = lines(&ran.out);
    assert_eq!(events[0]["event"]["kind"], "user_message");
    assert_eq!(events.last().unwrap()["event"]["kind"], "turn_ended");
    assert_eq!(server.run(&["chat"], "").code, 0);
}

#[test]
fn send_prints_the_answer_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::on(dir.path(), "127.0.0.1:0");
    assert_eq!(server.run(&["send", "hi", "--agent", "nobody"], "").code, 1);
    let session = server.agent("ada", "offline");

    let asked = ["send", "What is 6*7?", "--agent", "ada", "--id", "q-1"];
    let first = server.run(&asked, "");
    assert_eq!(first.code, 0, "{first:?}");
    assert!(
        first.out.contains("42")
            && !first.out.contains("calculator")
            && first.err.contains("⚙ calculator(6*7) → 42"),
        "{first:?}"
    );
    // Sent again it is not said again, and the answer is there all the same.
    let again = server.run(&asked, "");
    assert_eq!((again.code, again.out), (0, first.out));
    let other = server.run(&["send", "What is 6*9?", "--session", &session, "--id", "q-1"], "");
    assert_eq!(other.code, 1, "{other:?}");
    let log = server.run(&["sessions", "export", &session], "");
    assert_eq!(
        lines(&log.out).iter().filter(|event| event["event"]["kind"] == "user_message").count(),
        1
    );

    let ran =
        server.run(&["send", "-", "--wait", "--json", "--session", &session], "What is\n6*9?");
    let events = lines(&ran.out);
    assert_eq!(events[0]["event"]["text"], "What is\n6*9?");
    assert_eq!(events.last().unwrap()["event"]["outcome"], "completed");
    assert_eq!(
        server.run(&["send", "-", "--json", "--session", &session], "And 6*8?").code,
        0,
        "to wait is what it does anyway"
    );
}

#[test]
fn send_waits_no_longer_than_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::on(dir.path(), "127.0.0.1:0");
    let session = server.agent("slow", "load:items=100000,bytes=8,rate=5,deltas=no");
    let ran = server
        .run(&["send", "one", "--no-wait", "--json", "--session", &session, "--id", "q-1"], "");
    let saved = lines(&ran.out).pop().unwrap();
    assert_eq!(
        (ran.code, &saved["session"], &saved["disposition"]),
        (0, &session.as_str().into(), &"started".into()),
        "{ran:?}"
    );
    assert_eq!(saved["duplicate"], false);
    // Its turn takes hours.
    let again = server
        .run(&["send", "one", "--wait=0.5", "--json", "--session", &session, "--id", "q-1"], "");
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("in time"), "{again:?}");
    let ran = server.run(&["send", "two", "--no-wait", "--session", &session], "");
    assert!(ran.code == 0 && ran.out.is_empty() && ran.err.contains("it is queued"), "{ran:?}");
    for wrong in [["--wait=soon", "--json"], ["--wait=-1", "--json"], ["--wait=1", "--no-wait"]] {
        assert_eq!(
            server.run(&[&["send", "three", "--session", &session], &wrong[..]].concat(), "").code,
            2,
            "{wrong:?}"
        );
    }
}

#[test]
fn a_frame_that_closed_the_connection_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::on(dir.path(), "127.0.0.1:0");
    let session = server.agent("ada", "offline");
    let ran = server.run(&["send", "-", "--session", &session], &"x".repeat((1 << 20) + 1));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("closed the connection for good: a message is larger than allowed"),
        "{ran:?}"
    );
}

#[test]
fn a_turn_that_does_not_complete_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::on(dir.path(), "127.0.0.1:0");
    let session = server.agent("slow", "load:items=100000,bytes=8,rate=5,deltas=yes");
    let mut cut = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    cut.args(["send", "go", "--session", &session, "--url", &server.url])
        .env_clear()
        .env("HOME", dir.path());
    let mut cut = cut.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It streams: words come long before the end.
    let mut some = [0; 8];
    cut.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    let mut other = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    other
        .args([
            "send",
            "stop",
            "--policy",
            "interrupt",
            "--session",
            &session,
            "--url",
            &server.url,
        ])
        .env_clear()
        .env("HOME", dir.path());
    let mut other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let cut = cut.wait_with_output().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8(cut.stderr).unwrap().contains("cancelled"));
}

#[test]
fn a_chat_outlives_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let listen = lasting_address();
    let server = FakeServer::on(dir.path(), &listen);
    let slow = server.agent("slow", "load:items=60,bytes=8,rate=20,deltas=yes");
    let mut chat = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    chat.args(["chat", "--json", "--session", &slow, "--url", &server.url])
        .env_clear()
        .env("HOME", dir.path());
    let mut chat =
        chat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = chat.stdin.take().unwrap();
    let mut output = BufReader::new(chat.stdout.take().unwrap());
    let mut seen = String::new();
    input.write_all(b"one\n").unwrap();
    while !seen.contains("turn_started") {
        assert_ne!(output.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    // Killed in the middle of a turn, and another one in its place.
    drop(server);
    let _server = FakeServer::on(dir.path(), &listen);
    input.write_all(b"two\n").unwrap();
    drop(input);
    output.read_to_string(&mut seen).unwrap();
    assert_eq!(chat.wait().unwrap().code(), Some(0), "both turns completed: {seen}");
    let events = lines(&seen);
    let outcomes: Vec<_> =
        events.iter().filter_map(|event| event["event"]["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["completed", "completed"]);
    let of = |kind: &str| events.iter().filter(|event| event["event"]["kind"] == kind).count();
    assert_eq!(of("turn_resumed"), 1, "{seen}");
    let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
}
