"""Run tests/interpreters/program.py on interpreters that do not run the test suite: see scripts/lib/releases.json.

CPython in WebAssembly is npm's package pyodide, run by node. It has no threads, and so no test client.
"""

import os
import re
import shutil
import subprocess

import environments
from environments import DATA, ROOT, TOOLS
from runner import LeftOutError

PROGRAM = os.path.join(ROOT, "tests", "interpreters", "program.py")
NEEDED = ("starlette", "jinja2", "anyio")  # The program uses no test client.


def wanted(python):
    return DATA["interpreters"].get(python, {})


def set_up(python, found):
    """Return how to start `python`, as the beginning of a command. Raises LeftOutError, if that cannot be."""
    if python in found:
        code = "import sys; sys.path[:0] = sys.argv[2:]; import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
        return [found[python], "-c", code, PROGRAM]
    if "pyodide" not in wanted(python):
        raise LeftOutError("%s was not found. To have it, %s" % (python, wanted(python)["get"]))
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise LeftOutError("Python %s needs Node.js to run in WebAssembly: found no %s on PATH" % (python, program))
    folder = os.path.join(TOOLS, "pyodide", python)
    package = "pyodide@" + wanted(python)["pyodide"]
    if not os.path.exists(os.path.join(folder, package)):
        command = ["npm", "install", "--silent", "--no-save", "--cache", os.path.join(TOOLS, "npm"), "--prefix", folder]
        done = subprocess.run([*command, package], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise LeftOutError("Python %s is to be had as npm's %s, but npm could not install it" % (python, package))
        environments.write(os.path.join(folder, package), "")  # So that a broken installation is done again.
    runner = os.path.join(os.path.dirname(PROGRAM), "wasm.mjs")
    return ["node", runner, os.path.join(folder, "node_modules", "pyodide"), PROGRAM]


def prepare(start, release, python, folder):
    """Install `release` into `folder`; return the command that runs the program, and a note."""
    rows = environments.requirements(release, python)
    rows = [row for row in rows if re.match(r"\w+", row).group() in NEEDED]
    version = re.sub("[a-z]", "", python)
    # What other interpreters cannot load of it is compiled parts, which jinja2 can do without.
    environments.uv("pip", "install", "--target", folder, "--python-version", version, *rows)
    return [*start, folder, ROOT], "program without a test client"
