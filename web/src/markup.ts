/** Markdown to HTML in a worker, with marked and highlight.js. */
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import css from "highlight.js/lib/languages/css";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import { Marked } from "marked";

for (const [name, language] of Object.entries({
  bash,
  css,
  javascript,
  json,
  python,
  rust,
  sql,
  typescript,
  xml,
})) {
  hljs.registerLanguage(name, language);
}

/** Limits of the HTML that the page displays: characters, elements, and nesting of elements. */
const MAX_CHARACTERS = 1_000_000;
const MAX_ELEMENTS = 8_000;
const MAX_DEPTH = 50;

const escaped = (text: string) =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");

const parser = (colour: boolean) =>
  new Marked({
    gfm: true,
    breaks: true,
    // HTML in a text is displayed as text, so what an agent writes about tags stays readable.
    renderer: {
      html: ({ text }) => escaped(text),
      // Loading an image would tell its host who reads it, and when. It becomes a link.
      image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
      code: ({ text, lang }) => {
        const name = /^[\w+#.-]+/.exec(lang ?? "")?.[0];
        const inner =
          colour && name && hljs.getLanguage(name)
            ? hljs.highlight(text, { language: name }).value
            : escaped(text);
        return `<pre><code${name ? ` class="language-${name}"` : ""}>${inner}\n</code></pre>`;
      },
    },
  });
const plain = parser(false);
const coloured = parser(true);

/**
 * Returns the HTML of a text, or `undefined` to show it as plain text. May be slow: see
 * `parser.ts`.
 */
export function markup(text: string, colour: boolean): string | undefined {
  try {
    const html = (colour ? coloured : plain).parse(text, { async: false });
    return fits(html) ? html : undefined;
  } catch {
    // The nesting is too deep for the parser's stack.
    return undefined;
  }
}

const VOID = new Set(["br", "hr", "input"]);

function fits(html: string): boolean {
  if (html.length > MAX_CHARACTERS) return false;
  let [elements, depth] = [0, 0];
  for (const [, end, name] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)/g)) {
    if (end) depth -= 1;
    else if (!VOID.has(name!)) depth += 1;
    elements += end ? 0 : 1;
    if (elements > MAX_ELEMENTS || depth > MAX_DEPTH) return false;
  }
  return true;
}
