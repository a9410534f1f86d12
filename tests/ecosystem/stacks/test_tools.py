"""Tools that look at, keep or rewrite the code that runs: they see the same with the backport and without it."""

import json
import os
import subprocess
import sys
import sysconfig

import pytest
import tools

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = ["http.response.template", None, ""]
FROZEN = """
import json
import starlette_backport
starlette_backport.apply()
from application import OFFER, ask
print(json.dumps([ask("/page", OFFER), ask("/page", OFFER, "gzip")]))
"""


def run(tmp_path, *command, **environment):
    """Return what `command` prints, as JSON."""
    # MonkeyType and IPython write files to where they are told.
    environment = dict(os.environ, IPYTHONDIR=str(tmp_path), **environment)
    process = subprocess.run(command, cwd=str(tmp_path), env=environment, stdout=subprocess.PIPE, timeout=300)
    assert process.returncode == 0
    return json.loads(process.stdout.decode() or "null")


@pytest.mark.parametrize("tool", tools.TOOLS)
def test_tool(tmp_path, tool):
    if tool == "coverage-sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring, on which this core of coverage is built, came with Python 3.12")
    command = [sys.executable, tools.__file__, tool]
    unpatched = run(tmp_path, *command, "never")
    # gzip drops the message before the middleware can fail on it.
    error, page = unpatched.pop("page")
    assert error == "AssertionError()"
    for when in "first", "late":
        patched = run(tmp_path, *command, when)
        assert patched.pop("page") == [[TEMPLATE, *page], [TEMPLATE, *page]]
        assert patched == unpatched


@pytest.mark.skipif(not sysconfig.get_config_var("Py_ENABLE_SHARED"), reason="PyInstaller needs a shared libpython")
def test_pyinstaller(tmp_path):
    (tmp_path / "frozen.py").write_text(FROZEN)
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "--paths", HERE, "frozen.py"]
    run(tmp_path, *command, "--add-data", os.path.join(HERE, "templates") + ":templates")
    frozen = str(tmp_path / "dist" / "frozen" / "frozen")
    error, page = run(tmp_path, frozen, STARLETTE_BACKPORT_DISABLE="1")
    assert error == "AssertionError()"
    assert run(tmp_path, frozen) == [[TEMPLATE, *page], [TEMPLATE, *page]]
