//! What a server logs unless told otherwise.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::rest::http;

/// What a server with a noisy MCP server writes to standard error until it is stopped.
async fn logged(dir: &Path, log: Option<&str>) -> String {
    // Answers each request with a line that is no JSON.
    let noise = "[mcp.noise]\ncommand = \"sh\"\n\
                 args = [\"-c\", \"while read -r line; do echo no JSON; done\"]\n";
    let file = dir.join("config.toml");
    std::fs::write(&file, noise).unwrap();
    let (data, errors) = (dir.join("data"), dir.join("errors"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    command.arg("--data-dir").arg(&data).env_remove("THOUGHTWIRE_LOG");
    command.stderr(std::fs::File::create(&errors).unwrap()).stdout(Stdio::null());
    if let Some(log) = log {
        command.env("THOUGHTWIRE_LOG", log);
    }
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let said = async {
        loop {
            let owner: Option<Value> = std::fs::read(data.join("server.json"))
                .ok()
                .and_then(|file| serde_json::from_slice(&file).ok());
            if let Some(url) = owner.as_ref().and_then(|file| file["url"].as_str()) {
                let page = http().post(format!("{url}/v1/agents"));
                let made = page.json(&serde_json::json!({"name": "ada"})).send().await;
                let shown = http().get(format!("{url}/v1/agents/ada")).send().await;
                if let (Ok(_), Ok(shown)) = (made, shown) {
                    let agent: Value = shown.json().await.unwrap_or_default();
                    // It was asked, and its answer was read.
                    if agent["mcp"][0]["phase"] == "failed" {
                        return;
                    }
                }
            }
            let loud = std::fs::read_to_string(&errors).unwrap();
            if log.is_some() && loud.contains("rmcp") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), said).await.expect("it fails in time");
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    child.wait().await.unwrap();
    std::fs::read_to_string(&errors).unwrap()
}

#[tokio::test]
async fn only_the_server_speaks_in_its_log_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let usual = logged(dir.path(), None).await;
    assert!(usual.contains("INFO thoughtwire"), "{usual}");
    for line in usual.lines().filter(|line| line.contains(" WARN ") || line.contains(" INFO ")) {
        assert!(line.contains("thoughtwire"), "{line}");
    }
    for line in usual.lines().filter(|line| line.contains("ulimit")) {
        assert!(line.contains(" INFO "), "{line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let loud = logged(dir.path(), Some("debug")).await;
    assert!(loud.contains("rmcp"), "the noise is there: {loud}");
}
