"""The plugin for pytest, and pytest that rewrites asserts of Starlette."""

import os

import pytest

pytest_plugins = ["pytester"]

HERE = os.path.dirname(os.path.abspath(__file__))

TESTS = """
import pytest
import release
import stack
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware

async def page(request):
    return release.render(request)

async def pass_through(request, call_next):
    return await call_next(request)

app = Starlette()
app.add_route("/", page)
app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)

@pytest.mark.parametrize("number", range(4))
def test_patched(number):
    stack.check_page(stack.client(app).get("/"), outer=None)

@pytest.mark.starlette_unpatched
def test_unpatched():
    with pytest.raises(AssertionError):
        stack.client(app).get("/")

def test_unpatched_by_fixture(starlette_unpatched):
    with pytest.raises(AssertionError):
        stack.client(app).get("/")
"""
# With this name pytest takes starlette/testclient.py for a module of tests, and
# rewrites its asserts.
NAMES = "[pytest]\npython_files = test*.py\n"
IMPORT = "import starlette.testclient, starlette.middleware.base"
REWRITE = "import pytest; pytest.register_assert_rewrite('starlette')"
APPLY = "import starlette_backport; starlette_backport.apply()"


@pytest.fixture
def run(testdir, monkeypatch):
    """Return a function that runs pytest on a small project."""
    monkeypatch.setenv("PYTHONPATH", HERE)
    # There pytest is to find xdist.
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    testdir.makepyfile(test_pages=TESTS)

    def run(conftest, *arguments, ini="[pytest]"):
        testdir.makeconftest(conftest)
        testdir.makeini(ini)
        return testdir.runpytest_subprocess(*arguments)

    return run


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
@pytest.mark.parametrize("ini", ["[pytest]", NAMES], ids=["default", "python_files"])
def test_plugin(run, workers, ini):
    plugin = ["-p", "starlette_backport.pytest_plugin"]
    result = run(IMPORT, *plugin, *workers, ini=ini)
    result.assert_outcomes(passed=6)
    ours = [line for line in result.outlines if line.startswith("starlette-backport:")]
    (line,) = ours
    assert line.endswith(", applied (until you are on 0.24.0)")


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_without_asking_for_it(run, workers):
    """Installing the package is not asking."""
    result = run(IMPORT, "-k", "test_patched", *workers)
    result.assert_outcomes(failed=4)
    assert "starlette-backport" not in result.stdout.str()


@pytest.mark.parametrize(
    "lines", [[IMPORT, APPLY], [REWRITE, APPLY], [REWRITE, IMPORT, APPLY]]
)
def test_rewritten_asserts(run, lines):
    result = run("\n".join(lines), "-k", "test_patched", ini=NAMES)
    result.assert_outcomes(passed=4)
