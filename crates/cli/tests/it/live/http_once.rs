//! `Idempotency-Key` on every POST: it takes effect once, or is refused.

use serde_json::{Value, json};
use thoughtwire_server::ROUTES;

use super::access::Guarded;
use super::rest::http;

/// The effect of an idempotency key on a route.
enum Keyed {
    /// It works: a request, and another one that the same key may not stand for.
    Once(Value, Value),
    /// It is refused, and nothing is done.
    Refused(Value),
}

fn import(name: &str) -> Value {
    let notes = json!([{"text": "tea", "at": "2026-01-01T00:00:00Z"}]);
    json!({"thoughtwire_agent": 1, "agent": {"name": name}, "blocks": [], "notes": notes})
}

/// A new POST needs an answer here.
fn keyed(path: &str) -> Keyed {
    match path {
        "/v1/agents" => Keyed::Once(json!({"name": "bea"}), json!({"name": "cleo"})),
        "/v1/import" => Keyed::Once(import("dan"), import("eve")),
        "/v1/sessions" => Keyed::Once(
            json!({"agent": "ada", "title": "a"}),
            json!({"agent": "ada", "title": "b"}),
        ),
        "/v1/agents/{agent}/archival" => Keyed::Once(
            json!({"notes": [{"text": "one"}]}),
            json!({"notes": [{"text": "one"}, {"text": "two"}]}),
        ),
        "/v1/sessions/{session}/inputs" => {
            Keyed::Once(json!({"text": "what is 6*7?"}), json!({"text": "what is 6*9?"}))
        }
        "/v1/sessions/{session}/calls/{call}/decision" => {
            Keyed::Once(json!({"decision": "approved"}), json!({"decision": "denied"}))
        }
        "/v1/sessions/{session}/cancel" => Keyed::Once(json!({}), json!({"turn": "t-other"})),
        "/v1/keys" => Keyed::Refused(json!({"user": "ada"})),
        "/v1/tickets" | "/v1/logout" | "/v1/keys/rotate" => Keyed::Refused(json!({})),
        path if path.starts_with("/api/") || path == "/upload_file" => Keyed::Refused(json!({})),
        "/v1/login" => Keyed::Refused(json!({"key": "twk_none"})),
        _ => panic!("POST {path} has no row: say here what becomes of an Idempotency-Key"),
    }
}

struct Scene {
    guarded: Guarded,
    session: String,
    call: String,
}

impl Scene {
    async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let path = path
            .replace("{agent}", "ada")
            .replace("{session}", &self.session)
            .replace("{call}", &self.call);
        let request = http()
            .post(format!("{}{path}", self.guarded.live.url))
            .bearer_auth(&self.guarded.owner)
            .header("idempotency-key", key)
            .json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let request = http().get(format!("{}{path}", self.guarded.live.url));
        request.bearer_auth(&self.guarded.owner).send().await.unwrap().json().await.unwrap()
    }

    /// Everything that a POST can make more of, and the log.
    async fn counts(&self) -> Vec<usize> {
        let mut counts = Vec::new();
        for (path, list) in [
            ("/v1/agents", "agents"),
            ("/v1/sessions", "sessions"),
            ("/v1/keys", "keys"),
            ("/v1/agents/ada/archival", "notes"),
        ] {
            counts.push(self.get(path).await[list].as_array().unwrap().len());
        }
        counts
    }

    async fn inputs(&self) -> usize {
        let page = self.get(&format!("/v1/sessions/{}/events?limit=1000", self.session)).await;
        let events = page["events"].as_array().unwrap();
        events.iter().filter(|record| record["event"]["kind"] == "user_message").count()
    }
}

/// An agent with a call that waits for approval.
async fn scene() -> Scene {
    let guarded = Guarded::start().await;
    let mut client = guarded.native(&guarded.owner).await;
    let made = client.ask(json!({"type": "create_agent", "id": "c", "name": "ada"})).await;
    let session = made["session"].as_str().unwrap().to_owned();
    let asks = json!({"permissions": {"calculator": "ask"}});
    let edit = http().patch(format!("{}/v1/agents/ada", guarded.live.url));
    edit.bearer_auth(&guarded.owner).json(&asks).send().await.unwrap();
    client.attach(&session, Some(0)).await;
    client.send(json!({"type": "send", "session": session, "text": "what is 6*7?"})).await;
    let asked = client.until(|frame| frame["event"]["kind"] == "approval_asked").await;
    let call = asked.last().unwrap()["event"]["call"].as_str().unwrap().to_owned();
    Scene { guarded, session, call }
}

#[tokio::test]
async fn a_key_takes_effect_once_or_is_refused_on_every_post() {
    let scene = scene().await;
    let posts: Vec<&str> =
        ROUTES.iter().filter(|(method, ..)| *method == "post").map(|(_, path, _)| *path).collect();
    // Requests that end the turn come last: an input must queue, and a decision must be due.
    let ends = |path: &&str| (path.ends_with("/cancel"), path.ends_with("/decision"));
    let mut ordered = posts.clone();
    ordered.sort_by_key(ends);
    for path in ordered {
        let key = path.replace('/', "-");
        match keyed(path) {
            Keyed::Once(body, other) => {
                if path.ends_with("/cancel") {
                    // The approved turn has ended, or goes on: either way there is one to cancel.
                    let again = json!({"text": "what is 6*9?"});
                    scene.post("/v1/sessions/{session}/inputs", "for-cancel", &again).await;
                }
                let (status, first) = scene.post(path, &key, &body).await;
                assert!(status < 300, "{path}: {status} {first}");
                let (counts, inputs) = (scene.counts().await, scene.inputs().await);
                let (again, repeated) = scene.post(path, &key, &body).await;
                assert_eq!(again, status, "{path}: {repeated}");
                let plain = |answer: &Value| {
                    let mut answer = answer.clone();
                    answer.as_object_mut().unwrap().remove("duplicate");
                    answer
                };
                assert_eq!(plain(&repeated), plain(&first), "{path}");
                let (refused, why) = scene.post(path, &key, &other).await;
                assert_eq!((refused, &why["error"]["code"]), (422, &json!("id_reused")), "{path}");
                assert_eq!(scene.counts().await, counts, "{path}");
                assert_eq!(scene.inputs().await, inputs, "{path}");
            }
            Keyed::Refused(body) => {
                let counts = scene.counts().await;
                let (status, why) = scene.post(path, &key, &body).await;
                assert_eq!(status, 400, "{path}: {why}");
                // Sparky's routes refuse in Sparky's form.
                let reason = why["error"]["reason"].as_str().or(why["detail"].as_str()).unwrap();
                assert!(reason.contains("Idempotency-Key"), "{path}: {reason}");
                assert_eq!(scene.counts().await, counts, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn only_one_of_many_simultaneous_posts_with_one_key_takes_effect() {
    let scene = scene().await;
    for (path, body) in [
        ("/v1/import", import("dan")),
        ("/v1/agents/{agent}/archival", json!({"notes": [{"text": "one"}, {"text": "two"}]})),
    ] {
        let counts = scene.counts().await;
        let key = path.replace('/', "-");
        let all = (0..8).map(|_| scene.post(path, &key, &body));
        let answers = futures::future::join_all(all).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
        assert_eq!(answers[0].0, 201, "{path}");
        let grown = scene.counts().await;
        let more: usize = grown.iter().zip(&counts).map(|(now, before)| now - before).sum();
        // An agent and its main session, or two notes.
        assert_eq!(more, 2, "{path}: {counts:?}, then {grown:?}");
    }
    let notes = scene.get("/v1/agents/dan/archival").await;
    assert_eq!(notes["total"], 1, "the imported notes came with their agent");
}
