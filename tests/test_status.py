"""`status()` tells, and changes nothing."""

import sys

import pytest
from support import CARRIER, NUMBERS, RELEASE, python

import starlette_backport

TEMPLATE = "starlette.responses.TemplateResponse" if NUMBERS < (0, 10, 4) else "starlette.templating._TemplateResponse"
CLIENT = "_ASGIAdapter.send" if NUMBERS < (0, 21, 0) else "_TestClientTransport.handle_request"

FUNCTIONS = (
    "starlette.middleware.base.BaseHTTPMiddleware." + CARRIER,
    TEMPLATE + ".__call__",
    "starlette.middleware.gzip.GZipResponder.__call__",
    "starlette.middleware.gzip.GZipResponder.send_with_gzip",
    "starlette.testclient." + CLIENT,
)


def test_before_and_after():
    status = starlette_backport.status()
    assert isinstance(status, starlette_backport.Status)
    assert status.starlette == RELEASE
    assert status.affected is True
    assert status.state == "not applied"
    assert status.functions == FUNCTIONS
    assert status.reason == "call starlette_backport.apply()"
    assert starlette_backport.apply() == status._replace(state="applied", reason="until you are on 0.24.0")
    starlette_backport.revert()
    assert starlette_backport.status() == status


def test_it_is_about_the_starlette_that_has_been_imported(monkeypatch):
    monkeypatch.setattr(sys.modules["starlette"], "__version__", "0.9.8")
    assert starlette_backport.status().starlette == "0.9.8"


def test_it_is_immutable():
    status = starlette_backport.status()
    with pytest.raises(AttributeError):
        status.state = "applied"


def test_it_is_readable_when_printed():
    text = str(starlette_backport.apply())
    assert text.splitlines()[0] == "Starlette %s: backport applied (until you are on 0.24.0)" % RELEASE
    assert [line.strip() for line in text.splitlines()[1:]] == list(FUNCTIONS)


def test_disabled(monkeypatch):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
    status = starlette_backport.status()
    assert status == (RELEASE, True, "disabled", FUNCTIONS, "STARLETTE_BACKPORT_DISABLE is set")
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE")
    starlette_backport.apply()
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
    assert starlette_backport.status().state == "applied"
    assert starlette_backport.apply().state == "applied"


def test_it_imports_nothing():
    program = """
import sys
import starlette_backport
before = set(sys.modules), list(sys.meta_path)
print(starlette_backport.status().state)
print((set(sys.modules), sys.meta_path) == before)
"""
    assert python(program).stdout.splitlines() == ["not applied", "True"]


def test_importing_the_package_does_nothing():
    program = """
import sys
meta_path = list(sys.meta_path)
import starlette_backport
roots = {name.split(".")[0] for name in sys.modules}
print(sorted(roots & {"starlette", "anyio", "jinja2", "requests", "httpx"}))
print(sys.meta_path == meta_path)
"""
    assert python(program).stdout.splitlines() == ["[]", "True"]


def test_the_version_of_starlette_is_never_touched():
    starlette_backport.apply()
    assert sys.modules["starlette"].__version__ == RELEASE
