//! The operator's permissions, for agents that programs outside run.

use serde_json::{Value, json};

use super::rest::call;
use super::support::Live;

#[tokio::test]
async fn an_operators_permissions_bind_the_calls_of_workers() {
    // The permission in the configuration and in the agent's settings, and what holds.
    for (operators, own, loosen, wanted) in [
        ("deny", None, "", "deny"),
        ("deny", Some("allow"), "loosen = []", "deny"),
        ("allow", Some("deny"), "", "deny"),
        ("ask", Some("allow"), "loosen = []", "ask"),
        ("deny", Some("allow"), "loosen = [\"di*\"]", "allow"),
        ("allow", None, "", "allow"),
    ] {
        let row = format!("{operators}, {own:?}, {loosen:?}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, format!("[permissions]\n\"di*\" = \"{operators}\"\n{loosen}\n"))
            .unwrap();
        let file = file.display().to_string();
        let live = Live::on(&dir.path().join("data"), &["--config", &file]).await;
        let mut program = live.native().await;
        let tools = json!([{"name": "dig", "description": "Digs."}]);
        let offer = json!({"type": "offer", "id": "o", "agent": "bob", "worker": "w",
            "tools": tools});
        let ack = program.ask(offer).await;
        let session = ack["session"].as_str().unwrap().to_owned();
        if let Some(own) = own {
            let settings = json!({"permissions": {"dig": own}});
            let (status, _) = call(&live, "PATCH", "/v1/agents/bob", &[], Some(settings)).await;
            assert_eq!(status, 200, "{row}");
        }
        let (_, page) = call(&live, "GET", "/v1/agents/bob", &[], None).await;
        assert_eq!(page["tools"][0]["permission"], wanted, "{row}");

        let mut client = live.native().await;
        client.attach(&session, Some(0)).await;
        client.send(json!({"type": "send", "session": session, "text": "hi"})).await;
        let run = program.until_type("run").await.pop().unwrap();
        let told = if wanted == "allow" { Value::Null } else { json!({"dig": wanted}) };
        assert_eq!(run["permissions"], told, "{row}");
        let say = json!({"type": "say", "id": "c-1", "turn": run["turn"], "verb": "tool_called",
            "name": "dig", "args": {}});
        match wanted {
            "deny" => assert_eq!(program.ask(say).await["code"], "forbidden", "{row}"),
            "allow" => assert_eq!(program.ask(say).await["type"], "ack", "{row}"),
            _ => {
                program.send(say).await;
                client.until(|frame| frame["event"]["kind"] == "approval_asked").await;
            }
        }
    }
}
