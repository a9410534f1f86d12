"""Which Pythons there are, what belongs into an environment for a release of Starlette, and how it gets there.

    python scripts/lib/environments.py RELEASE[-fork] [--tests]

installs into the environment of the Python that runs it, which may be 3.6: the release, dependencies that fit it and
this Python, the backport from this checkout, and with --tests what the test suite needs. With -fork it installs the
build of that release from the folder .tools/forks.
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
TOOLS = os.path.join(ROOT, ".tools")
FORKS = os.path.join(TOOLS, "forks")

with open(os.path.join(LIB, "releases.json")) as file:
    DATA = json.load(file)

RELEASES = {row["release"]: row for row in DATA["releases"]}
UNAFFECTED = {row["release"]: row for row in DATA["unaffected"]}
THIS_PYTHON = "%d.%d" % sys.version_info[:2]


class LeftOutError(Exception):
    """Something cannot run on this machine; the text says why, and what to do."""


def key(version):
    """Return what a release or a Python sorts by; pre-releases come first, PyPy with the CPython that it is like."""
    numbers = re.search(r"\d+(\.\d+)*", version).group()
    rest = version.rpartition(numbers)[2]
    return [int(number) for number in numbers.split(".")], not rest, rest


def covers(row, release):
    """Return whether `row` of the data is for `release`."""
    return key(row.get("since", "0")) <= key(release) < key(row.get("until", "99"))


def supports(release, python):
    """Return None, or why `release` is not to be tested on `python`."""
    row = RELEASES.get(release) or UNAFFECTED[release]
    if key(python) < key(row["requires_python"]):
        return "Starlette %s needs Python %s or later" % (release, row["requires_python"])
    for broken in DATA["broken"]:
        if covers(broken, release) and key(python) >= key(broken["python"]):
            return "Starlette %s to %s: %s" % (broken["since"], broken["to"], broken["why"])
    return None


def era(release):
    """Return the day as of which the dependencies of `release` are resolved."""
    row = RELEASES.get(release) or UNAFFECTED[release]
    uploaded = datetime.datetime.strptime(row["uploaded"], "%Y-%m-%d").date()
    return (uploaded + datetime.timedelta(days=DATA["era"]["days"])).isoformat()


def requirements(release, python):
    """Return the requirements of the application and the tests for `release` on `python`."""
    rows = (row for row in DATA["requirements"] if covers(row, release) and key(python) >= key(row.get("python", "3")))
    return ["starlette==" + release, *(row["requirement"] for row in rows)]


def write(path, text):
    """Write `text` to the file at `path`, or leave that as it is."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def uv(*arguments):
    """Return what uv prints."""
    executable = os.environ.get("UV") or shutil.which("uv")
    if not executable:
        sys.exit("expected uv on PATH, found none: run scripts/test or scripts/demo, or 'pip install uv'")
    pipe = subprocess.PIPE
    process = subprocess.Popen([executable, *arguments], stdout=pipe, stderr=pipe, universal_newlines=True)
    output, errors = process.communicate()
    if process.returncode:
        sys.exit("uv %s failed:\n%s%s" % (" ".join(arguments), output, errors))
    return output


def pythons_found():
    """Return the supported Pythons on this machine by their version, such as 3.7 or pypy3.9, with their paths."""
    found = {}
    for row in json.loads(uv("python", "list", "--only-installed", "--output-format", "json")):
        prefix = {"cpython": "", "pypy": "pypy"}.get(row["implementation"])
        version = "%s%d.%d" % (prefix, row["version_parts"]["major"], row["version_parts"]["minor"])
        if row.get("variant", "default") == "default" and version in DATA["pythons"] + list(DATA["interpreters"]):
            found.setdefault(version, row["path"])
    return {version: found[version] for version in sorted(found, key=lambda version: (version[0] == "p", key(version)))}


def not_found(pythons):
    """Return a sentence for Pythons that are not there."""
    first, *_ = pythons = sorted(pythons, key=key)
    get = DATA["interpreters"].get(first, {}).get("get", "pyenv install " + first)
    return "Python %s: neither on PATH nor in the folders of pyenv and uv. To have it: %s" % (", ".join(pythons), get)


def build():
    """Build the wheel of this checkout, which all environments are given from now on; return its path."""
    folder = os.path.join(TOOLS, "wheel")
    uv("build", "--quiet", "--wheel", "--clear", "--out-dir", folder, ROOT)
    (wheel,) = (entry for entry in os.listdir(folder) if entry.endswith(".whl"))
    os.environ["STARLETTE_BACKPORT_WHEEL"] = os.path.join(folder, wheel)
    return os.environ["STARLETTE_BACKPORT_WHEEL"]


def build_forks(releases):
    """Build the patched `releases` that environments with a fork are given."""
    command = [os.path.join(ROOT, "scripts", "build-fork"), "--out", FORKS, *sorted(releases, key=key)]
    if subprocess.call(command, stdout=subprocess.DEVNULL):
        sys.exit("expected the patched releases to build: see above")


def make(folder, python):
    """Make an empty environment in `folder`; return the path of its Python."""
    uv("venv", "--quiet", "--clear", "--python", python, folder)
    return os.path.join(folder, "bin", "python")


def pytest(executable):
    """Return the command beside `executable`. With ``python -m pytest`` the package would be that of the checkout."""
    return os.path.join(os.path.dirname(executable), "pytest")


def fork_revision():
    """Return the N of the version RELEASE+backport.N."""
    with open(os.path.join(ROOT, "patches", "revision")) as file:
        return file.read().strip()


def freeze(executable):
    """Return the versions of what is installed, by name."""
    lines = uv("pip", "freeze", "--python", executable).splitlines()
    return dict(re.split(r"==| @ ", line, maxsplit=1) for line in lines)


def install_package(executable):
    """Install this checkout, with its dependencies: it has to leave all others alone. Return what there is then."""
    before = freeze(executable)
    package = os.environ.get("STARLETTE_BACKPORT_WHEEL", ROOT)
    uv("pip", "install", "--reinstall-package", "starlette-backport", package, "--python", executable)
    after = freeze(executable)
    if {**before, "starlette-backport": after["starlette-backport"]} != after:
        sys.exit("installing starlette-backport has changed other packages: %s, then %s" % (before, after))
    return after


def install(executable, python, release, tests=False, fork=False):
    """Install `release` and what belongs to it into the environment of `executable`, which is a Python `python`."""
    here = ["--python", executable]
    wanted = requirements(release, python)
    tools = ["pytest", "hypothesis"] if tests else []
    build = "%s+backport.%s" % (release, fork_revision())
    if fork:
        # What pins the release is content with the build. Not what uv has kept of another build of the same version.
        source = ["--find-links", FORKS, "--refresh-package", "starlette", "--reinstall-package", "starlette"]
        uv("pip", "install", "--no-deps", "starlette==" + build, *source, *here)
    if python in DATA["era"]["pythons"]:
        uv("pip", "install", "--no-deps", wanted[0], *here)  # Does nothing where there is a fork.
        uv("pip", "install", "--exclude-newer", era(release), *wanted, *here)
        wanted = []
    if wanted + tools:
        uv("pip", "install", *wanted, *tools, *here)
    after = install_package(executable)
    if fork and after["starlette"] != build:
        sys.exit("expected the build of Starlette %s to stay, found %s" % (release, after["starlette"]))


if __name__ == "__main__":
    release, fork = re.match(r"(.+?)(-fork)?$", sys.argv[1]).groups()
    if release not in RELEASES and release not in UNAFFECTED:
        sys.exit("expected one of the releases in scripts/lib/releases.json, found %r" % release)
    install(sys.executable, THIS_PYTHON, release, "--tests" in sys.argv[2:], fork is not None)
