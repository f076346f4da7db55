//! The rights of pages: CORS, cross-site requests and response headers.

use super::access::Guarded;
use super::rest::http;
use super::support::Live;
use super::test_store::is_in_database;

const APP: &str = "https://app.example";

async fn answer(
    live: &Live,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> reqwest::Response {
    let mut request = http().request(method.parse().unwrap(), format!("{}{path}", live.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_ask_and_read_everything() {
    let guarded = Guarded::with(&["--allow-origin", APP]).await;
    let live = &guarded.live;
    let owner = format!("Bearer {}", guarded.owner);
    for path in ["/v1/agents", "/v1/sessions/x/events", "/v1/login", "/metrics", "/", "/nowhere"] {
        let asks = [
            ("origin", APP),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,idempotency-key,last-event-id"),
            ("access-control-request-private-network", "true"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
        ];
        let preflight = answer(live, "OPTIONS", path, &asks).await;
        assert_eq!(preflight.status(), 204, "{path}");
        assert_eq!(header(&preflight, "access-control-allow-origin"), APP, "{path}");
        assert_eq!(header(&preflight, "access-control-allow-headers"), asks[2].1, "{path}");
        assert_eq!(header(&preflight, "access-control-allow-private-network"), "true", "{path}");
        assert!(header(&preflight, "access-control-allow-methods").contains("PATCH"), "{path}");
        assert!(header(&preflight, "access-control-max-age").parse::<u64>().unwrap() > 0, "{path}");
        let vary: Vec<_> = preflight.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|vary| *vary == "origin"), "{path}: {vary:?}");
    }
    let from_app = ("origin", APP);
    let cross = ("sec-fetch-site", "cross-site");
    for (path, key, status) in [
        ("/v1/whoami", owner.as_str(), 200),
        ("/v1/whoami", "Bearer wrong", 401),
        ("/v1/sessions/none", owner.as_str(), 404),
        ("/v1/sessions?limit=x", owner.as_str(), 400),
        ("/v1/nowhere", owner.as_str(), 404),
    ] {
        let asked = [from_app, cross, ("authorization", key)];
        let read = answer(live, "GET", path, &asked).await;
        assert_eq!(read.status(), status, "{path}");
        assert_eq!(header(&read, "access-control-allow-origin"), APP, "{path}");
        assert!(header(&read, "access-control-expose-headers").contains("retry-after"), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not_even_ask() {
    let keyless = tempfile::tempdir().unwrap();
    let keyless = Live::on(keyless.path(), &["--allow-origin", APP]).await;
    let guarded = Guarded::with(&["--allow-origin", APP]).await;
    let owner = format!("Bearer {}", guarded.owner);
    for live in [&keyless, &guarded.live] {
        for origin in
            ["https://evil.example", "http://app.example", "https://app.example:444", "null"]
        {
            let asks = [
                ("origin", origin),
                ("access-control-request-method", "GET"),
                ("sec-fetch-site", "cross-site"),
            ];
            let preflight = answer(live, "OPTIONS", "/v1/agents", &asks).await;
            assert!(preflight.status().is_client_error(), "{origin}");
            let asked =
                [("origin", origin), ("sec-fetch-site", "cross-site"), ("authorization", &owner)];
            let read = answer(live, "GET", "/v1/whoami", &asked).await;
            assert_eq!(read.status(), 403, "{origin}");
            for refused in [&preflight, &read] {
                let names = refused.headers().keys();
                let shares: Vec<_> =
                    names.filter(|name| name.as_str().starts_with("access-control")).collect();
                assert!(shares.is_empty(), "{origin}: {shares:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_image_or_a_link_of_another_page_reads_nothing() {
    let live = Live::start().await;
    let (_client, session) = live.agent("ada", "offline").await;
    let events = format!("/v1/sessions/{session}/events");
    for path in ["/v1/backup", "/v1/agents", "/metrics", "/v1/keys", events.as_str()] {
        for site in ["cross-site", "same-site"] {
            for (mode, destination) in
                [("no-cors", "image"), ("navigate", "document"), ("navigate", "iframe")]
            {
                let asked = [
                    ("sec-fetch-site", site),
                    ("sec-fetch-mode", mode),
                    ("sec-fetch-dest", destination),
                ];
                let refused = answer(&live, "GET", path, &asked).await;
                assert_eq!(refused.status(), 403, "{path} {asked:?}");
            }
        }
        for site in ["same-origin", "none"] {
            let read = answer(&live, "GET", path, &[("sec-fetch-site", site)]).await;
            // A database is backed up with its own tools.
            let refused = path == "/v1/backup" && is_in_database();
            assert_eq!(read.status(), if refused { 400 } else { 200 }, "{path} {site}");
        }
    }
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("accept", "text/html"),
    ];
    assert_eq!(answer(&live, "GET", "/", &link).await.status(), 200);
    assert_eq!(answer(&live, "GET", "/nowhere", &link).await.status(), 404);
}

#[tokio::test]
async fn every_answer_keeps_other_pages_and_caches_away() {
    let live = Live::start().await;
    for (path, caching) in [
        ("/v1/agents", "no-store"),
        ("/v1/agents/none", "no-store"),
        ("/v1/openapi.json", "no-store"),
        ("/metrics", "no-store"),
        ("/v1/backup", "no-store"),
        ("/", "no-cache"),
        ("/nowhere", ""),
        ("/healthz", ""),
    ] {
        let read = answer(&live, "GET", path, &[]).await;
        assert_eq!(header(&read, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&read, "cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(header(&read, "cache-control"), caching, "{path}");
    }
    let refused = answer(&live, "GET", "/v1/agents", &[("host", "evil.example")]).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(header(&refused, "cross-origin-resource-policy"), "same-origin");
}

#[tokio::test]
async fn a_request_through_a_proxy_is_told_what_to_do() {
    let live = Live::start().await;
    for (name, value) in [
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-host", "home.example"),
        ("x-real-ip", "203.0.113.9"),
        ("via", "1.1 caddy"),
        ("cf-connecting-ip", "203.0.113.9"),
        ("cf-ray", "1"),
        ("true-client-ip", "203.0.113.9"),
        ("x-original-url", "/v1/agents"),
        ("tailscale-user-login", "ada@example.com"),
    ] {
        let refused = answer(&live, "GET", "/v1/whoami", &[(name, value)]).await;
        assert_eq!(refused.status(), 403, "{name}");
        let told = refused.text().await.unwrap();
        assert!(told.contains(name) && told.contains("--trust-proxy"), "{name}: {told}");
    }
    let old = http().get(format!("{}/v1/whoami", live.url)).version(reqwest::Version::HTTP_10);
    let refused = old.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("HTTP/1.0"));
}
