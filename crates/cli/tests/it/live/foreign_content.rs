//! Every answer to one user is searched for what another user wrote, wherever that may stand: in
//! names, texts, errors, headers, pushed frames or figures.

use serde_json::{Value, json};
use thoughtwire_server::{ROUTES, RequiredScope};

use super::access::{Belongings, Guarded, row};
use super::rest::http;
use super::support::TestClient;
use super::tools::{config, gossip};

/// Stands in everything that Ada writes, and in nothing that Bob writes.
const MARK: &str = "quetzal";

/// Sends a request and returns all that came back: status line, headers and body as text.
async fn raw(
    guarded: &Guarded,
    key: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, String) {
    let method: reqwest::Method = method.to_uppercase().parse().unwrap();
    let mut request = http().request(method, format!("{}{path}", guarded.live.url));
    request = request.bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
    (status, format!("{headers} {}", response.text().await.unwrap()))
}

/// A user's agent, sessions, memory, calls and chat, with `word` in all texts and names.
async fn plant(guarded: &Guarded, key: &str, word: &str) -> (Belongings, TestClient) {
    let agent = json!({
        "name": format!("{word}-agent"), "model": "offline",
        "persona": format!("{word} in the persona"), "human": format!("{word} in the human"),
    });
    let (status, made) = guarded.call(key, "POST", "/v1/agents", Some(agent)).await;
    assert_eq!(status, 201, "{made}");
    let agent = made["agent"]["id"].as_str().unwrap().to_owned();
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let at = |path: &str| format!("/v1/agents/{agent}/{path}");
    let notes = json!({"notes": [
        {"text": format!("a note about the {word} and the word"), "source": format!("{word}.md")},
    ]});
    assert_eq!(guarded.call(key, "POST", &at("archival"), Some(notes)).await.0, 201);
    let block = json!({"text": format!("{word} in a block")});
    let label = at(&format!("blocks/{word}-block"));
    assert!(guarded.call(key, "PUT", &label, Some(block)).await.0 < 300);
    let ask = json!({"permissions": {"calculator": "ask"}});
    assert_eq!(guarded.call(key, "PATCH", &format!("/v1/agents/{agent}"), Some(ask)).await.0, 200);
    let title = json!({"title": format!("{word} in the title")});
    let path = format!("/v1/sessions/{session}");
    assert_eq!(guarded.call(key, "PATCH", &path, Some(title)).await.0, 200);
    // Calls of a shared server, which writes them to its standard error; one fails.
    for text in [
        format!("use gossip__act {{\"word\": \"{word}\"}}"),
        format!("use gossip__act [\"{word}\"]"),
        format!("remember that the {word} is blue"),
    ] {
        let path = format!("/v1/sessions/{session}/inputs?wait=30");
        let (status, told) = guarded.call(key, "POST", &path, Some(json!({"text": text}))).await;
        assert_eq!(status, 200, "{told}");
    }
    let mut client = guarded.native(key).await;
    client.attach(&session, Some(0)).await;
    client
        .send(json!({"type": "send", "id": "one", "session": session, "text": "what is 6*7?"}))
        .await;
    let asked = client.until(|frame| frame["event"]["kind"] == "approval_asked").await;
    let call = asked.last().unwrap()["event"]["call"].as_str().unwrap().to_owned();
    let text = format!("the word is {word}");
    let queued = json!({"type": "send", "id": "two", "session": session, "text": text});
    let input = client.ask(queued).await["input"].as_str().unwrap().to_owned();
    let chat = format!("chat-{}", &session[..8]);
    let connect = json!({"token": key, "chat_id": chat, "chat_name": format!("{word} in a chat")});
    let mut sparky = guarded.live.sparky(connect).await;
    let space = sparky.until_type("ready").await.pop().unwrap()["user_id"].clone();
    let mut memgpt = guarded.connect(&format!("/memgpt?client={word}"), key).await.unwrap();
    let load = json!({"type": "command", "command": "load_agent", "name": format!("{word}-agent")});
    memgpt.send(load).await;
    memgpt.next().await;
    let space = space.as_str().unwrap().to_owned();
    (Belongings { agent, session, input, call, space, chat }, client)
}

#[tokio::test]
async fn no_answer_to_one_user_has_anything_that_another_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), &gossip(dir.path()));
    let guarded = Guarded::with(&["--config", &file]).await;
    let (_, ada) = guarded.key("ada", &["chat", "agents", "offer"]).await;
    let (_, bob) = guarded.key("bob", &["chat", "agents", "offer"]).await;
    let probe = Some(json!({"name": "probe"}));
    assert_eq!(guarded.call(&guarded.owner, "POST", "/v1/agents", probe).await.0, 201);
    let state = async || guarded.call(&guarded.owner, "GET", "/v1/agents/probe", None).await.1;
    while state().await["mcp"][0]["phase"] != "ready" {
        tokio::task::yield_now().await;
    }
    // Bob listens on every wire while Ada acts.
    let (his, mut native) = plant(&guarded, &bob, "walnut").await;
    native.send(json!({"type": "watch", "id": "w"})).await;
    let (hers, mut her_client) = plant(&guarded, &ada, MARK).await;

    // The mark does stand where Ada may read it: a test that plants nothing finds nothing.
    let mut seen = 0;
    for (method, path, _) in ROUTES.iter().filter(|(method, ..)| *method == "get") {
        let (url, body) = row(method, path, &hers);
        let url = url.replace("query=plum", "query=word");
        seen += usize::from(raw(&guarded, &ada, method, &url, body).await.1.contains(MARK));
    }
    assert!(seen >= 10, "only {seen} of Ada's own answers have what she wrote");

    // Each route about his own things, about hers, and about nobody's.
    for of in [&his, &hers] {
        for (method, path, need) in ROUTES {
            // His own stay for the routes that follow, and nobody's login ends.
            let ends = *method == "delete" && std::ptr::eq(of, &his) || path.ends_with("/rotate");
            if ends {
                continue;
            }
            let (url, body) = row(method, path, of);
            let url = url.replace("query=plum", "query=word");
            let (status, answer) = raw(&guarded, &bob, method, &url, body).await;
            assert!(!answer.contains(MARK), "{method} {url} ({status}) told bob: {answer}");
            assert!(*need != RequiredScope::Admin || status == 403, "{method} {url}: {status}");
        }
    }
    for path in ["/", "/healthz", "/readyz", "/health", "/nothing-here", "/v1/whoami"] {
        let (_, answer) = raw(&guarded, &bob, "GET", path, None).await;
        assert!(!answer.contains(MARK), "{path} told bob: {answer}");
    }
    let (status, figures) = raw(&guarded, &guarded.owner, "GET", "/metrics", None).await;
    assert!(status == 200 && !figures.contains(MARK), "{figures}");

    // Ada goes on: a rename, an approval, a message, an agent that fails.
    let (call, session) = (&hers.call, &hers.session);
    for frame in [
        json!({"type": "rename", "id": "r", "session": session, "title": "quetzal again"}),
        json!({"type": "decide", "id": "d", "session": session, "call": call,
            "decision": "approved"}),
        json!({"type": "send", "id": "s", "session": session, "text": "quetzal once more"}),
    ] {
        her_client.ask(frame).await;
    }
    her_client.until(|frame| frame["event"]["kind"] == "turn_ended").await;
    // Bob's requests on the native wire about her things, by id.
    for (id, frame) in [
        json!({"type": "attach", "session": session, "after": 0}),
        json!({"type": "send", "session": session, "text": "hello"}),
        json!({"type": "create_session", "agent": hers.agent}),
        json!({"type": "decide", "session": session, "call": call, "decision": "approved"}),
        json!({"type": "offer", "worker": "w", "agent": hers.agent}),
        json!({"type": "create_agent", "name": "main"}),
        json!({"type": "nonsense"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut frame = frame;
        frame["id"] = json!(format!("b{id}"));
        native.send(frame).await;
    }
    native.send(json!({"type": "ping"})).await;
    let frames = native.until(|frame| frame["type"] == "pong").await;
    assert!(frames.iter().any(|frame| frame["type"] == "refused"), "{frames:?}");
    assert!(!json!(frames).to_string().contains(MARK), "{frames:?}");
    let mut memgpt = guarded.connect("/memgpt", &bob).await.unwrap();
    for frame in [
        json!({"type": "command", "command": "load_agent", "name": hers.agent}),
        json!({"type": "user_message", "message": "hello", "agent_name": hers.agent}),
        json!({"type": "command", "command": "nonsense"}),
    ] {
        memgpt.send(frame).await;
        let answer = memgpt.next().await;
        assert!(!answer.to_string().contains(MARK), "{answer}");
    }
    let mut sparky = guarded.live.sparky(json!({"token": bob, "chat_id": hers.chat})).await;
    sparky.until_type("ready").await;
    sparky.send(json!({"type": "message", "data": {"text": "what do you know of me?"}})).await;
    let frames = sparky.until_type("message").await;
    assert!(!json!(frames).to_string().contains(MARK), "{frames:?}");
}
