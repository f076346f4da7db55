/**
 * What was sent and has no answer yet: kept where a reload and a closed tab leave it, for the user
 * who sent it.
 */
import { signal } from "@preact/signals";
import { type Policy, RefusedError } from "thoughtwire";

import { drafts, keepDraft } from "./drafts";
import { reasonOf } from "./reason";
import { Refusal, Unreached } from "./rest";
import { isStillHere, keep, load, onKept } from "./storage";
import { client, current, mainSession, open, trouble } from "./store";

export interface Unsent {
  /**
   * The command's id: under it the input takes effect once, however often and from wherever it is
   * sent.
   */
  id: string;
  /** Empty while there is no session yet: it is made first. */
  session: string;
  text: string;
  policy?: Policy;
  /** Why the server refused it for good. */
  refused?: string;
}

const KEY = "outbox";
/**
 * How long until what was refused for the moment is sent again, and what another tab has not
 * brought is brought by this one.
 */
const AGAIN_AFTER = 2_000;
const read = () => load<Unsent[]>(KEY, []);

export const outbox = signal<Unsent[]>(read());
/** Why what is being sent was refused for the moment, by its id. */
export const delays = signal<Record<string, string>>({});
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
  const unsent = {
    id: crypto.randomUUID(),
    session: current.value?.session ?? "",
    text,
    ...(policy ? { policy } : {}),
  };
  change((all) => [...all, unsent]);
  void deliver(unsent);
}

/** Sends what is there: of an earlier visit, or of a tab that is gone. */
export function deliverAll(): void {
  for (const unsent of outbox.value) void deliver(unsent);
}

/** Takes something out that was refused, into the message field if it is to be written anew. */
export function takeOut(unsent: Unsent, how: "edit" | "discard"): void {
  forget(unsent.id);
  if (how === "edit") keepDraft(unsent.session, unsent.text);
}

const forget = (id: string): void => change((all) => all.filter((other) => other.id !== id));

function delay(id: string, reason: string | undefined): void {
  const { [id]: _before, ...rest } = delays.value;
  delays.value = reason === undefined ? rest : { ...rest, [id]: reason };
}

async function deliver(unsent: Unsent): Promise<void> {
  const { id, text, policy, refused } = unsent;
  if (refused !== undefined || underWay.has(id) || !isStillHere()) return;
  underWay.add(id);
  let { session } = unsent;
  try {
    if (session === "") {
      session = await mainSession();
      change((all) => all.map((other) => (other.id === id ? { ...other, session } : other)));
      if (!current.value) open(session);
    }
    await client.command({ type: "send", session, text, ...(policy ? { policy } : {}) }, { id });
    delay(id, undefined);
    forget(id);
  } catch (error) {
    const verdict = verdictOf(error);
    if (verdict === "later") {
      delay(id, reasonOf(error));
      setTimeout(
        () => outbox.value.some((other) => other.id === id) && void deliver({ ...unsent, session }),
        AGAIN_AFTER,
      );
    } else if (verdict === "never") {
      delay(id, undefined);
      // A session that is gone cannot show it: its words go to the next one.
      refuse({ ...unsent, session: isGone(error) ? "" : session }, reasonOf(error));
    }
    // A line that is closed for good is no answer, and the next visit tries again.
  } finally {
    underWay.delete(id);
  }
}

/**
 * A no for good: the words go back to where they were written, unless something else is being
 * written there.
 */
function refuse(unsent: Unsent, reason: string): void {
  trouble.value = `Not sent, the server refused it: ${reason}`;
  if (unsent.session === "" || !drafts.value[unsent.session]) {
    takeOut(unsent, "edit");
  } else {
    change((all) =>
      all.map((other) => (other.id === unsent.id ? { ...unsent, refused: reason } : other)),
    );
  }
}

const isGone = (error: unknown): boolean =>
  error instanceof RefusedError && error.code === "unknown_session";

function verdictOf(error: unknown): "later" | "never" | "unknown" {
  if (error instanceof RefusedError) return error.retry ? "later" : "never";
  // Of the server's answers over HTTP those that say "not now" are tried again.
  if (error instanceof Refusal)
    return error.status >= 500 || error.status === 429 ? "later" : "never";
  return error instanceof Unreached ? "later" : "unknown";
}

client.onState((state) => {
  if (state === "open") deliverAll();
});
onKept(KEY, () => {
  outbox.value = read();
  if (outbox.value.length > 0) setTimeout(deliverAll, AGAIN_AFTER);
});
