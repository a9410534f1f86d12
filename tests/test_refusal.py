"""Point 10 of the contract: what is not the release's own code is refused, and nothing is changed."""

import compileall
import os
import pathlib
import re
import shutil
import sys
import zipfile

import pytest
import starlette
from support import CARRIER, NUMBERS, QUEUE, RELEASE, python

import starlette_backport

SOURCE = pathlib.Path(starlette.__file__).parent

APPLY = """
import sys
%s
import starlette_backport
import starlette
print(starlette.__file__)
before = list(sys.meta_path)
try:
    print(starlette_backport.apply().state)
except starlette_backport.BackportError as exc:
    print(type(exc).__name__, exc)
    assert sys.meta_path == before
    print("state:", starlette_backport.status().state)
"""


def copy_starlette(folder):
    shutil.copytree(str(SOURCE), str(folder / "starlette"), ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the installed Starlette, for changing it."""
    return copy_starlette(tmp_path)


def edit(copy, name, old, new):
    path = copy / "starlette" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def apply_to(copy, imports=""):
    return python(APPLY % imports, path=[copy]).stdout.splitlines()


ASSERT = 'assert message["type"] == "http.response.start"'
RECEIVE = "await queue.get()" if QUEUE else "await recv_stream.receive()"

CHANGES = {
    "the assert is gone": ("middleware/base.py", ASSERT, "pass"),
    "the assert became a loop": (
        "middleware/base.py",
        ASSERT,
        'while message["type"] != "http.response.start": message = ' + RECEIVE,
    ),
    "the assert is turned round": ("middleware/base.py", ASSERT, ASSERT.replace("==", "!=")),
    "the headers are copied": (
        "middleware/base.py",
        'response.raw_headers = message["headers"]',
        'response.raw_headers = [*message["headers"]]',
    ),
    "another text": ("middleware/base.py", "No response returned.", "Nothing came."),
    "one line more": (
        "middleware/base.py",
        ASSERT,
        ASSERT + "\n" + " " * (8 if QUEUE else 12) + "message = message",
    ),
    "a comment": ("middleware/base.py", "content=body_stream()\n", "content=body_stream()  # streamed\n"),
    "gzip": ("middleware/gzip.py", "        self.send = send\n", "        self.send = self.client = send\n"),
    "the test client": ("testclient.py", '"server": [host, port],\n            "extensions"', '"extensions"'),
    "the template response": (
        "responses.py" if NUMBERS < (0, 10, 4) else "templating.py",
        '"context": self.context,',
        '"context": dict(self.context),',
    ),
}


def check_refusal(error, state, copy):
    assert error.startswith("UnexpectedCodeError Expected starlette.")
    assert "as Starlette %s shipped it" % RELEASE in error
    assert re.search(r" shipped it \(code [0-9a-f]{8}, source [0-9a-f]{8}\), ", error)
    assert re.search(r"but found another one \((code|source) [0-9a-f]{8}\) in ", error)
    assert os.path.join(str(copy), "starlette") in error
    assert "pip install --force-reinstall starlette==%s" % RELEASE in error
    assert state == "state: not applied"


ONE_AFTER_THE_OTHER = """
import importlib, sys
import starlette_backport
for path in %r:
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        print(starlette_backport.apply().state)
    except starlette_backport.BackportError as exc:
        print(type(exc).__name__, exc)
    print("state:", starlette_backport.status().state)
print([name for name in sys.modules if name.split(".")[0] == "starlette"])
"""


def test_modified_code_that_is_not_imported_yet(tmp_path):
    copies = []
    for number, change in enumerate(CHANGES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        copies.append(copy_starlette(folder))
        edit(copies[-1], *change)
    *lines, imported = python(ONE_AFTER_THE_OTHER % [str(path) for path in copies]).stdout.splitlines()
    assert len(lines) == 2 * len(CHANGES)
    for path, error, state in zip(copies, lines[::2], lines[1::2]):
        check_refusal(error, state, path)
    assert imported == "[]"


@pytest.mark.parametrize("change", ["the assert is gone", "the headers are copied", "gzip", "the test client"])
def test_modified_code_that_is_imported_already(copy, change):
    edit(copy, *CHANGES[change])
    imports = "import starlette.middleware.base, starlette.middleware.gzip, starlette.testclient"
    where, error, state = apply_to(copy, imports)
    assert where.startswith(str(copy))
    check_refusal(error, state, copy)


def test_a_class_that_was_renamed(copy):
    edit(copy, "middleware/gzip.py", "class GZipResponder", "class GZipAnswer")
    _, error, state = apply_to(copy)
    assert "GZipResponder.__call__" in error
    assert "as Starlette %s shipped it" % RELEASE in error
    assert "no GZipResponder in" in error
    assert state == "state: not applied"


def test_a_module_that_is_missing(copy):
    """Nothing can be changed there, and nothing needs to be; whoever imports it gets the usual error."""
    (copy / "starlette" / "testclient.py").unlink()
    program = """
import starlette_backport
print(starlette_backport.apply().state)
try:
    import starlette.testclient
except ImportError as exc:
    print(exc.name)
"""
    assert python(program, path=[copy]).stdout.splitlines() == ["applied", "starlette.testclient"]


def test_changes_elsewhere_are_none_of_its_business(copy):
    edit(
        copy,
        "middleware/base.py",
        "class BaseHTTPMiddleware",
        "PATCHED_BY = 'somebody'\n\n\nclass BaseHTTPMiddleware",
    )
    edit(copy, "responses.py", "class Response", "# A comment.\nclass Response")
    edit(copy, "middleware/gzip.py", "minimum_size: int = 500", "minimum_size: int = 501")
    assert apply_to(copy)[1:] == ["applied"]


def test_code_that_an_import_hook_changes(copy):
    """What is on disk is right, what is imported is not: then the import is the place of the error."""
    program = """
import sys
import starlette_backport
print(starlette_backport.apply().state)
from importlib.machinery import PathFinder, SourceFileLoader

class Changing(SourceFileLoader):
    def get_data(self, path):
        return super().get_data(path).replace(b"No response returned.", b"Nothing came.")
    def path_stats(self, path):
        raise OSError

class Finder:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if name == "starlette.middleware.base":
            spec.loader = Changing(name, spec.origin)
        return spec

sys.meta_path.insert(1, Finder())
import starlette.middleware.gzip
try:
    import starlette.middleware.base
except starlette_backport.UnexpectedCodeError as exc:
    print("refused", starlette_backport.status().state)
    print("as Starlette %s shipped it" % sys.modules["starlette"].__version__ in str(exc))
import starlette.middleware.gzip as gzip
print("backport" in gzip.GZipResponder.__call__.__code__.co_filename)
"""
    assert python(program).stdout.splitlines() == ["applied", "refused not applied", "True", "False"]


@pytest.mark.parametrize("first", ["apply", "applied"])
def test_a_build_that_has_the_fix(copy, first):
    edit(
        copy,
        "middleware/base.py",
        ASSERT,
        'if message["type"] == "http.response.debug": message = ' + RECEIVE,
    )
    program = """
import warnings
import starlette_backport
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    %s
    for _ in range(3):
        status = starlette_backport.apply()
print([w.category.__name__ for w in caught], "remove" in str(caught[0].message))
print(status, status.affected, caught[0].filename in ("-c", "<string>"))
from starlette.middleware.base import BaseHTTPMiddleware
print("backport" in vars(BaseHTTPMiddleware)[%r].__code__.co_filename)
"""
    program %= "with starlette_backport.applied(): pass" if first == "applied" else "", CARRIER
    assert python(program, path=[copy]).stdout.splitlines() == [
        "['BackportNotNeededWarning'] True",
        "Starlette %s: backport not needed (it has the fix) False True" % RELEASE,
        "False",
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [("", "None"), ("__version__ = 'main'", "'main'"), ("__version__ = 14", "14")],
    ids=["none", "no number", "no text"],
)
def test_a_version_that_is_none(copy, line, found):
    (copy / "starlette" / "__init__.py").write_text(line)
    (_, error) = python(
        """
import starlette_backport
for function in starlette_backport.apply, starlette_backport.status:
    try:
        function()
    except starlette_backport.UnknownReleaseError as exc:
        print(exc)
""",
        path=[copy],
    ).stdout.splitlines()
    assert "Expected starlette.__version__" in error
    assert "but found %s." % found in error
    assert "Reinstall" in error


@pytest.mark.parametrize(
    ("release", "reason", "warnings"),
    [("0.9.8", "it sends no template messages yet", 0), ("0.24.0", "it has the fix", 1)],
)
def test_a_release_that_is_not_affected(copy, release, reason, warnings):
    """`test_unaffected` is run on such releases; this is what tells them, on all others."""
    (copy / "starlette" / "__init__.py").write_text("__version__ = %r" % release)
    program = """
import warnings
import starlette_backport
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(tuple(starlette_backport.apply()))
print(tuple(starlette_backport.status()))
for warning in caught:
    print(warning.message)
"""
    first, second, *messages = python(program, path=[copy]).stdout.splitlines()
    assert first == second == str((release, False, "not needed", (), reason))
    expected = "Starlette %s does not need starlette-backport (%s): " % (release, reason)
    assert [message.startswith(expected) for message in messages] == [True] * warnings


@pytest.mark.parametrize("line", ["__version__ = '%s+internal.1'", "__version__ = {'starlette': '%s'}[__name__]"])
def test_a_version_written_in_another_way(copy, line):
    (copy / "starlette" / "__init__.py").write_text(line % RELEASE)
    program = "import starlette_backport\nprint(starlette_backport.apply().state)"
    assert python(program, path=[copy]).stdout.splitlines() == ["applied"]


def test_no_starlette(tmp_path):
    package = pathlib.Path(starlette_backport.__file__).parent
    shutil.copytree(str(package), str(tmp_path / "starlette_backport"))
    program = """
import sys
sys.path = [%r] + [path for path in sys.path if "site-packages" not in path]
import starlette_backport
for function in starlette_backport.apply, starlette_backport.status:
    try:
        function()
    except starlette_backport.StarletteNotFoundError as exc:
        print(exc)
starlette_backport.revert()
"""
    lines = python(program % str(tmp_path)).stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "Expected Starlette to be installed in this environment (%s)" % sys.prefix in line
        assert "pip install" in line


def zipped(folder):
    """Return a zip file with the Starlette that is in `folder`."""
    archive = folder / "starlette.zip"
    with zipfile.ZipFile(str(archive), "w") as file:
        for path in (folder / "starlette").rglob("*.py"):
            file.write(str(path), str(path.relative_to(folder)))
    return archive


def test_modified_code_in_a_zip_file(copy):
    """A change that the source alone shows."""
    edit(copy, *CHANGES["a comment"])
    _, error, state = apply_to(zipped(copy))
    assert "found another one (source" in error
    assert state == "state: not applied"


def test_starlette_without_its_source(copy):
    """What has been compiled is all there is, and is enough."""
    compileall.compile_dir(str(copy / "starlette"), quiet=2, legacy=True)
    for path in (copy / "starlette").rglob("*.py"):
        path.unlink()
    where, state = apply_to(copy)
    assert where.endswith(".pyc")
    assert state == "applied"


def test_starlette_in_a_zip_file(copy):
    program = """
import starlette_backport
print(starlette_backport.apply().state)
from support import *
import starlette.middleware.gzip
print(".zip" in starlette.__file__)
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH)
"""
    assert python(program, path=[zipped(copy)]).stdout.splitlines() == ["applied", "True", "True"]


def test_starlette_that_only_its_importer_can_read(copy):
    """What an import would bring cannot be told before, as where an application is packed into one file."""
    program = """
import os, sys
from importlib.machinery import PathFinder

class Importer:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "starlette":
            spec = PathFinder.find_spec(name, [os.path.join(%r, *name.split(".")[:-1])])
            if spec is not None and spec.submodule_search_locations is not None:
                spec.submodule_search_locations = []
            return spec

sys.meta_path.insert(0, Importer())
import starlette_backport
print(starlette_backport.apply().state)
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH, starlette.__path__)
"""
    assert python(program % str(copy)).stdout.splitlines() == ["applied", "True []"]


def test_the_same_under_python_O(copy):
    edit(copy, *CHANGES["another text"])
    process = python(APPLY % "", "-O", path=[copy])
    assert "UnexpectedCodeError" in process.stdout
