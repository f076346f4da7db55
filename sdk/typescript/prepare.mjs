// Builds `dist` when the package is packed, or installed from its folder or from a repository.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const cwd = fileURLToPath(new URL(".", import.meta.url));
const tsc = new URL("node_modules/typescript/bin/tsc", import.meta.url);
const run = (command, ...args) => execFileSync(command, args, { cwd, stdio: "inherit" });

// npm does not install the development dependencies of a folder that it links to.
if (!existsSync(tsc)) run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
run(process.execPath, fileURLToPath(tsc), "-p", "tsconfig.build.json");
