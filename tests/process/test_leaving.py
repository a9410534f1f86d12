"""docs/leaving.md: what turns red without the backport, what to write, the rehearsal.

The examples run on both sides: with the backport where Starlette is affected, and
without it where Starlette has the fix. They turn red where `AFFECTED` is false.
"""

import os
import shlex
import shutil
import sys
import textwrap
import types

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient
from support import (
    AFFECTED,
    ASGI2,
    BODY,
    DEBUG,
    NUMBERS,
    PUSH,
    START,
    PassThrough,
    TemplateResponse,
    http_scope,
    leaves,
    raw,
    run_process,
    sending,
    serve,
    snippet,
    types_of,
)

PAGE = "docs/leaving.md"
OLD_MESSAGE = {"type": "http.response.template", "template": "page", "context": {}}


@pytest.fixture(autouse=True)
def backport(request):
    if AFFECTED:
        request.getfixturevalue("patched")


def template_page(scope):
    template = types.SimpleNamespace(name="page", render=lambda context: "page" * 999)
    return TemplateResponse(template, {"request": scope})


def plain_page(scope):
    return PlainTextResponse("page")


def application(make_response):
    """Return an application that answers with what `make_response` returns."""
    if ASGI2:
        return make_response

    async def app(scope, receive, send):
        await make_response(scope)(scope, receive, send)

    return app


def test_client_that_knows_only_the_old_message():
    offer = {"http.response.template": {}}
    app = PassThrough(application(template_page))
    received, error = serve(app, http_scope(extensions=offer))
    assert error is None
    assert (received[0]["type"] == "http.response.template") is AFFECTED


@pytest.mark.parametrize(
    "messages",
    [[PUSH], [DEBUG, DEBUG], [OLD_MESSAGE]],
    ids=["another type", "several", "the old message without a look at the offer"],
)
def test_messages_before_the_start(messages):
    app = sending(*messages, START, BODY)
    received, error = serve(PassThrough(app))
    if AFFECTED:
        assert types_of(received)[: len(messages)] == types_of(messages)
    elif NUMBERS >= (1, 10) and messages == [DEBUG, DEBUG]:
        # One of them arrives.
        assert types_of(received)[:2] == types_of([DEBUG, START])
    else:
        assert [type(leaf) for leaf in leaves(error)] == [AssertionError]
    # What to write: plain ASGI all the way, or one message.
    assert types_of(serve(app)[0]) == types_of([*messages, START, BODY])
    received, error = serve(PassThrough(sending(DEBUG, START, BODY)))
    assert types_of(received)[:2] == types_of([DEBUG, START])


def test_response_class_of_your_own():
    class Page:
        def __init__(self):
            self.template = types.SimpleNamespace(name="page")
            self.context = {"name": "World"}

        async def __call__(self, scope, receive, send):
            await send(dict(START, headers=[]))
            await send(dict(BODY))

    code = "class PageOfYourOwn(Page):\n" + textwrap.indent(
        snippet(PAGE, "python", "http.response.debug"), "    "
    )
    namespace = {"Page": Page}
    exec(code, namespace)
    response = TestClient(PassThrough(raw(namespace["PageOfYourOwn"]()))).get("/")
    assert response.template.name == "page"
    assert response.context["name"] == "World"


@pytest.mark.parametrize("make_response", [template_page, plain_page])
def test_class_of_the_response(make_response):
    responses = []

    async def dispatch(request, call_next):
        responses.append(await call_next(request))
        return responses[0]

    app = BaseHTTPMiddleware(application(make_response), dispatch=dispatch)
    TestClient(app).get("/")
    is_plain = make_response is plain_page
    assert (type(responses[0]) is StreamingResponse) is (AFFECTED and is_plain)
    assert isinstance(responses[0], StreamingResponse) is (NUMBERS < (0, 38, 3))


def test_gzip():
    client = TestClient(GZipMiddleware(PassThrough(application(template_page))))
    assert not hasattr(client.get("/"), "template")
    response = client.get("/", headers={"accept-encoding": "identity"})
    assert hasattr(response, "template") is (NUMBERS < (0, 46))


TEST = """
import starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.templating import Jinja2Templates
from starlette.testclient import TestClient

async def homepage(scope, receive, send):
    templates = Jinja2Templates(directory=".")
    page = templates.TemplateResponse("page.html", {"request": scope})
    await page(scope, receive, send)

async def pass_through(request, call_next):
    return await call_next(request)

def test_homepage():
    app = BaseHTTPMiddleware(homepage, dispatch=pass_through)
    assert TestClient(app).get("/").template.name == "page.html"
    assert starlette.__version__ == "0.24.0"
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "page.html").write_text("Hello!")
    (folder / "test_page.py").write_text(TEST)
    calls_apply = "import starlette_backport\nstarlette_backport.apply()\n"
    (folder / "conftest.py").write_text(calls_apply)
    return folder


def find_installer(project):
    """Return a command that installs from an index here, or None."""
    pip = [sys.executable, "-m", "pip", "install"]
    uv = ["uv", "pip", "install", "--python", sys.executable]
    for installer in (uv, pip):
        if shutil.which(installer[0]) is None:
            continue
        probe = ["--no-deps", "--target", "../probe", "pytest-timeout"]
        if run_process(*installer, *probe, cwd=project).returncode == 0:
            return installer
    return None


@pytest.mark.skipif(sys.version_info < (3, 7), reason="0.24.0 needs Python 3.7")
def test_rehearsal(project):
    installer = find_installer(project)
    if installer is None:
        assert "CI" not in os.environ
        pytest.skip("needs uv or pip, and a package index")
    install, rehearse = snippet(PAGE, "console", "--target").splitlines()
    prefix, _, arguments = install.partition(" install ")
    assert prefix == "$ pip"
    process = run_process(*installer, *shlex.split(arguments), cwd=project)
    assert process.returncode == 0, process

    prefix, _, arguments = rehearse.partition("python ")
    assert prefix == "$ PYTHONPATH=../leap "
    # The package itself may be there by PYTHONPATH.
    paths = ["../leap", *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:hypothesispytest",
    }
    command = [sys.executable, *shlex.split(arguments)]
    process = run_process(*command, cwd=project, **variables)
    assert process.returncode == 0, process
    assert "BackportNotNeededWarning" in process.stdout

    (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    assert run_process(*command, cwd=project, **variables).returncode != 0
    command += ["-W", "default"]
    process = run_process(*command, cwd=project, **variables)
    assert process.returncode == 0, process
