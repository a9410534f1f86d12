"""Check the wheel and the source archive in a folder, and print the wheel's hash."""

import argparse
import email
import hashlib
import pathlib
import tarfile
import zipfile

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "starlette_backport"


def check_wheel(path):
    """Check what is in the wheel, and what it asks for; print the line that pins it."""
    with zipfile.ZipFile(path) as file:
        texts = {name: file.read(name).decode("utf-8") for name in file.namelist()}
    (name,) = [name for name in texts if name.endswith(".dist-info/METADATA")]
    information = name.replace("METADATA", "")
    metadata = email.message_from_string(texts[name])
    # Nothing that runs by itself, and nothing beside the package.
    modules = {f"starlette_backport/{path.name}" for path in PACKAGE.glob("*.*")}
    assert modules == {name for name in texts if not name.startswith(information)}
    command = ["[console_scripts]", "starlette-backport=starlette_backport._cli:main"]
    assert texts[information + "entry_points.txt"].split() == command
    assert path.name.endswith("-py3-none-any.whl")
    assert metadata["Requires-Python"] == ">=3.6"
    assert metadata.get_all("Requires-Dist") == ["starlette"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{metadata['Name']}=={metadata['Version']} --hash=sha256:{digest}")


def check_source_archive(path):
    """Check that the tests can run from the source archive, and that it is small."""
    with tarfile.open(path) as file:
        names = [name.partition("/")[2] for name in file.getnames()]
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "noxfile.py"}
    wanted |= {"starlette_backport", "tests", "patches", "scripts"}
    assert wanted <= {name.split("/")[0] for name in names}
    assert not [name for name in names if name.endswith((".svg", ".png"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    (source_archive,) = folder.glob("starlette_backport-*.tar.gz")
    check_source_archive(source_archive)
    (wheel,) = folder.glob("starlette_backport-*.whl")
    check_wheel(wheel)


if __name__ == "__main__":
    main()
