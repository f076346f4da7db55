//! The owner's hands: the same commands on a running server and on a directory that none runs on.

use serde_json::{Value, json};
use thoughtwire_proto::Timestamp;
use thoughtwire_store::Store;

use crate::usage::{Ran, thoughtwire};

/// Runs a command that must work, and reads its JSON.
fn json(place: &[&str], args: &[&str]) -> Value {
    let Ran { code, out, err } = thoughtwire(&[args, &["--json"], place].concat(), b"");
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn fails(place: &[&str], args: &[&str], code: i32, sentence: &str) {
    let ran = thoughtwire(&[args, place].concat(), b"");
    assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    assert!(ran.err.contains(sentence), "{args:?}: {ran:?}");
}

fn all_of_it(place: &[&str], dir: &std::path::Path) {
    // Agents: presets by name, texts from files, settings.
    let persona = dir.join("persona.txt");
    std::fs::write(&persona, "I am Ada.\nI am exact.").unwrap();
    let persona = persona.to_str().unwrap();
    let made = json(
        place,
        &[
            "agents",
            "create",
            "ada",
            "--persona-file",
            persona,
            "--human",
            "cs_phd",
            "--max-steps",
            "9",
            "--ask",
            "fetch_url",
        ],
    );
    assert_eq!(
        (made["agent"]["max_steps"].clone(), made["agent"]["permissions"]["fetch_url"].clone()),
        (json!(9), json!("ask"))
    );
    let blocks = json(place, &["memory", "show", "ada"])["blocks"].clone();
    assert_eq!(blocks[0]["text"], "I am Ada.\nI am exact.");
    assert!(
        blocks[1]["text"].as_str().unwrap().contains("doctorate"),
        "a preset's name stands for its text: {blocks}"
    );
    let edited = json(
        place,
        &[
            "agents",
            "edit",
            "ada",
            "--name",
            "ada2",
            "--deny",
            "calculator",
            "--fallback",
            "offline",
            "--unset",
            "max_steps",
        ],
    );
    let agent = &edited["agent"];
    assert_eq!(
        (agent["name"].clone(), agent["fallbacks"].clone(), agent.get("max_steps")),
        (json!("ada2"), json!(["offline"]), None)
    );
    assert_eq!(agent["permissions"], json!({"fetch_url": "ask", "calculator": "deny"}));
    fails(place, &["agents", "edit", "ada2"], 2, "no change was given");
    fails(place, &["agents", "edit", "ada2", "--model", "nobody/x"], 1, "there is no model");
    fails(place, &["agents", "edit", "ada2", "--unset", "persona"], 1, "no setting \"persona\"");
    let tools = json(place, &["agents", "show", "ada2"])["tools"].clone();
    assert!(
        tools
            .as_array()
            .unwrap()
            .iter()
            .any(|tool| tool["name"] == "calculator" && tool["permission"] == "deny"),
        "{tools}"
    );

    // Memory: each edit an event of the main session with both texts.
    let edited = json(place, &["memory", "edit", "ada2", "human", "--text", "Her name is Ada."]);
    assert_eq!(edited["block"]["text"], "Her name is Ada.");
    fails(place, &["memory", "edit", "ada2", "human", "--limit", "5"], 1, "has 16");
    json(
        place,
        &[
            "memory",
            "edit",
            "ada2",
            "plans",
            "--description",
            "What we are up to.",
            "--limit",
            "10",
            "--text",
            "tea",
        ],
    );
    fails(
        place,
        &["memory", "edit", "ada2", "plans", "--text", "tea and coffee"],
        1,
        "may have 10 characters, and this has 14",
    );
    json(place, &["memory", "edit", "ada2", "plans", "--delete"]);
    fails(place, &["memory", "show", "ada2", "plans"], 1, "no memory block");
    let session = agent["main_session"].as_str().unwrap();
    let log = json(place, &["sessions", "show", session])["events"].clone();
    let edits: Vec<&Value> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["event"])
        .filter(|event| event["kind"] == "memory_edited")
        .collect();
    assert_eq!(edits.len(), 3);
    assert_eq!(
        (edits[0]["by"].clone(), edits[0]["after"].clone()),
        (json!("owner"), json!("Her name is Ada."))
    );
    assert_eq!((edits[2]["before"].clone(), edits[2]["after"].clone()), (json!("tea"), json!("")));

    // Archival: text, Markdown, JSONL; again changes nothing.
    let (text, markdown, lines) = (dir.join("a.txt"), dir.join("b.md"), dir.join("c.jsonl"));
    std::fs::write(&text, "The cellar key hangs behind the clock.\n\n".repeat(3)).unwrap();
    std::fs::write(
        &markdown,
        format!(
            "# Boats\n\n{}\n\n# Trains\n\nNight trains go to Vienna.\n",
            "Rowing is slow. ".repeat(80)
        ),
    )
    .unwrap();
    std::fs::write(
        &lines,
        "{\"text\": \"Ada was born in 1815.\", \"at\": \
    \"2020-01-01T00:00:00.000Z\"}\n\"Babbage built engines.\"\n",
    )
    .unwrap();
    let files = [text.to_str().unwrap(), markdown.to_str().unwrap(), lines.to_str().unwrap()];
    let import = [&["archival", "import", "ada2", "--chunk", "400"][..], &files].concat();
    let added = json(place, &import);
    let count = added["added"].as_u64().unwrap();
    assert!(count > 5, "{added}");
    assert_eq!(
        json(place, &import),
        json!({"added": 0, "duplicates": count + added["duplicates"].as_u64().unwrap()})
    );
    let found = json(place, &["memory", "search", "ada2", "vienna", "--in", "archival"]);
    assert!(
        found["notes"][0]["text"].as_str().unwrap().contains("Night trains")
            && found["notes"][0]["source"] == "b.md",
        "{found}"
    );
    let exported = thoughtwire(&[&["archival", "export", "ada2"], place].concat(), b"");
    assert_eq!(exported.out.lines().count() as u64, count);
    assert!(exported.out.contains("2020-01-01T00:00:00.000Z"));
    let broken = dir.join("broken.jsonl");
    std::fs::write(&broken, "{\"text\": \"fine\"}\n{\"title\": 7}\n").unwrap();
    fails(place, &["archival", "import", "ada2", broken.to_str().unwrap()], 1, "line 2");
    assert_eq!(
        json(place, &["memory", "search", "ada2", "fine", "--in", "archival"])["total"],
        0,
        "a bad file adds nothing"
    );

    // The whole agent as a file, and back.
    let file = dir.join("ada.json");
    let path = file.to_str().unwrap();
    assert_eq!(
        thoughtwire(
            &[&["agents", "export", "ada2", "--history", "--output", path], place].concat(),
            b""
        )
        .code,
        0
    );
    fails(place, &["agents", "import", path], 1, "exists already");
    let copy = json(place, &["agents", "import", path, "--name", "copy"]);
    assert_eq!(copy["agent"]["permissions"], agent["permissions"]);
    assert_eq!(json(place, &["memory", "show", "copy"]), json(place, &["memory", "show", "ada2"]));
    let session = copy["agent"]["main_session"].as_str().unwrap();
    let copied = json(place, &["sessions", "show", session])["events"].clone();
    assert_eq!(
        copied.as_array().unwrap().len(),
        log.as_array().unwrap().len(),
        "its history came along"
    );
    assert_eq!(json(place, &["agents", "show", "copy"])["memory"]["archival"], json!(count));
    fails(place, &["agents", "delete", "copy"], 2, "--yes");
    json(place, &["agents", "delete", "copy", "--yes"]);
    fails(place, &["agents", "show", "copy"], 1, "copy");
    std::fs::write(
        &file,
        "{\"thoughtwire_agent\": 99, \"agent\": {\"name\": \"x\"}, \"blocks\": []}",
    )
    .unwrap();
    fails(place, &["agents", "import", path], 1, "form 99");
    std::fs::write(&file, "no json").unwrap();
    fails(place, &["agents", "import", path], 1, "");
}

#[test]
fn on_a_directory_that_no_server_runs_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(Store::open(&data, Timestamp::from_millis(0)).unwrap());
    all_of_it(&["--data-dir", data.to_str().unwrap()], dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let live = crate::live::Live::on(&dir.path().join("data"), &[]).await;
    let (url, path) = (live.url.clone(), dir.path().to_owned());
    tokio::task::spawn_blocking(move || all_of_it(&["--url", &url], &path)).await.unwrap();
    drop(live);
}

#[test]
fn presets_are_listed_without_a_server() {
    let presets = json(&[], &["agents", "presets"]);
    for name in ["sam_pov", "basic", "anna_pa", "memgpt_starter"] {
        assert!(
            presets["personas"].as_array().unwrap().iter().any(|preset| preset["name"] == name),
            "{name}"
        );
    }
    assert!(presets["humans"].as_array().unwrap().iter().any(|preset| preset["name"] == "cs_phd"));
}
