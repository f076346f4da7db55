/** What was begun to be written, by session; under the empty name what belongs to none yet. */
import { signal } from "@preact/signals";

import { keep, load } from "./storage";

const KEY = "drafts";

export const drafts = signal(load<Record<string, string>>(KEY, {}));

export function setDraft(session: string, text: string): void {
  const { [session]: _before, ...rest } = drafts.value;
  drafts.value = text === "" ? rest : { ...rest, [session]: text };
  keep(KEY, drafts.value);
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
