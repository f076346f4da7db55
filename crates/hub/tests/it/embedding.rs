//! The embedded hub, async and blocking, with clients that come and go while events flow.

use thoughtwire_hub::{Embedded, blocking};
use thoughtwire_proto::ToolStatus;
use thoughtwire_proto::connection::Encoding;

#[tokio::test]
async fn clients_come_and_go_while_events_flow() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), "ada").await.unwrap();
    let mut steady = embedded.register_client(Encoding::Native).await.unwrap();
    let turn = embedded.user_message("count").await.unwrap();
    let talk = {
        let turn = turn.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                turn.assistant_message(n.to_string()).await.unwrap();
            }
            turn.finish(None, None).await.unwrap();
        })
    };
    for _ in 0..50 {
        let mut passing = turn.register_client(Encoding::Native).await.unwrap();
        let id = passing.id();
        // Whether one of the events reaches it in its short life is chance.
        drop(tokio::time::timeout(std::time::Duration::from_millis(1), passing.next()).await);
        turn.unregister_client(id);
        while passing.next().await.is_some() {}
    }
    talk.await.unwrap();
    let mut count = 0;
    while let Some(frame) = steady.next().await {
        count += usize::from(frame.contains(r#""kind":"message""#));
        if frame.contains("turn_ended") {
            break;
        }
    }
    assert_eq!(count, 500, "a client that stayed missed nothing");
    embedded.close().await;
}

#[test]
fn a_synchronous_program_has_the_same_verbs() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = blocking::Embedded::open(dir.path(), "ada").unwrap();
    let client = embedded.register_client(Encoding::Native).unwrap();
    let turn = embedded.user_message("hello").unwrap();
    turn.internal_monologue("hm").unwrap();
    turn.function_message("Running lookup({\"a\": 1})").unwrap();
    turn.function_message("Success: found").unwrap();
    let call = turn.tools().called("other", Default::default()).unwrap();
    turn.tools().returned(&call, "other", ToolStatus::Error, "no", None).unwrap();
    turn.finish(Some("bye".into()), None).unwrap();
    turn.close().unwrap();
    let mut kinds = Vec::new();
    for frame in client {
        if let Some((_, rest)) = frame.split_once(r#""kind":""#) {
            kinds.push(rest.split('"').next().unwrap_or_default().to_owned());
        }
        if frame.contains("turn_ended") {
            break;
        }
    }
    let expected = "user_message turn_started thought tool_called tool_returned \
         tool_called tool_returned message turn_ended";
    assert_eq!(kinds.join(" "), expected);
    let refused = embedded.user_message("again").unwrap();
    refused.internal_monologue("").unwrap();
    assert!(refused.close().is_err(), "an empty thought is refused, and closing says so");
    embedded.close();
}

/// The examples stand beside the test binary, built with it.
fn example(name: &str) -> String {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo test` without a choice of targets builds it",
        path.display()
    );
    let output = std::process::Command::new(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_run() {
    let shown = example("interface");
    let message = r#""message_type": "assistant_message", "message": "Take an umbrella."}"#;
    assert!(shown.contains(message), "{shown}");
    assert!(shown.contains(r#""kind":"turn_ended""#));
    let shown = example("blocking_interface");
    assert!(
        shown.contains("Running squawk({\\\"times\\\": 2})")
            && shown.contains("\"message\": \"Hello\""),
        "{shown}"
    );
}
