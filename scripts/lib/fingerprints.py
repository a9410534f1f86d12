"""Print the rows of starlette_backport/_releases.py: what each release's functions looked like when shipped.

A row is printed where a fingerprint differs from that of the release before: release, source, code, and code
under -O. Run it on any supported Python; the output is the same on all of them. With --check nothing is
printed but what differs from the table.
"""

import os
import sys
import tempfile

import environments
from environments import RELEASES, ROOT, key

sys.path.insert(0, ROOT)

from starlette_backport import _code, _releases


def fingerprints(folder, module, qualname):
    path = os.path.join(folder, *module.split(".")) + ".py"
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        source = file.read()
    found = []
    for optimize in (0, 1):
        code = compile(source, path, "exec", dont_inherit=True, optimize=optimize)
        for name in qualname.split("."):
            code = _code.nested(code, name)
            if code is None:
                return None
        found.append(_code.fingerprint(code))
    return [_code.source_fingerprint(code, source), *found]


def table_rows(target_rows):
    """Return what the table has, in the form of `shipped_rows`."""
    return [
        (row.since, [row.source, row.code, row.code_optimized] if row.donor is not None else None)
        for row in target_rows
    ]


def shipped_rows(directory, releases, first):
    """Return (release, fingerprints) where they change, from release `first` on."""
    found, before = [], None
    for release in releases[releases.index(first.since) :]:
        now = fingerprints(os.path.join(directory, release), first.module, first.qualname)
        if now != before:
            found.append((release, now))
        before = now
    return found


def main(check):
    releases = sorted(RELEASES, key=key)
    differences = 0
    with tempfile.TemporaryDirectory() as directory:
        for release in releases:
            environments.uv(
                *("pip", "install", "--no-deps", "--python", sys.executable),
                *("--target", os.path.join(directory, release), "starlette==" + release),
            )
        for rows in _releases.TARGETS:
            shipped = shipped_rows(directory, releases, rows[0])
            if not check or shipped != table_rows(rows):
                differences += 1
                print(rows[0].name)
                for release, found in shipped:
                    print("    %-10s %s" % (release, " ".join(found) if found else "gone"))
    if check and differences:
        sys.exit("expected these rows in starlette_backport/_releases.py, found others there: see above")
    if check:
        print("the fingerprints of %d releases are those in the table" % len(releases))


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
