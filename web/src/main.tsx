import { render } from "preact";

import { Login } from "./login";
import { type LoginState, rest } from "./rest";
import { setUser } from "./storage";

/** Pause between two attempts to reach the server, in milliseconds. */
const RETRY_AFTER = 2_000;

const root = document.getElementById("app")!;
let loginState: LoginState;
// Nothing is shown or sent before the user is known.
while ((loginState = await rest.loginState()).as === "unreachable") {
  render(
    <p class="login" role="status">
      Not connected: {loginState.reason}. Trying again…
    </p>,
    root,
  );
  await new Promise((done) => setTimeout(done, RETRY_AFTER));
}
if (loginState.as === "anonymous") {
  render(<Login />, root);
} else {
  render(null, root);
  setUser(loginState.user);
  // Loaded only now, since it connects at once.
  const { start } = await import("./app");
  start(root, loginState.as === "known");
}
