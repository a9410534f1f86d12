// Runs program.py on CPython in WebAssembly: node wasm.mjs PYODIDE PROGRAM FOLDER...
// PYODIDE is the folder of npm's package pyodide. PROGRAM imports modules from the FOLDERs.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, program, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.resolve(pyodide, "pyodide.mjs")));
const python = await loadPyodide({ env: { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" } });
const mounted = [path.dirname(program), ...folders].map((folder, number) => {
  const place = `/mounted/${number}`;
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: path.resolve(folder) }, place);
  return place;
});
const name = path.basename(program, ".py");
process.exitCode = await python.runPythonAsync(`
import sys
sys.path[:0] = ${JSON.stringify(mounted)}
import ${name}
await ${name}.main()
`);
