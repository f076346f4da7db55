//! Lines that MemGPT's agents give to `function_message`, in both forms of the interface.

use serde_json::Value;
use thoughtwire_hub::{Embedded, blocking};
use thoughtwire_proto::connection::Encoding;

/// Lines of an agent, and the calls and results that they become.
const LINES: [&str; 7] = [
    "Error: No function named fly",
    "Running walk({\"to\": \"town\"})",
    // The error names another function than the open call.
    "Error: Error parsing JSON for function 'run' arguments: {",
    "Success: walked",
    "Error: something went wrong",
    "Success: of what?",
    "A status.",
];
const BECOME: [&str; 10] = [
    "call fly",
    "fly error: No function named fly",
    "call walk",
    "call run",
    "run error: Error parsing JSON for function 'run' arguments: {",
    "walk success: walked",
    "call function",
    "function error: something went wrong",
    "call function",
    "function success: of what?",
];

/// A frame as one of `BECOME`, if it is a call or a result.
fn told(frame: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(frame).unwrap();
    let event = &frame["event"];
    let word = |key: &str| event[key].as_str().unwrap().to_owned();
    match event["kind"].as_str()? {
        "tool_called" => Some(format!("call {}", word("name"))),
        "tool_returned" => Some(format!("{} {}: {}", word("name"), word("status"), word("text"))),
        _ => None,
    }
}

#[tokio::test]
async fn a_result_without_a_call_is_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), "ada").await.unwrap();
    let mut client = embedded.register_client(Encoding::Native).await.unwrap();
    let turn = embedded.user_message("go").await.unwrap();
    for line in LINES {
        turn.function_message(line).await.unwrap();
    }
    turn.finish(None, None).await.unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = client.next().await {
        seen.extend(told(&frame));
        if frame.contains("turn_ended") {
            assert!(frame.contains(r#""outcome":"completed""#), "{frame}");
            break;
        }
    }
    assert_eq!(seen, BECOME);
    embedded.close().await;
}

#[test]
fn so_it_is_in_a_synchronous_program() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = blocking::Embedded::open(dir.path(), "ada").unwrap();
    let client = embedded.register_client(Encoding::Native).unwrap();
    let turn = embedded.user_message("go").unwrap();
    for line in LINES {
        turn.function_message(line).unwrap();
    }
    turn.finish(None, None).unwrap();
    turn.close().unwrap();
    let mut seen = Vec::new();
    for frame in client {
        seen.extend(told(&frame));
        if frame.contains("turn_ended") {
            break;
        }
    }
    assert_eq!(seen, BECOME);
    embedded.close();
}
