"""Print the section of CHANGELOG.md about the version named, if that is the version of the package, and the newest."""

import pathlib
import re
import sys


def main(version):
    package = pathlib.Path("starlette_backport/__init__.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "(.*)"$', package, re.M)
    if found != version:
        sys.exit("expected version %s, found %s in starlette_backport/__init__.py" % (version, found))
    sections = re.split(r"^## ", pathlib.Path("CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)[1:]
    title, text = sections[0].split("\n", 1)
    if not re.match(r"\[%s\] - \d{4}-\d\d-\d\d$" % re.escape(version), title):
        sys.exit("expected CHANGELOG.md to begin with version %s and its date, found %r" % (version, title))
    print(text.strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
