/**
 * Data that this browser stores for one user of one server, until the logout. Without storage,
 * until the tab closes.
 */
import { basePath } from "./address";

/** Key of the name of the logged-in user, shared by all tabs. */
const USER_KEY = `thoughtwire:${basePath}:who`;
/** Keys of earlier versions, which belonged to no user. */
const LEGACY_KEYS = ["outbox", "drafts", "seen", "since"];

let user: string | undefined;
/** Whether this tab's user has logged out. Nothing is stored from then on. */
let left = false;

const storageKey = (key: string): string => {
  if (user === undefined) throw new Error("nobody is known yet");
  return `thoughtwire:${basePath}:${encodeURIComponent(user)}:${key}`;
};

/** Sets the user whose data is read and stored. Must be called first. */
export function setUser(name: string): void {
  user = name;
  tryStorage(() => {
    for (const key of LEGACY_KEYS) localStorage.removeItem(key);
    if (localStorage.getItem(USER_KEY) !== name) localStorage.setItem(USER_KEY, name);
  });
}

/** Returns the user of this page. */
export const currentUser = (): string | undefined => user;

/** Returns whether this tab's user is still the one logged in to this browser. */
export const isSameUser = (): boolean =>
  !left && tryStorage(() => localStorage.getItem(USER_KEY) ?? user) === user;

/** Calls `leave` when another tab logs out, or logs in as another user. */
export function onUserChange(leave: () => void): void {
  window.addEventListener("storage", ({ key }) => {
    // The storage was cleared, or the user has changed.
    if ((key === null || key === USER_KEY) && !isSameUser()) {
      left = true;
      leave();
    }
  });
}

/** Deletes everything stored for this user, for all tabs. */
export function deleteAll(): void {
  const mine = storageKey("");
  left = true;
  tryStorage(() => {
    for (const key of Object.keys(localStorage))
      if (key.startsWith(mine)) localStorage.removeItem(key);
    localStorage.setItem(USER_KEY, "");
  });
}

export function load<T>(key: string, otherwise: T): T {
  return (
    tryStorage(() => JSON.parse(localStorage.getItem(storageKey(key)) ?? "null") as T | null) ??
    otherwise
  );
}

export function keep(key: string, value: unknown): void {
  if (left) return;
  tryStorage(() => localStorage.setItem(storageKey(key), JSON.stringify(value)));
}

/** Calls `changed` when another tab has stored something under a key. */
export function onStored(key: string, changed: () => void): void {
  window.addEventListener("storage", (event) => {
    if (!left && event.key === storageKey(key)) changed();
  });
}

function tryStorage<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    // Storage is full or forbidden.
    return undefined;
  }
}
