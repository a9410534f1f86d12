import pytest
import support

import starlette_backport


def pytest_report_header():
    return "starlette %s, starlette_backport %s" % (support.RELEASE, starlette_backport.__version__)


# These say something about any Starlette; all others need one that is affected.
ANY_STARLETTE = {"test_messages.py", "test_package.py", "test_unaffected.py"}


def pytest_collection_modifyitems(items):
    if support.AFFECTED:
        return
    skip = pytest.mark.skip(reason="Starlette %s is not affected: there is nothing to apply" % support.RELEASE)
    for item in items:
        if item.fspath.basename not in ANY_STARLETTE:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE", raising=False)
    yield
    # No test leaves anything behind for the next one.
    starlette_backport.revert()


@pytest.fixture
def patched():
    with starlette_backport.applied():
        yield


@pytest.fixture(params=["patched", "unpatched"])
def either(request):
    if request.param == "patched":
        request.getfixturevalue("patched")
    return request.param
