"""README and the other pages: their snippets, commands and links do what they say."""

import pathlib
import re
import sys
from unittest import mock

import pytest
from support import RELEASE, REPOSITORY, python, run_process, snippet

ROOT = pathlib.Path(REPOSITORY)
FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "patches" / "README.md"]
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in FILES}


APPLY = snippet("README.md", "python", "starlette_backport.apply()")
MARKED_TESTS = [snippet("README.md", "python", "starlette_unpatched")]
if hasattr(pytest, "RaisesGroup"):
    # What README has for anyio 4 also works without it.
    (group,) = re.findall(r"pytest\.RaisesGroup\(.*?\)", PAGES["README.md"])
    MARKED_TESTS.append(MARKED_TESTS[0].replace("pytest.raises(AssertionError)", group))

APPLICATION = """
from starlette.applications import Starlette
from starlette.templating import Jinja2Templates
from starlette.testclient import TestClient

app = Starlette()
templates = Jinja2Templates(directory="templates")

@app.route("/")
async def homepage(request):
    context = {"request": request, "name": "World"}
    return templates.TemplateResponse("index.html", context)

@app.middleware("http")
async def pass_through(request, call_next):
    return await call_next(request)

def check_homepage():
    response = TestClient(app).get("/")
    assert response.template.name == "index.html"
    assert response.context["name"] == "World"
"""

TEST = """
import pytest
from application import TestClient, app, check_homepage

@pytest.fixture
def client():
    return TestClient(app)

def test_homepage():
    check_homepage()

"""

UNITTEST = """
import unittest
from application import check_homepage

class TestHomepage(unittest.TestCase):
    def test_homepage(self):
        check_homepage()
"""


@pytest.fixture
def project(tmp_path):
    """A project whose one test fails without the backport."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "index.html").write_text("Hello, {{ name }}!")
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "test_homepage.py").write_text(TEST)
    return tmp_path


def run(project, *arguments):
    return run_process(sys.executable, *arguments, cwd=project)


def run_pytest(project):
    options = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    return run(project, "-m", "pytest", *options)


def test_it_fails_as_readme_shows(project):
    process = run_pytest(project)
    assert process.returncode == 1
    for line in snippet("README.md", "text", "http.response.start").splitlines():
        assert line in process.stdout


def test_conftest(project):
    (project / "conftest.py").write_text(APPLY)
    assert run_pytest(project).returncode == 0


def test_fixture(project):
    (project / "conftest.py").write_text(snippet("README.md", "python", "applied()"))
    test = TEST.replace("test_homepage()", "test_homepage(patched_starlette)")
    (project / "test_homepage.py").write_text(test)
    assert run_pytest(project).returncode == 0


@pytest.mark.parametrize("marked_test", MARKED_TESTS)
def test_plugin_and_marker(project, marked_test):
    plugin = snippet("README.md", "ini", "starlette_backport.pytest_plugin")
    (project / "pytest.ini").write_text(plugin)
    (project / "test_homepage.py").write_text(TEST + marked_test)
    assert "2 passed" in run_pytest(project).stdout


@pytest.mark.parametrize("arguments", [[], ["discover", "tests", "-t", "."]])
def test_unittest(project, arguments):
    (project / "tests").mkdir()
    (project / "tests" / "__init__.py").write_text(APPLY)
    (project / "tests" / "test_homepage.py").write_text(UNITTEST)
    assert run(project, "-m", "unittest", *arguments).returncode == 0


def test_commands_of_the_package(project):
    (project / "conftest.py").write_text(APPLY)
    (project / "package").mkdir()
    (project / "package" / "main.py").write_text(APPLY)
    command = re.compile("python (-m starlette_backport[ a-z.-]*[a-z])")
    for arguments in set(command.findall("".join(PAGES.values()))):
        process = run(project, *arguments.split())
        assert process.returncode == 0, process


def test_output_of_verify(project):
    process = run(project, "-m", "starlette_backport", "verify")
    output = process.stdout + process.stderr
    # The line is that of Starlette 0.14.2.
    output = re.sub(r"line \d+", "line 47", output)
    assert output in snippet("README.md", "console", "verify")


def test_log_line_of_production():
    code = "import logging\nlogging.basicConfig(level=logging.INFO)\n"
    errors = python(code + snippet("docs/production.md", "python", "getLogger")).stderr
    assert "INFO:__main__:Starlette %s: backport applied" % RELEASE in errors


def test_smoke_test_of_production(monkeypatch):
    monkeypatch.setenv("CANARY", "https://canary")
    with mock.patch("urllib.request.urlopen") as urlopen:
        urlopen.return_value.__enter__.return_value.status = 200
        exec(snippet("docs/production.md", "python", "urlopen"), {})
    assert urlopen.call_args_list[0] == mock.call("https://canary/health", timeout=10)


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    for link in re.findall(r"\]\((?!https://)(.*?)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        target = ROOT / page
        if name:
            target = target.parent / name
        assert target.exists(), link
        if anchor:
            titles = re.findall("(?m)^#+ (.*)$", target.read_text("utf-8"))
            words = [re.sub(r"[^\w -]", "", title.lower()).split() for title in titles]
            assert anchor.split("-") in words, link


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_sessions(page):
    for name in re.findall(r"scripts/([\w.-]*\w)", PAGES[page]):
        assert (ROOT / "scripts" / name).exists(), name
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    for name in re.findall(r"nox -s (\w+)", PAGES[page]):
        assert re.search(r'def {0}\(session|name="{0}"'.format(name), noxfile), name


def test_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150
