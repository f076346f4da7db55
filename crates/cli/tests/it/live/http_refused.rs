//! Every route refuses an invalid request before it has any effect.

use serde_json::{Value, json};

use super::rest::http;
use super::support::Live;

/// Everything that a refused request could have changed.
async fn everything(live: &Live, session: &str) -> Vec<String> {
    let paths = [
        "/v1/agents".to_owned(),
        "/v1/agents/ada".to_owned(),
        "/v1/agents/ada/archival".to_owned(),
        "/v1/agents/ada/export?history=true".to_owned(),
        "/v1/keys".to_owned(),
        "/v1/sessions".to_owned(),
        format!("/v1/sessions/{session}"),
        format!("/v1/sessions/{session}/inputs"),
        format!("/v1/sessions/{session}/events?limit=1000"),
    ];
    let mut all = Vec::new();
    for path in paths {
        let answer = http().get(format!("{}{path}", live.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        all.push(answer.text().await.unwrap());
    }
    all
}

/// A request that is wrong in one place: its method, its path, its headers and its body as written.
type Row = (&'static str, String, Vec<(&'static str, String)>, String);

fn row(method: &'static str, path: &str, body: &str) -> Row {
    (method, path.to_owned(), Vec::new(), body.to_string())
}

/// Numbers that are none where a whole number from 0 on is meant, as a query has them.
const NO_NUMBERS: [&str; 7] = ["-1", "1e30", "1.5", "abc", "NaN", "18446744073709551616", ""];

fn rows(session: &str) -> Vec<Row> {
    let of = format!("/v1/sessions/{session}");
    let say = json!({"text": "this must not be sent"});
    let said = say.to_string();
    let mut rows = Vec::new();
    let waits =
        ["-1", "-0.001", "NaN", "nan", "inf", "-inf", "infinity", "1e30", "1e400", "abc", "", "1s"];
    for wait in waits {
        rows.push(row("POST", &format!("{of}/inputs?wait={wait}"), &said));
    }
    rows.push(row("POST", &format!("{of}/inputs?wait=1&wait=2"), &said));
    for number in NO_NUMBERS {
        for path in [
            format!("{of}/events?after={number}"),
            format!("{of}/events?limit={number}"),
            format!("/v1/sessions?limit={number}"),
            format!("/v1/agents/ada/archival?limit={number}"),
            format!("/v1/agents/ada/archival?query=x&offset={number}"),
            format!("/v1/agents/ada/recall?query=x&offset={number}"),
            format!("/v1/agents/ada/recall?query=x&limit={number}"),
        ] {
            rows.push(row("GET", &path, ""));
        }
    }
    for path in [
        "/v1/agents/ada/archival?query=x&offset=18446744073709551615",
        "/v1/agents/ada/recall?query=x&offset=18446744073709551615",
        "/v1/agents/ada/archival?after=9223372036854775808",
        "/v1/agents/ada/recall",
        "/v1/agents/ada/export?history=perhaps",
        "/v1/agents/%FF",
    ] {
        rows.push(row("GET", path, ""));
    }
    // The digits of a JSON number as they are written.
    for number in ["-1", "1e30", "1.5", "\"1\"", "true", "18446744073709551616"] {
        for (method, path, body) in [
            ("PATCH", of.as_str(), r#"{"title": "taken", "keep_days": #}"#),
            ("PATCH", of.as_str(), r#"{"title": "taken", "keep_events": #}"#),
            ("PATCH", "/v1/agents/ada", r#"{"name": "taken", "keep_events": #}"#),
            ("PATCH", "/v1/agents/ada", r#"{"name": "taken", "max_steps": #}"#),
            ("PATCH", "/v1/agents/ada", r#"{"name": "taken", "token_budget": #}"#),
            ("PATCH", "/v1/agents/ada", r#"{"name": "taken", "context_window": #}"#),
            ("PUT", "/v1/agents/ada/blocks/persona", r#"{"text": "taken", "limit": #}"#),
            ("POST", "/v1/agents", r#"{"name": "made", "max_steps": #}"#),
            ("POST", "/v1/keys", r#"{"name": "made", "expires_in_seconds": #}"#),
            (
                "POST",
                "/v1/import",
                concat!(
                    r#"{"thoughtwire_agent": 1, "agent": {"name": "made"}, "#,
                    r#""blocks": [{"label": "x", "text": "", "limit": #}]}"#,
                ),
            ),
        ] {
            rows.push(row(method, path, &body.replace('#', number)));
        }
    }
    for (method, path, body) in [
        ("PATCH", of.as_str(), r#"{"title": "taken", "keep_days": 0}"#),
        ("PATCH", of.as_str(), r#"{"title": "taken", "keep_events": 0}"#),
        ("PATCH", of.as_str(), r#"{"title": "taken", "keep_events": 18446744073709551615}"#),
        ("PATCH", of.as_str(), r#"{"title": "taken", "mood": "calm"}"#),
        ("PATCH", "/v1/agents/ada", r#"{"name": "taken", "keep_events": 18446744073709551615}"#),
        ("PATCH", "/v1/agents/ada", r#"{"name": ""}"#),
        ("PUT", "/v1/agents/ada/blocks/persona", r#"{"text": "t", "limit": 18446744073709551615}"#),
        ("PUT", "/v1/agents/ada/blocks/persona", r#"{"text": "taken", "limit": 1}"#),
        ("POST", "/v1/agents", r#"{"name": "made", "keep_days": 0}"#),
        ("POST", "/v1/agents", r#"{"name": "made", "keep_events": 18446744073709551615}"#),
        ("POST", "/v1/agents", r#"{"persona": "nameless"}"#),
        ("POST", "/v1/keys", r#"{"name": "made", "expires_in_seconds": 0}"#),
        ("POST", "/v1/keys", r#"{"name": "made", "expires_in_seconds": 18446744073709551615}"#),
        ("POST", "/v1/keys", r#"{"name": "made", "scopes": ["all"]}"#),
        (
            "POST",
            "/v1/import",
            r#"{"thoughtwire_agent": 2, "agent": {"name": "made"}, "blocks": []}"#,
        ),
        (
            "POST",
            "/v1/import",
            concat!(
                r#"{"thoughtwire_agent": 1, "agent": {"name": "made"}, "#,
                r#""blocks": [{"label": "x", "text": "", "limit": 18446744073709551615}]}"#,
            ),
        ),
        (
            "POST",
            "/v1/import",
            r#"{"thoughtwire_agent": 1, "agent": {"name": "made", "keep_days": 0}, "blocks": []}"#,
        ),
        (
            "POST",
            "/v1/import",
            concat!(
                r#"{"thoughtwire_agent": 1, "agent": {"name": "made"}, "blocks": [], "#,
                r#""notes": [{"text": "x", "at": "soon"}]}"#,
            ),
        ),
        ("POST", "/v1/agents/ada/archival", r#"{"notes": [{"text": "one"}, {"text": " "}]}"#),
        (
            "POST",
            "/v1/agents/ada/archival",
            r#"{"notes": [{"text": "one"}, {"text": "x", "at": 5}]}"#,
        ),
        (
            "POST",
            "/v1/sessions",
            r#"{"agent": "ada", "history": [{"role": "nobody", "text": "x"}]}"#,
        ),
    ] {
        rows.push(row(method, path, body));
    }
    for body in
        ["", "{", "[]", r#"{"text": 5}"#, r#"{"text": "x", "policy": "shout"}"#, r#"{"text": ""}"#]
    {
        rows.push(row("POST", &format!("{of}/inputs"), body));
    }
    // A key that is none, in front of every kind of effect.
    for key in ["", &"k".repeat(65), "k\u{e9}"] {
        for (method, path, body) in [
            ("POST", format!("{of}/inputs"), say.clone()),
            ("POST", format!("{of}/cancel"), json!({})),
            ("PATCH", of.clone(), json!({"title": "taken", "keep_days": 5})),
            ("DELETE", of.clone(), Value::Null),
            ("POST", "/v1/agents".to_owned(), json!({"name": "made"})),
            ("POST", "/v1/sessions".to_owned(), json!({"agent": "ada"})),
            ("POST", "/v1/agents/ada/archival".to_owned(), json!({"notes": [{"text": "x"}]})),
            (
                "POST",
                "/v1/import".to_owned(),
                json!({"thoughtwire_agent": 1, "agent": {"name": "made"}, "blocks": []}),
            ),
        ] {
            let headers = vec![("idempotency-key", key.to_owned())];
            rows.push((method, path, headers, body.to_string()));
        }
    }
    let two = vec![("idempotency-key", "a".to_owned()), ("idempotency-key", "b".to_owned())];
    rows.push(("POST", format!("{of}/inputs"), two, say.to_string()));
    for id in ["abc", "-1", "+1", ":1", "a:b:", "1e3", "18446744073709551616"] {
        let sse = ("accept", "text/event-stream".to_owned());
        let headers = vec![sse.clone(), ("last-event-id", id.to_owned())];
        rows.push(("GET", format!("{of}/events"), headers, String::new()));
        let id = id.replace('+', "%2B");
        let path = format!("{of}/events?lastEventId={id}");
        rows.push(("GET", path, vec![sse], String::new()));
    }
    rows
}

#[tokio::test]
async fn every_400_is_given_before_anything_is_done() {
    let live = Live::start().await;
    let (_client, session) = live.agent("ada", "offline").await;
    let before = everything(&live, &session).await;
    for (method, path, headers, body) in rows(&session) {
        let mut request = http()
            .request(method.parse().unwrap(), format!("{}{path}", live.url))
            .header("content-type", "application/json")
            .body(body.clone());
        for (name, value) in &headers {
            request = request.header(*name, value.as_bytes());
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        let what = format!("{method} {path} {headers:?} {body}");
        assert_eq!(status, 400, "{what}: {text}");
        let refusal: Value = serde_json::from_str(&text).unwrap();
        assert!(!refusal["error"]["reason"].as_str().unwrap().is_empty(), "{what}: {text}");
    }
    for (now, before) in everything(&live, &session).await.iter().zip(&before) {
        assert_eq!(now, before);
    }
}
