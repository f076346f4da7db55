//! Two servers on one database: each learns what the other one changes.

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::{call, http};
use super::support::{Live, TestClient};
use crate::nodes::SharedDatabase;

/// A client that watches its user's list, past the list as it is now.
async fn watcher(live: &Live) -> TestClient {
    let mut watcher = live.native().await;
    watcher.send(json!({"type": "watch", "id": "w"})).await;
    watcher.send(json!({"type": "ping"})).await;
    watcher.until_type("pong").await;
    watcher
}

fn is_session<'a>(session: &'a str, field: &'a str, value: Value) -> impl FnMut(&Value) -> bool {
    move |frame| {
        let listing = &frame["listing"];
        frame["type"] == "session" && listing["id"] == session && listing[field] == value
    }
}

async fn until_closed(client: &mut TestClient) -> u16 {
    loop {
        if let Err(code) = client.next_or_close().await {
            return code;
        }
    }
}

/// Asks until an answer comes with this status.
async fn until_status(status: u16, ask: impl AsyncFn() -> u16) {
    while ask().await != status {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_revoked_through_one_node_closes_its_clients_on_another() {
    revoke_through_another(&SharedDatabase::create()).await;
}

/// No notification passes the pooler: nodes ask for changes by themselves.
#[tokio::test]
async fn a_key_revoked_through_one_node_behind_a_pooler_closes_its_clients_on_another() {
    revoke_through_another(&SharedDatabase::create_pooled()).await;
}

async fn revoke_through_another(database: &SharedDatabase) {
    let store = ["--store", database.url()];
    let (here, there) = (Guarded::with(&store).await, Guarded::with(&store).await);
    let (id, key) = here.key("ada", &["chat", "agents"]).await;
    let (_, other) = here.key("ada", &["chat"]).await;
    for key in [&key, &other] {
        until_status(200, async || there.call(key, "GET", "/v1/whoami", None).await.0).await;
    }
    let (_, made) = there.call(&key, "POST", "/v1/agents", Some(json!({"name": "main"}))).await;
    let session = made["agent"]["main_session"].as_str().unwrap();
    let mut native = there.native(&key).await;
    native.attach(session, None).await;
    let mut memgpt = there.connect("/memgpt", &key).await.unwrap();
    let mut sparky = there.live.sparky(json!({"token": key})).await;
    sparky.until_type("ready").await;
    let mut unharmed = there.native(&other).await;
    unharmed.attach(session, None).await;
    let events = http()
        .get(format!("{}/v1/sessions/{session}/events", there.live.url))
        .bearer_auth(&key)
        .header("accept", "text/event-stream");
    let mut events = events.send().await.unwrap();

    let revoke = format!("/v1/keys/{id}");
    assert_eq!(here.call(&here.owner, "DELETE", &revoke, None).await.0, 204);
    for client in [&mut native, &mut memgpt, &mut sparky] {
        assert_eq!(until_closed(client).await, 1008);
    }
    while let Ok(Some(_)) = events.chunk().await {}
    assert_eq!(there.call(&key, "GET", "/v1/agents", None).await.0, 401);
    unharmed.send(json!({"type": "ping"})).await;
    unharmed.until_type("pong").await;

    // A key is revoked at once through a node that has not heard of it.
    let (id, _) = here.key("ada", &["chat"]).await;
    let revoke = format!("/v1/keys/{id}");
    assert_eq!(there.call(&there.owner, "DELETE", &revoke, None).await.0, 204);
}

#[tokio::test]
async fn a_rotation_through_one_node_ends_logins_on_another() {
    let database = SharedDatabase::create();
    let store = ["--store", database.url()];
    let (here, there) = (Guarded::with(&store).await, Guarded::with(&store).await);
    let (_, key) = here.key("ada", &["chat"]).await;
    let login = format!("{}/v1/login", here.live.url);
    let login = http().post(login).json(&json!({"key": key})).send().await.unwrap();
    let cookie = login.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let whoami = async || {
        let request = http().get(format!("{}/v1/whoami", there.live.url)).header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    // The nodes share the secret.
    until_status(200, &whoami).await;
    assert_eq!(here.call(&here.owner, "POST", "/v1/keys/rotate", None).await.0, 204);
    until_status(401, &whoami).await;
    assert_eq!(there.call(&key, "GET", "/v1/whoami", None).await.0, 200, "keys stay as they are");
}

#[tokio::test]
async fn a_list_is_followed_on_every_node() {
    let database = SharedDatabase::create();
    let (here, there) = (database.node("here").await, database.node("there").await);
    let mut seen = watcher(&there).await;
    let (mut client, main) = here.agent("ada", "offline").await;
    seen.until(is_session(&main, "agent_name", json!("ada"))).await;
    client.ask(json!({"type": "rename", "id": "r", "session": main, "title": "Tea"})).await;
    seen.until(is_session(&main, "title", json!("Tea"))).await;
    let second =
        client.ask(json!({"type": "create_session", "id": "s", "agent": "ada"})).await["session"]
            .clone();
    let second = second.as_str().unwrap();
    seen.until(is_session(second, "agent_name", json!("ada"))).await;
    // A turn moves the head.
    client.attach(second, None).await;
    client.send(json!({"type": "send", "session": second, "text": "hello"})).await;
    let head = client.turn().await.pop().unwrap()["seq"].clone();
    seen.until(is_session(second, "head", head)).await;
    client.ask(json!({"type": "delete_session", "id": "d", "session": second})).await;
    seen.until(|frame| frame["type"] == "session_gone" && frame["session"] == second).await;
    // The other way round.
    let mut seen = watcher(&here).await;
    let renamed = json!({"name": "eve"});
    assert_eq!(call(&there, "PATCH", "/v1/agents/ada", &[], Some(renamed)).await.0, 200);
    seen.until(is_session(&main, "agent_name", json!("eve"))).await;
}

#[tokio::test]
async fn a_session_deleted_through_another_node_ends_for_all() {
    let database = SharedDatabase::create();
    let (here, there) = (database.node("here").await, database.node("there").await);
    let (mut client, _) = here.agent("ada", "offline").await;
    let made = client.ask(json!({"type": "create_session", "id": "s", "agent": "ada"})).await;
    let session = made["session"].as_str().unwrap();
    client.attach(session, None).await;
    let mut lists = [watcher(&here).await, watcher(&there).await];
    let mut other = there.native().await;
    other.attach(session, None).await;
    let delete = json!({"type": "delete_session", "id": "d", "session": session});
    let answer = there.native().await.ask(delete).await;
    assert_eq!(answer["type"], "ack", "{answer}");
    client.until_type("detached").await;
    other.until_type("detached").await;
    for list in &mut lists {
        list.until(|frame| frame["type"] == "session_gone" && frame["session"] == session).await;
    }
}

#[tokio::test]
async fn an_agent_edited_and_deleted_through_one_node_changes_its_live_sessions_on_another() {
    let database = SharedDatabase::create();
    let (here, there) = (database.node("here").await, database.node("there").await);
    let (mut client, session) = here.agent("ada", "offline").await;
    client.attach(&session, None).await;
    let ask = json!({"type": "send", "session": session, "text": "what is 6*7?"});
    client.send(ask.clone()).await;
    let frames = client.turn().await;
    assert!(frames.iter().all(|frame| frame["event"]["kind"] != "approval_asked"));

    let mut seen = watcher(&here).await;
    let settings = json!({"name": "eve", "permissions": {"calculator": "ask"}});
    assert_eq!(call(&there, "PATCH", "/v1/agents/ada", &[], Some(settings)).await.0, 200);
    // The list is told behind the session.
    seen.until(is_session(&session, "agent_name", json!("eve"))).await;
    client.send(ask).await;
    client.until(|frame| frame["event"]["kind"] == "approval_asked").await;

    assert_eq!(call(&there, "DELETE", "/v1/agents/eve", &[], None).await.0, 204);
    client.until_type("detached").await;
    seen.until(|frame| frame["type"] == "session_gone" && frame["session"] == session).await;
}

#[tokio::test]
async fn every_request_about_a_session_works_on_a_node_that_does_not_have_it() {
    let database = SharedDatabase::create();
    let (here, there) = tokio::join!(database.node("here"), database.node("there"));
    let (mut client, session) = here.agent("ada", "offline").await;
    let made = client.ask(json!({"type": "create_session", "id": "s", "agent": "ada"})).await;
    let side = made["session"].as_str().unwrap().to_owned();
    for session in [&session, &side] {
        client.attach(session, Some(0)).await;
    }
    let at = |rest: &str| format!("/v1/sessions/{session}{rest}");
    let block = "/v1/agents/ada/blocks/human".to_owned();
    let requests = [
        ("PUT", block.clone(), Some(json!({"text": "Likes tea."})), 200),
        ("PATCH", block.clone(), Some(json!({"limit": 300})), 200),
        ("DELETE", block, None, 204),
        ("GET", at(""), None, 200),
        ("PATCH", at(""), Some(json!({"title": "Tea"})), 200),
        ("GET", at("/events"), None, 200),
        ("GET", at("/inputs"), None, 200),
        ("GET", at("/calls"), None, 200),
        ("POST", at("/inputs?wait=20"), Some(json!({"text": "hello"})), 200),
        ("DELETE", at("/inputs/i-none"), None, 404),
        ("POST", at("/cancel"), None, 409),
        ("POST", at("/calls/c-none/decision"), Some(json!({"decision": "approved"})), 404),
        ("GET", at("/calls/c-none/output"), None, 404),
        ("PATCH", "/v1/agents/ada".to_owned(), Some(json!({"keep_days": 9})), 200),
        ("GET", "/v1/agents/ada/export".to_owned(), None, 200),
        ("DELETE", format!("/v1/sessions/{side}"), None, 204),
        ("DELETE", "/v1/agents/ada".to_owned(), None, 204),
    ];
    for (method, path, body, status) in requests {
        let (answered, answer) = call(&there, method, &path, &[], body).await;
        assert_ne!(answer["code"], "moved", "{method} {path}");
        assert_eq!(answered, status, "{method} {path}: {answer}");
    }
    let metrics = http().get(format!("{}/metrics", there.url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for name in ["forwarded_commands_total", "takeovers_total", "commit_batch", "commit_seconds"] {
        assert!(metrics.contains(&format!("thoughtwire_{name}")), "{name}: {metrics}");
    }
    let line = metrics.lines().find_map(|line| {
        line.strip_prefix("thoughtwire_forwarded_commands_total ")?.parse::<u64>().ok()
    });
    assert!(line.unwrap() >= 5, "{metrics}");
}
