//! Sparky's later generation, which has no `session_id`; and what a `user_id` is without keys.

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::call;
use super::support::{Live, TestClient, types};

const SLOW: &str = "load:items=40,bytes=10,rate=100";

async fn say(client: &mut TestClient, text: &str) {
    client.send(json!({"type": "message", "data": {"text": text}})).await;
}

async fn switch(client: &mut TestClient, chat: &str) -> Vec<Value> {
    client.send(json!({"type": "switch_chat", "data": {"chat_id": chat}})).await;
    client.until_type("chat_ready").await
}

fn texts(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .filter(|frame| frame["type"] == "message")
        .map(|frame| frame["data"]["text"].as_str().unwrap())
        .collect()
}

/// The frames that a worker sends in a turn of `run`.
fn verb(run: &Value, verb: &str, id: &str, text: &str) -> Value {
    json!({"type": "say", "id": id, "turn": run["turn"], "verb": verb, "text": text})
}

#[tokio::test]
async fn no_frame_has_a_session_and_results_say_whether_they_worked() {
    let live = Live::start().await;
    // As its terminal client writes it.
    let connect = json!({"personality": null, "history": null, "user_id": "u1", "token": null,
                         "chat_id": null, "chat_name": null});
    let mut client = live.sparky(connect).await;
    let ready = client.next().await;
    assert_eq!(ready["type"], "ready", "before everything else");
    assert!(ready["data"]["tools_loaded"].as_u64().unwrap() > 0);
    assert_eq!(ready["data"].as_object().unwrap().len(), 1, "{ready}");
    client.send(json!({"type": "start_chat", "data": {"chat_id": "c1", "chat_name": "T"}})).await;
    let chat = client.until_type("chat_ready").await;
    say(&mut client, "what is 6*7?").await;
    let turn = client.until_type("message").await;
    let result = turn.iter().find(|frame| frame["type"] == "tool_result").unwrap();
    assert_eq!(result["data"]["status"], "success");
    for frame in chat.iter().chain(&turn) {
        assert!(frame.get("session_id").is_none(), "{frame}");
        assert_ne!(frame["type"], "session_info");
        assert_eq!((&frame["user_id"], &frame["chat_id"]), (&json!("u1"), &json!("c1")));
    }
    say(&mut client, "what is 6/0?").await;
    let turn = client.until_type("message").await;
    let result = turn.iter().find(|frame| frame["type"] == "tool_result").unwrap();
    assert_eq!(result["data"]["status"], "error", "{turn:?}");
}

#[tokio::test]
async fn a_chat_that_is_chosen_again_brings_what_was_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &["--model", SLOW]).await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    switch(&mut client, "c1").await;
    say(&mut client, "go").await;
    let mut seen: std::collections::BTreeSet<String> =
        texts(&client.until_type("message").await).into_iter().map(str::to_owned).collect();
    drop(client);
    let mut other = live.sparky(json!({"user_id": "u2"})).await;
    other.until_type("ready").await;
    switch(&mut other, "c1").await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    assert_eq!(types(&client.until_type("ready").await), ["ready"]);
    switch(&mut client, "c1").await;
    while seen.len() < 40 {
        seen.extend(texts(&[client.next().await]).into_iter().map(str::to_owned));
    }
    other.send(json!({"type": "nonsense"})).await;
    assert_eq!(other.next().await["type"], "error", "another user's chat of that name is another");
    say(&mut client, "once more").await;
    client.until_type("message").await;
    live.kill().await;
    // The turn that the kill interrupted goes on, and that is reported in the same way.
    let live = Live::on(dir.path(), &["--model", SLOW]).await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    client.send(json!({"type": "start_chat", "data": {"chat_id": "c1"}})).await;
    super::sparky::goes_on(&mut client).await;
}

#[tokio::test]
async fn a_client_that_knows_no_chats_gets_what_it_missed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &["--model", SLOW]).await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    say(&mut client, "go").await;
    client.until_type("message").await;
    live.kill().await;
    let live = Live::on(dir.path(), &["--model", SLOW]).await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    assert_eq!(super::sparky::goes_on(&mut client).await["chat_id"], "default");
}

#[tokio::test]
async fn a_message_goes_to_the_chat_that_its_user_selected_last() {
    let live = Live::start().await;
    // The page of 932ae57 comes back with `session_id: null` and selects nothing.
    for connect in [json!({"session_id": null, "user_id": "u1"}), json!({"user_id": "u2"})] {
        let mut client = live.sparky(connect.clone()).await;
        client.until_type("ready").await;
        switch(&mut client, "c1").await;
        switch(&mut client, "c2").await;
        drop(client);
        let mut client = live.sparky(connect.clone()).await;
        client.until_type("ready").await;
        say(&mut client, "what is 6*7?").await;
        let turn = client.until_type("message").await;
        assert!(turn.iter().all(|frame| frame["chat_id"] == "c2"), "{connect}: {turn:?}");
    }
    // A user who never selected one is in the default one, whatever others did.
    let mut client = live.sparky(json!({"session_id": null, "user_id": "u3"})).await;
    client.until_type("ready").await;
    say(&mut client, "hello").await;
    assert!(client.until_type("message").await.iter().all(|frame| frame["chat_id"] == "default"));
}

#[tokio::test]
async fn with_keys_the_token_says_who_it_is() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, bob) = guarded.key("bob", &["chat"]).await;
    let mut hers = guarded.live.sparky(json!({"token": ada, "chat_id": "c1"})).await;
    let ready = hers.until_type("ready").await.pop().unwrap();
    assert_eq!(ready["user_id"], "ada");
    say(&mut hers, "the word is plum").await;
    hers.until_type("message").await;
    // A `user_id` beside a token does not count, and gives no way to another user's chats.
    let connect = json!({"token": bob, "user_id": "ada", "chat_id": "c1"});
    let mut his = guarded.live.sparky(connect).await;
    let ready = his.until_type("ready").await.pop().unwrap();
    assert_eq!(ready["user_id"], "bob");
    say(&mut his, "what is the word?").await;
    let turn = his.until_type("message").await;
    assert!(!format!("{turn:?}").contains("plum"), "{turn:?}");
    let mut nobody = guarded.live.sparky(json!({"user_id": "ada"})).await;
    assert_eq!(nobody.next().await["type"], "error");
}

#[tokio::test]
async fn without_keys_the_owner_sees_and_offers_what_a_user_id_has() {
    let live = Live::start().await;
    let mut client = live.sparky(json!({"user_id": "u1", "chat_id": "c1"})).await;
    client.until_type("ready").await;
    say(&mut client, "hello").await;
    client.until_type("message").await;
    let (_, sessions) = call(&live, "GET", "/v1/sessions?agent=sparky:u1", &[], None).await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "its main one, and the chat's");
    let mut native = live.native().await;
    native.send(json!({"type": "watch", "id": "w"})).await;
    native.until(|frame| frame["listing"]["agent_name"] == "sparky:u1").await;
    // An agent that is offered under the name answers the user.
    let mut program = live.native().await;
    let offer = json!({"type": "offer", "id": "o", "agent": "sparky:u2", "worker": "w"});
    assert_eq!(program.ask(offer).await["type"], "ack");
    let mut client = live.sparky(json!({"user_id": "u2"})).await;
    client.until_type("ready").await;
    say(&mut client, "hello").await;
    let run = program.until_type("run").await.pop().unwrap();
    // A MemGPT agent's message about a function that it could not call is a failed call.
    let line = "Error: No function named fly";
    assert_eq!(program.ask(verb(&run, "function_message", "f1", line)).await["type"], "ack");
    assert_eq!(program.ask(verb(&run, "finish", "f2", "from outside")).await["type"], "ack");
    let turn = client.until_type("message").await;
    assert_eq!(texts(&turn), ["from outside"]);
    let of = |kind: &str| &turn.iter().find(|frame| frame["type"] == kind).unwrap()["data"];
    assert_eq!(of("tool_use"), &json!({"name": "fly", "args": {}}));
    let result = json!({"name": "fly", "result": "No function named fly", "status": "error"});
    assert_eq!(of("tool_result"), &result);
}

#[tokio::test]
async fn long_user_ids_that_begin_alike_share_nothing() {
    let live = Live::start().await;
    let ids = ["a", "b"].map(|end| format!("{}{end}", "u".repeat(62)));
    for id in &ids {
        let mut client = live.sparky(json!({"user_id": id, "chat_id": "c1"})).await;
        client.until_type("ready").await;
    }
    let (_, agents) = call(&live, "GET", "/v1/agents", &[], None).await;
    let names: std::collections::BTreeSet<_> =
        agents["agents"].as_array().unwrap().iter().map(|one| one["name"].to_string()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
