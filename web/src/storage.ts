/**
 * Data that this browser stores for one user of one server, until the logout. Without storage,
 * until the tab closes.
 */
import { basePath } from "./address";

/** Key of the name of the logged-in user, shared by all tabs. */
const WHO = `thoughtwire:${basePath}:who`;
/** Keys of earlier versions, which belonged to no user. */
const NOBODYS = ["outbox", "drafts", "seen", "since"];

let user: string | undefined;
/** Whether this tab's user has logged out. Nothing is stored from then on. */
let left = false;

const storageKey = (key: string): string => {
  if (user === undefined) throw new Error("nobody is known yet");
  return `thoughtwire:${basePath}:${encodeURIComponent(user)}:${key}`;
};

/** Sets the user whose data is read and stored. Must be called first. */
export function belongsTo(name: string): void {
  user = name;
  guarded(() => {
    for (const key of NOBODYS) localStorage.removeItem(key);
    if (localStorage.getItem(WHO) !== name) localStorage.setItem(WHO, name);
  });
}

/** Returns the user of this page. */
export const whoIsHere = (): string | undefined => user;

/** Returns whether this tab's user is still the one logged in to this browser. */
export const isStillHere = (): boolean =>
  !left && guarded(() => localStorage.getItem(WHO) ?? user) === user;

/** Calls `leave` when another tab logs out, or logs in as another user. */
export function onLeaving(leave: () => void): void {
  window.addEventListener("storage", ({ key }) => {
    // The storage was cleared, or the user has changed.
    if ((key === null || key === WHO) && !isStillHere()) {
      left = true;
      leave();
    }
  });
}

/** Deletes everything stored for this user, for all tabs. */
export function forgetAll(): void {
  const mine = storageKey("");
  left = true;
  guarded(() => {
    for (const key of Object.keys(localStorage))
      if (key.startsWith(mine)) localStorage.removeItem(key);
    localStorage.setItem(WHO, "");
  });
}

export function load<T>(key: string, otherwise: T): T {
  return (
    guarded(() => JSON.parse(localStorage.getItem(storageKey(key)) ?? "null") as T | null) ??
    otherwise
  );
}

export function keep(key: string, value: unknown): void {
  if (left) return;
  guarded(() => localStorage.setItem(storageKey(key), JSON.stringify(value)));
}

/** Calls `changed` when another tab has stored something under a key. */
export function onKept(key: string, changed: () => void): void {
  window.addEventListener("storage", (event) => {
    if (!left && event.key === storageKey(key)) changed();
  });
}

function guarded<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    // Storage is full or forbidden.
    return undefined;
  }
}
