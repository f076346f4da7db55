/**
 * Part of the WebSocket interface that a client uses: a browser's, Node's own, or that of the
 * package `ws`. Events are `any`, since the three declare incompatible classes for them.
 */
export interface WebSocketLike {
  readonly readyState: number;
  readonly bufferedAmount: number;
  readonly CLOSED: number;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
  addEventListener(type: "close", listener: () => void, options?: { once?: boolean }): void;
}

/** Constructor of a {@link WebSocketLike}. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;
