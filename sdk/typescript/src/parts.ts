import type { FrameOf, ServerFrame } from "./wire.js";

/** Joins the parts of frames that are larger than the limit. One per connection. */
export class PartJoiner {
  #next = 0;
  #data: string[] = [];

  /**
   * Takes a frame as it came.
   *
   * @returns the whole frame, or nothing while parts of it are missing.
   * @throws {Error} when parts are missing or come in another order.
   */
  take(frame: ServerFrame): ServerFrame | undefined {
    if (frame.type !== "part") {
      if (this.#next > 0) throw new Error(`a frame came after ${this.#next} parts of another one`);
      return frame;
    }
    const { part, parts, data } = frame as FrameOf<"part">;
    if (part !== this.#next) throw new Error(`part ${part} came where part ${this.#next} was due`);
    this.#data.push(data);
    this.#next += 1;
    if (this.#next < parts) return undefined;
    const text = this.#data.join("");
    [this.#next, this.#data] = [0, []];
    const whole: unknown = JSON.parse(text);
    if (typeof whole !== "object" || whole === null) throw new Error("the parts are no frame");
    return whole as ServerFrame;
  }
}
