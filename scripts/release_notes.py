"""Print what CHANGELOG.md says of a version, which has to be its newest, with a date.

It also has to be the version of the package.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="such as 0.1.0")
    version = parser.parse_args().version
    package = ROOT / "starlette_backport" / "__init__.py"
    if f'__version__ = "{version}"\n' not in package.read_text(encoding="utf-8"):
        sys.exit(f"{version} is not the version of the package")
    sections = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")
    title, text = sections[1].split("\n", 1)
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", title):
        sys.exit(
            f"expected version {version} and its date in CHANGELOG.md, found {title}"
        )
    print(text.strip())


if __name__ == "__main__":
    main()
