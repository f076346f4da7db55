/** What the page knows: the list of sessions, the one that is open, and the line to the server. */
import { batch, computed, signal } from "@preact/signals";
import { Client, type EventFrame, RefusedError, type Room, type SessionListing, type Shown } from "thoughtwire";

import { rest } from "./rest";
import { Transcript } from "./transcript";

/** Events that are read at once, at first and further back. */
const PAGE = 200;

export const client = new Client({ url: `${location.origin.replace(/^http/, "ws")}/v1/ws`, name: "web" });

export const sessions = signal<Map<string, SessionListing>>(new Map());
export const listed = signal(false);
export const line = signal<"connecting" | "live" | "catching up" | "offline">("connecting");
export const current = signal<Place | undefined>(undefined);
export const trouble = signal("");
export const showThoughts = signal(localStorage.getItem("thoughts") !== "no");
export const seen = signal<Record<string, number>>(JSON.parse(localStorage.getItem("seen") ?? "{}"));

/** The sessions as the side bar has them. */
export const ordered = computed(() => [...sessions.value.values()].sort((one, other) => other.updated_at.localeCompare(one.updated_at)));

/** The open session. */
export class Place {
  readonly session: string;
  readonly room: Room;
  /** Counted up whenever something was shown. */
  readonly version = signal(0);
  readonly status = signal("");
  readonly present = signal(1);
  /** Whether older events can be read. */
  readonly older = signal(false);
  transcript: Transcript;
  #live: EventFrame[] = [];
  #dirty = false;
  #loading = false;

  constructor(session: string) {
    this.session = session;
    this.transcript = new Transcript(session);
    this.room = client.attach(session, { last: PAGE });
    void this.#read();
  }

  async #read(): Promise<void> {
    try {
      for await (const shown of this.room) this.#show(shown);
    } catch (error) {
      trouble.value = error instanceof Error ? error.message : String(error);
      if (current.value === this) open(undefined);
    }
  }

  #show(shown: Shown): void {
    if (shown.type === "reset") {
      this.transcript = new Transcript(this.session);
      this.#live = [];
    } else if (shown.type === "event") {
      this.#live.push(shown);
      if (shown.event.kind === "turn_ended") this.status.value = "";
      this.older.value = Math.min(this.transcript.first, shown.seq) > 1;
      if (current.value === this && !document.hidden) look(this.session, shown.seq);
    } else if (shown.type === "status") {
      this.status.value = shown.text;
    } else if (shown.type === "presence") {
      this.present.value = shown.clients;
    } else if (shown.type === "caught_up") {
      if (current.value === this) line.value = "live";
    }
    if (shown.type !== "reset") this.transcript.show(shown);
    this.#touch();
  }

  /** Draws at most once per frame, however much comes. */
  #touch(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => {
      this.#dirty = false;
      this.version.value += 1;
    });
  }

  /** Reads the page of events in front of what is here. */
  async readOlder(): Promise<void> {
    if (this.#loading || !this.older.value) return;
    this.#loading = true;
    try {
      const before = this.transcript.first;
      const after = Math.max(0, before - 1 - PAGE);
      const page = await rest.events(this.session, after, before - 1 - after);
      this.transcript = Transcript.of(this.session, page.events, this.transcript, this.#live);
      this.#live = [...page.events.map((frame) => ({ ...frame, type: "event" as const, session: this.session })), ...this.#live];
      this.older.value = this.transcript.first > Math.max(1, page.first);
      this.version.value += 1;
    } catch (error) {
      trouble.value = String(error instanceof Error ? error.message : error);
    } finally {
      this.#loading = false;
    }
  }
}

/** Opens a session, or none. */
export function open(session: string | undefined): void {
  if (current.value?.session === session) return;
  batch(() => {
    current.value?.room.leave();
    current.value = session === undefined ? undefined : new Place(session);
    if (session !== undefined) {
      line.value = client.state === "open" ? "catching up" : line.value;
      const head = sessions.value.get(session)?.head;
      if (head !== undefined) look(session, head);
    }
  });
  const hash = session === undefined ? "" : `#${session}`;
  if (!location.hash.startsWith(hash) || hash === "") history.replaceState(null, "", hash || location.pathname);
}

/** Somebody has seen a session up to a position. */
function look(session: string, seq: number): void {
  if ((seen.value[session] ?? 0) >= seq) return;
  seen.value = { ...seen.value, [session]: seq };
  localStorage.setItem("seen", JSON.stringify(seen.value));
}

/** The session to speak in: the open one, else that of the agent `main`, made as needed. */
export async function place(): Promise<Place> {
  if (current.value) return current.value;
  let session: string;
  try {
    session = (await client.createAgent({ name: "main" })).session;
  } catch (error) {
    if (!(error instanceof RefusedError && error.code === "name_taken")) throw error;
    session = (await rest.agent("main")).agent.main_session;
  }
  open(session);
  return current.value!;
}

export function setThoughts(shown: boolean): void {
  showThoughts.value = shown;
  localStorage.setItem("thoughts", shown ? "yes" : "no");
}

/** Runs something that the server may refuse; tells the person what it said. */
export async function attempt(what: () => Promise<unknown>): Promise<boolean> {
  try {
    trouble.value = "";
    await what();
    return true;
  } catch (error) {
    trouble.value = error instanceof Error ? error.message : String(error);
    return false;
  }
}

client.onState((state, reason) => {
  if (state === "open") line.value = current.value ? "catching up" : "live";
  else line.value = state === "connecting" && line.value === "connecting" ? "connecting" : "offline";
  if (state === "closed" && reason) trouble.value = reason;
});

async function follow(): Promise<void> {
  for await (const entry of client.watch()) {
    const all = new Map(sessions.value);
    if ("gone" in entry) {
      all.delete(entry.gone);
      if (current.value?.session === entry.gone) open(undefined);
    } else {
      all.set(entry.id, entry);
    }
    batch(() => {
      sessions.value = all;
      listed.value = true;
    });
    if (current.value === undefined) goTo();
  }
}

/** Opens what the address names: a session, and perhaps a position in it. */
export function goTo(): void {
  const session = /^#([^:]+)/.exec(location.hash)?.[1];
  if (session && sessions.value.has(session)) open(session);
}

/** The position that the address names. */
export const wanted = (): number | undefined => {
  const seq = /^#[^:]+:(\d+)$/.exec(location.hash)?.[1];
  return seq === undefined ? undefined : Number(seq);
};

window.addEventListener("hashchange", goTo);
void follow();
