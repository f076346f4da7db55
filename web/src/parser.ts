/** Parses Markdown in a worker, within limits. A text that exceeds them is shown as plain text. */

export interface ParseRequest {
  text: string;
  /** Whether code is highlighted. */
  colour: boolean;
}

export interface ParseResult {
  html: string | undefined;
}

/** Length of the longest text that is parsed, in characters. */
const MAX_LENGTH = 200_000;
/** Time limits for one text and for the start of the worker, in milliseconds. */
const PARSE_TIMEOUT = 1_500;
const START_TIMEOUT = 20_000;
/** Size of the cache, texts and HTML together, in characters. */
const CACHE_SIZE = 4_000_000;

interface ParseJob extends ParseRequest {
  done: (html: string | undefined) => void;
}

const jobs: ParseJob[] = [];
let worker: Worker | undefined;
let ready = false;
let running: ParseJob | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Cached HTML by text, oldest first. */
const cache = new Map<string, string | undefined>();
let size = 0;
const keyOf = ({ text, colour }: ParseRequest) => (colour ? "c" : "p") + text;

/** Returns the cached result of a text. */
export function cached(what: ParseRequest): ParseResult | undefined {
  if (what.text.length > MAX_LENGTH) return { html: undefined };
  const key = keyOf(what);
  return cache.has(key) ? { html: cache.get(key) } : undefined;
}

/** Returns the HTML of a text, or `undefined` to show it as plain text. */
export function parse(what: ParseRequest): Promise<string | undefined> {
  const before = cached(what);
  if (before) return Promise.resolve(before.html);
  return new Promise((done) => {
    jobs.push({ ...what, done });
    next();
  });
}

function next(): void {
  if (running || jobs.length === 0) return;
  if (!worker) start();
  if (!ready) return;
  running = jobs.shift()!;
  worker?.postMessage({ text: running.text, colour: running.colour } satisfies ParseRequest);
  timer = setTimeout(() => {
    // Terminating the worker is the only way to stop a regular expression.
    worker?.terminate();
    worker = undefined;
    settle(undefined);
  }, PARSE_TIMEOUT);
}

function start(): void {
  ready = false;
  const made = new Worker(new URL("./markup.worker.ts", import.meta.url), { type: "module" });
  worker = made;
  const failed = () => {
    made.terminate();
    if (worker !== made) return;
    worker = undefined;
    clearTimeout(timer);
    // Without a worker, all texts are shown as plain text.
    const waiting = [...(running ? [running] : []), ...jobs.splice(0)];
    running = undefined;
    for (const job of waiting) job.done(undefined);
  };
  timer = setTimeout(failed, START_TIMEOUT);
  made.onerror = failed;
  made.onmessage = ({ data }: MessageEvent<ParseResult | "ready">) => {
    if (data === "ready") {
      clearTimeout(timer);
      ready = true;
      next();
    } else settle(data.html);
  };
}

function settle(html: string | undefined): void {
  clearTimeout(timer);
  const job = running;
  running = undefined;
  if (job) {
    remember(keyOf(job), html);
    job.done(html);
  }
  next();
}

function remember(key: string, html: string | undefined): void {
  cache.set(key, html);
  size += key.length + (html?.length ?? 0);
  for (const [oldest, its] of cache) {
    if (size <= CACHE_SIZE) break;
    cache.delete(oldest);
    size -= oldest.length + (its?.length ?? 0);
  }
}
