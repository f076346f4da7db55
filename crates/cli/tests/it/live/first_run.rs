//! A fresh server and a key that may only chat.

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::call;

#[tokio::test]
async fn a_key_for_chat_gets_the_default_agent_and_no_other() {
    let guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["chat"]).await;
    let bearer = format!("Bearer {key}");
    let as_ada = [("authorization", bearer.as_str())];
    let create =
        async |body: Value| call(&guarded.live, "POST", "/v1/agents", &as_ada, Some(body)).await;
    for other in [
        json!({"name": "other"}),
        json!({"name": "Main"}),
        json!({"name": "main", "model": "load:items=1"}),
        json!({"name": "main", "persona": "You are somebody else."}),
        json!({"name": "main", "permissions": {"fetch_url": "allow"}}),
        json!({"name": "main", "max_steps": 1000}),
    ] {
        let (status, told) = create(other.clone()).await;
        assert_eq!((status, &told["error"]["code"]), (403, &json!("forbidden")), "{other}");
    }
    let (_, none) = call(&guarded.live, "GET", "/v1/agents", &as_ada, None).await;
    assert_eq!(none, json!({"agents": []}));
    // Over REST, over the native wire, again and at once: the same agent.
    let all = futures::future::join_all((0..8).map(|_| create(json!({"name": "main"})))).await;
    let session = all[0].1["agent"]["main_session"].clone();
    for (status, made) in &all {
        assert_eq!((*status, &made["agent"]["main_session"]), (201, &session), "{made}");
    }
    let mut client = guarded.native(&key).await;
    for id in ["one", "two", "one"] {
        let made = client.ask(json!({"type": "create_agent", "id": id, "name": "main"})).await;
        assert_eq!((&made["type"], &made["session"]), (&json!("ack"), &session), "{made}");
    }
    let refused = client.ask(json!({"type": "create_agent", "id": "x", "name": "other"})).await;
    assert_eq!(refused["code"], "forbidden");
    client.attach(session.as_str().unwrap(), Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "what is 6*7?"})).await;
    let turn = client.turn().await;
    assert!(turn.iter().any(|frame| frame.to_string().contains("42")), "{turn:?}");
    // Another user's default agent is another one.
    let (_, bob) = guarded.key("bob", &["chat"]).await;
    let mut bobs = guarded.native(&bob).await;
    let made = bobs.ask(json!({"type": "create_agent", "id": "b", "name": "main"})).await;
    assert_ne!(made["session"], session);
    // A key that may create agents learns that the name is taken.
    let (_, both) = guarded.key("ada", &["chat", "agents"]).await;
    let bearer = format!("Bearer {both}");
    let may_make = [("authorization", bearer.as_str())];
    let again = Some(json!({"name": "main"}));
    assert_eq!(call(&guarded.live, "POST", "/v1/agents", &may_make, again).await.0, 409);
}

#[tokio::test]
async fn a_key_with_only_the_agents_scope_cannot_read_sessions() {
    let guarded = Guarded::start().await;
    let (_, both) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, agents) = guarded.key("ada", &["agents"]).await;
    let bearer = format!("Bearer {both}");
    let as_both = [("authorization", bearer.as_str())];
    let (_, made) =
        call(&guarded.live, "POST", "/v1/agents", &as_both, Some(json!({"name": "ada"}))).await;
    let session = made["agent"]["main_session"].as_str().unwrap();
    let inputs = format!("/v1/sessions/{session}/inputs?wait=30");
    let said = json!({"text": "the secret word is plum"});
    assert_eq!(call(&guarded.live, "POST", &inputs, &as_both, Some(said)).await.0, 200);
    let bearer = format!("Bearer {agents}");
    let as_agents = [("authorization", bearer.as_str())];
    for (path, with_agents) in [
        ("/v1/agents/ada/export?history=true", 403),
        ("/v1/agents/ada/recall?query=plum", 403),
        ("/v1/agents/ada/export", 200),
        ("/v1/agents/ada/export?history=false", 200),
    ] {
        let (status, told) = call(&guarded.live, "GET", path, &as_agents, None).await;
        assert_eq!(status, with_agents, "{path}");
        assert!(!told.to_string().contains("plum"), "{path}: {told}");
        assert_eq!(call(&guarded.live, "GET", path, &as_both, None).await.0, 200, "{path}");
    }
}
