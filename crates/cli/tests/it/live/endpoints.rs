//! Parts that the tests of protocol endpoints share.

use serde_json::{Value, json};
use tokio::process::Command;

use super::rest::call;
use super::support::{Live, events, test_deps};

/// Runs a module of Node.js where the clients in a folder of `.test-deps` are installed.
pub(crate) fn module(clients: &str, text: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", text, "--"]).args(arguments);
    command.current_dir(test_deps(clients)).kill_on_drop(true);
    command
}

/// Runs a command that has to succeed. Returns what it prints.
pub(crate) async fn printed(mut command: Command) -> String {
    let output = command.output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed} {errors}");
    printed
}

/// Runs a scenario that has to succeed. Returns what it prints before its `ok`.
pub(crate) async fn succeed(command: Command) -> String {
    let printed = printed(command).await;
    printed.strip_suffix("ok\n").unwrap_or_else(|| panic!("{printed}")).to_owned()
}

/// A server with the agent `ada`, and her main session.
pub(crate) async fn with_ada() -> (Live, String) {
    let live = Live::start().await;
    let (_, session) = live.agent("ada", "offline").await;
    (live, session)
}

/// Lets the agent `ada` ask before it calculates.
pub(crate) async fn ask_for_approval(live: &Live) {
    let ask = json!({"permissions": {"calculator": "ask"}});
    assert_eq!(call(live, "PATCH", "/v1/agents/ada", &[], Some(ask)).await.0, 200);
}

/// Runs a scenario in which two clients of an endpoint share a session and print the reply to each
/// input. A native client beside them has to see the same.
pub(crate) async fn share_a_session(scenario: impl FnOnce(&Live, &str) -> Command, endpoint: &str) {
    let (live, session) = with_ada().await;
    let mut native = live.native().await;
    native.attach(&session, Some(0)).await;
    let printed = succeed(scenario(&live, &session)).await;
    let replies: Value = serde_json::from_str(&printed).unwrap();
    let frames = [native.turn().await, native.turn().await].concat();
    let mut asked = Vec::new();
    for frame in events(&frames) {
        let text = frame["event"]["text"].as_str().unwrap_or_default().to_owned();
        match frame["event"]["kind"].as_str().unwrap() {
            "user_message" => {
                assert_eq!(frame["event"]["from"], endpoint);
                asked.push(text);
            }
            // Turns run in the order of their inputs.
            "message" => assert_eq!(replies[asked.remove(0)], text),
            _ => {}
        }
    }
    assert!(asked.is_empty(), "{asked:?}");
}

/// The README's blocks in a language that contain a text, for a server at a URL.
pub(crate) fn readme_blocks(language: &str, containing: &str, url: &str) -> Vec<String> {
    let readme = include_str!("../../../../../README.md");
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks = blocks.filter(|block| block.contains(containing));
    blocks.map(|block| block.replace("http://127.0.0.1:8282", url)).collect()
}
