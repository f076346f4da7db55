import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { AgentPanel } from "./agent-panel";
import { Composer } from "./composer";
import { Conversation } from "./conversation";
import { deliverAll, outbox } from "./outbox";
import { SideBar } from "./side-bar";
import {
  again,
  client,
  current,
  drawer,
  line,
  loggedIn,
  needsYou,
  sessions,
  setThoughts,
  showThoughts,
  spoken,
  trouble,
} from "./store";
import { visible, visibleName } from "./visible";

export function start(root: HTMLElement, byLogin: boolean): void {
  loggedIn.value = byLogin;
  deliverAll();
  render(<App />, root);
}

function App() {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && drawer.value !== "none") drawer.value = "none";
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  // Who closes a drawer is where it was opened.
  const out = drawer.value;
  const was = useRef(out);
  useEffect(() => {
    if (out === "none" && was.current !== "none" && document.activeElement === document.body)
      document.getElementById(`${was.current}-button`)?.focus();
    was.current = out;
  }, [out]);
  const place = current.value;
  const listing = place && sessions.value.get(place.session);
  const name = listing ? visibleName(listing.title || listing.agent_name) : undefined;
  const needed = needsYou.value.length;
  useEffect(() => {
    // Seen in a tab that is not open, and first where a tab is narrow.
    document.title = [needed > 0 && `(${needed}) needs you`, name, "Thoughtwire"]
      .filter(Boolean)
      .join(" · ");
  }, [name, needed]);
  return (
    <div class="app" data-drawer={drawer.value}>
      {/* biome-ignore lint/a11y/useValidAnchor: without a script it leads there by its address. */}
      <a
        class="skip"
        href="#composer"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("composer")?.focus();
        }}
      >
        Skip to the message field
      </a>
      <SideBar />
      <main>
        <header>
          <button
            id="sessions-button"
            type="button"
            class="plain narrow"
            aria-expanded={drawer.value === "sessions"}
            onClick={() => (drawer.value = drawer.value === "sessions" ? "none" : "sessions")}
          >
            Sessions
          </button>
          <h1>{name ?? "Thoughtwire"}</h1>
          <Line />
          <label class="switch">
            <input
              type="checkbox"
              checked={showThoughts.value}
              onChange={(event) => setThoughts(event.currentTarget.checked)}
            />{" "}
            Thoughts
          </label>
          <button
            id="agent-button"
            type="button"
            class="plain"
            disabled={!listing}
            aria-expanded={drawer.value === "agent"}
            onClick={() => (drawer.value = drawer.value === "agent" ? "none" : "agent")}
          >
            Agent
          </button>
        </header>
        <Conversation />
        {trouble.value && (
          <p class="trouble" role="alert">
            <span>{visible(trouble.value)}</span>
            <button type="button" class="plain" onClick={() => (trouble.value = "")}>
              Dismiss
            </button>
          </p>
        )}
        <Composer />
        <p class="unseen" role="status" aria-label="News">
          <span key={spoken.value.n}>{spoken.value.text}</span>
        </p>
      </main>
      {drawer.value === "agent" && listing && (
        <AgentPanel key={listing.agent} agent={listing.agent} edits={place.edits.value} />
      )}
    </div>
  );
}

/** When the next attempt to connect is made, and a way to make it now. */
function Again() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds =
    again.value === undefined ? 0 : Math.max(0, Math.ceil((again.value - now) / 1000));
  return (
    <>
      {/* Ticking is for the eye: a screen reader is told the state alone. */}
      <span aria-hidden="true">
        {again.value === undefined || seconds === 0 ? " · trying now" : ` · again in ${seconds} s`}
      </span>{" "}
      <button type="button" class="plain small" onClick={() => client.wake()}>
        Retry now
      </button>
    </>
  );
}

/** Whether the server is there, who else is, and what the session has cost. */
function Line() {
  const place = current.value;
  const others = place ? place.present.value - 1 : 0;
  const kept =
    line.value === "offline" && outbox.value.length > 0 ? `, ${outbox.value.length} to send` : "";
  const usage = place && sessions.value.get(place.session)?.usage;
  return (
    <p class="about-line">
      <span class="line" data-line={line.value} role="status" aria-label="Connection">
        {line.value}
        {kept}
        {line.value === "offline" && <Again />}
        {others > 0 && ` · ${others} other${others > 1 ? "s" : ""} here`}
      </span>
      {usage && (
        <span
          class="spent"
          title={`${usage.input_tokens.toLocaleString("en")} tokens read, ${usage.output_tokens.toLocaleString("en")} written`}
        >
          {(usage.input_tokens + usage.output_tokens).toLocaleString("en")} tokens
        </span>
      )}
    </p>
  );
}
