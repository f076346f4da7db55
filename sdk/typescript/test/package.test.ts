/** The package as users install it: from its folder, and from a packed file. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
const PROGRAM = `
import { Client, offer } from "thoughtwire";
if (typeof Client !== "function" || typeof offer !== "function") throw new Error("incomplete");
console.log("imported");
`;

it("installs from its folder and from a packed file, and can be imported", () => {
  const dir = mkdtempSync(join(tmpdir(), "thoughtwire-package-"));
  const run = (cwd: string, command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd, encoding: "utf8" });
  try {
    const packed = JSON.parse(
      run(HERE, "npm", "pack", "--json", "--pack-destination", dir).replace(/^[^[]*/, ""),
    ) as [{ filename: string; files: { path: string }[] }];
    const paths = packed[0].files.map(({ path }) => path);
    for (const path of ["dist/src/index.js", "dist/src/index.d.ts", "src/index.ts", "README.md"])
      assert.ok(paths.includes(path), path);
    assert.ok(!paths.some((path) => path.includes("test")), paths.join());
    for (const source of [HERE, join(dir, packed[0].filename)]) {
      const user = mkdtempSync(join(dir, "user-"));
      writeFileSync(join(user, "package.json"), '{"private":true,"type":"module"}');
      writeFileSync(join(user, "program.mjs"), PROGRAM);
      run(user, "npm", "install", "--offline", "--no-audit", "--no-fund", source);
      assert.equal(run(user, process.execPath, "program.mjs"), "imported\n");
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
