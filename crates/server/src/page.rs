//! What `GET /` shows to a browser.

/// A plain page: what runs here, and how to talk to it.
pub(crate) const PAGE: &str = r#"<!doctype html>
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
