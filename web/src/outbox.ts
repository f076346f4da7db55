/**
 * Outbox: inputs without an answer, stored per user so that they survive a reload or a closed tab.
 */
import { signal } from "@preact/signals";
import { type Policy, RefusedError } from "thoughtwire";

import { drafts, keepDraft } from "./drafts";
import { reasonOf } from "./reason";
import { HttpError, NetworkError } from "./rest";
import { isSameUser, keep, load, onStored } from "./storage";
import { client, current, errorText, mainSession, open } from "./store";

export interface OutboxEntry {
  /** Idempotency key of the command: the input takes effect once, also if two tabs send it. */
  id: string;
  /** Empty if there is no session yet; it is created first. */
  session: string;
  text: string;
  policy?: Policy;
  /** Reason for which the server refused it for good. */
  refused?: string;
}

const KEY = "outbox";
/**
 * Pause before an input is sent again: refused for the moment, or left by another tab. In
 * milliseconds.
 */
const RETRY_AFTER = 2_000;
const read = () => load<OutboxEntry[]>(KEY, []);

export const outbox = signal<OutboxEntry[]>(read());
/** Reasons for which inputs were refused for the moment, by input id. */
export const delays = signal<Record<string, string>>({});
/** Ids of the inputs that this tab is sending. */
const sending = new Set<string>();

/** Changes the stored outbox, which other tabs write to as well. */
function change(how: (all: OutboxEntry[]) => OutboxEntry[]): void {
  const theirs = read().filter(({ id }) => !outbox.value.some((ours) => ours.id === id));
  outbox.value = how([...outbox.value, ...theirs]);
  keep(KEY, outbox.value);
}

/** Sends an input now, or when there is a connection. */
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

/** Sends everything in the outbox, also from earlier visits and closed tabs. */
export function deliverAll(): void {
  for (const unsent of outbox.value) void deliver(unsent);
}

/** Removes a refused input; `edit` moves its text into the message field. */
export function takeBack(unsent: OutboxEntry, how: "edit" | "discard"): void {
  forget(unsent.id);
  if (how === "edit") keepDraft(unsent.session, unsent.text);
}

const forget = (id: string): void => change((all) => all.filter((other) => other.id !== id));

function delay(id: string, reason: string | undefined): void {
  const { [id]: _before, ...rest } = delays.value;
  delays.value = reason === undefined ? rest : { ...rest, [id]: reason };
}

async function deliver(unsent: OutboxEntry): Promise<void> {
  const { id, text, policy, refused } = unsent;
  if (refused !== undefined || sending.has(id) || !isSameUser()) return;
  sending.add(id);
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
        RETRY_AFTER,
      );
    } else if (verdict === "never") {
      delay(id, undefined);
      // A deleted session cannot show it: the text moves to the next session's message field.
      refuse({ ...unsent, session: isGone(error) ? "" : session }, reasonOf(error));
    }
    // A client that is closed gives no answer; the next visit sends it again.
  } finally {
    sending.delete(id);
  }
}

/** Handles a final refusal: the text returns to the message field, unless that is in use. */
function refuse(unsent: OutboxEntry, reason: string): void {
  errorText.value = `The server refused your message: ${reason}`;
  if (unsent.session === "" || !drafts.value[unsent.session]) {
    takeBack(unsent, "edit");
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
  // Of HTTP errors, only those that mean "not now" are tried again.
  if (error instanceof HttpError)
    return error.status >= 500 || error.status === 429 ? "later" : "never";
  return error instanceof NetworkError ? "later" : "unknown";
}

client.onState((state) => {
  if (state === "open") deliverAll();
});
onStored(KEY, () => {
  outbox.value = read();
  if (outbox.value.length > 0) setTimeout(deliverAll, RETRY_AFTER);
});
