"""Compare the SHA-256 in starlette_backport/_releases.py with the releases.

All affected releases are fetched from the package index. Each has to define the
functions that REPLACEMENTS lists for it. Where SHA256 has other rows, the right ones
are printed.
"""

import argparse
import ast
import hashlib
import pathlib
import pprint
import sys
import tempfile

import patches

sys.path.insert(0, str(patches.ROOT))

from starlette_backport import _releases


def look(tree, module):
    """Return the SHA-256 of the file of `module`, and the functions in its classes."""
    text = (tree / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    names = {
        f"{each.name}.{function.name}"
        for each in ast.parse(text).body
        if isinstance(each, ast.ClassDef)
        for function in each.body
        if hasattr(function, "name")
    }
    return hashlib.sha256(text.encode()).hexdigest(), names


def rows_of(trees):
    """Return what SHA256 has to be: a row wherever a file has changed."""
    rows, latest = {}, {}
    for release, tree in trees.items():
        version = _releases.parse(release)
        for each in _releases.replacements_for(version):
            digest, names = look(tree, each.module)
            if each.name not in names:
                sys.exit(f"Starlette {release} has no {each.name} in {each.module}.")
            if digest == latest.get(each.module):
                continue
            latest[each.module] = digest
            if rows.setdefault(each.module, {}).setdefault(version, digest) != digest:
                sys.exit(
                    f"Starlette {release}: {each.module} is not its pre-release's."
                )
    return rows


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        trees = {release: folder / release for release in patches.RELEASES}
        patches.in_parallel(lambda each: patches.fetch(each, trees[each]), trees)
        rows = rows_of(trees)
    if rows != _releases.SHA256:
        pprint.pprint(rows)
        sys.exit("expected SHA256 in starlette_backport/_releases.py to be as above")
    print(f"SHA256 has the files of {len(trees)} releases.")


if __name__ == "__main__":
    main()
