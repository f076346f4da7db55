/** Text as it is, and how much of it is drawn at once. */
import { useState } from "preact/hooks";

/** Characters that are drawn at first. */
const SHOWN = 200_000;

interface Props {
  text: string;
  /** The class. */
  name: string;
  /** Which part of a long text is shown. */
  from?: "start" | "end";
  tag?: "p" | "pre";
}

export function Plain({ text, name, from = "start", tag: Tag = "p" }: Props) {
  const [most, setMost] = useState(SHOWN);
  const rest = text.length - most;
  return (
    <>
      <Tag class={name} tabIndex={Tag === "pre" ? 0 : undefined}>
        {rest <= 0 ? text : from === "start" ? text.slice(0, most) : text.slice(-most)}
      </Tag>
      {rest > 0 && from === "start" && (
        <button type="button" class="plain small" onClick={() => setMost(most * 4)}>
          Show more ({rest.toLocaleString("en")} characters are left)
        </button>
      )}
    </>
  );
}

/** The deepest nesting that JSON is laid out with: indentation grows with its square. */
const DEEPEST = 30;
/** The longest JSON that is laid out, in characters. */
const LONGEST = 100_000;

/** A value as JSON, on lines of its own unless there would be too many. */
export function laidOut(value: unknown): string {
  try {
    const dense = JSON.stringify(value);
    if (dense === undefined) return "";
    return dense.length > LONGEST || depth(dense) > DEEPEST
      ? dense
      : JSON.stringify(value, null, 2);
  } catch {
    return "(nested too deeply to be shown)";
  }
}

/** JSON on lines of its own; any other text as it is. */
export function laidOutText(text: string): string {
  if (text.length > LONGEST || !/^\s*[[{]/.test(text)) return text;
  try {
    return depth(text) > DEEPEST ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** How deep brackets go; those in strings count as well, which errs to the safe side. */
function depth(json: string): number {
  let [now, deepest] = [0, 0];
  for (const character of json) {
    if (character === "[" || character === "{") deepest = Math.max(deepest, ++now);
    else if (character === "]" || character === "}") now -= 1;
  }
  return deepest;
}
