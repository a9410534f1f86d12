"""Every snippet of README does what README says."""

import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest
from support import LAST_OF_FORM, RELEASE, REPOSITORY, python

README = (pathlib.Path(REPOSITORY) / "README.md").read_text(encoding="utf-8")
SNIPPETS = [
    (language, re.sub(r"(?m)^   ", "", code) if code.startswith("   ") else code)
    for language, code in re.findall(r"(?ms)^ *```(\w+)\n(.*?)^ *```$", README)
]


def snippet(language, text):
    (code,) = [code for kind, code in SNIPPETS if kind == language and text in code]
    return code


TEST = snippet("python", "def test_homepage")
on_edges = pytest.mark.skipif(
    RELEASE not in LAST_OF_FORM, reason="README's test is run on the last release of each form"
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "index.html").write_text("Hello, {{ name }}!")
    (tmp_path / "test_pages.py").write_text(TEST)
    return tmp_path


def run_pytest(project):
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"],
        cwd=str(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=120,
    )
    return process.returncode, process.stdout


@on_edges
@pytest.mark.parametrize("text", [None, "starlette_backport.apply()", "applied()"])
def test_the_test(project, text):
    """It fails as it is, and passes with either conftest."""
    if text is not None:
        (project / "conftest.py").write_text(snippet("python", text))
    status, output = run_pytest(project)
    assert status == (1 if text is None else 0), output
    if text is None:
        assert "AssertionError" in output
        assert "http.response.start" in output


@on_edges
def test_the_plugin(project):
    (project / "pytest.ini").write_text(snippet("ini", "addopts"))
    (project / "test_pages.py").write_text(TEST + "\n\n" + snippet("python", "starlette_unpatched"))
    status, output = run_pytest(project)
    assert status == 0, output
    assert "2 passed" in output


def test_status():
    code = "import starlette_backport\nstarlette_backport.apply()\n" + snippet("python", "print(")
    output = python(code).stdout
    expected = snippet("text", "backport applied")
    if RELEASE == "0.14.2":
        assert output == expected
    assert output.splitlines()[0] == expected.splitlines()[0].replace("0.14.2", RELEASE)


def test_smoke():
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        python(snippet("python", "urlopen"), env={"CANARY": "http://127.0.0.1:%d" % server.server_port})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/health", "/openapi.json", "/docs"]


def test_commands():
    """Each script that README tells to run is there, and CI runs it, too."""
    ci = (pathlib.Path(REPOSITORY) / ".ci" / "run").read_text()
    lines = [line for kind, code in SNIPPETS if kind == "console" for line in code.splitlines()]
    commands = [line.split()[0] for line in lines if not line.startswith("python -m starlette_backport ")]
    names = ("demo", "test", "build-fork", "check-patches", "stacks", "servers", "grid", "bench")
    assert set(commands) == {"scripts/" + name for name in names}
    for command in commands:
        assert os.access(os.path.join(REPOSITORY, command), os.X_OK)
        assert command in ci


def test_the_command_line(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "main.py").write_text("from starlette.applications import Starlette\napp = Starlette()")
    statuses = []
    for line in snippet("console", "python -m").splitlines():
        arguments = line.split("#")[0].split()[1:]
        process = subprocess.run([sys.executable, *arguments], cwd=str(tmp_path), stdout=subprocess.PIPE)
        statuses.append(process.returncode)
        assert process.stdout
    assert statuses == [1, 1, 0]


def test_no_snippet_is_forgotten():
    """All kinds of snippets are covered above, and so is each of the Python ones."""
    assert {kind for kind, _ in SNIPPETS} == {"python", "console", "ini", "text"}
    assert len([code for kind, code in SNIPPETS if kind == "python"]) == 6
