/** Plain text, with a limit on how much is drawn at once. */
import { useState } from "preact/hooks";

import { Seams } from "./seams";

/** Characters that are drawn at first. */
const INITIAL_LENGTH = 200_000;

interface PlainProps {
  text: string;
  /** CSS class. */
  name: string;
  /** Part of a long text that is shown. */
  from?: "start" | "end";
  tag?: "p" | "pre";
  /** Whether the text has marks for its seams. */
  seams?: boolean;
}

export function Plain({ text, name, from = "start", tag: Tag = "p", seams = false }: PlainProps) {
  const [shownLength, setShownLength] = useState(INITIAL_LENGTH);
  const rest = text.length - shownLength;
  const shown =
    rest <= 0 ? text : from === "start" ? text.slice(0, shownLength) : text.slice(-shownLength);
  return (
    <>
      <Tag class={name} tabIndex={Tag === "pre" ? 0 : undefined}>
        {seams ? <Seams text={shown} /> : shown}
      </Tag>
      {rest > 0 && from === "start" && (
        <button type="button" class="plain small" onClick={() => setShownLength(shownLength * 4)}>
          Show more ({rest.toLocaleString("en")} characters are left)
        </button>
      )}
    </>
  );
}

/** Maximum nesting of formatted JSON, since indentation grows with its square. */
const MAX_DEPTH = 30;
/** Maximum length of formatted JSON, in characters. */
const MAX_LENGTH = 100_000;

/** Formats a value as JSON, on one line if it is too large to indent. */
export function formatJson(value: unknown): string {
  try {
    const dense = JSON.stringify(value);
    if (dense === undefined) return "";
    return dense.length > MAX_LENGTH || depth(dense) > MAX_DEPTH
      ? dense
      : JSON.stringify(value, null, 2);
  } catch {
    return "(nested too deeply to be shown)";
  }
}

/** Formats a text that is JSON; returns any other text unchanged. */
export function formatText(text: string): string {
  if (text.length > MAX_LENGTH || !/^\s*[[{]/.test(text)) return text;
  try {
    return depth(text) > MAX_DEPTH ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Returns the depth of brackets. Brackets in strings count too, which is the safe side. */
function depth(json: string): number {
  let [now, deepest] = [0, 0];
  for (const character of json) {
    if (character === "[" || character === "{") deepest = Math.max(deepest, ++now);
    else if (character === "]" || character === "}") now -= 1;
  }
  return deepest;
}
