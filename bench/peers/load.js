// The load of all Node peers: the same pieces at the same pace as the model `load:`.
"use strict";

const [port, items, bytes, rate] = process.argv.slice(2).map(Number);
// The resolution of timers, in milliseconds, which does not count as lateness.
const TIMER = 2;
const ID = "0123456789abcdef0123456789abcdef";

const now = () => performance.timeOrigin + performance.now();

/** Returns a piece in a frame of Thoughtwire's native wire, so that sizes are the same. */
function event(n, due) {
  const text = `~${n}~${Math.floor(due * 1000)}~ `.padEnd(bytes, "x");
  return (
    `{"type":"event","session":"${ID}","seq":${n},"at":"2026-01-01T00:00:00.000Z","turn":"${ID}",` +
    `"event":{"kind":"message","item":"${ID}","text":"${text}","complete":true}}`
  );
}

/** Calls `send` with each piece when it is due. */
async function pieces(send) {
  const begun = now();
  let last = 0;
  for (let n = 1; n <= items; n++) {
    const due = rate ? begun + ((n - 1) * 1000) / rate : now();
    const wait = due - now();
    // Also without a pace, so that other tasks run.
    await new Promise((go) => (wait > 0 ? setTimeout(go, wait) : setImmediate(go)));
    last = Math.max(last, now() - due < TIMER ? now() : due);
    send(event(n, last));
  }
}

module.exports = { port, pieces };
