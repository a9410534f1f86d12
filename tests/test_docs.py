"""Every snippet of README.md and docs/ does what the page says."""

import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest
from support import AFFECTED, FORK, RELEASE, REPOSITORY, python

pytestmark = pytest.mark.three_releases

ROOT = pathlib.Path(REPOSITORY)
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("docs/*.md")}
PAGES.update((name, (ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "CONTRIBUTING.md"))
PAGES["patches/README.md"] = (ROOT / "patches" / "README.md").read_text(encoding="utf-8")
SNIPPETS = [
    (page, language, re.sub(r"(?m)^   ", "", code) if code.startswith("   ") else code)
    for page, text in PAGES.items()
    for language, code in re.findall(r"(?ms)^ *```(\w+)\n(.*?)^ *```$", text)
]

needs_changes = pytest.mark.skipif(FORK or not AFFECTED, reason="needs a release to which the backport applies")


def snippet(page, language, text):
    (code,) = [code for where, kind, code in SNIPPETS if (where, kind) == (page, language) and text in code]
    return code


TEST = """
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.templating import Jinja2Templates
from starlette.testclient import TestClient

templates = Jinja2Templates(directory="templates")

async def homepage(request):
    return templates.TemplateResponse("index.html", {"request": request, "name": "World"})

async def pass_through(request, call_next):
    return await call_next(request)

app = Starlette()
app.add_route("/", homepage)
app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)

@pytest.fixture
def client():
    return TestClient(app)

def test_homepage(client%s):
    response = client.get("/")
    assert response.status_code == 200
    assert response.template.name == "index.html"
    assert response.context["name"] == "World"
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "index.html").write_text("Hello, {{ name }}!")
    (tmp_path / "test_pages.py").write_text(TEST % "")
    return tmp_path


def run(project, *arguments):
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=str(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=120,
    )
    return process.returncode, process.stdout


def run_pytest(project):
    return run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@needs_changes
def test_a_test_fails_without_the_backport(project):
    status, output = run_pytest(project)
    assert status == 1, output
    assert 'assert message["type"] == "http.response.start"' in output


@needs_changes
@pytest.mark.parametrize("way", ["apply", "fixture", "plugin"])
def test_a_test_passes_with_what_readme_says(project, way):
    if way == "plugin":
        (project / "pytest.ini").write_text(snippet("README.md", "ini", "addopts"))
        marked = snippet("README.md", "python", "starlette_unpatched")
        (project / "test_pages.py").write_text(TEST % "" + marked)
    else:
        text = "starlette_backport.apply()" if way == "apply" else "applied()"
        (project / "conftest.py").write_text(snippet("README.md", "python", text))
        (project / "test_pages.py").write_text(TEST % (", patched_starlette" if way == "fixture" else ""))
    status, output = run_pytest(project)
    assert status == 0, output
    assert ("2 passed" if way == "plugin" else "1 passed") in output


@needs_changes
@pytest.mark.skipif(RELEASE != "0.14.2", reason="README shows what Starlette 0.14.2 gives")
def test_readme_shows_the_real_output_of_the_commands(tmp_path):
    commands = re.split(r"(?m)^\$ python ", snippet("README.md", "console", "$ python -m"))[1:]
    assert len(commands) == 2
    for text in commands:
        command, shown = text.strip().split("\n", 1)
        status, output = run(tmp_path, *command.split())
        assert status == 0
        # These tell of the environment, and of fastapi, which is not there.
        of_environment = r"(?m)^(Python|Starlette|Test client|Held by) .*\n"
        assert re.sub(of_environment, "", output).strip() == re.sub(of_environment, "", shown).strip()


@needs_changes
def test_the_check_for_ci(tmp_path):
    status, output = run(tmp_path, *snippet("README.md", "console", "status --check").split()[1:])
    assert status == 0, output


@needs_changes
def test_the_log_line_of_production():
    code = "import logging\nlogging.basicConfig(level=logging.INFO)\n"
    errors = python(code + snippet("docs/production.md", "python", "getLogger")).stderr
    assert "INFO:__main__:Starlette %s: backport applied (until you are on 0.24.0)\n" % RELEASE in errors


def test_the_smoke_test_of_production():
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
        code = snippet("docs/production.md", "python", "urlopen")
        python(code, env={"CANARY": "http://127.0.0.1:%d" % server.server_port})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/health", "/openapi.json", "/docs"]


def test_each_command_is_there():
    text = "\n".join(PAGES.values())
    for name in set(re.findall(r"scripts/([a-z-]+)(?![a-z./-])", text)) - {"lib"}:
        assert os.access(str(ROOT / "scripts" / name), os.X_OK), name
    for path in ROOT.glob("scripts/*"):
        if path.is_file() and path.name not in ("bootstrap", "release-notes"):
            assert "scripts/" + path.name in PAGES["CONTRIBUTING.md"], path.name


def test_each_page_and_picture_is_there():
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!https://)([^)#]+)", text):
            assert page != "README.md", "index pages cannot show %s" % target
            assert (ROOT / page).parent.joinpath(target).exists(), (page, target)
        for target in re.findall(r"`(docs/[a-z-]+\.md)`", text):
            assert (ROOT / target).exists(), (page, target)


def test_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_design_page_tells_the_real_sizes():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\d+) \|", PAGES["docs/design.md"])
    assert len(rows) == 6
    for module, lines in rows:
        assert len((ROOT / "starlette_backport" / (module + ".py")).read_text().splitlines()) == int(lines), module


def test_no_snippet_is_forgotten():
    """The kinds of snippets that are run above, by page; commands are looked up."""
    kinds = {(page, language) for page, language, _ in SNIPPETS if language not in ("console", "text")}
    assert kinds == {("README.md", "python"), ("README.md", "ini"), ("docs/production.md", "python")}
    assert len([code for page, kind, code in SNIPPETS if (page, kind) == ("README.md", "python")]) == 3
    assert len([code for page, kind, code in SNIPPETS if (page, kind) == ("docs/production.md", "python")]) == 2
