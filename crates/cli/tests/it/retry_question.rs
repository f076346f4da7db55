//! `chat` at a terminal asks about a call that `kill -9` interrupted, and takes each answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::live::lasting_address;
use super::terminal::{ChatProcess, PATIENCE, ServerProcess};

/// An MCP server whose tool `pay` writes each sum into a file, and returns from the second call
/// with a sum on.
pub(crate) const PAYMENTS: &str = r#"
import json, os, sys
def result(asked):
    if asked["method"] == "initialize":
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "bank", "version": "1"}}
    if asked["method"] == "tools/list":
        return {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]}
    if asked["method"] != "tools/call":
        return {}
    sum = str(asked["params"]["arguments"]["sum"])
    with open(sys.argv[1], "a+") as payments:
        payments.seek(0)
        is_known = sum in payments.read().split()
        payments.write(sum + "\n")
    return {"content": [{"type": "text", "text": "paid " + sum}]} if is_known else None
for line in sys.stdin:
    asked = json.loads(line)
    told = result(asked) if "id" in asked else None
    if told is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
"#;

/// A directory with a configuration, data and payments, and the server on it.
struct Bank {
    dir: tempfile::TempDir,
    server: Option<ServerProcess>,
}

impl Bank {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("bank.py"), PAYMENTS).unwrap();
        let args = [path("bank.py"), path("payments")];
        let config = format!("[mcp.bank]\ncommand = \"python3\"\nargs = {args:?}\n");
        std::fs::write(path("config.toml"), config).unwrap();
        let mut bank = Self { dir, server: None };
        bank.start(&lasting_address());
        bank
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.dir.path(), name)
    }

    fn start(&mut self, address: &str) {
        let config = self.path("config.toml").display().to_string();
        let flags = ["--config", &config];
        self.server = Some(ServerProcess::listening(&self.path("data"), address, &flags));
    }

    fn server(&self) -> &ServerProcess {
        self.server.as_ref().unwrap()
    }

    /// Kills the server with SIGKILL and starts it again at the same address.
    fn restart(&mut self) {
        let address = self.server().address().to_owned();
        self.server = None;
        self.start(&address);
    }

    fn payments(&self) -> Vec<String> {
        let payments = std::fs::read_to_string(self.path("payments")).unwrap_or_default();
        payments.lines().map(str::to_owned).collect()
    }
}

/// Waits until something is so.
fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_call_that_a_kill_interrupted_is_settled_by_what_the_owner_types() {
    let mut bank = Bank::open();
    let mut chat = ChatProcess::with(bank.server());
    let tools = || bank.server().run(&["agents", "show", "main"]);
    await_that("the tool is listed", || tools().contains("bank__pay"));
    let tools = tools();
    let columns = |tool: &str| -> Vec<String> {
        let row = tools.lines().find(|line| line.starts_with(tool)).unwrap();
        row.split_whitespace().take(4).map(str::to_owned).collect()
    };
    assert_eq!(columns("TOOL"), ["TOOL", "PERMISSION", "REPLAY", "FROM"]);
    assert_eq!(columns("bank__pay"), ["bank__pay", "allow", "ask", "MCP"]);
    assert_eq!(columns("calculator"), ["calculator", "allow", "safe", "built"]);

    let cases = [
        ("y", "approved", "success", "paid 1"),
        ("d", "done", "success", "Its result is not known."),
        ("/done receipt 3", "done", "success", "receipt 3"),
        ("n", "denied", "error", ""),
        ("/approve", "approved", "success", "paid 5"),
        ("/deny", "denied", "error", ""),
    ];
    for (at, (typed, _, status, text)) in cases.iter().enumerate() {
        let sum = at + 1;
        chat.press(&format!("use bank__pay {{\"sum\": {sum}}}\r"));
        await_that("the tool runs", || bank.payments().last() == Some(&sum.to_string()));
        chat.forget();
        bank.restart();
        chat.until("was interrupted and may already have taken effect.");
        chat.until("y to run again, d if done, n if failed");
        assert_eq!(bank.payments().last(), Some(&sum.to_string()), "nothing runs unasked");
        chat.press(&format!("{typed}\r"));
        chat.until(if *status == "success" { "→" } else { "✗" });
        let ends = |events: Vec<Value>| {
            events.iter().filter(|event| event["kind"] == "turn_ended").count()
        };
        await_that("the turn ends", || ends(bank.server().events()) == sum);
        let mut returned = bank.server().events().into_iter();
        let returned = returned.rfind(|event| event["kind"] == "tool_returned").unwrap();
        assert_eq!(returned["status"], *status, "{typed}: {returned}");
        assert!(returned["text"].as_str().unwrap().contains(text), "{typed}: {returned}");
    }
    // Without a question there is nothing to settle.
    chat.press("/done receipt\r");
    chat.until("no call was interrupted and waits for your answer");
    chat.leave();

    let events = bank.server().events();
    let all = |kind: &str, key: &str| -> Vec<Value> {
        let events = events.iter().filter(|event| event["kind"] == kind);
        events.map(|event| event[key].clone()).collect()
    };
    let decisions: Vec<Value> = cases.iter().map(|(_, decision, ..)| json!(decision)).collect();
    assert_eq!(all("approval_asked", "about"), vec![json!("retry"); cases.len()]);
    assert_eq!(all("approval_settled", "decision"), decisions);
    assert_eq!(all("tool_retried", "reason"), ["approved", "approved"]);
    assert_eq!(all("turn_ended", "outcome"), vec![json!("completed"); cases.len()]);
    assert_eq!(bank.payments(), ["1", "1", "2", "3", "4", "5", "5", "6"], "paid again when told");
}
