"""Print the rows of starlette_backport/_releases.py: what each release's functions looked like when shipped.

A row is printed where a fingerprint differs from that of the release before: release, source, code, and code
under -O. Run it on any supported Python; the output is the same on all of them.
"""

import os
import sys
import tempfile

import environments
from environments import RELEASES, ROOT, key

sys.path.insert(0, ROOT)

from starlette_backport import _code, _releases


def functions():
    """Return the names of the functions, in the order of the table."""
    found = []
    for rows in _releases.TARGETS:
        found.append((rows[0].module, rows[0].qualname))
    return found


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


def main():
    with tempfile.TemporaryDirectory() as directory:
        releases = sorted(RELEASES, key=key)
        for release in releases:
            print("fetching %s" % release, file=sys.stderr)
            folder = os.path.join(directory, release)
            environments.uv(
                *("pip", "install", "--no-deps", "--python", sys.executable, "--target", folder),
                "starlette==" + release,
            )
        for module, qualname in functions():
            print("%s.%s" % (module, qualname))
            before = None
            for release in releases:
                found = fingerprints(os.path.join(directory, release), module, qualname)
                if found != before:
                    print("    %-10s %s" % (release, " ".join(found) if found else "gone"))
                before = found


if __name__ == "__main__":
    main()
