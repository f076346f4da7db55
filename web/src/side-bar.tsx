import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { SessionListing } from "thoughtwire";

import { rest } from "./rest";
import {
  attempt,
  client,
  current,
  drawer,
  isUnread,
  loggedIn,
  logOut,
  open,
  ordered,
} from "./store";
import { visibleName } from "./visible";

const query = signal("");
const agents = signal<{ name: string }[] | undefined>(undefined);
const renaming = signal<string | undefined>(undefined);

export function SideBar() {
  const field = useRef<HTMLInputElement>(null);
  const out = drawer.value === "sessions";
  useEffect(() => {
    if (out) field.current?.focus();
  }, [out]);
  const words = query.value.toLowerCase();
  const shown = ordered.value.filter((entry) =>
    `${entry.title ?? ""} ${entry.agent_name}`.toLowerCase().includes(words),
  );
  return (
    <nav class="side" aria-label="Sessions">
      <div class="tools">
        <button type="button" class="plain narrow" onClick={() => (drawer.value = "none")}>
          Close
        </button>
        <input
          ref={field}
          type="search"
          aria-label="Search sessions"
          placeholder="Search"
          value={query.value}
          onInput={(event) => (query.value = event.currentTarget.value)}
        />
        <button
          type="button"
          onClick={async () => {
            await attempt(async () => {
              agents.value = await rest.agents();
            });
          }}
        >
          New
        </button>
      </div>
      {agents.value && <NewSession names={agents.value.map((agent) => agent.name)} />}
      <ul>
        {shown.map((entry) => (
          <SessionRow key={entry.id} entry={entry} />
        ))}
      </ul>
      {loggedIn.value && (
        <button type="button" class="plain" onClick={() => attempt(logOut)}>
          Log out
        </button>
      )}
      {shown.length === 0 && (
        <p class="quiet">
          {words
            ? "No session matches this search."
            : "No sessions yet. Write a message to start one."}
        </p>
      )}
    </nav>
  );
}

function SessionRow({ entry }: { entry: SessionListing }) {
  const here = current.value?.session === entry.id;
  const unread = isUnread(entry);
  const name = visibleName(
    entry.title || (entry.main ? entry.agent_name : `${entry.agent_name}, untitled`),
  );
  if (renaming.value === entry.id) {
    return (
      <li>
        <form
          onSubmit={async (event) => {
            event.preventDefault();
            const title = new FormData(event.currentTarget).get("title")?.toString().trim();
            if (title)
              await attempt(() => client.command({ type: "rename", session: entry.id, title }));
            renamed(entry.id);
          }}
        >
          <input
            ref={focus}
            name="title"
            aria-label="New title"
            defaultValue={entry.title ?? entry.agent_name}
            onKeyDown={(event) => {
              if (event.key !== "Escape") return;
              event.stopPropagation();
              renamed(entry.id);
            }}
          />
          <button type="submit">Save</button>
        </form>
      </li>
    );
  }
  return (
    <li class={here ? "here" : ""}>
      <button
        type="button"
        class="open"
        aria-current={here ? "true" : undefined}
        id={`open-${entry.id}`}
        onClick={() => {
          open(entry.id);
          drawer.value = "none";
        }}
      >
        <span class="name">{name}</span>
        <span class="about">
          {unread && <span class="unread">new</span>}{" "}
          {entry.needs_you && <span class="needs">needs you</span>}{" "}
          {entry.needs_you
            ? ""
            : entry.running
              ? "working"
              : entry.queued
                ? `${entry.queued} queued`
                : ""}{" "}
          {when(entry.updated_at)}
        </span>
      </button>
      <button
        type="button"
        class="plain small"
        aria-label={`Rename ${name}`}
        onClick={() => (renaming.value = entry.id)}
      >
        ✎
      </button>
      {!entry.main && (
        <button
          type="button"
          class="plain small"
          aria-label={`Delete ${name}`}
          onClick={async () => {
            if (confirm(`Delete “${name}” and all its messages? This cannot be undone.`))
              await attempt(() => client.deleteSession(entry.id));
          }}
        >
          ✕
        </button>
      )}
    </li>
  );
}

/** Ends renaming, and returns the focus to the session. */
function renamed(session: string): void {
  renaming.value = undefined;
  requestAnimationFrame(() => document.getElementById(`open-${session}`)?.focus());
}

/** Form that opens a session with an existing or a new agent. */
function NewSession({ names }: { names: string[] }) {
  const done = () => (agents.value = undefined);
  return (
    <form
      class="new"
      onSubmit={async (event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        const [agent, title] = [
          form.get("agent")?.toString().trim() ?? "",
          form.get("title")?.toString().trim() ?? "",
        ];
        await attempt(async () => {
          if (!agent) throw new Error("Enter the name of an existing agent, or of a new one.");
          const session = names.includes(agent)
            ? await client.createSession({ agent, ...(title ? { title } : {}) })
            : (await client.createAgent({ name: agent })).session;
          if (title && !names.includes(agent))
            await client.command({ type: "rename", session, title });
          done();
          open(session);
          drawer.value = "none";
          document.getElementById("composer")?.focus();
        });
      }}
    >
      <label>
        Agent
        <input ref={focus} name="agent" list="agents" autocomplete="off" />
      </label>
      <datalist id="agents">
        {names.map((name) => (
          <option key={name} value={name} label={visibleName(name)} />
        ))}
      </datalist>
      <label>
        Title
        <input name="title" autocomplete="off" />
      </label>
      <div class="row">
        <button type="submit">Open</button>
        <button type="button" class="plain" onClick={done}>
          Cancel
        </button>
      </div>
    </form>
  );
}

/** Focuses a field that appears because the user asked for it. */
const focus = (element: HTMLElement | null): void => element?.focus();

function when(at: string): string {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString();
}
