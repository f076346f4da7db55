import { render } from "preact";

import { Login } from "./login";
import { rest } from "./rest";

const root = document.getElementById("app")!;
const standing = await rest.standing();
if (standing !== "unknown") {
  // Only now, since it connects as soon as it is there.
  const { start } = await import("./app");
  start(root, standing === "known");
} else {
  render(<Login />, root);
}
