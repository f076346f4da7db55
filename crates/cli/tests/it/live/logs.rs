//! The server's default log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::test_store::new_store;

/// The standard error of a server with a noisy MCP server, from start to stop.
async fn logged(dir: &Path, log: Option<&str>) -> String {
    // Sends what its client did not expect, which the library warns of, and then says that it has.
    let said = dir.join("said");
    let script = "read -r line; for n in $(seq 100); do echo \"$1\"; done; : > \"$0\"; cat";
    let message = r#"{"jsonrpc":"2.0","method":"ping"}"#;
    let noise = format!(
        "[mcp.noise]\ncommand = \"sh\"\nargs = [\"-c\", '{script}', \"{}\", '{message}']\n",
        said.display()
    );
    let (file, errors) = (dir.join("config.toml"), dir.join("errors"));
    std::fs::write(&file, noise).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    command.arg("--data-dir").arg(dir.join("data")).env_remove("THOUGHTWIRE_LOG");
    command.envs(new_store(&dir.join("data")));
    command.stderr(std::fs::File::create(&errors).unwrap()).stdout(Stdio::null());
    if let Some(log) = log {
        command.env("THOUGHTWIRE_LOG", log);
    }
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let heard = async {
        let is_heard = || {
            let logged = std::fs::read_to_string(&errors).unwrap();
            said.exists() && (log.is_none() || logged.contains("WARN rmcp"))
        };
        while !is_heard() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("the noise is heard");
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
    let loud = logged(dir.path(), Some("warn")).await;
    assert!(loud.contains("WARN rmcp"), "a library warns of the noise: {loud}");
}
