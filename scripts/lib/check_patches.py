"""Check the diffs in patches/: their headers, the module that they add, and that they apply to every release.

They apply with git apply and, where it is found, with patch, without fuzz and with the same result. Each hunk fits in
one place only. The module that 0001-early-messages.patch adds is starlette_backport/_early_messages.py, word for word.
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
from environments import RELEASES, ROOT, key, write

import patches
from patches import PatchError

# https://dep-team.pages.debian.net/deps/dep3/
HEADER = ["Description", "Origin", "Bug", "Forwarded", "Applied-Upstream", "Last-Update"]
PATCH = ["patch", "-p1", "--fuzz=0", "--batch", "--no-backup-if-mismatch", "-i"]
MODULE = "starlette/_early_messages.py"
ADDED = re.compile(r"(?<=\n--- /dev/null\n\+\+\+ b/%s\n)(@@.*\n(\+.*\n)+)?" % MODULE)


def added_hunk():
    """Return the hunk that adds the package's module."""
    with open(os.path.join(ROOT, "starlette_backport", "_early_messages.py"), encoding="utf-8") as file:
        lines = file.readlines()
    return "@@ -0,0 +1,%d @@\n%s" % (len(lines), "".join("+" + line for line in lines))


def check_folder(name, refresh):
    """Check what does not depend on a release, or with `refresh` copy the package's module."""
    paths = patches.series(name)
    listed = sorted([*map(os.path.basename, paths), "series"])
    found = sorted(os.listdir(os.path.join(patches.PATCHES, name)))
    if listed != found:
        raise PatchError("patches/%s has %s, but its series says %s." % (name, found, listed))
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        fields = re.findall(r"^([A-Z][A-Za-z-]+): \S", text.split("\n--- ")[0], re.M)
        if fields != HEADER:
            raise PatchError("%s has the fields %s, not %s." % (os.path.relpath(path, ROOT), fields, HEADER))
    with open(paths[0], encoding="utf-8") as file:
        text = file.read()
    refreshed, count = ADDED.subn(lambda match: added_hunk(), text)
    what = os.path.relpath(paths[0], ROOT)
    if count != 1:
        raise PatchError("%s does not add %s." % (what, MODULE))
    if refreshed != text and not refresh:
        raise PatchError("%s adds another module than the package's: run scripts/check-patches --refresh." % what)
    if refreshed != text:
        write(paths[0], refreshed)
        print("refreshed: " + what)


def check_places(diff, directory, what):
    """Check that each hunk fits in one place."""
    for file in diff.modified_files:
        with open(os.path.join(directory, file.path), encoding="utf-8") as source:
            text = "\n" + source.read()
        for hunk in file:
            count = text.count("\n" + "".join(line.value for line in hunk.source_lines()))
            if count != 1:
                raise PatchError("%s: the hunk at line %d fits in %d places." % (what, hunk.source_start, count))


def check_release(release):
    """Check the diffs on `release`."""
    with tempfile.TemporaryDirectory() as temporary:
        tree, other = os.path.join(temporary, "git"), os.path.join(temporary, "patch")
        patches.fetch(release, tree)
        shutil.copytree(tree, other)
        for path in patches.series(patches.range_of(release)):
            diff = unidiff.PatchSet.from_filename(path, encoding="utf-8")
            check_places(diff, tree, "%s on Starlette %s" % (os.path.relpath(path, ROOT), release))
            patches.apply(path, release, tree)
            for name in (file.path for file in diff):
                with open(os.path.join(tree, name), "rb") as file:
                    compile(file.read(), name, "exec", dont_inherit=True)
            if not shutil.which("patch"):
                continue
            patches.apply(path, release, other, *PATCH)
            for name in (file.path for file in diff):
                if not filecmp.cmp(os.path.join(tree, name), os.path.join(other, name), shallow=False):
                    raise PatchError("Starlette %s: git and patch make different files of %s." % (release, name))


def main(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/check-patches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--refresh", action="store_true", help="copy the package's module to the diffs")
    refresh = parser.parse_args(argv).refresh
    try:
        for name in patches.ranges():
            check_folder(name, refresh)
        if refresh:
            return
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(check_release, sorted(RELEASES, key=key)))
    except PatchError as exc:
        sys.exit("scripts/check-patches: %s" % exc)
    tools = "git and patch" if shutil.which("patch") else "git (patch was not found)"
    print("The diffs apply to %d releases with %s, and add the package's module." % (len(RELEASES), tools))


if __name__ == "__main__":
    main(sys.argv[1:])
