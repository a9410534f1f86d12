"""What belongs into an environment for a release of Starlette, and how it gets there.

    python scripts/lib/environments.py RELEASE[-fork] [--tests]

installs into the environment of the Python that runs it: that release, dependencies that fit it and this
Python, the backport from this checkout, and with --tests what the test suite needs. With -fork it is the build
of that release in the folder STARLETTE_BACKPORT_FORKS, and the release as shipped is put aside, for the tests to
compare with. It needs uv, and runs on Python 3.6, as it is run by the Pythons under test.
"""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys

LIB = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(LIB))

with open(os.path.join(LIB, "releases.json")) as file:
    DATA = json.load(file)

RELEASES = {row["release"]: row for row in DATA["releases"]}
UNAFFECTED = {row["release"]: row for row in DATA["unaffected"]}
THIS_PYTHON = "%d.%d" % sys.version_info[:2]


def key(version):
    """Return what a release or a Python version sorts by; pre-releases come first."""
    numbers = re.match(r"\d+(\.\d+)*", version).group()
    rest = version[len(numbers) :]
    return [int(number) for number in numbers.split(".")], not rest, rest


def covers(row, release):
    """Return whether `row` of the data is for `release`."""
    return key(row.get("since", "0")) <= key(release) < key(row.get("until", "99"))


def supports(release, python):
    """Return None, or why `release` is not to be tested on `python`."""
    row = RELEASES.get(release) or UNAFFECTED[release]
    if key(python) < key(row["requires_python"]):
        return "Starlette %s needs Python %s or later" % (release, row["requires_python"])
    if python not in DATA["pythons"]:
        return "Python %s is not one of those supported, %s to %s" % (
            python,
            DATA["pythons"][0],
            DATA["pythons"][-1],
        )
    for broken in DATA["broken"]:
        if covers(broken, release) and key(python) >= key(broken["python"]):
            return "Starlette %s is broken on Python %s: %s" % (release, python, broken["why"])
    return None


def is_era(python):
    return python in DATA["era"]["pythons"]


def era(release):
    """Return the day as of which the dependencies of `release` are resolved."""
    row = RELEASES.get(release) or UNAFFECTED[release]
    uploaded = datetime.datetime.strptime(row["uploaded"], "%Y-%m-%d").date()
    return (uploaded + datetime.timedelta(days=DATA["era"]["days"])).isoformat()


def requirements(release, python):
    """Return the requirements of the application and the tests for `release` on `python`."""
    found = ["starlette==" + release]
    for row in DATA["requirements"]:
        if covers(row, release) and key(python) >= key(row.get("python", "3")):
            found.append(row["requirement"])
    return found


def write(path, text):
    """Write `text` to the file at `path`, or leave that as it is."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def uv(*arguments):
    executable = os.environ.get("UV") or shutil.which("uv")
    if not executable:
        sys.exit("expected uv on PATH, found none: run scripts/test or scripts/demo, or 'pip install uv'")
    process = subprocess.Popen(
        [executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    output, errors = process.communicate()
    if process.returncode:
        sys.exit("uv %s failed:\n%s%s" % (" ".join(arguments), output, errors))
    return output


def install_fork(release, here):
    """Install the build of `release` as from an index of one's own; what pins the release is content with it."""
    source = ["--find-links", os.environ["STARLETTE_BACKPORT_FORKS"]]
    # Not what uv has kept of another build of the same version.
    source += ["--refresh-package", "starlette", "--reinstall-package", "starlette"]
    uv("pip", "install", "--no-deps", "starlette==%s+backport.%s" % (release, fork_revision()), *(source + here))
    shipped = os.path.join(sys.prefix, "shipped")  # Read by tests/peer.py.
    uv("pip", "install", "--no-deps", "--target", shipped, "starlette===" + release, *here)


def fork_revision():
    """Return the N of the version RELEASE+backport.N."""
    with open(os.path.join(ROOT, "patches", "revision")) as file:
        return file.read().strip()


def freeze(here):
    """Return what is installed, a line for each package."""
    return uv("pip", "freeze", *here).splitlines()


def install_package(here):
    """Install the newest build of this checkout, with its dependencies: it has to leave all others alone."""
    before = freeze(here)
    package = os.environ.get("STARLETTE_BACKPORT_WHEEL", ROOT)
    uv("pip", "install", "--reinstall-package", "starlette-backport", package, *here)
    moved = {line for line in set(before) ^ set(freeze(here)) if not line.startswith("starlette-backport")}
    if moved:
        sys.exit("installing starlette-backport has changed other packages: %s" % ", ".join(sorted(moved)))


def install(release, tests, fork=False):
    here = ["--python", sys.executable]
    test_tools = ["pytest", "hypothesis"] if tests else []
    wanted = requirements(release, THIS_PYTHON)
    if fork:
        install_fork(release, here)
    if is_era(THIS_PYTHON):
        uv("pip", "install", "--no-deps", wanted[0], *here)  # Does nothing where there is a fork.
        uv("pip", "install", "--exclude-newer", era(release), *(wanted + here))
        if tests:
            uv("pip", "install", *(test_tools + here))
    else:
        uv("pip", "install", *(wanted + test_tools + here))
    install_package(here)
    after = freeze(here)
    if fork and "starlette==%s+backport.%s" % (release, fork_revision()) not in after:
        sys.exit("expected the build of Starlette %s to stay, found:\n%s" % (release, "\n".join(after)))


if __name__ == "__main__":
    # tox gives the name of the cell, such as py37-starlette0.14.2.
    release, fork = re.match(r"(?:.*-starlette)?(.+?)(-fork)?$", sys.argv[1]).groups()
    if release not in RELEASES and release not in UNAFFECTED:
        sys.exit("expected one of the releases in scripts/lib/releases.json, found %r" % release)
    install(release, "--tests" in sys.argv[2:], fork is not None)
