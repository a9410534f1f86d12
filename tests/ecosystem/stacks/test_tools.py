"""Tools that look at, keep or rewrite the code that runs.

They see the same with the backport and without it.
"""

import contextlib
import gc
import inspect
import io
import json
import os
import socket
import subprocess
import sys
import sysconfig

import pytest

import starlette_backport

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = ["http.response.template", None, ""]
FROZEN = """
import json
import starlette_backport
starlette_backport.apply()
from asking import ask
print(json.dumps([ask("/"), ask("/", encoding="gzip")]))
"""
BREAKPOINT = {
    "source": {"path": os.path.join(HERE, "application.py")},
    "breakpoints": [{"line": 1, "condition": "False"}],
}
# What an editor sends.
DEBUGGING = [
    ("initialize", {"adapterID": "tests"}),
    ("attach", {"justMyCode": False}),
    ("setBreakpoints", BREAKPOINT),
    ("configurationDone", {}),
]
HAS_SHARED_LIBRARY = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))


def check(phase):
    """Check the requests that a tool looks at."""
    from asking import ask

    ask("/")
    phase.begin()
    page = ask("/", extensions={})
    assert page[0][:2] == ["http.response.start", 200]
    # gzip drops the template's message, so this works on every release.
    assert ask("/", encoding="gzip") == page
    if phase.patched:
        assert ask("/") == [TEMPLATE, *page]
    else:
        assert ask("/") == "AssertionError()"
    assert ask("/error") == "RuntimeError('before the response')"
    first, second = objects_after_requests(phase), objects_after_requests(phase)
    assert second < first + 10


def objects_after_requests(phase):
    """Return how many objects there are, as tools may keep what they see."""
    from asking import ask

    for _ in range(20):
        ask("/text")
        if phase.patched:
            starlette_backport.revert()
            starlette_backport.apply()
    gc.collect()
    return len(gc.get_objects())


def test_typeguard(phase):
    import typeguard

    with typeguard.install_import_hook("application"):
        check(phase)


def test_beartype(phase):
    from beartype.claw import beartype_package

    beartype_package("application")
    check(phase)


@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_coverage(phase, monkeypatch, core):
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("this core of coverage needs Python 3.12, for sys.monitoring")
    monkeypatch.setenv("COVERAGE_CORE", core)
    from coverage import Coverage

    measured = Coverage(data_file=None, config_file=False, include=["*/application.py"])
    with measured.collect():
        check(phase)
    import application

    lines = measured.get_data().lines(application.__file__)
    source, start = inspect.getsourcelines(application.Outer.dispatch)
    assert set(range(start, start + len(source))) <= set(lines)


def test_monkeytype(phase):
    import monkeytype
    from monkeytype.config import DefaultConfig
    from monkeytype.tracing import CallTraceLogger

    traced = set()

    class Logger(CallTraceLogger):
        def log(self, trace):
            traced.add((trace.func.__module__, trace.func.__qualname__))

    class Config(DefaultConfig):
        def trace_logger(self):
            return Logger()

    with monkeytype.trace(Config()):
        check(phase)
    for name in "Outer.dispatch", "Inner.dispatch", "page", "text":
        assert ("application", name) in traced


def test_ipython(phase, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    from IPython.core.interactiveshell import InteractiveShell

    check(phase)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        shell = InteractiveShell.instance(colors="NoColor")
        shell.run_cell("import asking, asyncio")
        shell.run_cell("asyncio.run(asking.messages_for('/error', {}, 'identity'))")
    text = output.getvalue()
    assert "RuntimeError: before the response" in text
    assert "in Outer.dispatch" in text
    assert "formatting exception" not in text


def test_debugpy(phase):
    """An editor attaches, and sets a breakpoint that never stops.

    From then on debugpy looks at the code of all calls, and keeps it.
    """
    import debugpy

    received = b""
    with socket.create_connection(debugpy.listen(("127.0.0.1", 0))) as editor:
        for number, (command, arguments) in enumerate(DEBUGGING, 1):
            message = {"seq": number, "type": "request", "command": command}
            content = json.dumps(dict(message, arguments=arguments)).encode()
            editor.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
            while command == "attach" and b'"initialized"' not in received:
                # Until then it takes no breakpoints.
                received += editor.recv(65536)
        debugpy.wait_for_client()
        check(phase)


def run(tmp_path, *command, **environment):
    """Return what `command` prints, as JSON."""
    options = {"cwd": str(tmp_path), "env": dict(os.environ, **environment)}
    return json.loads(subprocess.check_output(command, **options) or b"null")


@pytest.mark.skipif(not HAS_SHARED_LIBRARY, reason="PyInstaller needs a libpython.so")
def test_pyinstaller(tmp_path):
    (tmp_path / "frozen.py").write_text(FROZEN)
    templates = os.path.join(HERE, "templates")
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR"]
    run(
        tmp_path,
        *command,
        *("--paths", HERE, "--add-data", templates + ":templates"),
        "frozen.py",
    )
    frozen = str(tmp_path / "dist" / "frozen" / "frozen")
    error, page = run(tmp_path, frozen, STARLETTE_BACKPORT_DISABLE="1")
    assert error == "AssertionError()"
    assert run(tmp_path, frozen) == [[TEMPLATE, *page], page]
