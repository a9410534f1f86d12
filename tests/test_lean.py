"""What `import starlette_backport` and `apply()` cost: not timed, but counted."""

import ast
import py_compile
import shutil
import sys
from pathlib import Path

import pytest
import starlette
from support import CARRIER, NUMBERS, python

TEMPLATES = "starlette.responses" if NUMBERS < (0, 10, 4) else "starlette.templating"
NEIGHBOURS = [TEMPLATES, "starlette.middleware.gzip", "starlette.testclient"]

COUNT = """
import importlib, importlib.machinery, sys
for name in ["starlette.applications", "starlette.middleware.base", *%r]:
    importlib.import_module(name)
print(%r in sys.modules)

before = set(sys.modules)
import starlette_backport
from starlette_backport import _shipped
print(sorted(set(sys.modules) - before))

def count(place, name):
    function, calls = getattr(place, name), []
    def counting(*args):
        calls.append(args[-1])
        return function(*args)
    setattr(place, name, counting)
    return calls

codes = count(importlib.machinery.SourceFileLoader, "get_code")
files = count(importlib.machinery.SourceFileLoader, "get_data")
fingerprints = count(_shipped, "fingerprint")
before = set(sys.modules)
assert starlette_backport.apply().state == "applied"
print(sorted(set(sys.modules) - before))
print([name for name in codes if name.split(".")[0] == "starlette"])
print(sorted(path.replace("\\\\", "/").split("/starlette/")[1] for path in files if "/starlette/" in path))
print([code.co_name for code in fingerprints])
"""


def counts(imported=(), path=()):
    """Return what happens with the base and `imported` there: see the prints above."""
    lines = python(COUNT % (list(imported), TEMPLATES), path=path).stdout.splitlines()
    return [ast.literal_eval(line) for line in lines]


def own(*names):
    return ["starlette_backport." + name for name in names]


AT_IMPORT = [
    "starlette_backport",
    *own("_backport", "_code"),
    # Until Python 3.6 a module cannot import them when somebody asks for one.
    *(own("_errors") if sys.version_info < (3, 7) else []),
    *own("_importing", "_in_flight", "_installed", "_messages", "_process", "_releases", "_responses", "_shipped"),
]
FILES = sorted(name.replace("starlette.", "", 1).replace(".", "/") + ".py" for name in NEIGHBOURS)


def test_with_nothing_but_the_base():
    templates, imports, more, loaded, read, recognised = counts()
    assert imports == AT_IMPORT
    # Some releases import their templates by themselves.
    assert more == own("_middleware", "_neighbours")[: 1 + templates]
    assert loaded == []
    assert read == sorted(["middleware/base.py", *FILES])
    assert recognised == [CARRIER, "__call__"][: 1 + templates]


def test_with_all_of_it():
    _, imports, more, loaded, read, recognised = counts(NEIGHBOURS)
    assert imports == AT_IMPORT
    assert more == own("_middleware", "_neighbours")
    assert loaded == []
    assert read == sorted(["middleware/base.py", *FILES])
    client = "send" if NUMBERS < (0, 21, 0) else "handle_request"
    assert recognised == [CARRIER, "__call__", "__call__", "send_with_gzip", client]


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the installed Starlette, for changing it."""
    source = Path(starlette.__file__).parent
    shutil.copytree(str(source), str(tmp_path / "starlette"), ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def change(path, old, new):
    text = path.read_bytes()
    assert text.count(old) >= 1
    path.write_bytes(text.replace(old, new, 1))


@pytest.mark.parametrize("name", ["middleware/gzip.py", "testclient.py"])
def test_a_file_that_is_not_quite_as_shipped(copy, name):
    """One byte that does not matter: then it is the functions that are looked at."""
    change(copy / "starlette" / name, b"import", b"import ")
    *_, loaded, _, _ = counts(path=[copy])
    assert set(loaded) == {"starlette." + name[: -len(".py")].replace("/", ".")}


def test_a_base_that_is_not_quite_as_shipped(copy):
    change(copy / "starlette" / "middleware" / "base.py", b"import", b"import ")
    *_, loaded, _, recognised = counts(path=[copy])
    assert loaded == ["starlette.middleware.base"]
    assert recognised[0] == CARRIER


@pytest.mark.skipif(sys.version_info < (3, 7), reason="byte code that is not checked is there since Python 3.7")
def test_byte_code_of_another_source(copy):
    """What the source shows is right, what is imported is not: then the import is the place of the error."""
    path = copy / "starlette" / "middleware" / "base.py"
    shipped = path.read_bytes()
    change(path, b"No response returned.", b"Nothing came.")
    py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    path.write_bytes(shipped)
    program = """
import starlette_backport
print(starlette_backport.apply().state)
try:
    import starlette.middleware.base
except starlette_backport.UnexpectedCodeError as exc:
    print("another one (code" in str(exc), starlette_backport.status().state)
"""
    assert python(program, path=[copy]).stdout.splitlines() == ["applied", "True not applied"]


def test_a_loader_that_changes_code(copy):
    """What such a loader has read is right, what it makes of that is not: so that is what is looked at."""
    program = """
import sys
from importlib.machinery import FileFinder, SourceFileLoader

class Changing(SourceFileLoader):
    def get_code(self, name):
        source = self.get_data(self.path).replace(b"No response returned.", b"Nothing came.")
        return self.source_to_code(source, self.path)

def hook(path):
    if not path.startswith(%r):
        raise ImportError
    return FileFinder(path, (Changing, [".py"]))

sys.path_hooks.insert(0, hook)
sys.path_importer_cache.clear()
import starlette_backport
try:
    starlette_backport.apply()
except starlette_backport.UnexpectedCodeError as exc:
    print("another one (code" in str(exc), "starlette.middleware" in sys.modules)
"""
    assert python(program % str(copy), path=[copy]).stdout.splitlines() == ["True False"]
