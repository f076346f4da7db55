//! The page at `GET /`: the one that `make web` built, or a notice on how to get it.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use tower_http::compression::CompressionLayer;

use crate::base_path::BasePath;

/// Paths to which a link of another site may lead, as their routes are written.
pub(crate) const PATHS: [&str; 5] = ["/", "/assets/{*name}", "/icon.svg", "/healthz", "/readyz"];

/// The built page, as it was when the server was built.
#[derive(RustEmbed)]
#[folder = "../../web/dist/page"]
#[allow_missing = true]
struct Built;

/// Everything comes from here, and nothing that stands in a text can run.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);
/// As above, for a page that says where its relative addresses begin.
const POLICY_WITH_BASE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
);
/// For a page without scripts, whose style is its own and which shows nothing of the request.
const STATIC_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);
/// A name with a hash in it never means anything else.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// Files that the page loads.
pub(crate) fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/assets/{*name}",
            get(|Path(name): Path<String>| async move { file(&format!("assets/{name}"), FOREVER) }),
        )
        .route("/icon.svg", get(|| async { file("icon.svg", ASK_AGAIN) }))
        .layer(CompressionLayer::new())
}

/// The page itself. Where a prefix was configured, its relative addresses begin there.
pub(crate) fn index(base: &BasePath) -> Response {
    let Some(built) = Built::get("index.html") else {
        return ([(CACHE_CONTROL, ASK_AGAIN)], Html(WITHOUT)).into_response();
    };
    if base.is_empty() {
        return file("index.html", ASK_AGAIN);
    }
    let html = String::from_utf8_lossy(&built.data);
    // A prefix has no character that HTML reads as anything else.
    let element = format!("<head>\n    <base href=\"{}\" />", base.root());
    let html = html.replacen("<head>", &element, 1);
    let headers = [
        (CACHE_CONTROL, ASK_AGAIN),
        (CONTENT_SECURITY_POLICY, POLICY_WITH_BASE),
        (REFERRER_POLICY, NO_REFERRER),
    ];
    (headers, Html(html)).into_response()
}

/// The answer to a browser that asks for a path that is not there. `path` is as the server got it.
pub(crate) fn missing(path: &str) -> Response {
    // Relative, so that it leads to the page behind a prefix that nobody told us of, too.
    let depth = path.split('/').count().saturating_sub(2);
    let page = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let html = MISSING.replace("{page}", &page);
    let headers = [
        (CACHE_CONTROL, ASK_AGAIN),
        (CONTENT_SECURITY_POLICY, STATIC_POLICY),
        (REFERRER_POLICY, NO_REFERRER),
    ];
    (StatusCode::NOT_FOUND, headers, Html(html)).into_response()
}

fn file(name: &str, caching: HeaderValue) -> Response {
    let Some(file) = Built::get(name) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, caching),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, NO_REFERRER),
    ];
    (headers, file.data).into_response()
}

/// The page for a path that is not there.
const MISSING: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Not found · Thoughtwire</title>
<style>
  :root { --ground: #fbfaf8; --ink: #1d2327; --quiet: #5c656d; --accent: #24567f; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #15181b; --ink: #e6e8ea; --quiet: #a3abb2; --accent: #8fc1e8; }
  }
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
  body { color: var(--ink); background: var(--ground); }
  main { max-width: 24rem; margin: 20vh auto 0; padding: 0 1rem; }
  h1 { font-size: 1rem; margin: 0; }
  p { color: var(--quiet); }
  a { color: var(--accent); }
</style>
<main>
<h1>There is nothing at this address</h1>
<p>The link may be old, or mistyped.</p>
<p><a href="{page}">Go to Thoughtwire</a></p>
</main>
</html>
"#;

/// Where the page was not built: what runs here, how to talk to it, and how to get the page.
const WITHOUT: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Thoughtwire</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif; }
  body { max-width: 42rem; margin: 3rem auto; padding: 0 1.25rem; }
  h1 { font-size: 1.6rem; margin-bottom: .25rem; }
  code, pre { font: .9rem/1.5 ui-monospace, monospace; }
  pre { padding: .75rem 1rem; border-radius: .5rem; overflow-x: auto;
    border: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; padding: .3rem .75rem .3rem 0; vertical-align: top;
    border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
</style>
<main>
<h1>Thoughtwire runs here</h1>
<p>A session server for LLM agents: their thoughts, tool calls and messages, in order, once,
also for clients that reconnect later.</p>
<h2>This page</h2>
<p>This server was built without its web client. Install Node.js with npm, and run in the source
folder:</p>
<pre>make web
make serve</pre>
<h2>Talk to an agent</h2>
<pre>thoughtwire chat
thoughtwire send "what is 6*7?"</pre>
<h2>Connect a client</h2>
<table>
<tr><th>Path<th>Wire
<tr><td><code>/v1/ws</code>
<td>native, <code>thoughtwire.v1</code>: positions, resume, cancel, deltas
<tr><td><code>/memgpt</code> (or <code>/</code>)<td>MemGPT's WebSocket protocol
<tr><td><code>/ws/chat</code><td>Sparky's WSMessage protocol
<tr><td><code>/v1/…</code><td>REST: agents, sessions, events, inputs
<tr><td><code>/healthz</code>, <code>/readyz</code><td>operations
</table>
<p>The frames are described in PROTOCOL.md.</p>
</main>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_way_back_to_the_page_is_relative() {
        for (path, link) in
            [("/x", "./"), ("/x/", "../"), ("/x/y", "../"), ("/x/y/z", "../../"), ("//x", "../")]
        {
            let answer = missing(path);
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            let html = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
            let html = std::str::from_utf8(&html).unwrap();
            assert!(html.contains(&format!("<a href=\"{link}\">")), "{path}: {html}");
        }
    }
}
