/** State of the page: the list of sessions, the open session, and the connection. */
import { batch, computed, signal } from "@preact/signals";
import {
  Client,
  type EventFrame,
  RefusedError,
  type Room,
  type RoomUpdate,
  type SessionListing,
} from "thoughtwire";
import { address } from "./address";
import { adoptDraft } from "./drafts";
import { reasonOf } from "./reason";
import { HttpError, type LoginState, rest } from "./rest";
import { currentUser, deleteAll, isSameUser, keep, load, onStored, onUserChange } from "./storage";
import { Transcript } from "./transcript";
import { visible } from "./visible";

/** Number of events that are loaded at a time. */
const PAGE_SIZE = 200;
/** Number of events per request on the way to a distant event: the server's maximum. */
const MAX_PAGE_SIZE = 1_000;
/** Maximum length of a message that is announced to screen readers, in characters. */
const MAX_ANNOUNCED = 5_000;

export const client = new Client({ url: connectAs, name: "web" });

/** Returns the address to connect to, after checking that the login has not changed. */
async function connectAs(): Promise<string> {
  const loginState = await rest.loginState();
  if (loginState.as === "unreachable") throw new Error(loginState.reason);
  if (isOtherUser(loginState)) {
    leave();
    // The page reloads: it must not connect as the other user.
    await new Promise(() => {});
  }
  return address("v1/ws").replace(/^http/, "ws");
}

const isOtherUser = (loginState: LoginState): boolean =>
  !isSameUser() ||
  loginState.as === "anonymous" ||
  (loginState.as !== "unreachable" && loginState.user !== currentUser());

/** Reloads the page for the user who is logged in now. */
function leave(): void {
  client.close().catch(() => {});
  location.reload();
}
onUserChange(leave);

/** Logs out, and deletes unsent messages and unsaved edits. */
export async function logOut(): Promise<void> {
  await rest.logout();
  deleteAll();
  leave();
}

export const sessions = signal<Map<string, SessionListing>>(new Map());
export const connectionState = signal<"connecting" | "live" | "catching up" | "offline">(
  "connecting",
);
/** Time of the next connection attempt, while there is no connection. */
export const retryAt = signal<number | undefined>(undefined);
export const current = signal<SessionView | undefined>(undefined);
export const errorText = signal("");
/** Side panel that is open. On a wide screen the list of sessions is always visible. */
export const drawer = signal<"none" | "sessions" | "agent">("none");
export const showThoughts = signal(load("thoughts", true));
/** Announcement for screen readers; `n` distinguishes two announcements of the same text. */
export const announcement = signal({ text: "", n: 0 });
/** Whether the user logged in, and so can log out. */
export const loggedIn = signal(false);
const readSeen = () => load<Record<string, number>>("seen", {});
export const seen = signal(readSeen());
/** Time of the first visit with this browser. Older events do not count as unread. */
export const since = load("since", new Date().toISOString());
keep("since", since);

/** Sessions in the order of the side bar. */
export const ordered = computed(() =>
  [...sessions.value.values()].sort((one, other) => other.updated_at.localeCompare(one.updated_at)),
);

/** Sessions that wait for approval. */
export const needsYou = computed(() => ordered.value.filter((entry) => entry.needs_you));

/** The open session: its room, transcript and history. */
export class SessionView {
  readonly session: string;
  readonly room: Room;
  /** Incremented at each change, to redraw. */
  readonly version = signal(0);
  readonly status = signal("");
  readonly present = signal(1);
  /** Whether older events can be loaded. */
  readonly older = signal(false);
  /** Incremented at each change of the agent's memory. */
  readonly edits = signal(0);
  transcript: Transcript;
  #events: EventFrame[] = [];
  #dirty = false;
  #loading: Promise<void> | undefined;
  /** Whether events are new, rather than replayed. */
  #live = false;
  #caughtUp!: () => void;
  /** Resolves when the first page of events is loaded. */
  readonly #ready = new Promise<void>((resolve) => (this.#caughtUp = resolve));

  constructor(session: string) {
    this.session = session;
    this.transcript = new Transcript(session);
    this.room = client.attach(session, { last: PAGE_SIZE });
    void this.#read();
  }

  /** The connection is lost: events count as replayed until the room has caught up. */
  disconnected(): void {
    this.#live = false;
  }

  async #read(): Promise<void> {
    try {
      for await (const shown of this.room) this.#show(shown);
    } catch (error) {
      errorText.value = reasonOf(error);
      // A deleted session is closed. After the client is closed for good, the session stays open.
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
      if (this.#live) this.#announce(shown);
      this.older.value = Math.min(this.transcript.first, shown.seq) > 1;
      if (current.value === this && !document.hidden) markSeen(this.session, shown.seq);
    } else if (shown.type === "status") {
      this.status.value = shown.text;
    } else if (shown.type === "presence") {
      this.present.value = shown.clients;
    } else if (shown.type === "caught_up") {
      this.#live = true;
      this.#caughtUp();
      if (current.value === this) connectionState.value = "live";
    }
    if (shown.type !== "reset") this.transcript.apply(shown);
    this.#scheduleRedraw();
  }

  /** Redraws after a change of size. */
  readonly redraw = (): void => this.#scheduleRedraw();

  /** Redraws at most once per frame. */
  #scheduleRedraw(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => {
      this.#dirty = false;
      this.version.value += 1;
    });
  }

  /** Announces a whole message once, since streamed text is drawn many times a second. */
  #announce({ event }: EventFrame): void {
    const announce = (text: string) =>
      (announcement.value = {
        text: visible(text.slice(0, MAX_ANNOUNCED)),
        n: announcement.value.n + 1,
      });
    if (event.kind === "message") announce(event.text);
    else if (event.kind === "approval_asked")
      announce(
        event.about === "retry"
          ? `${event.name} was interrupted and may already have taken effect. It waits for you.`
          : `May ${event.name} run? It waits for you.`,
      );
    else if (event.kind === "turn_ended" && event.outcome !== "completed")
      announce(`The turn ended: ${event.outcome}.`);
  }

  /** Loads the page of events before the first one. */
  readOlder(): Promise<void> {
    this.#loading ??= this.#fetch(PAGE_SIZE)
      .then(() => {})
      .finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  /** Loads older events until a position is reached. */
  async reach(seq: number): Promise<void> {
    await this.#ready;
    while (this.transcript.first > seq && this.older.value) {
      await this.#loading;
      if (this.transcript.first > seq && !(await this.#fetch(MAX_PAGE_SIZE))) return;
    }
  }

  /** Returns whether the events could be loaded. */
  async #fetch(size: number): Promise<boolean> {
    if (!this.older.value) return true;
    try {
      const before = this.transcript.first;
      const after = Math.max(0, before - 1 - size);
      const page = await rest.events(this.session, after, before - 1 - after);
      // Where retention has trimmed the log, a page begins later than requested.
      const events = page.events.filter((frame) => frame.seq < before);
      this.transcript = Transcript.prepend(this.session, events, this.transcript, this.#events);
      this.#events = [
        ...events.map((frame) => ({ ...frame, type: "event" as const, session: this.session })),
        ...this.#events,
      ];
      this.older.value = events.length > 0 && this.transcript.first > Math.max(1, page.first);
      this.version.value += 1;
      return true;
    } catch (error) {
      errorText.value = reasonOf(error);
      return false;
    }
  }
}

/** Opens a session, or closes the open one. */
export function open(session: string | undefined): void {
  if (current.value?.session === session) return;
  batch(() => {
    current.value?.room.leave();
    if (session !== undefined && current.value === undefined) adoptDraft(session);
    current.value = session === undefined ? undefined : new SessionView(session);
    if (session === undefined) {
      if (client.state === "open") connectionState.value = "live";
    } else {
      connectionState.value = client.state === "open" ? "catching up" : connectionState.value;
      const head = sessions.value.get(session)?.head;
      if (head !== undefined) markSeen(session, head);
    }
  });
  wanted.value = undefined;
  if (session === undefined) history.replaceState(null, "", location.pathname);
  else if (!location.hash.startsWith(`#${session}`)) history.replaceState(null, "", `#${session}`);
}

/** Records that the user has seen a session up to a position. */
function markSeen(session: string, seq: number): void {
  if ((seen.value[session] ?? 0) >= seq) return;
  // Other tabs write under the same key.
  seen.value = { ...readSeen(), ...seen.value, [session]: seq };
  keep("seen", seen.value);
}

/** Returns whether a session has events that the user has not seen in this browser. */
export const isUnread = (entry: SessionListing): boolean =>
  current.value?.session !== entry.id &&
  entry.updated_at > since &&
  entry.head > (seen.value[entry.id] ?? 0);

/** Returns the main session of the agent `main`; creates both if needed. */
export async function mainSession(): Promise<string> {
  try {
    return (await client.createAgent({ name: "main" })).session;
  } catch (error) {
    // It exists already, or this key may use but not create agents.
    if (
      !(
        error instanceof RefusedError &&
        (error.code === "name_taken" || error.code === "forbidden")
      )
    )
      throw error;
    const found = await rest.agent("main").catch((missing: unknown) => {
      if (missing instanceof HttpError && missing.status === 404) return rest.makeAgent("main");
      throw missing;
    });
    return found.agent.main_session;
  }
}

/** Expands or collapses all thoughts. */
export function setThoughts(shown: boolean): void {
  showThoughts.value = shown;
  keep("thoughts", shown);
}

/** Runs an action; shows the error if it fails. */
export async function attempt(what: () => Promise<unknown>): Promise<boolean> {
  try {
    errorText.value = "";
    await what();
    return true;
  } catch (error) {
    errorText.value = reasonOf(error);
    return false;
  }
}

client.onState((state, reason) => {
  retryAt.value = client.retryAt;
  // A browser does not tell why it could not connect: the login may have ended.
  if (state === "waiting" || state === "closed") {
    void rest.loginState().then((loginState) => {
      if (isOtherUser(loginState)) leave();
    });
  }
  if (state === "open") void prune();
  else current.value?.disconnected();
  if (state === "open") connectionState.value = current.value ? "catching up" : "live";
  else
    connectionState.value =
      state === "connecting" && connectionState.value === "connecting" ? "connecting" : "offline";
  if (state === "closed" && reason) errorText.value = reason;
});

/** Removes sessions that were deleted while there was no connection. */
async function prune(): Promise<void> {
  const before = [...sessions.value.keys()];
  const there = await rest.sessions().catch(() => undefined);
  if (!there) return;
  const gone = before.filter((id) => !there.includes(id));
  if (gone.length === 0) return;
  sessions.value = new Map([...sessions.value].filter(([id]) => !gone.includes(id)));
  if (current.value && gone.includes(current.value.session)) open(undefined);
}

async function watchSessions(): Promise<void> {
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

/** Position that the address names. */
export const wanted = signal<number | undefined>(undefined);

/** Opens the session that the address names, at a position if it names one. */
export function openAddress(): void {
  const [, session, seq] = /^#([^:]+)(?::(\d+))?$/.exec(location.hash) ?? [];
  if (!session) return;
  open(session);
  wanted.value = seq === undefined ? undefined : Number(seq);
}

window.addEventListener("hashchange", openAddress);
onStored("seen", () => (seen.value = { ...seen.value, ...readSeen() }));
// After a wake-up or a change of network, check the connection at once.
for (const event of ["online", "pageshow"]) window.addEventListener(event, () => client.wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client.wake();
  const head = current.value && sessions.value.get(current.value.session)?.head;
  if (current.value && head !== undefined) markSeen(current.value.session, head);
});
openAddress();
void watchSessions();
