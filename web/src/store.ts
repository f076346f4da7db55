/** What the page knows: the list of sessions, the one that is open, and the line to the server. */
import { batch, computed, signal } from "@preact/signals";
import {
  Client,
  type EventFrame,
  RefusedError,
  type Room,
  type RoomUpdate,
  type SessionListing,
} from "thoughtwire";

import { adoptDraft } from "./drafts";
import { address } from "./place";
import { reasonOf } from "./reason";
import { Refusal, rest, type Standing } from "./rest";
import { forgetAll, isStillHere, keep, load, onKept, onLeaving, whoIsHere } from "./storage";
import { Transcript } from "./transcript";
import { visible } from "./visible";

/** Events that are read at once, at first and further back. */
const PAGE = 200;
/** As many as the server gives at once, for a way back that is long. */
const LEAP = 1_000;
/** The most characters of a message that are spoken. */
const SPOKEN = 5_000;

export const client = new Client({ url: connectAs, name: "web" });

/** The wire's address, once it is certain that who is logged in is the one whose page this is. */
async function connectAs(): Promise<string> {
  const standing = await rest.standing();
  if (standing.as === "unreached") throw new Error(standing.reason);
  if (isAnother(standing)) {
    leave();
    // Nothing of this page is sent any more.
    await new Promise(() => {});
  }
  return address("v1/ws").replace(/^http/, "ws");
}

const isAnother = (standing: Standing): boolean =>
  !isStillHere() ||
  standing.as === "unknown" ||
  (standing.as !== "unreached" && standing.user !== whoIsHere());

/** Begins anew, as whoever is logged in now. */
function leave(): void {
  client.close().catch(() => {});
  location.reload();
}
onLeaving(leave);

/** Logs out, and forgets what was not sent and not saved. */
export async function logOut(): Promise<void> {
  await rest.logout();
  forgetAll();
  leave();
}

export const sessions = signal<Map<string, SessionListing>>(new Map());
export const line = signal<"connecting" | "live" | "catching up" | "offline">("connecting");
/** When the next attempt to connect is made, while the line is down. */
export const again = signal<number | undefined>(undefined);
export const current = signal<Place | undefined>(undefined);
export const trouble = signal("");
/** Which of the two drawers is out, where they do not stand beside the conversation. */
export const drawer = signal<"none" | "sessions" | "agent">("none");
export const showThoughts = signal(load("thoughts", true));
/** What a screen reader is told; the number tells the same words said twice apart. */
export const spoken = signal({ text: "", n: 0 });
/** Whether one can log out. */
export const loggedIn = signal(false);
const readSeen = () => load<Record<string, number>>("seen", {});
export const seen = signal(readSeen());
/** When this browser was here first: what is older is no news to it. */
export const since = load("since", new Date().toISOString());
keep("since", since);

/** The sessions as the side bar has them. */
export const ordered = computed(() =>
  [...sessions.value.values()].sort((one, other) => other.updated_at.localeCompare(one.updated_at)),
);

/** The sessions that wait for their owner's approval. */
export const needsYou = computed(() => ordered.value.filter((entry) => entry.needs_you));

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
  #events: EventFrame[] = [];
  #dirty = false;
  #loading: Promise<void> | undefined;
  /** Whether what comes in is news. */
  #live = false;
  #caughtUp!: () => void;
  /** Resolves when the newest page is here. */
  readonly #ready = new Promise<void>((resolve) => (this.#caughtUp = resolve));

  constructor(session: string) {
    this.session = session;
    this.transcript = new Transcript(session);
    this.room = client.attach(session, { last: PAGE });
    void this.#read();
  }

  /** The line broke: what comes next is no news until it has caught up. */
  broke(): void {
    this.#live = false;
  }

  async #read(): Promise<void> {
    try {
      for await (const shown of this.room) this.#show(shown);
    } catch (error) {
      trouble.value = reasonOf(error);
      // A session that is gone is left; one whose line was closed for good is still the one to come
      // back to.
      if (current.value === this && client.state !== "closed") open(undefined);
    }
  }

  #show(shown: RoomUpdate): void {
    if (shown.type === "reset") {
      this.transcript = new Transcript(this.session);
      this.#events = [];
    } else if (shown.type === "event") {
      this.#events.push(shown);
      if (shown.event.kind === "turn_ended") this.status.value = "";
      if (shown.event.kind === "memory_edited") this.edits.value += 1;
      if (this.#live) this.#speak(shown);
      this.older.value = Math.min(this.transcript.first, shown.seq) > 1;
      if (current.value === this && !document.hidden) look(this.session, shown.seq);
    } else if (shown.type === "status") {
      this.status.value = shown.text;
    } else if (shown.type === "presence") {
      this.present.value = shown.clients;
    } else if (shown.type === "caught_up") {
      this.#live = true;
      this.#caughtUp();
      if (current.value === this) line.value = "live";
    }
    if (shown.type !== "reset") this.transcript.show(shown);
    this.#touch();
  }

  /** Draws again: what is drawn has another size. */
  readonly redraw = (): void => this.#touch();

  /** Draws at most once per frame, however much comes. */
  #touch(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => {
      this.#dirty = false;
      this.version.value += 1;
    });
  }

  /** ItemWriter text is drawn many times a second: who listens is told the whole message once. */
  #speak({ event }: EventFrame): void {
    const say = (text: string) =>
      (spoken.value = { text: visible(text.slice(0, SPOKEN)), n: spoken.value.n + 1 });
    if (event.kind === "message") say(event.text);
    else if (event.kind === "approval_asked") say(`May ${event.name} run? It waits for you.`);
    else if (event.kind === "turn_ended" && event.outcome !== "completed")
      say(`The turn ended: ${event.outcome}.`);
  }

  /** Reads the page of events in front of what is here. */
  readOlder(): Promise<void> {
    this.#loading ??= this.#fetch(PAGE)
      .then(() => {})
      .finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  /** Reads back until a position is here, if there is such a one. */
  async reach(seq: number): Promise<void> {
    await this.#ready;
    while (this.transcript.first > seq && this.older.value) {
      await this.#loading;
      if (this.transcript.first > seq && !(await this.#fetch(LEAP))) return;
    }
  }

  /** Gives whether it could be read. */
  async #fetch(size: number): Promise<boolean> {
    if (!this.older.value) return true;
    try {
      const before = this.transcript.first;
      const after = Math.max(0, before - 1 - size);
      const page = await rest.events(this.session, after, before - 1 - after);
      // Where the log has lost its beginning, a page begins later than it was asked for.
      const events = page.events.filter((frame) => frame.seq < before);
      this.transcript = Transcript.of(this.session, events, this.transcript, this.#events);
      this.#events = [
        ...events.map((frame) => ({ ...frame, type: "event" as const, session: this.session })),
        ...this.#events,
      ];
      this.older.value = events.length > 0 && this.transcript.first > Math.max(1, page.first);
      this.version.value += 1;
      return true;
    } catch (error) {
      trouble.value = reasonOf(error);
      return false;
    }
  }
}

/** Opens a session, or none. */
export function open(session: string | undefined): void {
  if (current.value?.session === session) return;
  batch(() => {
    current.value?.room.leave();
    if (session !== undefined && current.value === undefined) adoptDraft(session);
    current.value = session === undefined ? undefined : new Place(session);
    if (session === undefined) {
      if (client.state === "open") line.value = "live";
    } else {
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
  // Other tabs write to the same place.
  seen.value = { ...readSeen(), ...seen.value, [session]: seq };
  keep("seen", seen.value);
}

/** Whether a session has what nobody has seen in this browser. */
export const isUnread = (entry: SessionListing): boolean =>
  current.value?.session !== entry.id &&
  entry.updated_at > since &&
  entry.head > (seen.value[entry.id] ?? 0);

/** The session of the agent `main`, made as needed. */
export async function mainSession(): Promise<string> {
  try {
    return (await client.createAgent({ name: "main" })).session;
  } catch (error) {
    // It is there already, or this key may not make any agent but may use, and so make, this one.
    if (
      !(
        error instanceof RefusedError &&
        (error.code === "name_taken" || error.code === "forbidden")
      )
    )
      throw error;
    const found = await rest.agent("main").catch((missing: unknown) => {
      if (missing instanceof Refusal && missing.status === 404) return rest.makeAgent("main");
      throw missing;
    });
    return found.agent.main_session;
  }
}

/** Unfolds all thoughts, or folds them. */
export function setThoughts(shown: boolean): void {
  showThoughts.value = shown;
  keep("thoughts", shown);
}

/** Runs something that the server may refuse; tells the person what it said. */
export async function attempt(what: () => Promise<unknown>): Promise<boolean> {
  try {
    trouble.value = "";
    await what();
    return true;
  } catch (error) {
    trouble.value = reasonOf(error);
    return false;
  }
}

client.onState((state, reason) => {
  again.value = client.retryAt;
  // A browser does not say why it could not connect: perhaps the login has ended.
  if (state === "waiting" || state === "closed") {
    void rest.standing().then((standing) => {
      if (isAnother(standing)) leave();
    });
  }
  if (state === "open") void prune();
  else current.value?.broke();
  if (state === "open") line.value = current.value ? "catching up" : "live";
  else
    line.value = state === "connecting" && line.value === "connecting" ? "connecting" : "offline";
  if (state === "closed" && reason) trouble.value = reason;
});

/** Takes out of the list what went while the line was down. */
async function prune(): Promise<void> {
  const before = [...sessions.value.keys()];
  const there = await rest.sessions().catch(() => undefined);
  if (!there) return;
  const gone = before.filter((id) => !there.includes(id));
  if (gone.length === 0) return;
  sessions.value = new Map([...sessions.value].filter(([id]) => !gone.includes(id)));
  if (current.value && gone.includes(current.value.session)) open(undefined);
}

async function follow(): Promise<void> {
  for await (const entry of client.watch()) {
    const all = new Map(sessions.value);
    if ("gone" in entry) {
      all.delete(entry.gone);
      if (current.value?.session === entry.gone) open(undefined);
    } else {
      all.set(entry.id, entry);
    }
    sessions.value = all;
  }
}

/** The position that the address names. */
export const wanted = signal<number | undefined>(undefined);

/** Opens what the address names: a session, and perhaps a position in it. */
export function goTo(): void {
  const [, session, seq] = /^#([^:]+)(?::(\d+))?$/.exec(location.hash) ?? [];
  if (!session) return;
  open(session);
  wanted.value = seq === undefined ? undefined : Number(seq);
}

window.addEventListener("hashchange", goTo);
onKept("seen", () => (seen.value = { ...seen.value, ...readSeen() }));
// A machine that wakes up, and a network that changed, say so; the line need not find out by its
// silence.
for (const news of ["online", "pageshow"]) window.addEventListener(news, () => client.wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client.wake();
  const head = current.value && sessions.value.get(current.value.session)?.head;
  if (current.value && head !== undefined) look(current.value.session, head);
});
goTo();
void follow();
