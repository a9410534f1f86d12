"""Show the bug on a real release, and then the backport: see README."""

import argparse
import json
import os
import re
import subprocess
import sys

import environments
from environments import DATA, RELEASES, ROOT, key

FIXED = "0.24.0"
SHOWN = ["starlette", "anyio", "jinja2", "requests", "httpx", "starlette-backport"]


def nothing_to_show(release):
    """Return why there is nothing to show for `release`, and the exit status that goes with it."""
    if not re.match(r"\d+\.\d+(\.\d+)?((a|b|rc)\d+)?$", release):
        return "Expected a release of Starlette such as 0.14.2, but found %r." % release, 2
    first, last = DATA["releases"][0]["release"], DATA["releases"][-1]["release"]
    if key(release) >= key(FIXED):
        return "Starlette %s is not affected: the bug is fixed since %s. You need no backport." % (release, FIXED), 0
    if key(release) < key(first):
        return "Starlette %s is not affected: it sends no template message yet. You need no backport." % release, 0
    return "There is no Starlette %s; affected are the releases from %s to %s:\n%s" % (
        release,
        first,
        last,
        " ".join(RELEASES),
    ), 2


def versions(python):
    lines = environments.uv("pip", "freeze", "--python", python).splitlines()
    found = dict(re.split(r"==| @ ", line, maxsplit=1) for line in lines if "==" in line or " @ " in line)
    found["starlette-backport"] = "from this checkout"
    return ", ".join("%s %s" % (name, found[name]) for name in SHOWN if name in found)


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("release", nargs="?", default="0.14.2", help="of Starlette; default: 0.14.2")
    parser.add_argument(
        "--python", default=environments.THIS_PYTHON, choices=DATA["pythons"], help="default: the one at hand"
    )
    arguments = parser.parse_args()
    release, python = arguments.release, arguments.python
    if release not in RELEASES:
        sentence, status = nothing_to_show(release)
        print(sentence)
        return status
    problem = environments.supports(release, python)
    if problem:
        print("%s. Try another release, or another Python: scripts/demo --python 3.8 %s" % (problem, release))
        return 2

    directory = os.path.join(ROOT, ".envs", "demo-%s-py%s" % (release, python))
    print("Setting up Starlette %s on Python %s in an environment of its own ..." % (release, python), flush=True)
    environments.uv("venv", "--clear", "--python", python, directory)
    executable = os.path.join(directory, "bin", "python")
    install = [executable, os.path.join(environments.LIB, "environments.py"), release]
    if subprocess.call(install):
        return 2
    print("  " + versions(executable))

    command = [executable, "-m", "starlette_backport"]
    for name in "status", "verify":
        print("\n$ python -m starlette_backport " + name, flush=True)
        subprocess.call([*command, name])
    facts = json.loads(subprocess.run([*command, "verify", "--json"], stdout=subprocess.PIPE).stdout)
    if not facts["without"]["works"] and facts["with"]["works"]:
        print("\nStarlette %s fails without the backport, and works with it." % release)
        return 0
    print("\nExpected it to fail without the backport and to work with it, but found what is above.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
