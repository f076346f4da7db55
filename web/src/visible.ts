/**
 * Marks for characters that nobody sees: those that turn a text's direction, hide words in it or
 * take no room. What stands in `vectors/visible.jsonl` holds here and in the terminal.
 */

/** C0 and C1 but tab and newline; format characters, fillers, variation selectors, tags. */
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;
const EVERY_INVISIBLE = new RegExp(INVISIBLE.source, "gu");

/** Pictographs, which a joiner or a variation selector may follow; and what may stand between. */
const EMOJI =
  /[#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\u{1f000}-\u{1faff}\ufe0f]/u;
/**
 * Letters of scripts in which joiners decide how a word is written: Arabic to Sinhala, Tibetan,
 * Myanmar, Khmer, Mongolian and others.
 */
const JOINING =
  /[\u0600-\u0603\u0606-\u061b\u061d-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u17ff\u1807\u180a\u1810-\u18af\u1900-\u1cff\ua840-\ua87f\ua8e0-\ua9df\uaa60-\uaa7f\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\u{10a00}-\u{10d3f}\u{11000}-\u{11fff}\u{1e900}-\u{1e95f}]/u;
const MONGOLIAN = /[\u1820-\u18af]/u;
const HAN =
  /[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/u;
/**
 * The black flag with the tags of England, Scotland and Wales: all the flags of this kind that
 * there are.
 */
const FLAG =
  /\u{1f3f4}(?:\u{e0067}\u{e0062}(?:\u{e0065}\u{e006e}\u{e0067}|\u{e0073}\u{e0063}\u{e0074}|\u{e0077}\u{e006c}\u{e0073})\u{e007f})/gu;

/** Whether a character that is not seen belongs behind the one before it. */
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

/** The text with a mark such as `‹U+202E›` for each character that would not be seen. */
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

/** The most characters of a name or a title that are shown. */
const NAME = 200;

/** A name on one line. */
export const visibleName = (name: string): string => {
  const shown = visible(name.length > NAME ? `${name.slice(0, NAME)}…` : name);
  return shown.replaceAll("\n", "‹U+000A›").replaceAll("\t", "‹U+0009›");
};
