//! What `GET /` shows to a browser: the page that `make web` built, or, where none was, how to get it.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use tower_http::compression::CompressionLayer;

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
/// A name with a hash in it never means anything else.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// What the page loads.
pub(crate) fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/assets/{*name}",
            get(|Path(name): Path<String>| async move { file(&format!("assets/{name}"), FOREVER) }),
        )
        .route("/icon.svg", get(|| async { file("icon.svg", ASK_AGAIN) }))
        .layer(CompressionLayer::new())
}

/// The page itself.
pub(crate) fn index() -> Response {
    if Built::get("index.html").is_some() {
        file("index.html", ASK_AGAIN)
    } else {
        Html(WITHOUT).into_response()
    }
}

fn file(name: &str, caching: HeaderValue) -> Response {
    let Some(file) = Built::get(name) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, caching),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, file.data).into_response()
}

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
  pre { padding: .75rem 1rem; border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .5rem; overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); vertical-align: top; }
</style>
<main>
<h1>Thoughtwire runs here</h1>
<p>It keeps LLM agents on a WebSocket: their thoughts, tool calls and messages, in order, once, also for clients that come back later.</p>
<h2>This page</h2>
<p>This server was built without its web client. It needs Node.js with npm; in the source folder, say:</p>
<pre>make web
make serve</pre>
<h2>Talk to an agent</h2>
<pre>thoughtwire chat
thoughtwire send "what is 6*7?"</pre>
<h2>Connect a client</h2>
<table>
<tr><th>Path<th>Wire
<tr><td><code>/v1/ws</code><td>native, <code>thoughtwire.v1</code>: positions, resume, cancel, deltas
<tr><td><code>/memgpt</code> (or <code>/</code>)<td>MemGPT's WebSocket protocol
<tr><td><code>/ws/chat</code><td>Sparky's WSMessage protocol
<tr><td><code>/v1/…</code><td>REST: agents, sessions, events, inputs
<tr><td><code>/healthz</code>, <code>/readyz</code><td>operations
</table>
<p>The frames are described in PROTOCOL.md.</p>
</main>
</html>
"#;
