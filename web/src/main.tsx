import { render } from "preact";

import { Login } from "./login";
import { rest } from "./rest";

const root = document.getElementById("app")!;
if (await rest.isKnown()) {
  // Only now, since it connects as soon as it is there.
  const { start } = await import("./app");
  start(root);
} else {
  render(<Login />, root);
}
