/** A server that is the test. */
import { Client } from "../src/index.js";

/** A socket whose other side is the test. */
export class Fake {
  static made: Fake[] = [];
  readonly CLOSED = 3;
  readyState = 1;
  bufferedAmount = 0;
  sent: Record<string, unknown>[] = [];
  onmessage?: (event: { data: string }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  constructor() {
    Fake.made.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  addEventListener(_: string, listener: () => void): void {
    listener();
  }
  close(): void {
    this.readyState = 3;
  }
  says(frame: unknown): void {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }
}

/** A client that was greeted, and its socket. */
export function open(): { client: Client; socket: Fake } {
  const client = new Client({ url: "ws://test", token: "t", name: "n", webSocket: Fake as never });
  const socket = Fake.made.at(-1)!;
  socket.says({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  return { client, socket };
}
