/**
 * What this browser keeps between visits: for one user of one server, and until the logout. Without
 * room, or where it may not, it lasts as long as the tab.
 */
import { basePath } from "./place";

/** The name of the user who is logged in, for all tabs of this browser. */
const WHO = `thoughtwire:${basePath}:who`;
/** What was kept before it belonged to anybody. */
const NOBODYS = ["outbox", "drafts", "seen", "since"];

let user: string | undefined;
/** Set when this tab's user has left: from then on nothing is kept. */
let left = false;

const place = (key: string): string => {
  if (user === undefined) throw new Error("nobody is known yet");
  return `thoughtwire:${basePath}:${encodeURIComponent(user)}:${key}`;
};

/** Says whose things are kept from now on. Before that nothing can be read or kept. */
export function belongsTo(name: string): void {
  user = name;
  guarded(() => {
    for (const key of NOBODYS) localStorage.removeItem(key);
    if (localStorage.getItem(WHO) !== name) localStorage.setItem(WHO, name);
  });
}

/** Whose page this is. */
export const whoIsHere = (): string | undefined => user;

/** Whether the user of this tab is the one that this browser is logged in as. */
export const isStillHere = (): boolean =>
  !left && guarded(() => localStorage.getItem(WHO) ?? user) === user;

/** Calls back when another tab has logged out, or in as somebody else. */
export function onLeaving(leave: () => void): void {
  window.addEventListener("storage", ({ key }) => {
    // All was cleared, or who is here has changed.
    if ((key === null || key === WHO) && !isStillHere()) {
      left = true;
      leave();
    }
  });
}

/** Forgets all that was kept for this user, in all tabs. */
export function forgetAll(): void {
  const mine = place("");
  left = true;
  guarded(() => {
    for (const key of Object.keys(localStorage))
      if (key.startsWith(mine)) localStorage.removeItem(key);
    localStorage.setItem(WHO, "");
  });
}

export function load<T>(key: string, otherwise: T): T {
  return (
    guarded(() => JSON.parse(localStorage.getItem(place(key)) ?? "null") as T | null) ?? otherwise
  );
}

export function keep(key: string, value: unknown): void {
  if (left) return;
  guarded(() => localStorage.setItem(place(key), JSON.stringify(value)));
}

/** Calls back when another tab has kept something under a key. */
export function onKept(key: string, changed: () => void): void {
  window.addEventListener("storage", (event) => {
    if (!left && event.key === place(key)) changed();
  });
}

function guarded<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    // Full, or forbidden.
    return undefined;
  }
}
