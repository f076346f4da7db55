/**
 * Marks for invisible characters: those that change a text's direction, hide words, or take no
 * space. The rules are in `vectors/visible.jsonl`, for the page and the terminal.
 */

/** Builds a character class from several lines. */
const charClass = (...parts: string[]): RegExp => new RegExp(`[${parts.join("")}]`, "u");

/** Control characters except tab and newline, format characters, fillers, selectors, tags. */
const INVISIBLE = charClass(
  String.raw`\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4`,
  String.raw`\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f`,
  String.raw`\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}`,
  String.raw`\u{e0000}-\u{e0fff}`,
);
const EVERY_INVISIBLE = new RegExp(INVISIBLE.source, "gu");

/** Pictographs, after which a joiner or a variation selector is legitimate. */
const EMOJI = charClass(
  String.raw`#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2`,
  String.raw`\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299`,
  String.raw`\u{1f000}-\u{1faff}\ufe0f`,
);
/**
 * Letters of scripts that use joiners in spelling: Arabic to Sinhala, Tibetan, Myanmar, Khmer,
 * Mongolian and others.
 */
const JOINING = charClass(
  String.raw`\u0600-\u0603\u0606-\u061b\u061d-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17b3`,
  String.raw`\u17b6-\u17ff\u1807\u180a\u1810-\u18af\u1900-\u1cff\ua840-\ua87f\ua8e0-\ua9df`,
  String.raw`\uaa60-\uaa7f\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\u{10a00}-\u{10d3f}`,
  String.raw`\u{11000}-\u{11fff}\u{1e900}-\u{1e95f}`,
);
const MONGOLIAN = /[\u1820-\u18af]/u;
const HAN =
  /[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/u;
/**
 * The black flag with the tags of England, Scotland or Wales, which are all the flags of this
 * kind.
 */
const FLAG = new RegExp(
  [
    String.raw`\u{1f3f4}\u{e0067}\u{e0062}`,
    String.raw`(?:\u{e0065}\u{e006e}\u{e0067}|\u{e0073}\u{e0063}\u{e0074}`,
    String.raw`|\u{e0077}\u{e006c}\u{e0073})`,
    String.raw`\u{e007f}`,
  ].join(""),
  "gu",
);

/** Returns whether an invisible character is legitimate after the one before it. */
function belongs(character: string, before: string): boolean {
  const code = character.codePointAt(0)!;
  if (code === 0x200d) return (before > "9" && EMOJI.test(before)) || JOINING.test(before);
  if (code === 0x200c) return JOINING.test(before);
  if (code === 0xfe0f || code === 0xfe0e) return before !== "\ufe0f" && EMOJI.test(before);
  if (code >= 0xfe00 && code <= 0xfe02) return HAN.test(before);
  if (code >= 0xe0100 && code <= 0xe01ef) return HAN.test(before);
  if (code >= 0x180b && code <= 0x180f && code !== 0x180e) return MONGOLIAN.test(before);
  return false;
}

const mark = (character: string): string =>
  `‹U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}›`;

/** Returns the text with a mark such as `‹U+202E›` for each invisible character. */
export function visible(text: string): string {
  if (!INVISIBLE.test(text)) return text;
  const lines = text.replaceAll("\r\n", "\n");
  const flags = new Set<number>();
  for (const { index, 0: flag } of lines.matchAll(FLAG))
    for (let at = 2; at < flag.length; at += 2) flags.add(index + at);
  return lines.replace(EVERY_INVISIBLE, (character, at: number) => {
    const low = lines.charCodeAt(at - 1);
    const before = lines.slice(low >= 0xdc00 && low <= 0xdfff ? at - 2 : at - 1, at);
    return flags.has(at) || (at > 0 && belongs(character, before)) ? character : mark(character);
  });
}

/** Maximum length of a displayed name or title, in characters. */
const NAME = 200;

/** Returns a name on one line, with marks. */
export const visibleName = (name: string): string => {
  const shown = visible(name.length > NAME ? `${name.slice(0, NAME)}…` : name);
  return shown.replaceAll("\n", "‹U+000A›").replaceAll("\t", "‹U+0009›");
};
