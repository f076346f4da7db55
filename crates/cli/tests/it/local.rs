//! Owner commands on a data directory that no server runs on.

use serde_json::Value;
use thoughtwire_proto::Timestamp;
use thoughtwire_store::Store;

use crate::usage::{Ran, thoughtwire};

fn json(args: &[&str]) -> Value {
    let Ran { code, out, err } = thoughtwire(args, b"");
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_directory_without_a_server_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    drop(Store::open(dir.path(), Timestamp::from_millis(0)).unwrap());

    assert_eq!(
        json(&["agents", "list", "--json", "--data-dir", at])["agents"],
        Value::Array(vec![])
    );
    let made = json(&[
        "agents",
        "create",
        "ada",
        "--persona",
        "I am Ada.",
        "--style",
        "memgpt",
        "--json",
        "--data-dir",
        at,
    ]);
    let session = made["agent"]["main_session"].as_str().unwrap();
    let taken = thoughtwire(&["agents", "create", "ada", "--data-dir", at], b"");
    assert_eq!(taken.code, 1, "{taken:?}");
    assert!(taken.err.contains("ada"), "{taken:?}");

    let shown = json(&["agents", "show", "ada", "--json", "--data-dir", at]);
    assert_eq!(shown["agent"], made["agent"]);
    assert_eq!(
        shown["blocks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|block| block["label"] == "persona")
            .unwrap()["text"],
        "I am Ada."
    );
    let listed = json(&["sessions", "list", "--agent", "ada", "--json", "--data-dir", at]);
    assert_eq!(listed["sessions"][0]["id"], session);
    let shown = json(&["sessions", "show", session, "--json", "--data-dir", at]);
    assert_eq!(shown["events"][0]["event"]["kind"], "session_opened");

    let exported = thoughtwire(&["sessions", "export", session, "--data-dir", at], b"");
    let events: Vec<Value> =
        exported.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((exported.code, events.len(), &events[0]["seq"]), (0, 1, &Value::from(1)));
    let kept = dir.path().join("kept.md");
    let output = kept.to_str().unwrap();
    let write = [
        "sessions",
        "export",
        session,
        "--format",
        "markdown",
        "--output",
        output,
        "--data-dir",
        at,
    ];
    assert_eq!(thoughtwire(&write, b"").code, 0);
    assert!(std::fs::read_to_string(&kept).unwrap().starts_with("# ada\n"));
    // An existing file is not overwritten.
    assert_eq!(thoughtwire(&write, b"").code, 1);

    for wrong in [
        &["sessions", "show", "nowhere"][..],
        &["sessions", "delete", "nowhere"],
        &["sessions", "delete", session],
        &["agents", "show", "bo"],
    ] {
        let ran = thoughtwire(&[wrong, &["--data-dir", at]].concat(), b"");
        assert_eq!(ran.code, 1, "{wrong:?}: {ran:?}");
        assert!(ran.err.contains(wrong[2]), "{wrong:?}: {ran:?}");
    }
}

#[test]
fn a_directory_that_another_process_has_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Timestamp::from_millis(0)).unwrap();
    let ran = thoughtwire(&["agents", "list", "--data-dir", dir.path().to_str().unwrap()], b"");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("another process"), "{ran:?}");
    drop(store);
}
