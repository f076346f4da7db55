/** The worker that parses: it can be ended, whatever a text does to the parser. */
import { markup } from "./markup";
import type { Parsed, ToParse } from "./parser";

const worker = self as unknown as {
  onmessage: (message: MessageEvent<ToParse>) => void;
  postMessage(parsed: Parsed | "ready"): void;
};
worker.onmessage = ({ data: { text, colour } }) =>
  worker.postMessage({ html: markup(text, colour) });
worker.postMessage("ready");
