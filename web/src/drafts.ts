/** Unsent text: drafts by session (the empty id for no session yet), and edits of memory blocks. */
import { signal } from "@preact/signals";

import { keep, load, onStored } from "./storage";

const KEY = "drafts";
const EDITS = "edits";

export const drafts = signal(load<Record<string, string>>(KEY, {}));

export function setDraft(session: string, text: string): void {
  const changed = ({ [session]: _before, ...rest }: Record<string, string>) =>
    text === "" ? rest : { ...rest, [session]: text };
  drafts.value = changed(drafts.value);
  // Other tabs write drafts of other sessions under the same key.
  keep(KEY, changed(load<Record<string, string>>(KEY, {})));
}

/** Puts the text of a message back into the draft, after what was typed since. */
export function keepDraft(session: string, text: string): void {
  setDraft(session, [drafts.value[session], text].filter(Boolean).join("\n"));
}

/** Moves the draft without a session to the session that is opened. */
export function adoptDraft(session: string): void {
  const text = drafts.value[""];
  if (!text) return;
  setDraft("", "");
  keepDraft(session, text);
}

/** Unsaved edit of a memory block. */
export interface BlockEdit {
  text: string;
  /** Text of the block when the edit began. */
  from: string;
}

const readEdits = () => load<Record<string, BlockEdit>>(EDITS, {});
export const edits = signal(readEdits());

export const editKey = (agent: string, label: string): string => `${agent} ${label}`;

/** Stores an edit, or removes it. */
export function setEdit(key: string, edit: BlockEdit | undefined): void {
  const { [key]: _before, ...rest } = readEdits();
  edits.value = edit ? { ...rest, [key]: edit } : rest;
  keep(EDITS, edits.value);
}

onStored(EDITS, () => (edits.value = readEdits()));
