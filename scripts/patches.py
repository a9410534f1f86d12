"""The diffs in patches/: check them, refresh them, and build releases with them.

check:   They apply to each release, with git apply and, where it is found, with patch,
         without fuzz and with the same result. Each hunk fits in one place only. The
         first one of each folder adds the package's _early_messages.py, word for word.
refresh: Copy the package's _early_messages.py to the diffs that add it.
build:   Build wheels of version RELEASE+backport.N. Each release comes from the package
         index, with the SHA-256 in scripts/releases.json. A build has the same bytes on
         every machine, with the SHA-256 in patches/hashes.txt.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATCHES = ROOT / "patches"
HASHES = PATCHES / "hashes.txt"
DATA = json.loads((ROOT / "scripts" / "releases.json").read_text())
RELEASES = {row["release"]: row["sha256"] for row in DATA["releases"]}

# https://dep-team.pages.debian.net/deps/dep3/
FIELDS = [
    "Description",
    "Origin",
    "Bug",
    "Forwarded",
    "Applied-Upstream",
    "Last-Update",
]
MODULE = "_early_messages.py"
ADDED = re.compile(rf"(?<=\n\+\+\+ b/starlette/{MODULE}\n)(@@.*\n(\+.*\n)+)?")
GIT = ["git", "apply", "-p1", "--whitespace=nowarn"]
PATCH = ["patch", "-p1", "--fuzz=0", "--batch", "--no-backup-if-mismatch", "-i"]

# What a release says about itself. Installers add other files.
INFORMATION = re.compile("METADATA|WHEEL|top_level.txt|LICENSE.*|licenses")
HASHES_HEAD = """\
# The wheels that `nox -s patches -- build` builds. Written by it with --record.
# pip install --require-hashes accepts these lines in a requirements file.
"""


def folders():
    """Return the folders in patches/ that have diffs."""
    return [path.parent for path in sorted(PATCHES.glob("*/series"))]


def folder_for(release):
    """Return the folder whose range of releases `release` is in."""
    releases = list(RELEASES)
    for folder in folders():
        first, last = map(releases.index, folder.name.split("-"))
        if first <= releases.index(release) <= last:
            return folder
    sys.exit(f"no folder in patches/ is for Starlette {release}")


def diffs_in(folder):
    """Return the diffs in `folder`, in the order in which they apply."""
    return [folder / name for name in (folder / "series").read_text().split()]


def run(command, error, **options):
    """Run `command`; if it fails, exit with `error` and its output."""
    options.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    done = subprocess.run(command, check=False, **options)
    if done.returncode or "fuzz" in done.stdout:
        sys.exit(f"{error}\n{done.stdout}")


def fetch(release, tree):
    """Install `release` from the package index into the folder `tree`."""
    if release not in RELEASES:
        sys.exit(f"Starlette {release} is not affected, or is no release.")
    command = [
        *("uv", "pip", "install", "--no-deps", "--require-hashes", "-r", "-"),
        *("--python", sys.executable, "--target", str(tree)),
        *("--link-mode", "copy", "--no-compile-bytecode"),
        *("--build-constraints", str(ROOT / "scripts" / "build-tools.txt")),
        # Its own, as other tools may have built the source archives in another one.
        *("--cache-dir", str(ROOT / ".tools" / "releases")),
    ]
    # Three equals signs: two would accept a patched build, too.
    wanted = f"starlette==={release} --hash=sha256:{RELEASES[release]}"
    run(command, f"could not install Starlette {release}", input=wanted)


def apply(diff, release, tree, command=GIT):
    """Apply `diff` to the files of `release` in `tree`, without fuzz."""
    # No settings of git, which is also kept from finding the repository around `tree`.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tree),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent),
    }
    error = f"{diff.relative_to(ROOT)} does not apply to Starlette {release}."
    run([*command, str(diff)], error, cwd=tree, env=environment)


# Check and refresh.


def check_folder(folder):
    """Check what does not depend on a release."""
    diffs = diffs_in(folder)
    listed = sorted([*(diff.name for diff in diffs), "series"])
    found = sorted(os.listdir(folder))
    if found != listed:
        sys.exit(f"{folder} has {found}, but its series says {listed}.")
    for diff in diffs:
        header = diff.read_text(encoding="utf-8").split("\n--- ")[0]
        fields = re.findall(r"^([A-Z][A-Za-z-]+): \S", header, re.M)
        if fields != FIELDS:
            sys.exit(f"{diff} has the fields {fields}, not {FIELDS}.")
    if diffs[0].read_text(encoding="utf-8") != refreshed(diffs[0]):
        sys.exit(f"{diffs[0]}: run `nox -s patches -- refresh`.")


def refreshed(diff):
    """Return the text of `diff` with the package's module as it is now."""
    module = (ROOT / "starlette_backport" / MODULE).read_text(encoding="utf-8")
    lines = module.splitlines(keepends=True)
    hunk = f"@@ -0,0 +1,{len(lines)} @@\n" + "".join("+" + line for line in lines)
    text, count = ADDED.subn(lambda match: hunk, diff.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit(f"{diff} does not add {MODULE}.")
    return text


def check_release(release):
    """Check that the diffs apply to `release`."""
    # It is not needed to build.
    import unidiff

    with tempfile.TemporaryDirectory() as temporary:
        tree, other = pathlib.Path(temporary, "git"), pathlib.Path(temporary, "patch")
        fetch(release, tree)
        shutil.copytree(tree, other)
        for diff in diffs_in(folder_for(release)):
            parsed = unidiff.PatchSet.from_filename(str(diff), encoding="utf-8")
            for file in parsed.modified_files:
                check_places(file, (tree / file.path).read_text(encoding="utf-8"))
            apply(diff, release, tree)
            if shutil.which("patch"):
                apply(diff, release, other, PATCH)
        if shutil.which("patch"):
            differ = ["git", "diff", "--no-index", str(tree), str(other)]
            run(differ, f"git and patch make different files of Starlette {release}:")
        for path in tree.rglob("*.py"):
            compile(path.read_bytes(), str(path), "exec")


def check_places(file, text):
    """Check that each hunk of a diff's `file` fits in one place of `text`."""
    for hunk in file:
        before = "".join(line.value for line in hunk.source_lines())
        count = ("\n" + text).count("\n" + before)
        if count != 1:
            sys.exit(f"{file.path}: a hunk fits in {count} places:\n{before}")


def check():
    for folder in folders():
        check_folder(folder)
    in_parallel(check_release, RELEASES)
    print(f"The diffs apply to {len(RELEASES)} releases.")


def refresh():
    for folder in folders():
        diff = diffs_in(folder)[0]
        diff.write_text(refreshed(diff), encoding="utf-8")


# Build.


def wheel_version(release):
    return f"{release}+backport.{(PATCHES / 'revision').read_text().strip()}"


def build_wheel(release, out, known):
    """Build the wheel of `release` into the folder `out`; return its SHA-256.

    If it is not the one that is `known` for its version, nothing is written.
    """
    from wheel.wheelfile import WheelFile

    version = wheel_version(release)
    name = f"starlette-{version}-py3-none-any.whl"
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as temporary:
        tree, built = pathlib.Path(temporary, "tree"), pathlib.Path(temporary, name)
        fetch(release, tree)
        for diff in diffs_in(folder_for(release)):
            apply(diff, release, tree)
        turn_into_wheel(tree, release, version)
        # Uncompressed, because what zlib makes of the files depends on its version.
        with WheelFile(built, "w", compression=zipfile.ZIP_STORED) as wheel:
            wheel.write_files(tree)
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        if known is not None and digest != known.get(version):
            sys.exit(
                f"starlette {version} was built with the SHA-256 {digest}, which is not"
                " in patches/hashes.txt. If the diffs were changed on purpose, run"
                " `nox -s patches -- build --record`."
            )
        os.replace(built, out / name)
    print(f"{digest}  {name}", flush=True)
    return digest


def turn_into_wheel(tree, release, version):
    """Turn the files of `release`, as they are installed, into those of a wheel."""
    information = tree / f"starlette-{version}.dist-info"
    os.rename(tree / f"starlette-{release}.dist-info", information)
    for name in {".lock", "LICENSE.md"}.intersection(os.listdir(tree)):
        # Up to 0.13.0 the licence is there.
        os.rename(tree / name, information / name)
    for path in information.iterdir():
        if not INFORMATION.fullmatch(path.name):
            path.unlink()
    metadata = (information / "METADATA").read_bytes()
    before, after = f"\nVersion: {release}\n", f"\nVersion: {version}\n"
    metadata = metadata.replace(before.encode(), after.encode(), 1)
    (information / "METADATA").write_bytes(metadata)
    for path in tree.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def build(releases, out, record=False):
    """Build the wheels of `releases`, and with `record` write their SHA-256 down."""
    # The time of all files in a wheel, and the earliest that a zip file can have.
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"
    known = None
    if not record:
        line = re.compile(r"^starlette==(\S+) --hash=sha256:(\S+)$", re.M)
        known = dict(line.findall(HASHES.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    run = functools.partial(build_wheel, out=out, known=known)
    digests = in_parallel(run, releases)
    if record:
        lines = [
            f"starlette=={wheel_version(release)} --hash=sha256:{digest}\n"
            for release, digest in digests.items()
        ]
        HASHES.write_text(HASHES_HEAD + "".join(lines))
    print(f"{len(digests)} wheels are in {out}.")


def in_parallel(function, releases):
    """Return what `function` returns for each of `releases`."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(releases, pool.map(function, releases)))


def main():
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check")
    commands.add_parser("refresh")
    add = commands.add_parser("build").add_argument
    add("releases", nargs="*", metavar="RELEASE", help="of Starlette; default: all")
    add("--out", type=pathlib.Path, default="wheels", help="a folder; default: wheels")
    add("--record", action="store_true", help="of all: write patches/hashes.txt anew")
    arguments = parser.parse_args()
    if arguments.command == "check":
        check()
    elif arguments.command == "refresh":
        refresh()
    elif arguments.releases:
        build(arguments.releases, arguments.out)
    else:
        build(list(RELEASES), arguments.out, arguments.record)


if __name__ == "__main__":
    main()
