/**
 * What a client uses of a WebSocket: a browser's, Node's own, or that of the package `ws`. Events are
 * `any`, since these three declare classes for them that are not each other's.
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

/** The class of a {@link WebSocketLike}. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;
