/** Worker that parses Markdown. It can be terminated, whatever a text does to the parser. */
import { markup } from "./markup";
import type { ParseRequest, ParseResult } from "./parser";

const worker = self as unknown as {
  onmessage: (message: MessageEvent<ParseRequest>) => void;
  postMessage(parsed: ParseResult | "ready"): void;
};
worker.onmessage = ({ data: { text, colour } }) =>
  worker.postMessage({ html: markup(text, colour) });
worker.postMessage("ready");
