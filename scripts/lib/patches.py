"""The diffs in patches/: which releases take which, and a release's files with them applied."""

import os
import subprocess
import sys
import tempfile

from environments import LIB, RELEASES, ROOT, key

PATCHES = os.path.join(ROOT, "patches")
# Its own cache, because it is built with the setuptools of build-constraints.txt.
CACHE = os.path.join(ROOT, ".tools", "releases")


class PatchError(Exception):
    """What went wrong, and what to do."""


def ranges():
    """Return the names of the folders in patches/, such as 0.9.9-0.10.3, in order."""
    found = (name for name in os.listdir(PATCHES) if os.path.exists(os.path.join(PATCHES, name, "series")))
    return sorted(found, key=lambda name: key(name.split("-")[0]))


def range_of(release):
    """Return the name of the range that `release` is in."""
    within = [name for name in ranges() if key(name.split("-")[0]) <= key(release) <= key(name.split("-")[1])]
    if len(within) != 1:
        raise PatchError("Starlette %s is in %d of the ranges %s." % (release, len(within), " ".join(ranges())))
    return within[0]


def series(name):
    """Return the paths of the diffs of range `name`, in the order in which they apply."""
    with open(os.path.join(PATCHES, name, "series")) as file:
        return [os.path.join(PATCHES, name, line) for line in file.read().split()]


def fetch(release, directory):
    """Install `release` from the package index into `directory`. Raises PatchError unless it has the known SHA-256."""
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "requirements.txt")
        with open(path, "w") as file:  # Three: `==` would accept a patched build, too.
            file.write("starlette===%s --hash=sha256:%s" % (release, RELEASES[release]["sha256"]))
        command = [os.environ["UV"], "pip", "install", "--quiet", "--python", sys.executable, "--target", directory]
        command += ["--no-deps", "--require-hashes", "--requirements", path, "--link-mode", "copy"]
        command += ["--build-constraints", os.path.join(LIB, "build-constraints.txt"), "--cache-dir", CACHE]
        process = subprocess.run(
            [*command, "--no-compile-bytecode"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
    if process.returncode:
        text = "Starlette %s could not be installed, with the SHA-256 that scripts/lib/releases.json has:\n%s"
        raise PatchError(text % (release, process.stdout))


def apply(path, release, directory, *command):
    """Apply the diff at `path` to the files of `release` in `directory`, without fuzz; by git, or by `command`."""
    # The environment has no settings of git, which is also kept from finding the repository around `directory`.
    environment = {"PATH": os.environ["PATH"], "HOME": directory, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    environment["GIT_CEILING_DIRECTORIES"] = os.path.dirname(os.path.realpath(directory))
    process = subprocess.run(
        [*(command or ("git", "apply", "-p1", "--whitespace=nowarn")), path],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if process.returncode or "fuzz" in process.stdout:
        text = "%s does not apply to Starlette %s. See 'Changing them' in patches/README.md.\n%s"
        raise PatchError(text % (os.path.relpath(path, ROOT), release, process.stdout))
