"""Print the rows of FILES in starlette_backport/_releases.py, made from all releases on the package index.

With --check it compares them with the table instead. Either way it also checks that each release defines the functions
that FUNCTIONS lists for it.
"""

import argparse
import ast
import concurrent.futures
import hashlib
import os
import sys
import tempfile

from environments import RELEASES, ROOT, key

import patches

sys.path.insert(0, ROOT)

from starlette_backport import _releases


def look(folder, module):
    """Return the SHA-256 of the text of `module`, and the names of the functions in its classes."""
    with open(os.path.join(folder, *module.split(".")) + ".py", encoding="utf-8") as file:
        text = file.read()  # With line ends normalised.
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    names = {"%s.%s" % (cls.name, node.name) for cls in classes for node in cls.body if hasattr(node, "name")}
    return hashlib.sha256(text.encode()).hexdigest(), names


def main(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/fingerprints", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with the table")
    check = parser.parse_args(argv).check
    rows, latest, problems = {}, {}, []
    with tempfile.TemporaryDirectory() as directory:
        releases = {release: os.path.join(directory, release) for release in sorted(RELEASES, key=key)}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(patches.fetch, releases, releases.values()))
        for release, folder in releases.items():
            version = _releases.parse(release)
            for module, name, _, since, until in _releases.FUNCTIONS:
                if since <= version < until:
                    digest, names = look(folder, module)
                    if name not in names:
                        problems.append("Starlette %s has no %s in %s." % (release, name, module))
                    if digest != latest.get(module) and rows.setdefault((module, version), digest) != digest:
                        problems.append("Starlette %s has another %s than its pre-releases." % (release, module))
                    latest[module] = digest
    names = {value: name for name, value in vars(_releases).items() if name.isupper() and isinstance(value, str)}
    for (module, version), digest in sorted(rows.items()):
        if not check:
            print('    (%s, %s): "%s",' % (names[module], version, digest))
        elif _releases.FILES.get((module, version)) != digest:
            problems.append("FILES has no or another row for %s since %d.%d.%d." % (module, *version))
    for module, version in sorted(set(_releases.FILES) - set(rows)) * check:
        problems.append("FILES has a row for %s since %d.%d.%d, where nothing changed." % (module, *version))
    if problems:
        sys.exit("\n".join(problems))
    if check:
        print("FILES has the %d texts of %d releases." % (len(rows), len(releases)))


if __name__ == "__main__":
    main(sys.argv[1:])
