"""Check the diffs in patches/: what they say of themselves, and that they apply to every release of their range.

They have to apply with git apply, and with patch where that is found, without fuzz and to the same result; each
hunk has to fit in one place only, so that none of them can end up elsewhere.
"""

import argparse
import concurrent.futures
import filecmp
import os
import re
import shutil
import sys
import tempfile

import unidiff
from environments import RELEASES, ROOT, key

import patches
from patches import PatchError

# https://dep-team.pages.debian.net/deps/dep3/
HEADER = ("Description", "Origin", "Bug", "Forwarded", "Applied-Upstream", "Last-Update")


def check_folder(name):
    """Check what does not depend on a release. Raises PatchError."""
    paths = patches.series(name)
    listed = [os.path.basename(path) for path in paths]
    found = sorted(entry for entry in os.listdir(os.path.join(patches.PATCHES, name)) if entry != "series")
    if listed != found:
        raise PatchError("Expected patches/%s/series to list %s, found %s" % (name, found, listed))
    for number, path in enumerate(paths, 1):
        what = os.path.relpath(path, ROOT)
        if not re.match(r"%04d-[a-z0-9-]+\.patch$" % number, os.path.basename(path)):
            raise PatchError("Expected %s to be named %04d-..." % (what, number))
        with open(path, encoding="utf-8") as file:
            text = file.read()
        header = text.split("\n--- ")[0]
        fields = re.findall(r"^([A-Z][A-Za-z-]+): \S", header, re.M)
        if fields != list(HEADER):
            raise PatchError("Expected %s to begin with %s, found %s" % (what, ", ".join(HEADER), ", ".join(fields)))
        for file in unidiff.PatchSet(text):
            for hunk in file:
                context = [line.is_context for line in hunk]
                if not file.is_added_file and not (context[0] and context[-1]):
                    raise PatchError("Expected context around the hunk of %s at line %d" % (what, hunk.source_start))


def check_places(path, directory, release):
    """Check that each hunk fits in one place. Raises PatchError."""
    for file in unidiff.PatchSet.from_filename(path, encoding="utf-8"):
        if file.is_added_file:
            continue
        with open(os.path.join(directory, file.path), encoding="utf-8") as source:
            text = "\n" + source.read()
        for hunk in file:
            count = text.count("\n" + "".join(line.value for line in hunk.source_lines()))
            if count != 1:
                raise PatchError(
                    "Expected the hunk of %s at line %d to fit in one place of Starlette %s, found %d"
                    % (os.path.relpath(path, ROOT), hunk.source_start, release, count)
                )


def check_release(release, with_patch):
    """Check the diffs on `release`; return how many hunks were applied. Raises PatchError."""
    with tempfile.TemporaryDirectory() as temporary:
        tree, other = os.path.join(temporary, "git"), os.path.join(temporary, "patch")
        patches.fetch(release, tree)
        if with_patch:
            shutil.copytree(tree, other)
        hunks, changed = 0, set()
        # One after the other, as a diff may change what another one has.
        for path in patches.series(patches.range_of(release)):
            check_places(path, tree, release)
            patches.apply_one(path, release, tree)
            if with_patch:
                process = patches.run(
                    ["patch", "-p1", "--fuzz=0", "--batch", "--no-backup-if-mismatch", "-i", path], other
                )
                if process.returncode or "fuzz" in process.stdout:
                    what = (os.path.relpath(path, ROOT), release, process.stdout)
                    raise PatchError("%s does not apply to Starlette %s with patch:\n%s" % what)
            for file in unidiff.PatchSet.from_filename(path, encoding="utf-8"):
                hunks += len(file)
                changed.add(file.path)
        for name in changed:
            with open(os.path.join(tree, name), "rb") as file:
                compile(file.read(), name, "exec", dont_inherit=True)
            if with_patch and not filecmp.cmp(os.path.join(tree, name), os.path.join(other, name), shallow=False):
                raise PatchError("Starlette %s: %s is another one with git than with patch" % (release, name))
    return hunks


def main(argv):
    parser = argparse.ArgumentParser(prog="scripts/check-patches", description=__doc__)
    parser.parse_args(argv)
    with_patch = shutil.which("patch") is not None
    releases = sorted(RELEASES, key=key)
    problems = 0
    try:
        for name in patches.ranges():
            check_folder(name)
        in_range = {name: [r for r in releases if patches.range_of(r) == name] for name in patches.ranges()}
    except (PatchError, unidiff.UnidiffParseError) as exc:
        sys.exit("scripts/check-patches: %s" % exc)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {release: pool.submit(check_release, release, with_patch) for release in releases}
        for name, members in in_range.items():
            hunks = []
            for release in members:
                try:
                    hunks.append(futures[release].result())
                except PatchError as exc:
                    problems += 1
                    print("scripts/check-patches: %s" % exc, file=sys.stderr)
            what = (name, len(patches.series(name)), max(hunks, default=0), len(hunks), len(members))
            print("%-16s %d diffs, %2d hunks, apply to %2d of %2d releases" % what, flush=True)
    print(
        "%d of %d releases: without fuzz, in one place each; with git%s"
        % (len(releases) - problems, len(releases), " and patch" if with_patch else "; patch was not found")
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
