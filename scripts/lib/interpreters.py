"""How to start each Python: also those that run tests/interpreters/program.py, in place of the test suite.

CPython in WebAssembly is npm's package pyodide, run by node. It has no threads, and so no test client.
"""

import os
import re
import shutil
import subprocess

import environments
from environments import DATA, ROOT, TOOLS, LeftOutError

PROGRAM = os.path.join(ROOT, "tests", "interpreters", "program.py")
RUN = "import sys, runpy; sys.path[:0] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"
NEEDED = ("starlette", "jinja2", "anyio")  # The program uses no test client.
ALL = DATA["pythons"] + list(DATA["interpreters"])


def find(pythons):
    """Return how to start those of `pythons` that are there, and sentences about the others.

    That is the path of a Python, or the beginning of a command that runs the program, as a list.
    """
    found, starts, missing, sentences = environments.pythons_found(), {}, [], []
    for python in pythons:
        if python in found:
            runs_suite = python in DATA["pythons"]
            starts[python] = found[python] if runs_suite else [found[python], "-c", RUN, PROGRAM]
        elif "pyodide" in DATA["interpreters"].get(python, {}):
            try:
                starts[python] = set_up_pyodide(python)
            except LeftOutError as error:
                sentences.append(str(error))
        else:
            missing.append(python)
    for group in ([p for p in missing if p in DATA["pythons"]], [p for p in missing if p not in DATA["pythons"]]):
        sentences += [environments.not_found(group)] if group else []
    return starts, dict.fromkeys(sentences, ())


def set_up_pyodide(python):
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise LeftOutError("Python %s: runs in WebAssembly by Node.js, found no %s" % (python, program))
    package = "pyodide@" + DATA["interpreters"][python]["pyodide"]
    folder = os.path.join(TOOLS, package)
    if not os.path.exists(os.path.join(folder, "ready")):
        command = ["npm", "install", "--silent", "--no-save", "--cache", os.path.join(TOOLS, "npm"), "--prefix", folder]
        if subprocess.call([*command, package], stdout=subprocess.DEVNULL):
            raise LeftOutError("Python %s: npm could not install %s, see above" % (python, package))
        environments.write(os.path.join(folder, "ready"), "")
    runner = os.path.join(os.path.dirname(PROGRAM), "wasm.mjs")
    return ["node", runner, os.path.join(folder, "node_modules", "pyodide"), PROGRAM]


def prepare(start, release, python, folder):
    """Install `release` into `folder`; return the command that runs the program."""
    rows = environments.requirements(release, python)
    rows = [row for row in rows if re.match(r"\w+", row).group() in NEEDED]
    # Compiled parts that this Python cannot load are left alone: jinja2 can do without.
    version = python.replace("pypy", "")
    environments.uv("pip", "install", "--target", folder, "--python-version", version, *rows)
    return [*start, folder, ROOT]
