"""Tools that look at, keep or rewrite the code that runs: they see the same with the backport and without it."""

import json
import os
import subprocess
import sys

import pytest
import tools

HERE = os.path.dirname(os.path.abspath(__file__))

TEMPLATE = ["http.response.template", None, ""]


def run(tmp_path, *arguments):
    """Return what ``python tools.py`` prints for `arguments`."""
    # MonkeyType and IPython write files to where they are told.
    environment = dict(os.environ, IPYTHONDIR=str(tmp_path))
    command = [sys.executable, os.path.join(HERE, "tools.py"), *arguments]
    process = subprocess.run(command, cwd=str(tmp_path), env=environment, stdout=subprocess.PIPE, timeout=300)
    assert process.returncode == 0
    return json.loads(process.stdout.decode())


@pytest.mark.parametrize("tool", tools.TOOLS)
def test_tool(tmp_path, tool):
    if tool == "coverage-sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring, on which this core of coverage is built, came with Python 3.12")
    unpatched = run(tmp_path, tool, "never")
    # gzip drops the message before the middleware can fail on it.
    error, page = unpatched.pop("page")
    assert error == "AssertionError()"
    for when in "first", "late":
        patched = run(tmp_path, tool, when)
        assert patched.pop("page") == [[TEMPLATE, *page], [TEMPLATE, *page]]
        assert patched == unpatched
