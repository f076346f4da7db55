import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { AgentPanel } from "./agent-panel";
import { Composer } from "./composer";
import { Conversation } from "./conversation";
import { SideBar } from "./side-bar";
import { client, current, line, sessions, setThoughts, showThoughts, trouble } from "./store";

/** Which of the two drawers is out, where they do not stand beside the conversation. */
export const drawer = signal<"none" | "sessions" | "agent">("none");

export function App() {
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key === "Escape" && drawer.value !== "none") drawer.value = "none";
    };
    window.addEventListener("keydown", escape);
    return () => window.removeEventListener("keydown", escape);
  }, []);
  const place = current.value;
  const listing = place && sessions.value.get(place.session);
  return (
    <div class="app" data-drawer={drawer.value}>
      <a class="skip" href="#composer" onClick={(event) => { event.preventDefault(); document.getElementById("composer")?.focus(); }}>
        Skip to the message field
      </a>
      <SideBar />
      <main>
        <header>
          <button type="button" class="plain narrow" aria-expanded={drawer.value === "sessions"} onClick={() => (drawer.value = drawer.value === "sessions" ? "none" : "sessions")}>
            Sessions
          </button>
          <h1>{listing ? (listing.title ?? listing.agent_name) : "Thoughtwire"}</h1>
          <Line />
          <label class="switch">
            <input type="checkbox" checked={showThoughts.value} onChange={(event) => setThoughts(event.currentTarget.checked)} /> Thoughts
          </label>
          <button type="button" class="plain" disabled={!listing} aria-expanded={drawer.value === "agent"} onClick={() => (drawer.value = drawer.value === "agent" ? "none" : "agent")}>
            Agent
          </button>
        </header>
        <Conversation />
        {trouble.value && (
          <p class="trouble" role="alert">
            {trouble.value}
            <button type="button" class="plain" onClick={() => (trouble.value = "")}>Dismiss</button>
          </p>
        )}
        <Composer />
      </main>
      {drawer.value === "agent" && listing && <AgentPanel agent={listing.agent} />}
    </div>
  );
}

/** Whether the server is there, and who else is. */
function Line() {
  const place = current.value;
  place?.version.value;
  const others = place ? place.present.value - 1 : 0;
  const kept = line.value === "offline" && client.waiting > 0 ? `, ${client.waiting} kept` : "";
  return (
    <span class="line" data-line={line.value} role="status">
      {line.value}{kept}
      {others > 0 && ` · ${others} other${others > 1 ? "s" : ""} here`}
      {place && place.transcript.usage.input + place.transcript.usage.output > 0 && (
        <span class="spent"> · {(place.transcript.usage.input + place.transcript.usage.output).toLocaleString("en")} tokens shown</span>
      )}
    </span>
  );
}
