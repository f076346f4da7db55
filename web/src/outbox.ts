/** What was sent and has no answer yet: kept where a reload and a closed tab leave it. */
import { signal } from "@preact/signals";
import { type Policy, RefusedError } from "thoughtwire";

import { client, current, place, trouble } from "./store";

export interface Unsent {
  /** The command's id: under it the input takes effect once, however often and from wherever it is sent. */
  id: string;
  /** Empty while there is no session yet: it is made first. */
  session: string;
  text: string;
  policy?: Policy;
}

const KEY = "outbox";
const read = () => JSON.parse(localStorage.getItem(KEY) ?? "[]") as Unsent[];

export const outbox = signal<Unsent[]>(read());

/** Other tabs write to the same place: a change is made to what stands there now. */
function change(how: (all: Unsent[]) => Unsent[]): void {
  outbox.value = how(read());
  localStorage.setItem(KEY, JSON.stringify(outbox.value));
}

/** Sends an input, now or when the server is there again. Gives whether the server took it. */
export async function post(text: string, policy?: Policy): Promise<boolean> {
  const unsent = { id: crypto.randomUUID(), session: current.value?.session ?? "", text, ...(policy ? { policy } : {}) };
  change((all) => [...all, unsent]);
  return await deliver(unsent);
}

/** Sends what an earlier visit left behind. */
export function deliverLeft(): void {
  for (const unsent of outbox.value) void deliver(unsent);
}

async function deliver(unsent: Unsent): Promise<boolean> {
  const { id, text, policy } = unsent;
  const forget = () => change((all) => all.filter((other) => other.id !== id));
  try {
    const session = unsent.session || (await place()).session;
    if (!unsent.session) change((all) => all.map((other) => (other.id === id ? { ...other, session } : other)));
    await client.command({ type: "send", session, text, ...(policy ? { policy } : {}) }, { id });
    forget();
    return true;
  } catch (error) {
    // A no is an answer; a line that is closed for good is none, and the next visit tries again.
    if (error instanceof RefusedError) forget();
    trouble.value = `Not sent: ${error instanceof Error ? error.message : String(error)}`;
    return false;
  }
}

window.addEventListener("storage", (event) => {
  if (event.key === KEY) outbox.value = read();
});
