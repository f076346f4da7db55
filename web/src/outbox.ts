/** What was sent and has no answer yet: kept where a reload and a closed tab leave it. */
import { signal } from "@preact/signals";
import { type Policy, RefusedError } from "thoughtwire";

import { keepDraft } from "./drafts";
import { reasonOf } from "./reason";
import { keep, load } from "./storage";
import { client, current, mainSession, open, trouble } from "./store";

export interface Unsent {
  /** The command's id: under it the input takes effect once, however often and from wherever it is sent. */
  id: string;
  /** Empty while there is no session yet: it is made first. */
  session: string;
  text: string;
  policy?: Policy;
}

const KEY = "outbox";
/** How long until what was refused for the moment is sent again, and what another tab has not brought is brought by this one. */
const AGAIN_AFTER = 2_000;
const read = () => load<Unsent[]>(KEY, []);

export const outbox = signal<Unsent[]>(read());
/** What this tab is sending. */
const underWay = new Set<string>();

/** Other tabs write to the same place: a change is made to what stands there now. */
function change(how: (all: Unsent[]) => Unsent[]): void {
  const theirs = read().filter(({ id }) => !outbox.value.some((ours) => ours.id === id));
  outbox.value = how([...outbox.value, ...theirs]);
  keep(KEY, outbox.value);
}

/** Sends an input, now or when the server is there again. */
export function post(text: string, policy?: Policy): void {
  const unsent = { id: crypto.randomUUID(), session: current.value?.session ?? "", text, ...(policy ? { policy } : {}) };
  change((all) => [...all, unsent]);
  void deliver(unsent);
}

/** Sends what is there: of an earlier visit, or of a tab that is gone. */
export function deliverAll(): void {
  for (const unsent of outbox.value) void deliver(unsent);
}

async function deliver(unsent: Unsent): Promise<void> {
  const { id, text, policy } = unsent;
  if (underWay.has(id)) return;
  underWay.add(id);
  const forget = () => change((all) => all.filter((other) => other.id !== id));
  let { session } = unsent;
  try {
    if (session === "") {
      session = await mainSession();
      change((all) => all.map((other) => (other.id === id ? { ...other, session } : other)));
      if (!current.value) open(session);
    }
    await client.command({ type: "send", session, text, ...(policy ? { policy } : {}) }, { id });
    forget();
  } catch (error) {
    trouble.value = `Not sent: ${reasonOf(error)}`;
    if (error instanceof RefusedError && error.retry) {
      setTimeout(() => outbox.value.some((other) => other.id === id) && void deliver({ ...unsent, session }), AGAIN_AFTER);
    } else if (error instanceof RefusedError) {
      // A no for good: the words go back to where they were written. Without a session, to the next one.
      forget();
      keepDraft(error.code === "unknown_session" ? "" : session, text);
    }
    // A line that is closed for good is no answer, and the next visit tries again.
  } finally {
    underWay.delete(id);
  }
}

client.onState((state) => {
  if (state === "open") deliverAll();
});
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  outbox.value = read();
  if (outbox.value.length > 0) setTimeout(deliverAll, AGAIN_AFTER);
});
