"""Template responses, through the release's test client and by message (point 5)."""

import asyncio
import concurrent.futures

import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.testclient import TestClient
from support import (
    ASGI2,
    FORK,
    NUMBERS,
    RELEASE,
    PassThrough,
    TemplateResponse,
    http_scope,
    middleware,
    needs_unpatched,
    only_if,
    python,
    raw,
    run,
    serve,
    types_of,
)

import starlette_backport


@pytest.fixture
def render(tmp_path):
    """Return a function that makes a template response on this release."""
    (tmp_path / "page.html").write_text("<h1>Hello, {{ name }}!</h1>{{ filling }}")
    if NUMBERS < (0, 10, 4):
        environment = Starlette(template_directory=str(tmp_path))
        return lambda name, context, **kw: TemplateResponse(
            environment.get_template(name), context, **kw
        )
    from starlette.templating import Jinja2Templates

    return Jinja2Templates(directory=str(tmp_path)).TemplateResponse


@pytest.fixture
def app(render):
    app = Starlette()

    async def page(request):
        context = {"request": request, "name": "World", "filling": ""}
        return render("page.html", {**context, **request.query_params})

    app.add_route("/page", page)
    return app


def check(response, name="World"):
    assert response.status_code == 200
    assert response.template.name == "page.html"
    assert response.context["name"] == name
    assert "<h1>Hello, %s!</h1>" % name in response.text


@needs_unpatched
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_unpatched_the_test_client_fails(app, layers):
    for _ in range(layers):
        app.add_middleware(PassThrough)
    with pytest.raises(AssertionError):
        TestClient(app).get("/page")


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_patched_the_test_client_shows_template_and_context(patched, app, layers):
    for _ in range(layers):
        app.add_middleware(PassThrough)
    check(TestClient(app).get("/page"))


@pytest.mark.parametrize("place", ["around", "inside", "both"])
def test_a_mounted_application(patched, app, place):
    if place in ("inside", "both"):
        app.add_middleware(PassThrough)
    main = Starlette()
    main.mount("/sub", app)
    if place in ("around", "both"):
        main.add_middleware(PassThrough)
    check(TestClient(main).get("/sub/page"))


def test_a_middleware_that_answers_with_a_template_itself(patched, app, render):
    @middleware
    async def replacing(self, request, call_next):
        await call_next(request)
        return render("page.html", {"request": request, "name": "own"})

    app.add_middleware(replacing)
    app.add_middleware(PassThrough)
    check(TestClient(app).get("/page"), "own")


@pytest.mark.parametrize("filling", ["", "x" * 5000], ids=["too small", "compressed"])
@pytest.mark.parametrize("place", ["inside", "outside", "between", "alone"])
def test_behind_gzip_the_page_has_no_template(patched, app, place, filling):
    """As on 0.24.0: gzip drops the message, unless the client refuses gzip."""
    if place in ("outside", "between"):
        app.add_middleware(PassThrough)
    app.add_middleware(GZipMiddleware)
    if place in ("inside", "between"):
        app.add_middleware(PassThrough)
    client = TestClient(app)
    path = "/page?filling=" + filling
    response = client.get(path)
    assert "<h1>Hello, World!</h1>" in response.text
    assert not hasattr(response, "template")
    if filling:
        assert response.headers["content-encoding"] == "gzip"
    check(client.get(path, headers={"accept-encoding": "identity"}))


def test_many_clients_in_threads(patched, app):
    app.add_middleware(PassThrough)
    app.add_middleware(PassThrough)
    # This builds the middleware stack.
    check(TestClient(app).get("/page"))

    def client(number):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        check(TestClient(app).get("/page?name=%d" % number), str(number))
        loop.close()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(client, range(20)))


TEMPLATE, DEBUG = "http.response.template", "http.response.debug"


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("value", [{}, None], ids=["{}", "None"])
@pytest.mark.parametrize(
    ("offered", "sent"),
    [
        ([TEMPLATE], [TEMPLATE]),
        ([DEBUG], [DEBUG]),
        ([TEMPLATE, DEBUG], [TEMPLATE]),
        (["http.response.push"], []),
        ([], []),
    ],
    ids=["template", "debug", "both", "something else", "nothing"],
)
def test_a_template_response_sends_the_message_that_the_server_offers(
    patched, app, offered, sent, value, layers
):
    for _ in range(layers):
        app = PassThrough(app)
    scope = http_scope(
        path="/page", raw_path=b"/page", extensions={name: value for name in offered}
    )
    messages, error = serve(app, scope)
    assert error is None
    assert types_of(messages)[: len(sent) + 1] == [*sent, "http.response.start"]
    if sent:
        content = messages[0] if sent == [TEMPLATE] else messages[0]["info"]
        assert sorted(messages[0]) == (
            ["context", "template", "type"] if sent == [TEMPLATE] else ["info", "type"]
        )
        assert content["template"].name == "page.html"
        assert content["context"]["name"] == "World"


@needs_unpatched
@pytest.mark.parametrize("extensions", [None, {}, {"http.response.push": {}}])
def test_where_no_template_is_offered_the_response_is_the_unpatched_one(
    app, extensions
):
    app = PassThrough(app)
    scope = http_scope(path="/page", raw_path=b"/page", extensions=extensions)
    unpatched = serve(app, dict(scope))
    assert unpatched[1] is None
    with starlette_backport.applied():
        assert serve(app, dict(scope)) == unpatched


# Up to 0.10.3, a context without a request is refused.
@only_if(NUMBERS >= (0, 10, 4))
def test_a_template_response_without_a_request_in_its_context(patched):
    class Template:
        name = "bare"

        def render(self, context):
            return "text"

    async def program(*args):
        await TemplateResponse(Template(), {})(*args[ASGI2:])

    messages, error = serve(
        PassThrough(raw(program)), http_scope(extensions={DEBUG: {}})
    )
    assert error is None
    assert types_of(messages)[0] == "http.response.start"


@pytest.mark.parametrize("named", [False, True], ids=["by position", "by name"])
def test_a_template_response_hands_on_what_it_is_called_with(
    patched, render, monkeypatch, named
):
    got, sent = [], []

    async def call(self, *args, **kwargs):
        got.append((args, kwargs))

    async def send(message):
        sent.append(message["type"])

    monkeypatch.setattr(Response, "__call__", call)
    channels = (
        {"receive": "receive", "send": send}
        if ASGI2
        else {"scope": {}, "receive": "receive", "send": send}
    )
    response = render(
        "page.html", {"request": {"extensions": {DEBUG: {}}}, "name": "World"}
    )
    run(response(**channels) if named else response(*channels.values()))
    assert got == [(tuple(channels.values()), {})]
    assert sent == [DEBUG]


WITHOUT_JINJA2 = """
import sys
sys.modules["jinja2"] = None
import starlette_backport
status = starlette_backport.apply()
print(status.state, len(status.functions))
print(*status.notes)
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(error is None and messages[0] == PUSH)
"""


# 0.10.4 cannot be imported without jinja2 itself.
@only_if(RELEASE != "0.10.4")
def test_without_jinja2_the_rest_is_carried():
    state, notes, carries = python(WITHOUT_JINJA2).stdout.splitlines()
    assert state == ("not needed 0" if FORK else "applied 2")
    assert (notes, carries) == ("", "True")
