//! Names, wherever the server accepts one: names that a URL's path loses and control characters are
//! refused, and each name has one Unicode form.

use serde_json::{Value, json};

use super::rest::http;
use super::support::Live;

/// Names that no new thing may have.
const REFUSED: [&str; 11] =
    [".", "..", "%2e", "%2E.", ".%2e", "%2e%2E", "a/..", "../a", "a\u{0}b", "a\nb", "a\u{1b}[2J"];
/// A name in two forms, and the one that is kept.
const DECOMPOSED: &str = "Zoe\u{308}";
const COMPOSED: &str = "Zo\u{eb}";

struct NamesApi<'a>(&'a Live, reqwest::Client);

impl<'a> NamesApi<'a> {
    fn of(live: &'a Live) -> Self {
        Self(live, http())
    }

    /// The status and the body of an answer. The path's segments are encoded here, dots included.
    async fn call(&self, method: &str, path: &[&str], body: Value) -> (u16, Value) {
        let mut url = format!("{}/v1", self.0.url);
        for segment in path {
            url.push('/');
            for byte in segment.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => url.push(byte.into()),
                    _ => url.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self.1.request(method, url).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// All names of agents, blocks, titles and notes.
    async fn all(&self) -> Value {
        let mut all = Vec::new();
        for path in [&["agents"][..], &["sessions"], &["agents", "main"]] {
            all.push(self.call("GET", path, Value::Null).await.1);
        }
        all.push(self.call("GET", &["agents", "main", "archival"], Value::Null).await.1);
        Value::Array(all)
    }
}

/// As it goes over a raw socket, where no client has taken the dots away.
async fn raw(live: &Live, method: &str, path: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = live.url.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn refused_over_rest_and_nothing_has_happened() {
    let live = Live::start().await;
    let rest = NamesApi::of(&live);
    let (status, agent) = rest.call("POST", &["agents"], json!({"name": "main"})).await;
    assert_eq!(status, 201);
    let session = agent["agent"]["main_session"].as_str().unwrap().to_owned();
    let before = rest.all().await;
    for name in REFUSED {
        let file = |agent: &str, label: &str| {
            json!({"thoughtwire_agent": 1, "agent": {"name": agent},
                "blocks": [{"label": label, "text": "x", "limit": 100}], "notes": [],
                    "sessions": []})
        };
        let mut requests = vec![
            ("POST", vec!["agents"], json!({"name": name})),
            ("PATCH", vec!["agents", "main"], json!({"name": name})),
            ("POST", vec!["import"], file(name, "human")),
            ("POST", vec!["import"], file("other", name)),
        ];
        // The client takes these from a path itself; see below for how they come without it.
        if !matches!(name, "." | "..") {
            requests.extend([
                ("PATCH", vec!["agents", "main", "blocks", name], json!({"text": "x"})),
                ("PUT", vec!["agents", "main", "blocks", name], json!({"text": "x"})),
            ]);
        }
        if !name.contains('/') {
            requests.extend([
                ("PATCH", vec!["sessions", &session], json!({"title": name, "keep_days": 3})),
                ("POST", vec!["sessions"], json!({"agent": "main", "title": name})),
                (
                    "POST",
                    vec!["agents", "main", "archival"],
                    json!({"notes": [{"text": "x", "source": name}]}),
                ),
            ]);
        }
        for (method, path, body) in requests {
            let (status, answer) = rest.call(method, &path, body.clone()).await;
            assert!(
                (400..500).contains(&status) && status != 404,
                "{method} {path:?} {body}: {status} {answer}"
            );
        }
    }
    for label in ["%2e%2e", "%2E.", "%2E", "%00", "%0a"] {
        let path = format!("/v1/agents/main/blocks/{label}");
        let status = raw(&live, "PUT", &path, r#"{"text": "x"}"#).await;
        assert!(status.contains(" 4") && !status.contains("404"), "{path}: {status}");
    }
    assert_eq!(rest.all().await, before);
}

#[tokio::test]
async fn refused_on_every_wire() {
    let live = Live::start().await;
    let (mut native, session) = live.agent("main", "offline").await;
    let mut memgpt = live.connect("/memgpt").await;
    let mut sparky = live.sparky(json!({"user_id": "u1"})).await;
    sparky.until_type("ready").await;
    for (n, name) in REFUSED.into_iter().enumerate() {
        let mut commands = vec![
            json!({"type": "create_agent", "id": format!("a{n}"), "name": name}),
            json!({"type": "offer", "id": format!("o{n}"), "agent": name}),
        ];
        if !name.contains('/') {
            commands.extend([
                json!({"type": "create_session", "id": format!("s{n}"), "agent": "main",
                    "title": name}),
                json!({"type": "rename", "id": format!("r{n}"), "session": session, "title": name}),
            ]);
        }
        for command in commands {
            let answer = native.ask(command.clone()).await;
            assert_eq!(answer["type"], "refused", "{command}: {answer}");
        }
        let command =
            json!({"type": "command", "command": "create_agent", "config": {"name": name}});
        memgpt.send(command).await;
        let answer = memgpt.next().await;
        let status = answer["status"].as_str().unwrap_or_default();
        assert!(!status.starts_with("OK"), "{name:?}: {answer}");
        sparky.send(json!({"type": "start_chat", "data": {"chat_id": name}})).await;
        let answer = sparky.next().await;
        assert_eq!(answer["type"], "error", "{name:?}: {answer}");
    }
    let rest = NamesApi::of(&live);
    let (_, agents) = rest.call("GET", &["agents"], Value::Null).await;
    let names: Vec<_> =
        agents["agents"].as_array().unwrap().iter().map(|agent| agent["name"].clone()).collect();
    assert!(names.iter().all(|name| name == "main" || name == "sparky"), "{names:?}");
}

#[tokio::test]
async fn one_name_in_two_forms_is_one_thing() {
    let live = Live::start().await;
    let rest = NamesApi::of(&live);
    let (status, made) = rest.call("POST", &["agents"], json!({"name": DECOMPOSED})).await;
    assert_eq!((status, &made["agent"]["name"]), (201, &json!(COMPOSED)));
    assert_eq!(rest.call("POST", &["agents"], json!({"name": COMPOSED})).await.0, 409);
    for form in [COMPOSED, DECOMPOSED] {
        let (status, found) = rest.call("GET", &["agents", form], Value::Null).await;
        assert_eq!((status, &found["agent"]["id"]), (200, &made["agent"]["id"]));
        let (status, block) =
            rest.call("PUT", &["agents", form, "blocks", form], json!({"text": form})).await;
        assert!(status < 300 && block["block"]["label"] == COMPOSED, "{block}");
    }
    let (_, page) = rest.call("GET", &["agents", COMPOSED], Value::Null).await;
    let labels = page["blocks"].as_array().unwrap().iter();
    assert_eq!(labels.filter(|block| block["label"] == COMPOSED).count(), 1, "{page}");
    let (_, opened) =
        rest.call("POST", &["sessions"], json!({"agent": DECOMPOSED, "title": DECOMPOSED})).await;
    let session = opened["session"].as_str().unwrap();
    let (_, shown) = rest.call("GET", &["sessions", session], Value::Null).await;
    assert_eq!(shown["session"]["title"], COMPOSED);
    let (status, _) =
        rest.call("DELETE", &["agents", COMPOSED, "blocks", DECOMPOSED], Value::Null).await;
    assert_eq!(status, 204);
}
