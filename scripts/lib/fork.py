"""Build releases of Starlette with the diffs in patches/ applied, as wheels of version RELEASE+backport.N.

Each release comes from the package index, and has to be the very archive that is recorded here. What is built
has the same bytes each time, on any machine; they are recorded in patches/hashes.txt.
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import signal
import sys
import tempfile
import zipfile

from environments import RELEASES, key, write
from wheel.wheelfile import WheelFile

import patches
from patches import PATCHES, PatchError

HASHES = os.path.join(PATCHES, "hashes.txt")
HASHES_HEAD = """\
# What scripts/build-fork builds, written by scripts/build-fork --all --record. It is in the form that
# pip install --require-hashes -r takes, so that lines of it can be copied to a requirements file.
"""

# What a release says about itself; installers add more, and RECORD is made anew.
INFORMATION = re.compile("METADATA|WHEEL|top_level.txt|LICENSE.*|licenses")

# Where time starts for zip files, and where it ends; unless SOURCE_DATE_EPOCH says so, no file is of any other time.
EPOCH, LAST_EPOCH = "315532800", "4354819200"


def fork_version(release):
    with open(os.path.join(PATCHES, "revision")) as file:
        return "%s+backport.%d" % (release, int(file.read()))


def wheel_name(release):
    return "starlette-%s-py3-none-any.whl" % fork_version(release)


def recorded():
    """Return the SHA-256 of each wheel in patches/hashes.txt, by its version."""
    if not os.path.exists(HASHES):
        return {}
    with open(HASHES) as file:
        return dict(re.findall(r"^starlette==(\S+) --hash=sha256:(\S+)$", file.read(), re.M))


def build(release, out, expected=None):
    """Build the wheel of `release` into folder `out`; return its SHA-256.

    Raises PatchError, also where that is not the `expected` one; then there is no wheel.
    """
    version = fork_version(release)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as temporary:
        tree = os.path.join(temporary, "tree")
        patches.fetch(release, tree)
        patches.apply(release, tree)
        prepare(tree, release, version)
        built = os.path.join(temporary, wheel_name(release))
        # Uncompressed, as what zlib makes of the same files depends on its version.
        with WheelFile(built, "w", compression=zipfile.ZIP_STORED) as wheel:
            wheel.write_files(tree)
        with open(built, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        if expected is not None and digest != expected:
            raise PatchError(
                "Expected starlette %s to have the SHA-256 recorded in patches/hashes.txt, %s, but built %s. If the "
                "diffs have changed on purpose, run scripts/build-fork --all --record." % (version, expected, digest)
            )
        os.replace(built, os.path.join(out, wheel_name(release)))
    return digest


def prepare(tree, release, version):
    """Turn the files of `release`, as installed into folder `tree`, into those of a wheel of `version`."""
    information = os.path.join(tree, "starlette-%s.dist-info" % version)
    os.rename(os.path.join(tree, "starlette-%s.dist-info" % release), information)
    for name in os.listdir(information):
        if not INFORMATION.fullmatch(name):
            os.remove(os.path.join(information, name))
    for name in os.listdir(tree):
        path = os.path.join(tree, name)
        if name == ".lock":
            os.remove(path)
        elif name == "LICENSE.md":  # Up to 0.13.0 it goes right into the environment.
            os.rename(path, os.path.join(information, name))
        elif path != information and name != "starlette":
            raise PatchError("Expected nothing but a package in Starlette %s, found %s, too" % (release, name))
    path = os.path.join(information, "METADATA")
    with open(path, "rb") as file:
        before = b"\nVersion: %s\n" % release.encode()
        metadata = file.read()
    if metadata.count(before) != 1:
        raise PatchError("Expected one line 'Version: %s' in the metadata of Starlette, found another" % release)
    with open(path, "wb") as file:
        file.write(metadata.replace(before, b"\nVersion: %s\n" % version.encode()))
    for folder, _, names in os.walk(tree):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o644)


def write_hashes(digests):
    lines = ["starlette==%s --hash=sha256:%s\n" % (fork_version(r), digests[r]) for r in sorted(digests, key=key)]
    write(HASHES, HASHES_HEAD + "".join(lines))


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/build-fork", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    parser.add_argument("--all", action="store_true", help="all affected releases")
    parser.add_argument("--out", default="dist", metavar="DIR", help="where the wheels go; default: dist")
    parser.add_argument("--record", action="store_true", help="with --all, write patches/hashes.txt anew")
    arguments = parser.parse_args(argv)
    for release in arguments.releases:
        if release not in RELEASES:
            parser.error("expected affected releases, found %r; they are: %s" % (release, " ".join(RELEASES)))
    if arguments.all == bool(arguments.releases):
        parser.error("expected either --all or releases, found %s" % ("both" if arguments.all else "none"))
    if arguments.record and not arguments.all:
        parser.error("expected --record with --all: patches/hashes.txt is about all releases")
    epoch = os.environ.setdefault("SOURCE_DATE_EPOCH", EPOCH)
    if not (epoch.isdigit() and int(EPOCH) <= int(epoch) < int(LAST_EPOCH)):
        parser.error("expected SOURCE_DATE_EPOCH to be seconds from %s to %s, found %r" % (EPOCH, LAST_EPOCH, epoch))
    # Where the command was given, not where scripts/ is.
    arguments.out = os.path.join(os.environ.get("STARTED_IN", ""), arguments.out)
    return arguments


def build_all(releases, out, known):
    """Build all `releases`, some at once; return their SHA-256, without those that could not be built."""
    digests = {}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    futures = [pool.submit(build, release, out, known.get(fork_version(release))) for release in releases]
    try:
        for release, future in zip(releases, futures):
            try:
                digests[release] = future.result()
                print("%s  %s" % (digests[release], wheel_name(release)), flush=True)
            except PatchError as exc:
                print("scripts/build-fork: %s" % exc, file=sys.stderr, flush=True)
    finally:
        # On Ctrl-C, those that have begun come to their end, and no other begins.
        for future in futures:
            future.cancel()
        pool.shutdown()
    return digests


def main(argv):
    arguments = parse(argv)
    releases = sorted(RELEASES, key=key) if arguments.all else list(dict.fromkeys(arguments.releases))
    known = recorded()
    if arguments.record or os.environ["SOURCE_DATE_EPOCH"] != EPOCH:
        known = {}
    try:
        os.makedirs(arguments.out, exist_ok=True)
        tempfile.TemporaryDirectory(dir=arguments.out).cleanup()
    except OSError as exc:
        sys.exit("scripts/build-fork: expected to be able to write to %s: %s" % (arguments.out, exc))
    # As Ctrl-C does, the signal of those who want to end it is to leave nothing half-done.
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))
    try:
        digests = build_all(releases, arguments.out, known)
    except KeyboardInterrupt:
        print("Stopped; the wheels named above are complete.", file=sys.stderr)
        return 130
    if len(digests) < len(releases):
        missing = len(releases) - len(digests)
        print("%d of %d wheels were not built: see above" % (missing, len(releases)), file=sys.stderr)
        return 1
    if arguments.record:
        write_hashes(digests)
    as_recorded = all(fork_version(release) in known for release in releases)
    checked = ", all as recorded in patches/hashes.txt" if as_recorded else ""
    print("built %d wheels in %s%s" % (len(releases), arguments.out, checked), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
