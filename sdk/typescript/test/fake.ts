/** A scripted server: the test itself. */
import { Client } from "../src/index.js";

/** WebSocket whose other end is the test. */
export class FakeSocket {
  static instances: FakeSocket[] = [];
  readonly CLOSED = 3;
  readyState = 1;
  bufferedAmount = 0;
  sent: Record<string, unknown>[] = [];
  onmessage?: (event: { data: string }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  constructor() {
    FakeSocket.instances.push(this);
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
  deliver(frame: unknown): void {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }
}

/** Returns a client that has received `welcome`, and its socket. */
export function connectedClient(): { client: Client; socket: FakeSocket } {
  const client = new Client({
    url: "ws://test",
    token: "t",
    name: "n",
    webSocket: FakeSocket as never,
  });
  const socket = FakeSocket.instances.at(-1)!;
  socket.deliver({ type: "welcome", protocol: "thoughtwire.v1", server: "test", limits: {} });
  return { client, socket };
}
