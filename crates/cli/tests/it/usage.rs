//! Messages for failed commands. Exit code 2 for a wrong command line,
//! 1 for what failed, and always a sentence.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::live::store_of;

/// How a run came out.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary in an empty home, so that nothing of this machine is seen.
pub(crate) fn thoughtwire(args: &[&str], input: &[u8]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    command.args(args).env_clear().env("HOME", home.path()).current_dir(home.path());
    let dir = args.iter().skip_while(|arg| **arg != "--data-dir").nth(1);
    command.envs(dir.and_then(|dir| store_of(Path::new(dir))));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that does not read its input closes it early.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["dance"][..],
        &["chat", "--loud"],
        &["send"],
        &["send", ""],
        &["send", "hi", "--policy", "now"],
        &["send", "hi", "--agent", "a", "--session", "s"],
        &["sessions", "show"],
        &["sessions", "show", ""],
        &["sessions", "delete"],
        &["agents", "create", ""],
        &["frame", "decode"],
        &["frame", "decode", "--dialect", "morse"],
        &["serve", "--auth", "maybe"],
        &["agents", "list", "--url", "ftp://127.0.0.1"],
        &["agents", "list", "--url", "http://"],
        &["--url", "gopher://x", "chat"],
    ] {
        let ran = thoughtwire(args, b"");
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn help_and_version_are_0() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["chat", "--help"],
        &["send", "--help"],
        &["agents", "--help"],
        &["agents", "create", "--help"],
        &["sessions", "--help"],
        &["config", "--help"],
        &["frame", "--help"],
    ] {
        let ran = thoughtwire(args, b"");
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(ran.err.is_empty() && !ran.out.is_empty(), "{args:?}: {ran:?}");
    }
    for command in ["serve", "chat", "send", "agents", "sessions", "config", "frame"] {
        let help = thoughtwire(&[command, "--help"], b"").out;
        assert!(help.contains("Examples:"), "{command} teaches nothing: {help}");
    }
}

#[test]
fn without_a_server_they_say_how_to_start_one() {
    let url = nobody();
    let ws = url.replacen("http", "ws", 1);
    for args in [
        &["agents", "list", "--url", &url][..],
        &["agents", "show", "ada", "--url", &ws],
        &["agents", "create", "ada", "--url", &url],
        &["sessions", "list", "--url", &url],
        &["sessions", "export", "s-1", "--url", &url],
        &["sessions", "delete", "s-1", "--url", &url],
        &["chat", "--url", &url],
        &["--url", &url, "chat", "--session", "s-1"],
        &["send", "hi", "--url", &ws],
    ] {
        let ran = thoughtwire(args, b"hi\n");
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(ran.err.contains("`thoughtwire serve`"), "{args:?}: {ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{args:?}: {ran:?}");
        assert!(ran.out.is_empty(), "{args:?}: {ran:?}");
    }
    let ran = thoughtwire(&["agents", "list", "--data-dir", "nowhere"], b"");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("thoughtwire serve --data-dir nowhere"), "{ran:?}");
}

#[test]
fn the_configuration_is_shown_with_its_sources() {
    let ran =
        thoughtwire(&["config", "show", "--json", "--data-dir", "here", "--model", "offline"], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let setting = |name: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings
            .iter()
            .find(|setting| setting["name"] == name)
            .unwrap_or_else(|| panic!("no {name} in {shown}"))
            .clone()
    };
    assert_eq!(
        (setting("data_dir")["value"].as_str(), setting("data_dir")["source"].as_str()),
        (Some("here"), Some("flag"))
    );
    assert_eq!(setting("listen")["source"], "default");
    assert_eq!(thoughtwire(&["config", "check"], b"").code, 0);
    // A server that other machines can reach requires keys by default.
    let exposed = thoughtwire(&["config", "show", "--listen", "0.0.0.0:8282", "--json"], b"");
    assert!(
        exposed
            .out
            .replace(char::is_whitespace, "")
            .contains(r#""name":"auth","value":"keys","source":"default""#),
        "{exposed:?}"
    );
    let wrong = thoughtwire(&["config", "check", "--listen", "nowhere", "--json"], b"");
    assert_eq!(wrong.code, 1);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&wrong.out).unwrap()["ok"], false);
    let missing = thoughtwire(&["config", "check", "--config", "nowhere.toml"], b"");
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("nowhere.toml"), "{missing:?}");
}

#[test]
fn prefixes_of_embedded_texts_are_configured_as_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let lines = ["embedding_query_prefix = \"ask: \"", "embedding_document_prefix = \"\""];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    let ran = thoughtwire(&["config", "show", "--json", "--config", file], b"");
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let setting = |name: &str| {
        let mut settings = shown["settings"].as_array().unwrap().iter();
        let found = settings.find(|setting| setting["name"] == name).unwrap();
        (found["value"].clone(), found["source"].clone())
    };
    assert_eq!(setting("embedding_query_prefix"), ("ask: ".into(), file.into()));
    assert_eq!(setting("embedding_document_prefix"), ("".into(), file.into()));
}
