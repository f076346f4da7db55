//! Bodies that do not come and answers that are not read.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rest::{call, http};
use super::support::Live;

/// Reads a connection to its end.
async fn all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is closed with bytes unread may be reset behind the answer.
    drop(tokio::time::timeout(Duration::from_secs(30), read).await.expect("it is closed"));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_without_an_end_is_answered_408_and_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[limits]\nhandshake_seconds = 1").unwrap();
    let live = Live::on(&dir.path().join("data"), &["--config", file.to_str().unwrap()]).await;
    let (_client, session) = live.agent("ada", "offline").await;
    let host = live.url.split("://").nth(1).unwrap().to_owned();
    let inputs = format!("/v1/sessions/{session}/inputs");
    // The bytes sent at once, the bytes sent repeatedly, and how often.
    let json = "Content-Type: application/json\r\n";
    let text = r#"{"text": "this must not be sent"}"#;
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    let length = format!("{json}Content-Length: 1000\r\n\r\n");
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n\r\n");
    let mut open = Vec::new();
    for (path, head, more) in [
        ("/v1/login", length.clone(), ""),
        ("/v1/login", length.clone(), " "),
        (inputs.as_str(), format!("{length}{text}"), " "),
        (inputs.as_str(), chunked.clone(), ""),
        (inputs.as_str(), format!("{chunked}{chunk}"), ""),
        (inputs.as_str(), format!("{chunked}{chunk}"), "1\r\n \r\n"),
        ("/v1/agents", format!("{length}{{\"name\": \"made\"}}"), ""),
        ("/v1/import", chunked.clone(), "1\r\n{\r\n"),
    ] {
        let mut stream = TcpStream::connect(&host).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{head}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let what = format!("{path} {more:?}");
        open.push(async move {
            let (mut reads, mut writes) = stream.split();
            let drip = async {
                while !more.is_empty() && writes.write_all(more.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = [0; 4096];
            let read = tokio::select! {
                read = reads.read(&mut answer) => read.unwrap(),
                () = drip => 0,
            };
            let begun = String::from_utf8_lossy(&answer[..read]).into_owned();
            let rest = all(&mut stream).await;
            (what, format!("{begun}{rest}"))
        });
    }
    for (what, answer) in futures::future::join_all(open).await {
        assert!(answer.starts_with("HTTP/1.1 408"), "{what}: {answer}");
        let head = answer.to_lowercase();
        assert!(head.contains("connection: close"), "{what}: {answer}");
        assert!(answer.contains(r#""code":"too_slow""#), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
    }
    let (_, page) = call(&live, "GET", &format!("/v1/sessions/{session}/events"), &[], None).await;
    assert!(!page.to_string().contains("this must not be sent"), "{page}");
    assert_eq!(call(&live, "GET", "/v1/agents/made", &[], None).await.0, 404);
    // A body that arrives at once is accepted, whatever its size.
    let note = json!({"notes": [{"text": "x".repeat(8 << 20)}]});
    let taken = http().post(format!("{}/v1/agents/ada/archival", live.url)).json(&note);
    assert_eq!(taken.send().await.unwrap().status(), 201);
}
