import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { AgentPanel } from "./agent-panel";
import { Composer } from "./composer";
import { Conversation } from "./conversation";
import { spent } from "./entry";
import { deliverAll, outbox } from "./outbox";
import { SideBar } from "./side-bar";
import {
  announcement,
  client,
  connectionState,
  current,
  drawer,
  errorText,
  loggedIn,
  needsYou,
  retryAt,
  sessions,
  setThoughts,
  showThoughts,
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
  // Closing a panel returns the focus to the button that opened it.
  const out = drawer.value;
  const was = useRef(out);
  useEffect(() => {
    if (out === "none" && was.current !== "none" && document.activeElement === document.body)
      document.getElementById(`${was.current}-button`)?.focus();
    was.current = out;
  }, [out]);
  const view = current.value;
  const listing = view && sessions.value.get(view.session);
  const name = listing ? visibleName(listing.title || listing.agent_name) : undefined;
  const needed = needsYou.value.length;
  useEffect(() => {
    // The count comes first, since a narrow tab shows only the beginning.
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
          <ConnectionStatus />
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
        {errorText.value && (
          <p class="error" role="alert">
            <span>{visible(errorText.value)}</span>
            <button type="button" class="plain" onClick={() => (errorText.value = "")}>
              Dismiss
            </button>
          </p>
        )}
        <Composer />
        <p class="unseen" role="status" aria-label="News">
          <span key={announcement.value.n}>{announcement.value.text}</span>
        </p>
      </main>
      {drawer.value === "agent" && listing && (
        <AgentPanel key={listing.agent} agent={listing.agent} edits={view.edits.value} />
      )}
    </div>
  );
}

/** Countdown to the next connection attempt, and a button to try now. */
function RetryCountdown() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds =
    retryAt.value === undefined ? 0 : Math.max(0, Math.ceil((retryAt.value - now) / 1000));
  return (
    <>
      {/* Screen readers get the state only, not each tick. */}
      <span aria-hidden="true">
        {retryAt.value === undefined || seconds === 0
          ? " · reconnecting…"
          : ` · retrying in ${seconds} s`}
      </span>{" "}
      <button type="button" class="plain small" onClick={() => client.wake()}>
        Retry now
      </button>
    </>
  );
}

/** State of the connection, number of other clients, and token usage of the session. */
function ConnectionStatus() {
  const view = current.value;
  const others = view ? view.present.value - 1 : 0;
  const kept =
    connectionState.value === "offline" && outbox.value.length > 0
      ? `, ${outbox.value.length} to send`
      : "";
  const usage = view && sessions.value.get(view.session)?.usage;
  return (
    <p class="status">
      <span
        class="connection"
        data-connection={connectionState.value}
        role="status"
        aria-label="Connection"
      >
        {connectionState.value}
        {kept}
        {connectionState.value === "offline" && <RetryCountdown />}
        {others > 0 && ` · ${others} other${others > 1 ? "s" : ""} here`}
      </span>
      {usage && (
        <span class="spent" title={spent(usage)}>
          {(usage.input_tokens + usage.output_tokens).toLocaleString("en")} tokens
        </span>
      )}
    </p>
  );
}
