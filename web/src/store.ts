/** What the page knows: the list of sessions, the one that is open, and the line to the server. */
import { batch, computed, signal } from "@preact/signals";
import { Client, type EventFrame, RefusedError, type Room, type SessionListing, type Shown } from "thoughtwire";

import { rest } from "./rest";
import { Transcript } from "./transcript";

/** Events that are read at once, at first and further back. */
const PAGE = 200;
/** As many as the server gives at once, for a way back that is long. */
const LEAP = 1_000;

export const client = new Client({ url: `${location.origin.replace(/^http/, "ws")}/v1/ws`, name: "web" });

export const sessions = signal<Map<string, SessionListing>>(new Map());
export const listed = signal(false);
export const line = signal<"connecting" | "live" | "catching up" | "offline">("connecting");
export const current = signal<Place | undefined>(undefined);
export const trouble = signal("");
export const showThoughts = signal(localStorage.getItem("thoughts") !== "no");
/** What a screen reader is told. */
export const spoken = signal("");
/** Whether one can log out. */
export const loggedIn = signal(false);
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
  /** Counted up whenever the agent's memory was changed. */
  readonly edits = signal(0);
  transcript: Transcript;
  #live: EventFrame[] = [];
  #dirty = false;
  #loading = false;
  #caughtUp = false;

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
      if (shown.event.kind === "memory_edited") this.edits.value += 1;
      if (this.#caughtUp) this.#speak(shown);
      this.older.value = Math.min(this.transcript.first, shown.seq) > 1;
      if (current.value === this && !document.hidden) look(this.session, shown.seq);
    } else if (shown.type === "status") {
      this.status.value = shown.text;
    } else if (shown.type === "presence") {
      this.present.value = shown.clients;
    } else if (shown.type === "caught_up") {
      this.#caughtUp = true;
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

  /** Streamed text is drawn many times a second: who listens is told the whole message once. */
  #speak({ event }: EventFrame): void {
    if (event.kind === "message") spoken.value = event.text;
    else if (event.kind === "approval_asked") spoken.value = `May ${event.name} run? It waits for you.`;
    else if (event.kind === "turn_ended" && event.outcome !== "completed") spoken.value = `The turn ended: ${event.outcome}.`;
  }

  /** Reads older events: a page of them, or all that are needed to reach a position. */
  async readOlder(reach = Infinity): Promise<void> {
    if (this.#loading || !this.older.value) return;
    this.#loading = true;
    try {
      do {
        const before = this.transcript.first;
        const size = reach < before ? LEAP : PAGE;
        const after = Math.max(0, before - 1 - size);
        const page = await rest.events(this.session, after, before - 1 - after);
        this.transcript = Transcript.of(this.session, page.events, this.transcript, this.#live);
        this.#live = [...page.events.map((frame) => ({ ...frame, type: "event" as const, session: this.session })), ...this.#live];
        this.older.value = page.events.length > 0 && this.transcript.first > Math.max(1, page.first);
      } while (this.older.value && this.transcript.first > reach);
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
  wanted.value = undefined;
  if (session === undefined) history.replaceState(null, "", location.pathname);
  else if (!location.hash.startsWith(`#${session}`)) history.replaceState(null, "", `#${session}`);
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
    // It is there already, or this key may not make one.
    if (!(error instanceof RefusedError && (error.code === "name_taken" || error.code === "forbidden"))) throw error;
    session = (await rest.agent("main")).agent.main_session;
  }
  open(session);
  return current.value!;
}

/** Unfolds all thoughts, or folds them. */
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
  // A browser does not say why it could not connect: perhaps the login has ended.
  if (state === "waiting" || state === "closed") {
    void rest.isKnown().then((known) => {
      if (!known) location.reload();
    });
  }
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

/** The position that the address names. */
export const wanted = signal<number | undefined>(undefined);

/** Opens what the address names: a session, and perhaps a position in it. */
export function goTo(): void {
  const [, session, seq] = /^#([^:]+)(?::(\d+))?$/.exec(location.hash) ?? [];
  if (!session || !sessions.value.has(session)) return;
  open(session);
  wanted.value = seq === undefined ? undefined : Number(seq);
}

rest.whoami().then(
  ({ auth }) => (loggedIn.value = auth === "keys"),
  () => {},
);
window.addEventListener("hashchange", goTo);
void follow();
