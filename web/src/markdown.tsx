/** Markdown: parsed in a worker, sanitized by DOMPurify. */
import DOMPurify from "dompurify";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { cached, parse } from "./parser";
import { Plain } from "./plain";
import { drawSeams, withSeams } from "./seams";

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  // A text must not imitate the page's own elements, nor ask for a password.
  if (node.className && !/^(?:language-[\w+#.-]+|hljs-[\w-]+(?: [\w-]+_)*)$/.test(node.className))
    node.removeAttribute("class");
  if (node.tagName === "INPUT") {
    if (node.getAttribute("type") !== "checkbox") node.remove();
    node.setAttribute("disabled", "");
    node.setAttribute("aria-label", "done");
  }
  if (node.tagName !== "A") return;
  // A link opens another tab, without a referrer.
  if (!/^(?:https?:\/\/|mailto:)/i.test(node.getAttribute("href") ?? ""))
    node.removeAttribute("href");
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

const safe = (html: string): string =>
  purify.sanitize(html, {
    ALLOWED_TAGS: [
      "p",
      "br",
      "strong",
      "em",
      "del",
      "code",
      "pre",
      "span",
      "a",
      "ul",
      "ol",
      "li",
      "blockquote",
      "h1",
      "h2",
      "h3",
      "h4",
      "h5",
      "h6",
      "hr",
      "table",
      "thead",
      "tbody",
      "tr",
      "th",
      "td",
      "input",
    ],
    ALLOWED_ATTR: ["href", "class", "type", "checked", "disabled", "align", "start"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });

/** Length from which a streaming text is shown as plain text until it is complete. */
const MAX_STREAMED = 20_000;
/** Pause between two parses of a streaming text, in milliseconds. */
const PAUSE = 100;

interface MarkdownProps {
  text: string;
  /** Positions at which the text was cut and continued. */
  seams: number[];
  /** Whether the text is still streaming. */
  open: boolean;
  /** Called when the size of the element has changed. */
  drawn: () => void;
}

export function Markdown({ text, seams, open, drawn }: MarkdownProps) {
  const shown = useMemo(() => withSeams(text, seams), [text, seams]);
  const html = useMarkup(shown, open);
  const inner = useMemo(() => html && { __html: drawSeams(safe(html)) }, [html]);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    for (const table of root.current?.querySelectorAll("table") ?? []) table.tabIndex = 0;
    if (open || !root.current) return;
    for (const code of root.current.querySelectorAll<HTMLElement>("pre > code")) finish(code);
  }, [inner, open]);
  useLayoutEffect(drawn, [inner]);
  if (!inner)
    return <Plain text={shown} seams name="markdown said" from={open ? "end" : "start"} />;
  return <div class="markdown" ref={root} dangerouslySetInnerHTML={inner} />;
}

/** Returns the HTML of a text; while streaming, that of a moment ago. */
function useMarkup(text: string, open: boolean): string | undefined {
  const [html, setHtml] = useState(() => cached({ text, colour: !open })?.html);
  const now = useRef({ text, open, busy: false, gone: false, wake: () => {} });
  Object.assign(now.current, { text, open });
  useEffect(() => () => void (now.current.gone = true), []);
  useEffect(() => {
    const state = now.current;
    // The text is complete: draw it at once.
    if (!open) state.wake();
    if (state.busy) return;
    state.busy = true;
    void (async () => {
      while (!state.gone) {
        const { text, open } = state;
        const given =
          open && text.length > MAX_STREAMED ? undefined : await parse({ text, colour: !open });
        if (state.gone) return;
        setHtml(given);
        if (text === state.text && open === state.open) break;
        // A text that exceeded the limits waits until it is complete.
        while (given === undefined && state.open && !state.gone) await pause(state);
        if (state.open) await pause(state);
      }
      state.busy = false;
    })();
  }, [text, open]);
  return html;
}

const pause = (state: { wake: () => void }): Promise<void> =>
  new Promise((done) => {
    state.wake = done;
    setTimeout(done, PAUSE);
  });

/** Adds a copy button to a block of code. */
function finish(code: HTMLElement): void {
  const pre = code.parentElement;
  if (!pre || pre.parentElement?.className === "code") return;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.onclick = async () => {
    await navigator.clipboard.writeText(code.textContent ?? "");
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1_500);
  };
  // Outside of the code, where it does not scroll away.
  const box = document.createElement("div");
  box.className = "code";
  pre.tabIndex = 0;
  pre.replaceWith(box);
  box.append(copy, pre);
}
