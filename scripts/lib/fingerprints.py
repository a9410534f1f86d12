"""Print the rows of starlette_backport/_releases.py: what each release's functions looked like when shipped.

A row is printed where a fingerprint differs from that of the release before: release, source, code, code under -O,
and the CRC-32s of the whole files that have it so. Run it on any supported Python; the output is the same on all of
them. With --check nothing is printed but what differs from the table.
"""

import os
import sys
import tempfile
import zlib

import environments
from environments import RELEASES, ROOT, key

sys.path.insert(0, ROOT)

from starlette_backport import _code, _releases


def fingerprints(folder, module, qualname):
    """Return the CRC-32 of the file of `module`, and the fingerprints of its function `qualname`, or None."""
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
    return "%08x" % zlib.crc32(source), [_code.source_fingerprint(code, source), *found]


def table_rows(rows):
    """Return what the table has, in the form of `shipped_rows`."""
    return [(since, [*prints, files.split()] if donor else None) for since, donor, *prints, files in map(padded, rows)]


def padded(row):
    """Return `row` in the form of all others, if it says that the function is gone."""
    return row if row[1] else (*row, "")


def shipped_rows(directory, releases, module, qualname, first):
    """Return (release, fingerprints and files) where the fingerprints change, from release `first` on."""
    rows, before = [], None
    for release in releases:
        # As in the table, without the phase: a pre-release has what its release has.
        since = _releases.parse(release)[:3]
        if since < first:
            continue
        found = fingerprints(os.path.join(directory, release), module, qualname)
        crc, now = found or ("", None)
        if not rows or now != before:
            rows.append((since, now and [*now, []]))
        if now and crc not in rows[-1][1][-1]:
            rows[-1][1][-1].append(crc)
        before = now
    return rows


def main(check):
    releases = sorted(RELEASES, key=key)
    differences = 0
    with tempfile.TemporaryDirectory() as directory:
        for release in releases:
            environments.uv(
                *("pip", "install", "--no-deps", "--python", sys.executable),
                *("--target", os.path.join(directory, release), "starlette==" + release),
            )
        for module, qualname, *rows in _releases.TARGETS:
            shipped = shipped_rows(directory, releases, module, qualname, rows[0][0])
            if not check or shipped != table_rows(rows):
                differences += 1
                print(module + "." + qualname)
                for since, found in shipped:
                    print("    %-12s %s" % (since, " ".join([*found[:-1], *found[-1]]) if found else "gone"))
    if check and differences:
        sys.exit("expected these rows in starlette_backport/_releases.py, found others there: see above")
    if check:
        print("the fingerprints of %d releases are those in the table" % len(releases))


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
