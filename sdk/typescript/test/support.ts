/** A real server, and helpers that the tests share. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";

import { Client, type EventFrame, type Room } from "../src/index.js";

export { WebSocket };

const BINARY =
  process.env.THOUGHTWIRE_BIN ??
  new URL("../../../../target/debug/thoughtwire", import.meta.url).pathname;

/** A running `thoughtwire serve`, which can be killed and started again at the same address. */
export class TestServer {
  #process: ChildProcess | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), "thoughtwire-"));
  readonly #port: number;
  readonly #flags: string[];

  private constructor(port: number, flags: string[]) {
    this.#port = port;
    this.#flags = flags;
  }

  static async start(...flags: string[]): Promise<TestServer> {
    const server = new TestServer(await lastingPort(), flags);
    await server.restart();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts the server again, with the same data and address. */
  async restart(): Promise<void> {
    const args = [
      "serve",
      "--listen",
      `127.0.0.1:${this.#port}`,
      "--data-dir",
      this.#dir,
      ...this.#flags,
    ];
    this.#process = spawn(BINARY, args, { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: this.#process.stdout! });
    const [line] = (await once(lines, "line")) as [string];
    assert.match(line, /listening on http/);
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    if (this.#process && this.#process.exitCode === null && this.#process.signalCode === null)
      await once(this.#process, "exit");
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  client(name?: string, url = `${this.url.replace("http", "ws")}/v1/ws`): Client {
    return new Client({ url, webSocket: WebSocket, ...(name ? { name } : {}) });
  }

  /** Returns a session's log, read over REST. */
  async log(session: string): Promise<EventFrame[]> {
    const response = await fetch(`${this.url}/v1/sessions/${session}/events?limit=1000`);
    return ((await response.json()) as { events: EventFrame[] }).events;
  }

  /** Creates a key as the local owner. */
  async key(user: string, ...scopes: string[]): Promise<{ key: string; secret: string }> {
    const made = (await this.#own("POST", "/v1/keys", { user, scopes })) as {
      key: { id: string };
      secret: string;
    };
    return { key: made.key.id, secret: made.secret };
  }

  async revoke(key: string): Promise<void> {
    await this.#own("DELETE", `/v1/keys/${key}`);
  }

  async #own(method: string, path: string, body?: unknown): Promise<unknown> {
    const { token } = JSON.parse(readFileSync(join(this.#dir, "server.json"), "utf8")) as {
      token: string;
    };
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    assert.ok(response.ok, text);
    return text === "" ? undefined : JSON.parse(text);
  }

  async rest(method: string, path: string, body: unknown): Promise<void> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    assert.ok(response.ok, await response.text());
  }
}

/** TCP proxy to a server whose connections can be cut. */
export class CutProxy {
  readonly #listener = createServer((from) => this.#forward(from));
  readonly #to: number;
  readonly #open = new Set<Socket>();
  #dropsReplies = false;

  private constructor(to: number) {
    this.#to = to;
  }

  static async to(server: TestServer): Promise<CutProxy> {
    const proxy = new CutProxy(Number(new URL(server.url).port));
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    return proxy;
  }

  get url(): string {
    const address = this.#listener.address();
    assert.ok(address && typeof address === "object");
    return `ws://127.0.0.1:${address.port}/v1/ws`;
  }

  /** Drops everything the server sends on the current connections from now on. */
  dropReplies(): void {
    this.#dropsReplies = true;
  }

  /** Cuts all connections; new ones work again. */
  cut(): void {
    this.#dropsReplies = false;
    for (const socket of this.#open) socket.destroy();
  }

  async close(): Promise<void> {
    this.#listener.close();
    this.cut();
    await once(this.#listener, "close");
  }

  #forward(from: Socket): void {
    const to = connect(this.#to, "127.0.0.1");
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      this.#open.add(socket);
      // A cut connection reports an error, which is expected.
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#open.delete(socket);
        other.destroy();
      });
      socket.on("data", (bytes) => {
        if (socket === from || !this.#dropsReplies) other.write(bytes);
      });
    }
  }
}

let nextPort = 10_000 + (process.pid % 2_000) * 10;

/**
 * Finds a port at which a server can be started again. It is below those that systems give to
 * outgoing connections: one of another test would take it while the server is down.
 */
async function lastingPort(): Promise<number> {
  for (;;) {
    const port = nextPort++;
    const server = createServer().listen(port, "127.0.0.1");
    const free = await new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    server.close();
    if (free) return port;
  }
}

/** Reads events until one matches `last`; returns all of them. */
export async function readUntil(
  room: Room,
  last: (frame: EventFrame) => boolean,
): Promise<EventFrame[]> {
  const seen: EventFrame[] = [];
  for await (const update of room) {
    if (update.type !== "event") continue;
    seen.push(update);
    if (last(update)) return seen;
  }
  throw new Error("the room ended before the expected event");
}

export const isTurnEnd = (frame: EventFrame): boolean => frame.event.kind === "turn_ended";

/** Returns the texts of the messages among events. */
export const messages = (frames: EventFrame[]): string[] =>
  frames.flatMap((frame) => (frame.event.kind === "message" ? [frame.event.text] : []));
