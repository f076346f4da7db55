//! Path prefixes, and paths that are not there.

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::http;
use super::support::Live;

async fn get(url: String, accept: &str) -> reqwest::Response {
    http().get(url).header("accept", accept).send().await.unwrap()
}

#[tokio::test]
async fn a_server_below_a_prefix_answers_with_it_and_without_it() {
    let guarded = Guarded::with(&["--base-path", "/tw"]).await;
    let url = &guarded.live.url;
    // A proxy may take the prefix off or leave it; the owner's commands come without.
    for prefix in ["", "/tw"] {
        let health = get(format!("{url}{prefix}/healthz"), "*/*").await;
        assert_eq!(health.text().await.unwrap(), "ok\n");
        let page = get(format!("{url}{prefix}/"), "text/html").await;
        assert_eq!(page.status(), 200);
        let policy = page.headers().get("content-security-policy").cloned();
        let html = page.text().await.unwrap();
        // Where the server was built with its page.
        if html.contains("<script") {
            assert!(html.contains(r#"<base href="/tw/" />"#), "{html}");
            assert!(policy.unwrap().to_str().unwrap().contains("base-uri 'self'"));
        }
        let login = http().post(format!("{url}{prefix}/v1/login"));
        let login = login.json(&json!({"key": guarded.owner})).send().await.unwrap();
        let cookie = login.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.contains("; Path=/tw/;"), "{cookie}");
        let document = get(format!("{url}{prefix}/v1/openapi.json"), "*/*").await;
        let document: Value = document.json().await.unwrap();
        assert_eq!(document["servers"], json!([{"url": "/tw"}]));
        for path in ["/v1/ws", "/memgpt", "/ws/chat"] {
            let plain = get(format!("{url}{prefix}{path}"), "*/*").await;
            assert_eq!(plain.status(), 426, "{prefix}{path} speaks WebSocket");
        }
    }
    for elsewhere in ["/twice/healthz", "/tw/tw/healthz", "/TW/healthz"] {
        assert_eq!(get(format!("{url}{elsewhere}"), "*/*").await.status(), 404, "{elsewhere}");
    }
    // Without its slash, relative addresses would lead beside it.
    let bare = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let bare = bare.build().unwrap().get(format!("{url}/tw?x=1")).send().await.unwrap();
    assert_eq!(
        (bare.status().as_u16(), &bare.headers()["location"]),
        (308, &"/tw/?x=1".parse().unwrap())
    );
    let mut client = guarded.live.connect("/tw/v1/ws").await;
    assert_eq!(client.next().await["type"], "welcome");
}

#[tokio::test]
async fn without_a_prefix_cookies_and_addresses_are_for_the_whole_host() {
    let guarded = Guarded::start().await;
    let login = http().post(format!("{}/v1/login", guarded.live.url));
    let login = login.json(&json!({"key": guarded.owner})).send().await.unwrap();
    let cookie = login.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; Path=/;"), "{cookie}");
    let page = get(format!("{}/", guarded.live.url), "text/html").await.text().await.unwrap();
    assert!(!page.contains("<base"), "{page}");
}

#[tokio::test]
async fn a_missing_path_is_a_page_for_browsers_and_json_for_programs() {
    let live = Live::start().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for path in ["/nowhere", "/no/where", "/v1/nowhere", "/assets"] {
        let page = get(format!("{}{path}", live.url), browser).await;
        assert_eq!(page.status(), 404, "{path}");
        assert!(
            page.headers()["content-type"].to_str().unwrap().starts_with("text/html"),
            "{path}"
        );
        assert!(page.headers().contains_key("content-security-policy"), "{path}");
        let html = page.text().await.unwrap();
        assert!(html.contains("<h1>There is nothing at this address</h1>"), "{path}: {html}");
        for accept in ["application/json", "*/*", ""] {
            let told = get(format!("{}{path}", live.url), accept).await;
            assert_eq!(told.status(), 404, "{path}");
            let told: Value = told.json().await.unwrap();
            assert_eq!(told["error"]["code"], "not_found", "{path} as {accept:?}");
        }
    }
    let posted = http().post(format!("{}/nowhere", live.url)).header("accept", browser);
    let told: Value = posted.send().await.unwrap().json().await.unwrap();
    assert_eq!(told["error"]["code"], "not_found");
}

#[test]
fn a_prefix_that_is_none_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "").unwrap();
    for prefix in ["/a b", "https://home.example/tw", "/..", "/tw;x"] {
        let args = ["config", "check", "--config", file.to_str().unwrap(), "--base-path", prefix];
        let output = crate::usage::thoughtwire(&args, b"");
        assert!(output.err.contains("base_path"), "{prefix}: {}", output.err);
    }
}
