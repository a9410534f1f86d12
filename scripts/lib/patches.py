"""The diffs in patches/: which releases take which, and a release's files with them applied."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from environments import LIB, RELEASES, ROOT, key

PATCHES = os.path.join(ROOT, "patches")
BUILD_CONSTRAINTS = os.path.join(LIB, "build-constraints.txt")

# Not shared with other uses of uv, which build source archives with any setuptools.
CACHE = os.path.join(ROOT, ".tools", "releases")


# Where packages come from, and whom to trust; all other settings of uv's would make another wheel, or none.
SETTINGS = re.compile(
    "UV_(DEFAULT_INDEX|EXTRA_INDEX|INDEX|FIND_LINKS|NATIVE_TLS|SYSTEM_CERTS|INSECURE|HTTP|KEYRING|OFFLINE|CONFIG_FILE)"
)


class PatchError(Exception):
    """What was expected, what was found, what to do next."""


def ranges():
    """Return the names of the folders in patches/, such as 0.9.9-0.10.3, in order."""
    found = (name for name in os.listdir(PATCHES) if os.path.exists(os.path.join(PATCHES, name, "series")))
    return sorted(found, key=lambda name: key(name.split("-")[0]))


def range_of(release):
    """Return the name of the range that `release` is in. Raises PatchError where there is not exactly one."""
    found = []
    for name in ranges():
        first, last = name.split("-")
        if key(first) <= key(release) <= key(last):
            found.append(name)
    if len(found) != 1:
        raise PatchError(
            "Expected one folder in patches/ for Starlette %s, found %s; there are: %s"
            % (release, " and ".join(found) or "none", " ".join(ranges()))
        )
    return found[0]


def series(name):
    """Return the paths of the diffs of range `name`, in the order in which they apply."""
    with open(os.path.join(PATCHES, name, "series")) as file:
        return [os.path.join(PATCHES, name, line) for line in file.read().split()]


def fetch(release, directory):
    """Install `release` from the package index into `directory`, if it is the archive that we know."""
    # Three: `==` would take a build of our own, too, where one can be found.
    requirement = "starlette===%s --hash=sha256:%s" % (release, RELEASES[release]["sha256"])
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "requirements.txt")
        with open(path, "w") as file:
            file.write(requirement)
        command = [os.environ["UV"], "pip", "install", "--quiet", "--python", sys.executable]
        command += ["--no-deps", "--require-hashes", "--requirements", path, "--target", directory]
        command += ["--build-constraints", BUILD_CONSTRAINTS, "--cache-dir", CACHE, "--link-mode", "copy"]
        command += ["--no-compile-bytecode"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UV_") or SETTINGS.match(k)}
        process = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
    if process.returncode:
        raise PatchError(
            "Could not get Starlette %s with the SHA-256 recorded in scripts/lib/releases.json, %s:\n%s"
            "Check your package index, or what stands in front of it."
            % (release, RELEASES[release]["sha256"], process.stdout)
        )


def run(command, directory):
    """Run `command` in `directory`, out of reach of any repository or configuration of git's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(
        GIT_CEILING_DIRECTORIES=os.path.dirname(os.path.realpath(directory)),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        HOME=directory,
        XDG_CONFIG_HOME=directory,
        LC_ALL="C",
    )
    return subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def apply(release, directory):
    """Apply to the files of `release` in `directory` the diffs of its range. Raises PatchError."""
    for path in series(range_of(release)):
        apply_one(path, release, directory)


def apply_one(path, release, directory):
    if shutil.which("git") is None:
        raise PatchError("Expected git on PATH, to apply the diffs with; found none. Install it and run this again.")
    # It takes no fuzz: the lines around a change have to be there as they are.
    process = run(["git", "apply", "-p1", "--whitespace=nowarn", path], directory)
    if process.returncode:
        raise PatchError(
            "%s does not apply to Starlette %s:\n%s"
            "Split the range, or refresh the diff: see patches/README.md."
            % (os.path.relpath(path, ROOT), release, process.stdout)
        )
