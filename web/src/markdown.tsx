/** Text as Markdown: parsed by marked, made safe by DOMPurify, code coloured by highlight.js. */
import DOMPurify from "dompurify";
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
import { useEffect, useMemo, useRef } from "preact/hooks";

for (const [name, language] of Object.entries({ bash, css, javascript, json, python, rust, sql, typescript, xml })) {
  hljs.registerLanguage(name, language);
}

const plain = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const marked = new Marked({
  gfm: true,
  breaks: true,
  // HTML in a text is shown, not meant: what an agent writes about tags stays readable.
  renderer: {
    html: ({ text }) => plain(text),
    // A picture would tell its host who reads here, and when. It is offered as a link.
    image: ({ href, text }) => `<a href="${plain(href)}">${plain(text || href)}</a>`,
  },
});
const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  // A text looks like a text: it cannot borrow the page's own looks, nor ask for a password.
  if (node.className && !/^language-[\w+#.-]+$/.test(node.className)) node.removeAttribute("class");
  if (node.tagName === "INPUT") {
    if (node.getAttribute("type") !== "checkbox") node.remove();
    node.setAttribute("disabled", "");
    node.setAttribute("aria-label", "done");
  }
  if (node.tagName !== "A") return;
  // A link leaves this page alone, and tells nobody where it was.
  if (!/^(?:https?:\/\/|mailto:)/i.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** Markup of a text. */
export function markup(text: string): string {
  return purify.sanitize(marked.parse(text, { async: false }), {
    ALLOWED_TAGS: ["p", "br", "strong", "em", "del", "code", "pre", "a", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table", "thead", "tbody", "tr", "th", "td", "input"],
    ALLOWED_ATTR: ["href", "class", "type", "checked", "disabled", "align", "start"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

/** As long as this a text that streams in is shown as it is, and parsed when it is whole. */
const LONG = 20_000;

export function Markdown({ text, open }: { text: string; open: boolean }) {
  const long = open && text.length > LONG;
  const html = useMemo(() => (long ? "" : markup(text)), [text, long]);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (open || !root.current) return;
    for (const code of root.current.querySelectorAll<HTMLElement>("pre > code")) finish(code);
  }, [html, open]);
  if (long) return <p class="markdown said">{text}</p>;
  return <div class="markdown" ref={root} dangerouslySetInnerHTML={{ __html: html }} />;
}

/** Colours a block of code and gives it a button that copies it. */
function finish(code: HTMLElement): void {
  const pre = code.parentElement;
  if (!pre || pre.parentElement?.className === "code") return;
  const name = /language-(\S+)/.exec(code.className)?.[1];
  if (name && hljs.getLanguage(name)) code.innerHTML = hljs.highlight(code.textContent ?? "", { language: name }).value;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.onclick = async () => {
    await navigator.clipboard.writeText(code.textContent ?? "");
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1_500);
  };
  // Beside the code and not in it, where it would scroll away.
  const box = document.createElement("div");
  box.className = "code";
  pre.tabIndex = 0;
  pre.replaceWith(box);
  box.append(copy, pre);
}
