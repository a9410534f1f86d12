"""Show the bug on a real release, and then the backport: see README."""

import argparse
import json
import os
import subprocess
import sys

import environments
from environments import RELEASES, TOOLS, key, supports

SHOWN = ("starlette", "anyio", "jinja2", "requests", "httpx", "starlette-backport")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("release", nargs="?", default="0.14.2", help="of Starlette; default: 0.14.2")
    parser.add_argument("--python", metavar="X.Y", default=environments.THIS_PYTHON, help="default: the one at hand")
    arguments = parser.parse_args()
    release, python, found = arguments.release, arguments.python, environments.pythons_found()
    first, *_, last = RELEASES
    if release not in RELEASES:
        if release[:1].isdigit() and not key(first) <= key(release) <= key(last):
            print("Starlette %s is not affected: only %s to %s are. You need no backport." % (release, first, last))
            return 0
        parser.error("expected one of the affected releases, found %r; they are: %s" % (release, " ".join(RELEASES)))
    if python not in found:
        parser.error(environments.not_found([python]))
    problem = supports(release, python)
    if problem:
        parser.error("%s. Try another release, or another Python: scripts/demo --python 3.8 %s" % (problem, release))

    print("Setting up Starlette %s on Python %s in an environment of its own ..." % (release, python), flush=True)
    executable = environments.make(os.path.join(TOOLS, "envs", "demo-%s-%s" % (release, python)), found[python])
    environments.install(executable, python, release)
    versions = dict(environments.freeze(executable), **{"starlette-backport": "from this checkout"})
    print("  " + ", ".join("%s %s" % (name, versions[name]) for name in SHOWN if name in versions))
    command = [executable, "-m", "starlette_backport"]
    for name in "status", "verify":
        print("\n$ python -m starlette_backport " + name, flush=True)
        subprocess.call([*command, name])
    facts = json.loads(subprocess.check_output([*command, "verify", "--json"]))
    if not facts["without"]["works"] and facts["with"]["works"]:
        print("\nStarlette %s fails without the backport, and works with it." % release)
        return 0
    print("\nExpected it to fail without the backport and to work with it, but found what is above.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
