"""The plugin for pytest, and pytest that rewrites asserts of Starlette, with pytest and xdist of different times."""

import os
import subprocess
import sys

import pytest

TESTS = """
import pytest
import stack
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware

async def page(request):
    return stack.render(request)

async def pass_through(request, call_next):
    return await call_next(request)

app = Starlette()
app.add_route("/", page)
app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)

@pytest.mark.parametrize("number", range(4))
def test_patched(number):
    stack.check_page(stack.client(app).get("/"))

@pytest.mark.starlette_unpatched
def test_unpatched():
    with pytest.raises(AssertionError):
        stack.client(app).get("/")

def test_unpatched_by_fixture(starlette_unpatched):
    with pytest.raises(AssertionError):
        stack.client(app).get("/")
"""
PLUGIN = ["-p", "starlette_backport.pytest_plugin"]
# With this name pytest takes starlette/testclient.py for a module of tests, and rewrites its asserts.
NAMES = "[pytest]\npython_files = test*.py\n"
IMPORT = "import starlette.testclient, starlette.middleware.base"
REWRITE = "import pytest; pytest.register_assert_rewrite('starlette')"
APPLY = "import starlette_backport; starlette_backport.apply()"


@pytest.fixture
def run(tmp_path):
    """Return what runs pytest on a small project with these files: its exit status and what it printed."""
    (tmp_path / "test_pages.py").write_text(TESTS)
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    environment.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)  # Here pytest is to find xdist.

    def call(conftest, *arguments, ini=""):
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "pytest.ini").write_text(ini or "[pytest]")
        process = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=str(tmp_path),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        return process.returncode, process.stdout

    return call


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
@pytest.mark.parametrize("ini", ["", NAMES], ids=["default", "python_files"])
def test_plugin(run, workers, ini):
    status, output = run(IMPORT, *PLUGIN, *workers, ini=ini)
    assert status == 0, output
    assert "6 passed" in output
    assert output.count("\nstarlette-backport: Starlette ") == 1
    assert "patched\n" in output


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_without_asking_for_it(run, workers):
    """Installing the package is not asking."""
    status, output = run(IMPORT, "-k", "test_patched", *workers)
    assert status == 1, output
    assert "4 failed" in output
    assert "starlette-backport" not in output


@pytest.mark.parametrize("lines", [[IMPORT, APPLY], [REWRITE, APPLY], [REWRITE, IMPORT, APPLY]])
def test_rewritten_asserts(run, lines):
    status, output = run("\n".join(lines), "-k", "test_patched", ini=NAMES)
    assert status == 0, output
    assert "4 passed" in output
