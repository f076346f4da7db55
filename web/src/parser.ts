/**
 * Parses Markdown off the main thread, within bounds: a text that is too long, or takes too long,
 * has no markup and is shown as it is.
 */

export interface ToParse {
  text: string;
  /** Whether code is coloured. */
  colour: boolean;
}

export interface Parsed {
  html: string | undefined;
}

/** The longest text that is parsed, in characters. */
const LONGEST = 200_000;
/** How long one text may take, and the worker to come up, in milliseconds. */
const PATIENCE = 1_500;
const START = 20_000;
/** What the texts that are remembered with their markup may have together, in characters. */
const REMEMBERED = 4_000_000;

interface Job extends ToParse {
  done: (html: string | undefined) => void;
}

const jobs: Job[] = [];
let worker: Worker | undefined;
let ready = false;
let running: Job | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Markup by text, oldest first. */
const known = new Map<string, string | undefined>();
let size = 0;
const keyOf = ({ text, colour }: ToParse) => (colour ? "c" : "p") + text;

/** Whether a text was parsed before, and what came of it. */
export function parsedBefore(what: ToParse): Parsed | undefined {
  if (what.text.length > LONGEST) return { html: undefined };
  const key = keyOf(what);
  return known.has(key) ? { html: known.get(key) } : undefined;
}

/** Markup of a text, or nothing where it is better shown as it is. */
export function parse(what: ToParse): Promise<string | undefined> {
  const before = parsedBefore(what);
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
  worker?.postMessage({ text: running.text, colour: running.colour } satisfies ToParse);
  timer = setTimeout(() => {
    // The only way to stop a regular expression.
    worker?.terminate();
    worker = undefined;
    settle(undefined);
  }, PATIENCE);
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
    // Without a worker everything is shown as it is.
    const waiting = [...(running ? [running] : []), ...jobs.splice(0)];
    running = undefined;
    for (const job of waiting) job.done(undefined);
  };
  timer = setTimeout(failed, START);
  made.onerror = failed;
  made.onmessage = ({ data }: MessageEvent<Parsed | "ready">) => {
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
  known.set(key, html);
  size += key.length + (html?.length ?? 0);
  for (const [oldest, its] of known) {
    if (size <= REMEMBERED) break;
    known.delete(oldest);
    size -= oldest.length + (its?.length ?? 0);
  }
}
