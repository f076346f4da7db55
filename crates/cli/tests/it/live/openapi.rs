//! A server's answers against `docs/openapi.json`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use thoughtwire_server::{ROUTES, RequiredScope};

use super::access::Guarded;
use super::openapi_document::{check, closed, document, operations, parameters};
use super::rest::http;
use super::test_store::is_in_database;

/// A server that is asked, and everything that it was asked and answered.
struct Asked {
    guarded: Guarded,
    document: Value,
    keys: u32,
    answers: BTreeSet<(String, String, String)>,
    named: BTreeSet<(String, String, String)>,
}

impl Asked {
    async fn start() -> Self {
        // A server of tools that cannot be started is shown all the same.
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&config, "[mcp.nowhere]\ncommand = \"/nowhere/at/all\"").unwrap();
        let guarded = Guarded::with(&["--config", config.path().to_str().unwrap()]).await;
        Self {
            guarded,
            document: closed(),
            keys: 0,
            answers: BTreeSet::new(),
            named: BTreeSet::new(),
        }
    }

    /// Asks a route, and holds question and answer to the document.
    async fn ask(
        &mut self,
        route: &str,
        places: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> reqwest::Response {
        let (method, target) = route.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let operation = self.document["paths"][path][method.to_lowercase()].clone();
        let mut names: Vec<&str> = places.iter().chain(headers).map(|(name, _)| *name).collect();
        names
            .extend(query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name));
        let declared: Vec<&str> = parameters(&self.document, &operation)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let mut url = format!("{}{target}", self.guarded.live.url);
        for (name, value) in places {
            url = url.replace(&format!("{{{name}}}"), value);
        }
        let mut request =
            http().request(method.parse().unwrap(), url).bearer_auth(&self.guarded.owner);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if declared.contains(&"Idempotency-Key") {
            self.keys += 1;
            request = request.header("Idempotency-Key", format!("k-{}", self.keys));
            names.push("Idempotency-Key");
        }
        for name in names {
            assert!(
                declared.contains(&name) || name == "accept",
                "{route}: the document does not know {name}"
            );
            self.named.insert((path.to_owned(), method.to_lowercase(), name.to_owned()));
        }
        if let Some(body) = body {
            check(
                &self.document,
                &operation["requestBody"]["content"]["application/json"]["schema"],
                &body,
                route,
            );
            request = request.json(&body);
        } else {
            assert_ne!(operation["requestBody"]["required"], true, "{route} wants a body");
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16().to_string();
        let answer = &operation["responses"][&status];
        assert!(
            answer.is_object(),
            "{route} was answered {status}: {}",
            response.text().await.unwrap()
        );
        let kind = response
            .headers()
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().split(';').next().unwrap());
        match kind {
            Some(kind) => {
                assert!(answer["content"][kind].is_object(), "{route} was answered with {kind}");
            }
            None => assert!(answer.get("content").is_none(), "{route} was answered with nothing"),
        }
        self.answers.insert((path.to_owned(), method.to_lowercase(), status));
        response
    }

    /// The same, where the answer is JSON.
    async fn json(&mut self, route: &str, places: &[(&str, &str)], body: Option<Value>) -> Value {
        let response = self.ask(route, places, &[], body).await;
        let (method, target) = route.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap();
        let status = response.status().as_u16().to_string();
        let operation = &self.document["paths"][path][method.to_lowercase()];
        let answer: Value = response.json().await.unwrap();
        check(
            &self.document,
            &operation["responses"][&status]["content"]["application/json"]["schema"],
            &answer,
            route,
        );
        answer
    }

    /// Reads a session as it grows, up to an event of a kind.
    async fn until(&mut self, session: &str, kind: &str) -> Value {
        let headers = [("accept", "text/event-stream"), ("Last-Event-ID", "0")];
        let mut stream = self
            .ask(
                "GET /v1/sessions/{session}/events?lastEventId=0",
                &[("session", session)],
                &headers,
                None,
            )
            .await;
        let mut text = String::new();
        loop {
            text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            while let Some((event, behind)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let record: Value =
                    data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
                text = behind.to_owned();
                if !record.is_null() {
                    check(
                        &self.document,
                        &json!({"$ref": "#/components/schemas/Record"}),
                        &record,
                        "an event of the stream",
                    );
                }
                if record["event"]["kind"] == kind {
                    return record;
                }
            }
        }
    }

    async fn server(&mut self) {
        let served = self.ask("GET /v1/openapi.json", &[], &[], None).await;
        assert_eq!(served.json::<Value>().await.unwrap(), document());
        assert!(
            self.ask("GET /metrics", &[], &[], None)
                .await
                .text()
                .await
                .unwrap()
                .ends_with("# EOF\n")
        );
        self.json("GET /v1/nodes", &[], None).await;
        if is_in_database() {
            // Databases are backed up with their own tools.
            return;
        }
        assert!(
            self.ask("GET /v1/backup", &[], &[], None)
                .await
                .bytes()
                .await
                .unwrap()
                .starts_with(b"SQLite format 3")
        );
    }

    async fn keys(&mut self) {
        let body =
            json!({"user": "bo", "name": "phone", "scopes": ["chat"], "expires_in_seconds": 3600});
        let made = self.json("POST /v1/keys", &[], Some(body)).await;
        let id = made["key"]["id"].as_str().unwrap();
        self.json("GET /v1/keys", &[], None).await;
        self.json("GET /v1/whoami", &[], None).await;
        self.json("POST /v1/login", &[], Some(json!({"key": made["secret"]}))).await;
        self.ask("POST /v1/logout", &[], &[], None).await;
        self.json("POST /v1/tickets", &[], None).await;
        self.ask("POST /v1/keys/rotate", &[], &[], None).await;
        self.ask("DELETE /v1/keys/{key}", &[("key", id)], &[], None).await;
    }

    /// Makes an agent that asks for leave before it calculates; its main session.
    async fn agents(&mut self) -> String {
        let spec = json!({
            "name": "ada",
            "persona": "You are Ada.",
            "model": "offline",
            "style": "native",
            "max_steps": 9,
        });
        let made = self.json("POST /v1/agents", &[], Some(spec)).await;
        self.json("GET /v1/agents", &[], None).await;
        self.json("GET /v1/presets", &[], None).await;
        let ada = [("agent", "ada")];
        let changes = json!({
            "permissions": {"calculator": "ask"},
            "max_steps": null,
            "token_budget": 100_000,
        });
        self.json("PATCH /v1/agents/{agent}", &ada, Some(changes)).await;
        let page = self.json("GET /v1/agents/{agent}", &ada, None).await;
        assert_eq!(page["mcp"][0]["name"], "nowhere");
        made["agent"]["main_session"].as_str().unwrap().to_owned()
    }

    async fn memory(&mut self) {
        let (ada, plans) = ([("agent", "ada")], [("agent", "ada"), ("label", "plans")]);
        let block =
            json!({"text": "Tea at five.", "limit": 500, "description": "What is to come."});
        self.json("PUT /v1/agents/{agent}/blocks/{label}", &plans, Some(block)).await;
        self.json(
            "PATCH /v1/agents/{agent}/blocks/{label}",
            &plans,
            Some(json!({"text": "Tea at six."})),
        )
        .await;
        self.json("GET /v1/agents/{agent}/blocks", &ada, None).await;
        self.ask("DELETE /v1/agents/{agent}/blocks/{label}", &plans, &[], None).await;
        let notes = json!({"notes": [
            {"text": "The key hangs behind the clock.", "source": "house.md"},
            {"text": "The tea is in the tin."},
        ]});
        self.json("POST /v1/agents/{agent}/archival", &ada, Some(notes)).await;
        let found = self
            .json(
                "GET /v1/agents/{agent}/archival?query=clock&from=2026-01-01T00:00:00.000Z\
                 &to=2126-01-01T00:00:00.000Z&why=true&offset=0&limit=5",
                &ada,
                None,
            )
            .await;
        assert_eq!(found["notes"][0]["source"], "house.md");
        let all = self.json("GET /v1/agents/{agent}/archival?after=0", &ada, None).await;
        assert_eq!(all["total"], 2);
    }

    async fn inputs(&mut self, session: &str) {
        let of = [("session", session)];
        let asked = self
            .json("POST /v1/sessions/{session}/inputs", &of, Some(json!({"text": "what is 6*7?"})))
            .await;
        assert_eq!(asked["disposition"], "started");
        let waits = self.until(session, "approval_asked").await;
        let call = [("session", session), ("call", waits["event"]["call"].as_str().unwrap())];
        let queued = json!({"text": "never mind", "policy": "queue", "attachments": ["file-1"]});
        let queued = self.json("POST /v1/sessions/{session}/inputs", &of, Some(queued)).await;
        let waiting = self.json("GET /v1/sessions/{session}/inputs", &of, None).await;
        assert_eq!(waiting["inputs"].as_array().unwrap().len(), 1);
        let input = [("session", session), ("input", queued["input"].as_str().unwrap())];
        self.json("DELETE /v1/sessions/{session}/inputs/{input}", &input, None).await;
        let calls = "GET /v1/sessions/{session}/calls?after=0&limit=1&unknown=false";
        assert_eq!(self.json(calls, &of, None).await["calls"][0]["state"], "waiting");
        self.json(
            "POST /v1/sessions/{session}/calls/{call}/decision",
            &call,
            Some(json!({"decision": "approved"})),
        )
        .await;
        let turn = self
            .json(
                "POST /v1/sessions/{session}/inputs?wait=600",
                &of,
                Some(json!({"text": "hello"})),
            )
            .await;
        assert_eq!(
            turn["events"].as_array().unwrap().last().unwrap()["event"]["kind"],
            "turn_ended"
        );
        let calls = self.json("GET /v1/sessions/{session}/calls", &of, None).await;
        assert_eq!(calls["calls"][0]["state"], "done");
        let output =
            self.ask("GET /v1/sessions/{session}/calls/{call}/output", &call, &[], None).await;
        assert!(output.text().await.unwrap().contains("42"));
        self.json("GET /v1/sessions/{session}/events?after=1&limit=1000", &of, None).await;
        let found = self
            .json(
                "GET /v1/agents/{agent}/recall?query=hello&from=2026-01-01T00:00:00.000Z\
                 &to=2126-01-01T00:00:00.000Z&why=true&offset=0&limit=5",
                &[("agent", "ada")],
                None,
            )
            .await;
        assert_ne!(found["total"], 0);
    }

    async fn sessions(&mut self) {
        let new = json!({
            "agent": "ada",
            "title": "Tea",
            "instructions": "Be brief.",
            "history": [{"role": "user", "text": "Hi"}],
        });
        let session = self.json("POST /v1/sessions", &[], Some(new)).await["session"]
            .as_str()
            .unwrap()
            .to_owned();
        let of = [("session", session.as_str())];
        self.json("GET /v1/sessions?agent=ada&limit=5", &[], None).await;
        self.json("GET /v1/sessions/{session}", &of, None).await;
        self.json(
            "PATCH /v1/sessions/{session}",
            &of,
            Some(json!({"title": "Coffee", "keep_days": 90})),
        )
        .await;
        self.json("GET /v1/sessions/{session}", &of, None).await;
        self.json("PATCH /v1/sessions/{session}", &of, Some(json!({"keep_days": null}))).await;
        self.json("POST /v1/sessions/{session}/inputs", &of, Some(json!({"text": "what is 6*9?"})))
            .await;
        let turn = self.until(&session, "approval_asked").await["turn"].clone();
        self.json("POST /v1/sessions/{session}/cancel", &of, Some(json!({"turn": turn}))).await;
        self.until(&session, "turn_ended").await;
        self.ask("DELETE /v1/sessions/{session}", &of, &[], None).await;
    }

    /// What Sparky's pages ask for.
    async fn sparky(&mut self) {
        let owner = self.guarded.owner.clone();
        let mut client = self.guarded.live.sparky(json!({"token": owner, "chat_id": "tea"})).await;
        client.until_type("ready").await;
        client.send(json!({"type": "message", "data": {"text": "what is 6*7?"}})).await;
        client.until_type("message").await;
        let login = json!({"username": "local", "password": owner});
        let tokens = self.json("POST /api/auth/login", &[], Some(login)).await;
        let refresh = json!({"refresh_token": tokens["refresh_token"]});
        self.json("POST /api/auth/refresh", &[], Some(refresh)).await;
        let new = json!({"username": "local", "email": "a@b.c", "password": owner});
        self.json("POST /api/auth/register", &[], Some(new)).await;
        assert_eq!(self.json("GET /api/auth/me", &[], None).await["id"], "local");
        self.json("POST /api/auth/logout", &[], None).await;
        let (user, chat) = ([("user", "local")], [("user", "local"), ("chat", "tea")]);
        let list = "GET /api/user/{user}/chats?limit=5&offset=0&include_archived=true";
        assert_eq!(self.json(list, &user, None).await["chats"][0]["chat_id"], "tea");
        let name = json!({"chat_name": "Coffee"});
        self.json("PUT /api/user/{user}/chats/{chat}", &chat, Some(name)).await;
        let model = json!({"model": "offline"});
        self.json("PUT /api/user/{user}/chats/{chat}/model", &chat, Some(model)).await;
        self.json("POST /api/user/{user}/chats/{chat}/archive", &chat, None).await;
        self.json("POST /api/user/{user}/chats/{chat}/unarchive", &chat, None).await;
        let of = [("chat", "tea")];
        let page = "GET /api/chats/{chat}/messages?limit=50&offset=1";
        assert_ne!(self.json(page, &of, None).await["messages"], json!([]));
        for route in ["GET /api/prompts", "GET /api/resources", "GET /api/models", "GET /health"] {
            self.json(route, &[], None).await;
        }
        self.json("POST /upload_file", &[], None).await;
        self.json("DELETE /api/user/{user}/chats/{chat}", &chat, None).await;
    }

    async fn files(&mut self) {
        let ada = [("agent", "ada")];
        let file = self.json("GET /v1/agents/{agent}/export?history=true", &ada, None).await;
        self.json("POST /v1/import?name=eve", &[], Some(file)).await;
        self.ask("DELETE /v1/agents/{agent}", &ada, &[], None).await;
    }
}

#[tokio::test]
async fn what_the_server_answers_is_what_the_document_says() {
    let mut asked = Asked::start().await;
    asked.keys().await;
    let session = asked.agents().await;
    asked.memory().await;
    asked.inputs(&session).await;
    asked.sessions().await;
    asked.sparky().await;
    asked.files().await;
    asked.server().await;
    for (path, method, operation) in operations(&document()) {
        for status in
            operation["responses"].as_object().unwrap().keys().filter(|status| *status != "default")
        {
            let answer = (path.to_owned(), method.to_owned(), status.clone());
            // A database is backed up with its own tools.
            let is_elsewhere = is_in_database() && path == "/v1/backup" && status == "200";
            assert!(
                is_elsewhere || asked.answers.contains(&answer),
                "{method} {path} was never answered {status}: ask it above"
            );
        }
        for parameter in parameters(&document(), operation) {
            let name = parameter["name"].as_str().unwrap().to_owned();
            assert!(
                asked.named.contains(&(path.to_owned(), method.to_owned(), name)),
                "{method} {path} was never asked with {parameter}"
            );
        }
    }
}

#[tokio::test]
async fn what_it_refuses_it_refuses_as_the_document_says() {
    let guarded = Guarded::start().await;
    let document = closed();
    let refusals = &document["components"]["responses"];
    let schema = |name: &str| &refusals[name]["content"]["application/json"]["schema"];
    let error = schema("Refused");
    for (method, path, need) in ROUTES {
        if *need == RequiredScope::Open {
            continue;
        }
        let refused = http()
            .request(method.to_uppercase().parse().unwrap(), format!("{}{path}", guarded.live.url))
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), 401, "{method} {path}");
        let error = if path.starts_with("/api/") { schema("SparkyRefused") } else { error };
        check(&document, error, &refused.json().await.unwrap(), path);
    }
    let agent = |method: &str, path: &str, body: Value| {
        let request = http()
            .request(method.parse().unwrap(), format!("{}{path}", guarded.live.url))
            .bearer_auth(&guarded.owner);
        async move { request.json(&body).send().await.unwrap() }
    };
    assert_eq!(agent("POST", "/v1/agents", json!({"name": "ada"})).await.status(), 201);
    let refused: Value =
        agent("PATCH", "/v1/agents/ada", json!({"mood": "calm"})).await.json().await.unwrap();
    check(&document, error, &refused, "an unknown setting");
    // It names the settings that there are: those of the document.
    let (_, there_are) =
        refused["error"]["reason"].as_str().unwrap().split_once("there are: ").unwrap();
    let settings =
        document["components"]["schemas"]["AgentPatch"]["properties"].as_object().unwrap();
    assert_eq!(
        there_are.split(", ").collect::<BTreeSet<_>>(),
        settings.keys().map(String::as_str).collect()
    );
}
