import { render } from "preact";

import { Login } from "./login";
import { rest, type Standing } from "./rest";
import { belongsTo } from "./storage";

/** Between two attempts to reach a server that is away, in milliseconds. */
const AGAIN_AFTER = 2_000;

const root = document.getElementById("app")!;
let standing: Standing;
// Nothing is shown or sent before it is clear whose it is.
while ((standing = await rest.standing()).as === "unreached") {
  render(
    <p class="login" role="status">
      Not connected: {standing.reason}. Trying again…
    </p>,
    root,
  );
  await new Promise((done) => setTimeout(done, AGAIN_AFTER));
}
if (standing.as === "unknown") {
  render(<Login />, root);
} else {
  render(null, root);
  belongsTo(standing.user);
  // Only now, since it connects as soon as it is there.
  const { start } = await import("./app");
  start(root, standing.as === "known");
}
