"""Check the wheel and the source archive in a folder: what is in them, and what the wheel asks for."""

import email.parser
import hashlib
import pathlib
import sys
import tarfile
import zipfile


def expect(found, expected, what):
    if found != expected:
        sys.exit("%s: expected %r, found %r" % (what, expected, found))


def main(directory):
    (wheel,) = pathlib.Path(directory).glob("*.whl")
    (sdist,) = pathlib.Path(directory).glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        entry_points = file.read(metadata_name.replace("METADATA", "entry_points.txt")).decode("utf-8")
        metadata = email.parser.Parser().parsestr(file.read(metadata_name).decode("utf-8"))
    modules = sorted(path.name for path in pathlib.Path("starlette_backport").iterdir() if path.is_file())
    expect(sorted(n.split("/")[1] for n in names if n.startswith("starlette_backport/")), modules, wheel.name)
    # Nothing that runs by itself, and nothing beside the package.
    expect({name.split("/")[0] for name in names if ".dist-info/" not in name}, {"starlette_backport"}, wheel.name)
    command = ["[console_scripts]", "starlette-backport=starlette_backport._cli:main"]
    expect(entry_points.split(), command, "entry points")
    expect(wheel.name.split("-")[2:], ["py3", "none", "any.whl"], "tags")
    expect(metadata["Requires-Python"], ">=3.6", "Requires-Python")
    expect(metadata.get_all("Requires-Dist"), ["starlette"], "requirements")
    with tarfile.open(sdist) as file:
        names = [name.split("/", 1)[-1] for name in file.getnames()]
    wanted = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "starlette_backport",
        "tests",
        "patches",
        "scripts",
    }
    expect(wanted - {name.split("/")[0] for name in names}, set(), "missing from " + sdist.name)
    expect([name for name in names if name.endswith((".svg", ".png"))], [], "pictures in " + sdist.name)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    print("%s==%s --hash=sha256:%s" % (metadata["Name"], metadata["Version"], digest))


if __name__ == "__main__":
    main(*sys.argv[1:])
