import type { ServerFrame } from "./wire.js";

/** Joins the parts of frames that are larger than the limit. One per connection. */
export class PartJoiner {
  #received: string[] = [];

  /**
   * Takes a frame as it arrived.
   *
   * @returns the complete frame, or `undefined` while parts of it are missing.
   * @throws {Error} when parts are missing or out of order.
   */
  take(frame: ServerFrame): ServerFrame | undefined {
    const due = this.#received.length;
    if (frame.type !== "part") {
      if (due > 0) throw new Error(`a ${frame.type} frame arrived where part ${due} was due`);
      return frame;
    }
    if (frame.part !== due) {
      throw new Error(`part ${frame.part} arrived where part ${due} was due`);
    }
    this.#received.push(frame.data);
    if (this.#received.length < frame.parts) return undefined;
    const text = this.#received.join("");
    this.#received = [];
    const joined: unknown = JSON.parse(text);
    if (typeof joined !== "object" || joined === null) {
      throw new Error("the joined parts are not a JSON object");
    }
    return joined as ServerFrame;
  }
}
