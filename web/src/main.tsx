import { render } from "preact";

import { App } from "./app";
import { deliverLeft } from "./outbox";

deliverLeft();
render(<App />, document.getElementById("app")!);
