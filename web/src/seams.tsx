/**
 * Seams: the places at which a text was cut by an interruption and continued. A seam is drawn as a
 * thin mark, which does not move the text.
 */
import { visible } from "./visible";

/** Stands for a seam while a text is parsed. For Markdown it is a letter. */
const MARK = "\u{f5ea}";
const LABEL = "The text was interrupted here and then continued";
/** How far a mark may be from its seam, in characters. */
const MAX_SHIFT = 300;
/** Words in which a mark would change what the Markdown means: addresses, code, entities. */
const FRAGILE = /:\/\/|@|\]\(|[<&`]|\.\S/u;

/**
 * Returns a text as it is displayed, with a mark at each seam, or at the next word whose meaning in
 * Markdown the mark does not change. A seam without such a word has no mark.
 */
export function withSeams(text: string, seams: number[]): string {
  const clean = (part: string) => visible(part).replaceAll(MARK, "\u{fffd}");
  const parts = [0, ...seams].map((from, n) => clean(text.slice(from, seams[n])));
  return parts.reduce((before, part) => {
    const at = placeFor(before.slice(-MAX_SHIFT), part.slice(0, 2 * MAX_SHIFT));
    return at === undefined ? before + part : before + part.slice(0, at) + MARK + part.slice(at);
  });
}

/** Returns the position of a mark in a text that follows another one. */
function placeFor(before: string, text: string): number | undefined {
  for (const { index, 1: space = "", 2: word = "" } of text.matchAll(/(^|\s)(\S+)/gu)) {
    const at = index + space.length;
    if (at > MAX_SHIFT) return undefined;
    const whole = at === 0 ? `${/\S*$/u.exec(before)?.[0] ?? ""}${word}` : word;
    if (/^\p{L}/u.test(word) && !FRAGILE.test(whole)) return at;
  }
  return undefined;
}

/** Replaces the marks in HTML that is already sanitized. */
export const drawSeams = (html: string): string =>
  html.replaceAll(new RegExp(`(<[^>]*>)|${MARK}`, "gu"), (_found, tag?: string) =>
    tag === undefined
      ? `<span class="seam" role="img" aria-label="${LABEL}" title="${LABEL}"></span>`
      : tag.replaceAll(MARK, ""),
  );

/** Draws a plain text with marks. */
export function Seams({ text }: { text: string }) {
  return (
    <>
      {text.split(MARK).map((part, n) => (
        <>
          {n > 0 && <span class="seam" role="img" aria-label={LABEL} title={LABEL} />}
          {part}
        </>
      ))}
    </>
  );
}
