/** Server-sent events as a browser and Node.js read them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Browser } from "playwright-core";

import { launch, TestServer } from "./support.js";

/** A turn of 50 messages: with its session's first event, its input, its start, usage and end. */
const EVENTS = 55;

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

describe("a compressed stream of events", () => {
  let server: TestServer;
  let path: string;
  before(async () => {
    server = await TestServer.start();
    const model = "load:items=50,bytes=3000,rate=10000,deltas=no";
    const made = await fetch(`${server.url}/v1/agents`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "main", model }),
    });
    const session = ((await made.json()) as { agent: { main_session: string } }).agent.main_session;
    await server.rest("POST", `/v1/sessions/${session}/inputs?wait=60`, { text: "go" });
    path = `/v1/sessions/${session}/events?after=0`;
  });
  after(() => server.stop());

  it("is read by a browser's EventSource", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${server.url}/healthz`);
    const answered = page.waitForResponse((response) => response.url().includes("/events"));
    const ids = page.evaluate(
      ([url, events]) =>
        new Promise<string[]>((done) => {
          const ids: string[] = [];
          const source = new EventSource(url);
          source.addEventListener("event", (event) => {
            if (ids.push(event.lastEventId) === events) {
              source.close();
              done(ids);
            }
          });
        }),
      [path, EVENTS] as const,
    );
    assert.equal((await (await answered).allHeaders())["content-encoding"], "gzip");
    const seqs = (await ids).map((id) => Number(id.split(":")[1]));
    assert.deepEqual(
      seqs,
      seqs.map((_, index) => index + 1),
    );
    await context.close();
  });

  it("is read by Node's fetch", async () => {
    const leaving = new AbortController();
    const response = await fetch(`${server.url}${path}`, {
      headers: { accept: "text/event-stream" },
      signal: leaving.signal,
    });
    assert.equal(response.headers.get("content-encoding"), "gzip");
    const decoder = new TextDecoder();
    let text = "";
    for await (const piece of response.body!) {
      text += decoder.decode(piece, { stream: true });
      if (text.split("\n\n").length > EVENTS) {
        break;
      }
    }
    leaving.abort();
    const seqs = [...text.matchAll(/^id: .*:(\d+)$/gm)].map((match) => Number(match[1]));
    assert.deepEqual(
      seqs,
      Array.from({ length: EVENTS }, (_, index) => index + 1),
    );
  });
});
