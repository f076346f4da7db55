//! `chat` at a terminal: a pseudo-terminal, whose other side is the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

/// How long anything may take before a test gives up on it. No test passes by waiting.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub(super) struct ServerProcess(Child, String);

impl ServerProcess {
    fn on(dir: &Path) -> Self {
        Self::listening(dir, "127.0.0.1:0", &[])
    }

    /// Starts a server at an address, with more flags.
    pub(super) fn listening(dir: &Path, address: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
            .args(["serve", "--listen", address, "--data-dir"])
            .arg(dir)
            .args(flags)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().last().unwrap().to_owned();
        Self(child, url)
    }

    /// The host and port.
    pub(super) fn address(&self) -> &str {
        self.1.strip_prefix("http://").unwrap()
    }

    /// The output of a command.
    pub(super) fn run(&self, args: &[&str]) -> String {
        crate::usage::thoughtwire(&[&["--url", &self.1], args].concat(), b"").out
    }

    /// The events of the main session of the agent `main`.
    pub(super) fn events(&self) -> Vec<Value> {
        let agent: Value =
            serde_json::from_str(&self.run(&["agents", "show", "main", "--json"])).unwrap();
        let session = agent["agent"]["main_session"].as_str().unwrap().to_owned();
        let shown: Value = serde_json::from_str(
            &self.run(&["sessions", "show", &session, "--last", "1000", "--json"]),
        )
        .unwrap();
        let records = shown["events"].as_array().unwrap().iter();
        records.map(|record| record["event"].clone()).collect()
    }

    /// The texts of the inputs of the agent `main`.
    fn inputs(&self) -> Vec<String> {
        let events = self.events().into_iter();
        let said = events.filter(|event| event["kind"] == "user_message");
        said.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A chat on a pseudo-terminal.
pub(super) struct ChatProcess {
    child: Child,
    keys: File,
    seen: Arc<(Mutex<String>, Condvar)>,
}

impl ChatProcess {
    pub(super) fn with(server: &ServerProcess) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || File::options().read(true).write(true).open(&name).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
            .args(["--url", &server.1, "chat"])
            .env_clear()
            .env("TERM", "xterm-256color")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let seen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let told = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last of a closed terminal is an error.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                told.0.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
                told.1.notify_all();
            }
        });
        let mut chat = Self { child, keys, seen };
        chat.until("/help lists the commands");
        chat
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal was told something, and gives all that it was told.
    pub(super) fn until(&mut self, text: &str) -> String {
        let (seen, news) = &*self.seen;
        let (seen, waited) = news
            .wait_timeout_while(seen.lock().unwrap(), PATIENCE, |seen| !seen.contains(text))
            .unwrap();
        assert!(!waited.timed_out(), "no {text:?} in {:?}", *seen);
        seen.clone()
    }

    /// Forgets all that the terminal was told so far.
    pub(super) fn forget(&mut self) {
        self.seen.0.lock().unwrap().clear();
    }

    pub(super) fn leave(mut self) -> String {
        self.press("\u{4}");
        assert!(self.child.wait().unwrap().success());
        self.seen.0.lock().unwrap().clone()
    }
}

#[test]
fn a_paste_of_several_lines_is_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::on(dir.path());
    let mut chat = ChatProcess::with(&server);
    chat.until("\u{1b}[?2004h");
    chat.press("\u{1b}[200~what is 6*7?\rsecond line\rthird line\u{1b}[201~");
    chat.until("third line");
    assert_eq!(server.inputs(), Vec::<String>::new(), "a paste alone sends nothing");
    chat.press("\r");
    chat.until("42");
    // Alt-Enter, and Ctrl-J.
    chat.press("one\u{1b}\rtwo\nwhat is 7*7?\r");
    chat.until("49");
    assert_eq!(
        server.inputs(),
        ["what is 6*7?\nsecond line\nthird line", "one\ntwo\nwhat is 7*7?"]
    );
    let seen = chat.leave();
    assert!(seen.contains("\u{1b}[?2004l"), "the terminal is as it was");
}

#[test]
fn nothing_that_is_said_or_typed_hides_or_turns() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::on(dir.path());
    let mut chat = ChatProcess::with(&server);
    // From another client, and from the tool that it has the agent use.
    let hidden = "use calculator {\"expression\": \"\u{202e}1\u{200b}\u{e0041}\"}";
    let ran = crate::usage::thoughtwire(&["--url", &server.1, "send", hidden], b"");
    chat.until("‹U+E0041›");
    chat.press("\u{1b}[200~typed \u{2066}here\u{1b}[201~\r");
    chat.until("‹U+2066›");
    let told = ran.out + &ran.err + &chat.leave();
    for hidden in ['\u{202e}', '\u{200b}', '\u{e0041}', '\u{2066}'] {
        assert!(!told.contains(hidden), "{hidden:?} in {told:?}");
    }
}
