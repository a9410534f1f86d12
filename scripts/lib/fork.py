"""Build releases of Starlette with the diffs in patches/ applied, as wheels of version RELEASE+backport.N.

Each release comes from the package index. Its SHA-256 has to be the one in scripts/lib/releases.json. A build has the
same bytes on every machine. Its SHA-256 has to be the one in patches/hashes.txt.
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import sys
import tempfile
import zipfile

from environments import RELEASES, fork_revision, key, write
from wheel.wheelfile import WheelFile

import patches
from patches import PatchError

HASHES = os.path.join(patches.PATCHES, "hashes.txt")
HASHES_HEAD = """\
# The wheels that scripts/build-fork builds. Written by scripts/build-fork --all --record. pip install --require-hashes
# accepts these lines in a requirements file.
"""

# What a release says about itself. Installers add other files, and RECORD is written anew.
INFORMATION = re.compile("METADATA|WHEEL|top_level.txt|LICENSE.*|licenses")


def version_of(release):
    return "%s+backport.%s" % (release, fork_revision())


def recorded():
    """Return the SHA-256 of each wheel in patches/hashes.txt, by its version."""
    with open(HASHES) as file:
        return dict(re.findall(r"^starlette==(\S+) --hash=sha256:(\S+)$", file.read(), re.M))


def build(release, out, known):
    """Build the wheel of `release` into folder `out`, if it is the one that is `known`; return its SHA-256."""
    version = version_of(release)
    name = "starlette-%s-py3-none-any.whl" % version
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as temporary:
        tree, built = os.path.join(temporary, "tree"), os.path.join(temporary, name)
        patches.fetch(release, tree)
        for path in patches.series(patches.range_of(release)):
            patches.apply(path, release, tree)
        prepare(tree, release, version)
        # Uncompressed, because what zlib makes of the same files depends on its version.
        with WheelFile(built, "w", compression=zipfile.ZIP_STORED) as wheel:
            wheel.write_files(tree)
        with open(built, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        if known and digest != known.get(version):
            text = "starlette %s was built with the SHA-256 %s, but patches/hashes.txt has %s. Nothing was written.\n"
            text += "If the diffs were changed on purpose, run scripts/build-fork --all --record."
            raise PatchError(text % (version, digest, known.get(version)))
        os.replace(built, os.path.join(out, name))
    print("%s  %s" % (digest, name), flush=True)
    return digest


def prepare(tree, release, version):
    """Turn the files of `release`, as installed into folder `tree`, into those of a wheel of `version`."""
    information = os.path.join(tree, "starlette-%s.dist-info" % version)
    os.rename(os.path.join(tree, "starlette-%s.dist-info" % release), information)
    for name in {".lock", "LICENSE.md"}.intersection(os.listdir(tree)):  # Up to 0.13.0 the licence is there.
        os.rename(os.path.join(tree, name), os.path.join(information, name))
    for name in os.listdir(information):
        if not INFORMATION.fullmatch(name):
            os.remove(os.path.join(information, name))
    with open(os.path.join(information, "METADATA"), "r+b") as file:
        before, after = (b"\nVersion: %s\n" % number.encode() for number in (release, version))
        metadata = file.read().replace(before, after, 1)
        file.seek(0)
        file.write(metadata)
    for folder, _, names in os.walk(tree):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o644)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/build-fork", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    parser.add_argument("--all", action="store_true", help="all affected releases")
    parser.add_argument("--out", default="dist", metavar="DIR", help="where to put the wheels; default: dist")
    parser.add_argument("--record", action="store_true", help="with --all: write patches/hashes.txt")
    arguments = parser.parse_args(argv)
    for release in set(arguments.releases) - set(RELEASES):
        parser.error("%s is not an affected release. They are: %s" % (release, " ".join(RELEASES)))
    if arguments.all == bool(arguments.releases) or (arguments.record and not arguments.all):
        parser.error("give releases, or --all, or --all --record")
    return arguments


def main(argv):
    arguments = parse(argv)
    # The time of all files in a wheel, and the earliest that a zip file can have. It never is another one, because
    # the bytes of a wheel depend on it.
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"
    releases = sorted(RELEASES if arguments.all else set(arguments.releases), key=key)
    known = {} if arguments.record else recorded()
    out = os.path.join(os.environ.get("STARTED_IN", ""), arguments.out)  # Relative to where the command was given.
    os.makedirs(out, exist_ok=True)
    digests = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {release: pool.submit(build, release, out, known) for release in releases}
        for release, future in futures.items():
            try:
                digests[release] = future.result()
            except PatchError as exc:
                print("scripts/build-fork: %s" % exc, file=sys.stderr, flush=True)
    if len(digests) < len(releases):
        sys.exit("scripts/build-fork: %d of %d wheels were not built." % (len(releases) - len(digests), len(releases)))
    if arguments.record:
        lines = ["starlette==%s --hash=sha256:%s\n" % (version_of(release), digests[release]) for release in releases]
        write(HASHES, HASHES_HEAD + "".join(lines))
    print("%d wheels are in %s." % (len(releases), out), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
