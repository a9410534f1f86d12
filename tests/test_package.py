"""What the package exports and promises, whatever Starlette is there."""

import ast
import pathlib
import pickle
import re

import pytest

import starlette_backport
from starlette_backport import _code, _process, _releases

PACKAGE = pathlib.Path(starlette_backport.__file__).parent


def test_exported_names():
    assert sorted(starlette_backport.__all__) == [
        "BackportError",
        "BackportNotNeededWarning",
        "StarletteNotFoundError",
        "Status",
        "UnexpectedCodeError",
        "UnexpectedMessageError",
        "UnknownReleaseError",
        "applied",
        "apply",
        "revert",
        "status",
    ]
    public = {name for name in vars(starlette_backport) if not name.startswith("_")}
    # The exceptions are imported when somebody asks for one.
    assert all(getattr(starlette_backport, name) for name in starlette_backport.__all__)
    assert public <= set(starlette_backport.__all__)
    assert not hasattr(starlette_backport, "something")
    assert re.match(r"\d+\.\d+\.\d+", starlette_backport.__version__)


def test_errors_are_of_one_family():
    concrete = [
        starlette_backport.StarletteNotFoundError,
        starlette_backport.UnexpectedCodeError,
        starlette_backport.UnexpectedMessageError,
        starlette_backport.UnknownReleaseError,
    ]
    assert all(issubclass(error, starlette_backport.BackportError) for error in concrete)
    assert issubclass(starlette_backport.UnexpectedMessageError, AssertionError)
    assert not issubclass(starlette_backport.BackportNotNeededWarning, DeprecationWarning)  # Hidden by default.


def test_it_is_typed():
    assert (PACKAGE / "py.typed").exists()
    for name in ("apply", "revert", "applied", "status"):
        assert "return" in getattr(starlette_backport, name).__annotations__


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_it_holds_when_asserts_are_gone(path):
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_every_module_says_what_it_is_for_and_is_on_the_map(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
    if path.name != "__init__.py":
        assert "``%s``" % path.stem in starlette_backport.__doc__


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_release_numbers_are_in_one_module(path):
    """Elsewhere they stand in docstrings and comments only, next to the package's own version."""
    found = re.findall(r"""["'](0\.[0-9]+\.[0-9]+[a-z0-9]*)["']""", path.read_text())
    assert path.name == "_releases.py" or set(found) <= {starlette_backport.__version__}


def test_how_releases_sort():
    in_order = [
        "0.9.9",
        "0.9.10",
        "0.12.0a1",
        "0.12.0b1",
        "0.12.0b2",
        "0.12.0b10",
        "0.12.0rc1",
        "0.12.0",
        "0.12.1",
        "1.0",
    ]
    parsed = [_releases.parse(release) for release in in_order]
    assert parsed == sorted(set(parsed))
    assert _releases.parse("0.12") == _releases.parse("0.12.0") == _releases.parse("0.12.0+local.1")


CALL_NEXT = "starlette.middleware.base.BaseHTTPMiddleware.call_next"
CALL = "starlette.middleware.base.BaseHTTPMiddleware.__call__"
OLD_TEMPLATE = "starlette.responses.TemplateResponse.__call__"
TEMPLATE = "starlette.templating._TemplateResponse.__call__"
GZIP = "starlette.middleware.gzip.GZipResponder.__call__"
GZIP_SEND = "starlette.middleware.gzip.GZipResponder.send_with_gzip"
SEND = "starlette.testclient._ASGIAdapter.send"
HANDLE = "starlette.testclient._TestClientTransport.handle_request"


@pytest.mark.parametrize(
    ("releases", "names"),
    [
        (["0.9.8"], []),
        (["0.9.9", "0.9.10", "0.10.3"], [CALL_NEXT, OLD_TEMPLATE, GZIP, GZIP_SEND, SEND]),
        (["0.10.4", "0.11.4", "0.12.0b1", "0.14.2"], [CALL_NEXT, TEMPLATE, GZIP, GZIP_SEND, SEND]),
        (["0.15.0", "0.20.4"], [CALL, TEMPLATE, GZIP, GZIP_SEND, SEND]),
        (["0.21.0", "0.23.1"], [CALL, TEMPLATE, GZIP, GZIP_SEND, HANDLE]),
        (["0.24.0", "0.24.0+local", "0.25.0", "1.0"], []),
    ],
)
def test_which_functions_are_changed(releases, names):
    for release in releases:
        assert [target.name for target in _releases.targets(release)] == names
        assert _releases.is_fixed(release) is release.startswith(("0.24", "0.25", "1."))


def test_the_table():
    for module, qualname, *rows in _releases.TARGETS:
        assert [row[0] for row in rows] == sorted({row[0] for row in rows})
        for row in rows:
            if row[1] is None:
                assert row is rows[-1]
                continue
            target = _releases.Target(module, qualname, *row[1:])
            assert callable(_process._donor(target))
            assert all(re.match("[0-9a-f]{8}$", text) for text in [target.source, target.fingerprint, *target.files])


SOURCE = """
class Class:
    def method(self, one, *rest, two=2, **more):
        outer = [item for item in rest if item != "text"]
        async def inner(three):
            nonlocal outer
            outer = self.attribute = {"key": (b"bytes", three)}
            async for item in three:
                assert item, "message"
            raise ValueError(outer)
        return inner, %s
"""


@pytest.mark.parametrize("numbers", [10, 200])
def test_a_fingerprint_is_the_same_on_all_pythons(numbers):
    """The numbers make arguments of byte code that look like operations; by themselves they do not count."""
    source = SOURCE % ", ".join("self.call(%d.5)" % number for number in range(numbers))
    code = _code.nested(_code.nested(compile(source, "name", "exec", optimize=0), "Class"), "method")
    assert _code.fingerprint(code) == "d5eb81f7"


def test_status_can_be_sent_to_another_process():
    status = starlette_backport.status()
    assert pickle.loads(pickle.dumps(status)) == status
