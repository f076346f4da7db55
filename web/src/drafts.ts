/**
 * What was begun to be written: messages by session, under the empty name what belongs to none yet;
 * and memory.
 */
import { signal } from "@preact/signals";

import { keep, load, onKept } from "./storage";

const KEY = "drafts";
const EDITS = "edits";

export const drafts = signal(load<Record<string, string>>(KEY, {}));

export function setDraft(session: string, text: string): void {
  const changed = ({ [session]: _before, ...rest }: Record<string, string>) =>
    text === "" ? rest : { ...rest, [session]: text };
  drafts.value = changed(drafts.value);
  // Other tabs write to the same place, of other sessions.
  keep(KEY, changed(load<Record<string, string>>(KEY, {})));
}

/** Puts words back that were on their way, behind what was begun since. */
export function keepDraft(session: string, text: string): void {
  setDraft(session, [drafts.value[session], text].filter(Boolean).join("\n"));
}

/** What was begun without a session belongs to the one that is opened now. */
export function adoptDraft(session: string): void {
  const text = drafts.value[""];
  if (!text) return;
  setDraft("", "");
  keepDraft(session, text);
}

/** An edit of a memory block that is not saved. */
export interface Edit {
  text: string;
  /** What the block said when the edit began. */
  from: string;
}

const readEdits = () => load<Record<string, Edit>>(EDITS, {});
export const edits = signal(readEdits());

export const editKey = (agent: string, label: string): string => `${agent} ${label}`;

/** Keeps an edit, or drops it. */
export function setEdit(key: string, edit: Edit | undefined): void {
  const { [key]: _before, ...rest } = readEdits();
  edits.value = edit ? { ...rest, [key]: edit } : rest;
  keep(EDITS, edits.value);
}

onKept(EDITS, () => (edits.value = readEdits()));
