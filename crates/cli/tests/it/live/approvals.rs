//! Leave for calls, and tools that clients run, with the real binary on all three wires.

use serde_json::{Value, json};

use super::support::{Live, TestClient, events, test_deps};

const SUM: &str = "use calculator {\"expression\": \"6*7\"}";

fn asking(dir: &std::path::Path) -> String {
    let config = dir.join("config.toml");
    std::fs::write(&config, "[permissions]\ncalculator = \"ask\"\n").unwrap();
    config.display().to_string()
}

/// The agent as REST returns it.
async fn page(live: &Live) -> Value {
    super::rest::call(live, "GET", "/v1/agents/ada", &[], None).await.1
}

async fn asked(client: &mut TestClient) -> Value {
    client.until(|frame| frame["event"]["kind"] == "approval_asked").await.pop().unwrap()["event"]
        .clone()
}

/// Makes an agent request approval; returns its session and the request.
async fn question(live: &Live) -> (String, Value) {
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": SUM})).await;
    let question = asked(&mut client).await;
    (session, question)
}

#[tokio::test]
async fn asked_before_a_kill_approved_after_the_start_from_another_client() {
    let dir = tempfile::tempdir().unwrap();
    let config = asking(dir.path());
    let mut live = Live::on(dir.path(), &["--config", &config]).await;
    let (session, question) = question(&live).await;
    assert_eq!(question["name"], "calculator");
    live.kill().await;

    let live = Live::on(dir.path(), &["--config", &config]).await;
    let mut other = live.native().await;
    let (attached, frames) = other.attach(&session, Some(0)).await;
    assert!(attached["turn"].is_string(), "the turn goes on: {attached}");
    assert_eq!(events(&frames).last().unwrap()["event"]["kind"], "approval_asked");
    let (call, mut third) = (question["call"].clone(), live.native().await);
    third.attach(&session, None).await;
    let yes = other
        .ask(json!({"type": "decide", "id": "yes", "session": session, "call": call,
        "decision": "approved"}))
        .await;
    assert_eq!(yes["type"], "ack");
    // The others hear of it.
    let turn = third.turn().await;
    let settled = &events(&turn)[0]["event"];
    assert_eq!(
        (settled["kind"].clone(), settled["decision"].clone()),
        (json!("approval_settled"), json!("approved"))
    );
    let said = events(&turn).into_iter().find(|frame| frame["event"]["kind"] == "message").unwrap();
    assert_eq!(said["event"]["text"], "calculator says: 42");
    let late = third
        .ask(json!({"type": "decide", "id": "late", "call": call, "decision": "denied"}))
        .await;
    assert_eq!(
        (late["type"].clone(), late["code"].clone()),
        (json!("refused"), json!("unknown_call"))
    );
}

#[tokio::test]
async fn a_planned_stop_does_not_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = asking(dir.path());
    let mut live = Live::on(dir.path(), &["--config", &config]).await;
    let (session, _) = question(&live).await;
    assert_eq!(live.terminate().await, Some(0));
    let live = Live::on(dir.path(), &["--config", &config]).await;
    let mut client = live.native().await;
    let (attached, _) = client.attach(&session, Some(0)).await;
    assert!(attached["turn"].is_string());
    client.send(json!({"type": "cancel", "session": session})).await;
    let turn = client.turn().await;
    assert_eq!(events(&turn)[0]["event"]["decision"], "void");
}

#[tokio::test]
async fn sparky_says_what_waits_and_a_message_settles_it() {
    for (answer, result) in
        [("/approve", "calculator says: 42"), (" /deny ", "The owner denied this call")]
    {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::on(dir.path(), &["--config", &asking(dir.path())]).await;
        let mut client = live.sparky(json!({"user_id": "u1"})).await;
        client.until_type("ready").await;
        let say = |text: &str| json!({"type": "message", "data": {"text": text}});
        client.send(say(SUM)).await;
        let is_question = |frame: &Value| {
            frame["type"] == "status"
                && frame["data"]["message"].as_str().unwrap().contains("/approve")
        };
        let question = client.until(is_question).await.pop().unwrap();
        assert!(question["data"]["message"].as_str().unwrap().contains("calculator"), "{question}");
        client.send(say(answer)).await;
        let rest = client.until_type("message").await;
        assert!(
            rest.iter().all(|frame| frame["data"]["message"] != "Previous message cancelled"),
            "{rest:?}"
        );
        assert!(
            rest.last().unwrap()["data"]["text"].as_str().unwrap().contains(result),
            "{rest:?}"
        );
        // With nothing to settle it is said so, and nothing is told to the agent.
        client.send(say("/approve")).await;
        assert_eq!(client.next().await["type"], "error");
    }
}

#[tokio::test]
async fn memgpt_is_told_what_waits_and_where_to_answer() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::on(dir.path(), &["--config", &asking(dir.path())]).await;
    let (mut owner, session) = live.agent("ada", "offline").await;
    owner.attach(&session, None).await;
    let mut client = live.connect("/memgpt").await;
    client.send(json!({"type": "command", "command": "load_agent", "name": "ada"})).await;
    client.until_type("command_response").await;
    client.send(json!({"type": "user_message", "message": SUM, "agent_id": "ada"})).await;
    let told =
        client.until(|frame| frame["message_type"] == "assistant_message").await.pop().unwrap();
    let words = told["message"].as_str().unwrap();
    assert!(words.contains("calculator") && words.contains("thoughtwire chat"), "{words}");
    let call = asked(&mut owner).await["call"].clone();
    owner.send(json!({"type": "decide", "call": call, "decision": "approved"})).await;
    let rest = client.until_type("agent_response_end").await;
    assert!(
        rest.iter()
            .any(|frame| frame["message"].as_str().is_some_and(|text| text.contains("says: 42"))),
        "{rest:?}"
    );
}

#[tokio::test]
async fn a_native_client_runs_its_own_tool() {
    let live = Live::start().await;
    let (mut client, session) = live.agent("ada", "offline").await;
    let schema =
        json!({"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]});
    let tools =
        json!([{"name": "open_door", "description": "Opens a door.", "parameters": schema}]);
    client.send(json!({"type": "attach", "session": session, "tools": tools})).await;
    client.until_type("caught_up").await;
    client
        .send(json!({"type": "send", "session": session, "text": "use open_door {\"room\": \
    \"attic\"}"}))
        .await;
    let called = client.until(|frame| frame["event"]["kind"] == "tool_called").await.pop().unwrap()
        ["event"]
        .clone();
    assert_eq!(
        (called["name"].clone(), called["args"]["room"].clone()),
        (json!("open_door"), json!("attic"))
    );
    // At once, as a client does that only looks for its tool's name.
    let answer = json!({"type": "tool_return", "id": "r1", "call": called["call"],
        "status": "success", "text": "open", "content": {"angle": 90}});
    assert_eq!(client.ask(answer.clone()).await["type"], "ack");
    client.send(answer).await;
    // Either may come first: the turn goes on meanwhile.
    let (mut turn, mut again, mut ended) = (Vec::new(), None, false);
    while again.is_none() || !ended {
        let frame = client.next().await;
        ended |= frame["event"]["kind"] == "turn_ended";
        if frame["id"] == "r1" {
            again = Some((frame["type"].clone(), frame["duplicate"].clone()));
        }
        turn.push(frame);
    }
    assert_eq!(again, Some((json!("ack"), json!(true))));
    assert!(
        events(&turn).iter().any(|frame| frame["event"]["text"] == "open_door says: open"),
        "{turn:?}"
    );

    let bad = client
        .ask(json!({"type": "attach", "id": "a2", "session": session,
        "tools": [{"name": "no spaces"}]}))
        .await;
    assert_eq!(bad["type"], "refused");
}

#[tokio::test]
async fn mcp_servers_come_with_the_server_and_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let script = test_deps("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let config = dir.path().join("config.toml");
    let table = format!(
        "[permissions]\n\"every__get*\" = \"deny\"\n[mcp.every]\ncommand = \"node\"\nargs = \
        [\"{}\", \"stdio\"]\n[mcp.gone]\ncommand = \"there-is-no-such-program\"\n",
        script.display()
    );
    std::fs::write(&config, table).unwrap();
    let live = Live::on(dir.path(), &["--config", config.to_str().unwrap()]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, None).await;
    client
        .send(json!({"type": "send", "session": session, "text": "use every__echo {\"message\": \
    \"hello\"}"}))
        .await;
    let turn = client.turn().await;
    let said = events(&turn).into_iter().find(|frame| frame["event"]["kind"] == "message").unwrap();
    // A call that comes while the server starts waits for it; its tools are known when it has
    // started.
    if said["event"]["text"].as_str().unwrap().contains("There is no tool") {
        loop {
            let page: Value = page(&live).await;
            if page["mcp"][0]["phase"] == "ready" {
                break;
            }
            tokio::task::yield_now().await;
        }
        client
            .send(json!({"type": "send", "session": session,
            "text": "use every__echo {\"message\": \"hello\"}"}))
            .await;
        let turn = client.turn().await;
        assert!(
            events(&turn)
                .iter()
                .any(|frame| frame["event"]["text"] == "every__echo says: Echo: hello"),
            "{turn:?}"
        );
    }
    let page: Value = page(&live).await;
    let tool = |name: &str| {
        page["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (tool("every__echo")["permission"].clone(), tool("every__echo")["server"].clone()),
        (json!("allow"), json!("every"))
    );
    assert_eq!(
        (tool("every__get-sum")["permission"].clone(), tool("fetch_url")["permission"].clone()),
        (json!("deny"), json!("deny"))
    );
    assert_eq!(
        (page["mcp"][1]["name"].clone(), page["mcp"][1]["phase"] == "ready"),
        (json!("gone"), false)
    );
    let mut sparky = live.sparky(json!({"session_id": null, "user_id": "u1"})).await;
    let progress = sparky.until_type("ready").await;
    let about = |name: &str| -> Vec<Value> {
        progress
            .iter()
            .filter(|frame| frame["data"]["tool_name"] == name)
            .map(|frame| frame["data"]["status"].clone())
            .collect()
    };
    assert_eq!(about("every"), ["loading", "loaded"]);
    assert_eq!(about("every__echo"), Vec::<Value>::new(), "a server is told, its tools are not");
    assert_eq!(about("gone")[0], "loading");
}
