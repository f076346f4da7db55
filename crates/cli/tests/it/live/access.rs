//! Access: keys, scopes, tickets and cookies, and the isolation of users.

use serde_json::{Value, json};
use thoughtwire_server::{ROUTES, RequiredScope};

use super::rest::{call, http};
use super::support::{Live, TestClient};

/// A server that asks for keys, and the owner's hands.
pub(super) struct Guarded {
    pub(super) live: Live,
    pub(super) owner: String,
    pub(super) dir: tempfile::TempDir,
}

impl Guarded {
    pub(super) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::on(dir.path(), &[&["--auth", "keys"], flags].concat()).await;
        let owner = owner_token(&dir);
        Self { live, owner, dir }
    }

    pub(super) async fn call(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let bearer = format!("Bearer {key}");
        call(&self.live, method, path, &[("authorization", &bearer)], body).await
    }

    /// A new key: its id, and what opens.
    pub(super) async fn key(&self, user: &str, scopes: &[&str]) -> (String, String) {
        let (status, made) = self
            .call(&self.owner, "POST", "/v1/keys", Some(json!({"user": user, "scopes": scopes})))
            .await;
        assert_eq!(status, 201, "{made}");
        (
            made["key"]["id"].as_str().unwrap().to_owned(),
            made["secret"].as_str().unwrap().to_owned(),
        )
    }

    pub(super) async fn native(&self, key: &str) -> TestClient {
        let mut client = self.live.native().await;
        client.send(json!({"type": "hello", "token": key})).await;
        client
    }

    /// A connection whose request bears a key, past its greeting if its wire has one.
    pub(super) async fn connect(
        &self,
        path: &str,
        key: &str,
    ) -> Result<TestClient, tokio_websockets::Error> {
        let builder =
            tokio_websockets::ClientBuilder::from_uri(self.live.ws(path).parse().unwrap());
        let builder = builder
            .add_header("authorization".parse().unwrap(), format!("Bearer {key}").parse().unwrap())
            .unwrap();
        builder.connect().await.map(|(socket, _)| TestClient { socket })
    }
}

pub(super) fn owner_token(dir: &tempfile::TempDir) -> String {
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("server.json")).unwrap())
            .unwrap();
    file["token"].as_str().unwrap().to_owned()
}

/// Everything of a user's that has an id or a name.
pub(super) struct Belongings {
    pub(super) agent: String,
    pub(super) session: String,
    pub(super) input: String,
    pub(super) call: String,
    /// A Sparky user, and a chat of it.
    pub(super) space: String,
    pub(super) chat: String,
}

/// An agent with a session in which a call waits for approval and an input waits for its turn.
async fn belongings(guarded: &Guarded, key: &str) -> Belongings {
    let (_, made) = guarded
        .call(
            key,
            "POST",
            "/v1/agents",
            Some(json!({"name": "secretary", "persona": "keeps the secret word"})),
        )
        .await;
    let agent = made["agent"]["id"].as_str().unwrap().to_owned();
    let session = made["agent"]["main_session"].as_str().unwrap().to_owned();
    let notes = json!({"notes": [{"text": "the secret word is plum"}]});
    assert_eq!(
        guarded.call(key, "POST", "/v1/agents/secretary/archival", Some(notes)).await.0,
        201
    );
    let ask = json!({"permissions": {"calculator": "ask"}});
    assert_eq!(guarded.call(key, "PATCH", "/v1/agents/secretary", Some(ask)).await.0, 200);
    let mut client = guarded.native(key).await;
    client.attach(&session, Some(0)).await;
    client
        .send(json!({"type": "send", "id": "one", "session": session, "text": "what is 6*7?"}))
        .await;
    let asked =
        client.until(|frame| frame["event"]["kind"] == "approval_asked").await.pop().unwrap();
    let call = asked["event"]["call"].as_str().unwrap().to_owned();
    let queued = client
        .ask(json!({"type": "send", "id": "two", "session": session,
        "text": "the secret word is plum"}))
        .await;
    let mut sparky =
        guarded.live.sparky(json!({"token": key, "chat_id": "hers", "chat_name": "plum"})).await;
    let ready = sparky.until_type("ready").await.pop().unwrap();
    let space = ready["user_id"].as_str().unwrap().to_owned();
    let input = queued["input"].as_str().unwrap().to_owned();
    Belongings { agent, session, input, call, space, chat: "hers".to_owned() }
}

/// The request of a route about one user's belongings. A new route needs a row here.
pub(super) fn row(method: &str, path: &str, of: &Belongings) -> (String, Option<Value>) {
    let body = match (method, path) {
        ("get" | "delete", _)
        | ("post", "/v1/tickets" | "/v1/keys/rotate" | "/v1/sessions/{session}/cancel") => None,
        ("post", "/upload_file" | "/api/auth/logout") => None,
        ("post", path) if path.ends_with("archive") => None,
        ("post", "/api/auth/login" | "/api/auth/register") => {
            Some(json!({"username": "ada", "password": "twk_none"}))
        }
        ("post", "/api/auth/refresh") => Some(json!({"refresh_token": "a.b.c"})),
        ("put", "/api/user/{user}/chats/{chat}") => Some(json!({"chat_name": "taken over"})),
        ("put", "/api/user/{user}/chats/{chat}/model") => Some(json!({"model": "offline"})),
        ("post", "/v1/keys") => Some(json!({})),
        ("post", "/v1/agents") => Some(json!({"name": "mine"})),
        ("patch", "/v1/agents/{agent}") => Some(json!({"model": "offline"})),
        ("post", "/v1/import") => Some(json!({"thoughtwire": 1})),
        ("put" | "patch", "/v1/agents/{agent}/blocks/{label}") => {
            Some(json!({"text": "taken over"}))
        }
        ("post", "/v1/agents/{agent}/archival") => Some(json!({"notes": [{"text": "planted"}]})),
        ("post", "/v1/sessions") => Some(json!({"agent": of.agent})),
        ("patch", "/v1/sessions/{session}") => Some(json!({"title": "taken over"})),
        ("post", "/v1/sessions/{session}/inputs") => Some(json!({"text": "let me in"})),
        ("post", "/v1/sessions/{session}/calls/{call}/decision") => {
            Some(json!({"decision": "approved"}))
        }
        ("post", "/v1/login" | "/v1/logout") => Some(json!({"key": "twk_none"})),
        _ => panic!(
            "{method} {path} has no row: say here what it is asked, and below what others are \
            answered"
        ),
    };
    let path = path
        .replace("{agent}", &of.agent)
        .replace("{label}", "persona")
        .replace("{session}", &of.session)
        .replace("{input}", &of.input)
        .replace("{call}", &of.call)
        .replace("{user}", &of.space)
        .replace("{chat}", &of.chat)
        .replace("{key}", "nobodys");
    (
        if path.ends_with("/recall") || path.ends_with("/archival") && method == "get" {
            format!("{path}?query=plum")
        } else {
            path
        },
        body,
    )
}

#[tokio::test]
async fn every_route_hides_another_users_things() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, bob) = guarded.key("bob", &["chat", "agents"]).await;
    let hers = belongings(&guarded, &ada).await;
    let nobodys = Belongings {
        agent: "a-none".into(),
        session: "s-none".into(),
        input: "i-none".into(),
        call: "c-none".into(),
        space: "u-none".into(),
        chat: "chat-none".into(),
    };
    let before = guarded.call(&ada, "GET", &format!("/v1/sessions/{}", hers.session), None).await;
    for (method, path, need) in ROUTES {
        let (url, body) = row(method, path, &hers);
        let (status, answer) = guarded.call(&bob, &method.to_uppercase(), &url, body).await;
        let text = answer.to_string();
        for secret in ["secretary", "plum"] {
            assert!(!text.contains(secret), "{method} {path} told bob of ada: {text}");
        }
        match need {
            RequiredScope::Admin => assert_eq!(status, 403, "{method} {path}: {text}"),
            RequiredScope::Open | RequiredScope::Known => {}
            RequiredScope::Chat
            | RequiredScope::Agents
            | RequiredScope::AgentsOrDefault
            | RequiredScope::AgentsAndChat
                if path.contains("{agent}")
                    || path.contains("{session}")
                    || path.contains("{chat}")
                    || path.contains("{user}")
                    || url == "/v1/sessions" && *method == "post" =>
            {
                assert_eq!(status, 404, "{method} {path}: {text}");
                // Guessed or known, the answer is the same, so that it does not tell which.
                let (other_url, other_body) = row(method, path, &nobodys);
                let (other_status, other) =
                    guarded.call(&bob, &method.to_uppercase(), &other_url, other_body).await;
                let same = text
                    .replace(&hers.session, "s-none")
                    .replace(&hers.agent, "a-none")
                    .replace(&hers.call, "c-none")
                    .replace(&hers.input, "i-none")
                    .replace(&format!("'{}'", hers.space), "'u-none'")
                    .replace(&format!("'{}'", hers.chat), "'chat-none'");
                assert_eq!((other_status, other.to_string()), (404, same), "{method} {path}");
            }
            RequiredScope::Chat
            | RequiredScope::Agents
            | RequiredScope::AgentsOrDefault
            | RequiredScope::AgentsAndChat => {
                assert!(status < 300 || *path == "/v1/import", "{method} {path}: {status} {text}");
            }
        }
    }
    assert_eq!(
        guarded.call(&ada, "GET", &format!("/v1/sessions/{}", hers.session), None).await,
        before,
        "nothing of ada's has changed"
    );
    assert!(
        guarded.call(&ada, "GET", "/v1/agents/secretary", None).await.1["blocks"]
            .to_string()
            .contains("keeps the secret word")
    );
}

#[tokio::test]
async fn every_route_requires_a_key_with_the_right_scope() {
    let guarded = Guarded::start().await;
    let (_, chat) = guarded.key("ada", &["chat"]).await;
    let (_, agents) = guarded.key("ada", &["agents"]).await;
    let (_, admin) = guarded.key("ada", &["admin"]).await;
    let of = Belongings {
        agent: "x".into(),
        session: "x".into(),
        input: "x".into(),
        call: "x".into(),
        space: "x".into(),
        chat: "x".into(),
    };
    for (method, path, need) in ROUTES {
        let (url, body) = row(method, path, &of);
        let asked = |headers: Vec<(&'static str, String)>| {
            let (guarded, url, body) = (&guarded, url.clone(), body.clone());
            async move {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                call(&guarded.live, &method.to_uppercase(), &url, &headers, body).await.0
            }
        };
        let bearer = |key: &str| vec![("authorization", format!("Bearer {key}"))];
        let opens = *need == RequiredScope::Open;
        assert_eq!(
            asked(vec![]).await == 401,
            !opens || matches!(*path, "/v1/login" | "/api/auth/login" | "/api/auth/refresh"),
            "{method} {path} without a key"
        );
        if opens {
            continue;
        }
        for headers in [
            bearer("wrong"),
            bearer("twk_0000"),
            bearer("a.b.c"),
            vec![("cookie", "thoughtwire=a.b.c".to_owned())],
        ] {
            assert_eq!(asked(headers.clone()).await, 401, "{method} {path} with {headers:?}");
        }
        assert_eq!(
            asked(bearer(&chat)).await == 403,
            // The row of the default agent is in `first_run`: here it is another one.
            matches!(
                need,
                RequiredScope::Agents
                    | RequiredScope::AgentsOrDefault
                    | RequiredScope::AgentsAndChat
                    | RequiredScope::Admin
            ),
            "{method} {path} with `chat`"
        );
        assert_eq!(
            asked(bearer(&agents)).await == 403,
            matches!(
                need,
                RequiredScope::Chat | RequiredScope::AgentsAndChat | RequiredScope::Admin
            ),
            "{method} {path} with `agents`"
        );
        assert_ne!(asked(bearer(&admin)).await, 403, "{method} {path} with `admin`");
    }
    // A wire as well: a key for chat makes no agents.
    let mut client = guarded.native(&chat).await;
    assert_eq!(
        client.ask(json!({"type": "create_agent", "id": "c", "name": "mine"})).await["code"],
        "forbidden"
    );
}

#[tokio::test]
async fn every_wire_hides_another_users_things() {
    let guarded = Guarded::start().await;
    let (_, ada) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, bob) = guarded.key("bob", &["chat", "agents"]).await;
    let Belongings { agent, session, input, call, .. } = belongings(&guarded, &ada).await;
    let mut native = guarded.native(&bob).await;
    native.send(json!({"type": "watch", "id": "w"})).await;
    for (id, mut command) in [
        json!({"type": "attach", "session": session, "after": 0}),
        json!({"type": "send", "session": session, "text": "let me in"}),
        json!({"type": "cancel", "session": session}),
        json!({"type": "withdraw", "session": session, "input": input}),
        json!({"type": "decide", "session": session, "call": call, "decision": "approved"}),
        json!({"type": "tool_return", "session": session, "call": call, "status": "success",
            "text": "x"}),
        json!({"type": "rename", "session": session, "title": "x"}),
        json!({"type": "delete_session", "session": session}),
        json!({"type": "create_session", "agent": agent}),
    ]
    .into_iter()
    .enumerate()
    {
        command["id"] = json!(format!("b{id}"));
        let answer = native.ask(command.clone()).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert!(
            matches!(code, "unknown_session" | "unknown_agent"),
            "{command} was answered {answer}"
        );
    }
    // Names are each user's own.
    assert_eq!(
        native.ask(json!({"type": "create_agent", "id": "c", "name": "secretary"})).await["type"],
        "ack"
    );
    let mut memgpt = guarded.connect("/memgpt?client=desk", &bob).await.unwrap();
    memgpt.send(json!({"type": "command", "command": "load_agent", "name": agent})).await;
    assert!(memgpt.next().await.to_string().contains("Failed to load agent"));
    let hers = guarded.connect("/ws/chat", &ada).await;
    let mut hers = hers.unwrap();
    hers.send(json!({"type": "connect", "data": {"session_id": "desk"}})).await;
    hers.until_type("ready").await;
    let mut his = guarded.connect("/ws/chat", &bob).await.unwrap();
    his.send(json!({"type": "connect", "data": {"session_id": "desk", "user_id": "ada"}})).await;
    let info = his.until_type("session_info").await.pop().unwrap();
    assert_eq!(
        (&info["data"]["is_new"], &info["data"]["reconnected"]),
        (&json!(true), &json!(false)),
        "{info}"
    );
}

#[tokio::test]
async fn a_revoked_key_closes_its_connections_and_opens_no_new_ones() {
    let guarded = Guarded::start().await;
    let (id, key) = guarded.key("ada", &["chat", "agents"]).await;
    let (_, other) = guarded.key("ada", &["chat"]).await;
    let (_, made) = guarded.call(&key, "POST", "/v1/agents", Some(json!({"name": "main"}))).await;
    let session = made["agent"]["main_session"].as_str().unwrap();
    let mut native = guarded.native(&key).await;
    native.attach(session, None).await;
    let mut memgpt = guarded.connect("/memgpt", &key).await.unwrap();
    let mut sparky = guarded.live.sparky(json!({"token": key})).await;
    sparky.until_type("ready").await;
    let mut unharmed = guarded.native(&other).await;
    unharmed.attach(session, None).await;
    let events = http()
        .get(format!("{}/v1/sessions/{session}/events", guarded.live.url))
        .bearer_auth(&key)
        .header("accept", "text/event-stream");
    let mut events = events.send().await.unwrap();
    let (_, ticket) = guarded.call(&key, "POST", "/v1/tickets", None).await;
    let (status, _) = guarded.call(&guarded.owner, "DELETE", &format!("/v1/keys/{id}"), None).await;
    assert_eq!(status, 204);
    for client in [&mut native, &mut memgpt, &mut sparky] {
        let code = loop {
            if let Err(code) = client.next_or_close().await {
                break code;
            }
        };
        assert_eq!(code, 1008);
    }
    while let Ok(Some(_)) = events.chunk().await {}
    assert_eq!(guarded.call(&key, "GET", "/v1/agents", None).await.0, 401);
    let ticket = format!("/v1/ws?ticket={}", ticket["ticket"].as_str().unwrap());
    assert!(
        tokio_websockets::ClientBuilder::from_uri(guarded.live.ws(&ticket).parse().unwrap())
            .connect()
            .await
            .is_err()
    );
    // The remaining client sees the presence change, and still gets answers.
    unharmed.send(json!({"type": "ping"})).await;
    unharmed.until_type("pong").await;
    let (_, keys) = guarded.call(&guarded.owner, "GET", "/v1/keys", None).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert!(!keys.to_string().contains(&other), "what opens is not shown again");
    assert_eq!(
        guarded.call(&guarded.owner, "DELETE", &format!("/v1/keys/{id}"), None).await.0,
        404
    );
}

#[tokio::test]
async fn keys_survive_a_restart_and_expire_on_time() {
    let mut guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["chat"]).await;
    let short = json!({"user": "ada", "expires_in_seconds": 2});
    let (_, made) = guarded.call(&guarded.owner, "POST", "/v1/keys", Some(short)).await;
    let short = made["secret"].as_str().unwrap().to_owned();
    let mut client = guarded.native(&short).await;
    assert!(client.is_quiet().await);
    assert_eq!(client.next_or_close().await, Err(1008), "it is shown out when its key ends");
    assert_eq!(guarded.call(&short, "GET", "/v1/agents", None).await.0, 401);
    guarded.live.kill().await;
    guarded.live = Live::on(guarded.dir.path(), &["--auth", "keys"]).await;
    assert_eq!(guarded.call(&key, "GET", "/v1/agents", None).await.0, 200);
    // Nothing on the disk opens.
    for file in std::fs::read_dir(guarded.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
    }
}
