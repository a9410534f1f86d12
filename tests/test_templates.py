"""Template responses, through the release's own test client."""

import asyncio
import threading

import peer
import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from support import ASGI2, NUMBERS, PassThrough, http_scope, middleware, needs_unpatched, raw, run, serve, types_of

import starlette_backport

pytest.importorskip("jinja2", reason="templates need jinja2")


@pytest.fixture
def render(tmp_path):
    """Return a function that makes a template response on this release."""
    (tmp_path / "page.html").write_text("<h1>Hello, {{ name }}!</h1>{{ filling }}")
    (tmp_path / "missing.html").write_text("<h1>No {{ name }}</h1>")
    try:
        from starlette.templating import Jinja2Templates
    except ImportError:
        from starlette.responses import TemplateResponse

        environment = Starlette(template_directory=str(tmp_path))
        return lambda name, context, **kw: TemplateResponse(environment.get_template(name), context, **kw)
    return Jinja2Templates(directory=str(tmp_path)).TemplateResponse


@pytest.fixture
def app(render):
    app = Starlette()

    async def page(request):
        context = {"request": request, "name": request.query_params.get("name", "World")}
        context["filling"] = "x" * int(request.query_params.get("filling", "0"))
        return render("page.html", context)

    async def not_found(request, exc):
        return render("missing.html", {"request": request, "name": "page"}, status_code=404)

    app.add_route("/page", page)
    app.add_exception_handler(404, not_found)
    return app


def check(response, name="World"):
    assert response.status_code == 200
    assert response.template.name == "page.html"
    assert response.context["name"] == name
    assert "<h1>Hello, %s!</h1>" % name in response.text


@needs_unpatched
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_fails_unpatched(app, layers):
    for _ in range(layers):
        app.add_middleware(PassThrough)
    with pytest.raises(AssertionError):
        TestClient(app).get("/page")


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_it_works_patched(patched, app, layers):
    for _ in range(layers):
        app.add_middleware(PassThrough)
    check(TestClient(app).get("/page"))


def test_the_middleware_decorator(patched, app):
    async def dispatch(request, call_next):
        response = await call_next(request)
        response.headers["x-decorated"] = "1"
        return response

    app.middleware("http")(dispatch)
    response = TestClient(app).get("/page")
    check(response)
    assert response.headers["x-decorated"] == "1"


@pytest.mark.parametrize("place", ["around", "inside", "both"])
def test_a_mounted_application(patched, app, place):
    if place in ("inside", "both"):
        app.add_middleware(PassThrough)
    main = Starlette()
    main.mount("/sub", app)
    if place in ("around", "both"):
        main.add_middleware(PassThrough)
    check(TestClient(main).get("/sub/page"))


def test_a_template_for_not_found(patched, app):
    app.add_middleware(PassThrough)
    response = TestClient(app).get("/nowhere")
    assert response.status_code == 404
    assert response.template.name == "missing.html"
    assert response.context["name"] == "page"


def test_a_middleware_that_replaces_the_response(patched, app):
    @middleware
    async def replacing(self, request, call_next):
        await call_next(request)
        return PlainTextResponse("other")

    app.add_middleware(replacing)
    app.add_middleware(PassThrough)
    response = TestClient(app).get("/page")
    assert response.text == "other"
    assert not hasattr(response, "template")


def test_a_middleware_with_a_template_of_its_own(patched, app, render):
    @middleware
    async def own(self, request, call_next):
        await call_next(request)
        return render("page.html", {"request": request, "name": "own"})

    app.add_middleware(own)
    app.add_middleware(PassThrough)
    check(TestClient(app).get("/page"), "own")


@pytest.mark.parametrize("filling", [0, 5000], ids=["too small", "compressed"])
@pytest.mark.parametrize("order", ["inside", "outside", "between", "alone"])
def test_behind_gzip(patched, app, order, filling):
    if order in ("outside", "between"):
        app.add_middleware(PassThrough)
    app.add_middleware(GZipMiddleware)
    if order in ("inside", "between"):
        app.add_middleware(PassThrough)
    response = TestClient(app).get("/page?filling=%d" % filling)
    check(response)
    if filling:
        assert response.headers["content-encoding"] == "gzip"
        assert len(response.text) > filling


def test_many_clients_at_once(patched, app):
    """Each thread has a test client of its own, as test runners do."""
    app.add_middleware(PassThrough)
    app.add_middleware(PassThrough)
    check(TestClient(app).get("/page"))  # Builds the middleware stack.
    errors = []

    def client(number):
        try:
            asyncio.set_event_loop(asyncio.new_event_loop())
            check(TestClient(app).get("/page?name=%d" % number), str(number))
        except BaseException as exc:
            errors.append(exc)
        finally:
            asyncio.get_event_loop().close()

    for begin in range(0, 200, 20):
        threads = [threading.Thread(target=client, args=(begin + n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert errors == []


def test_it_is_the_response_of_the_same_application_without_middleware(patched, app):
    plain = TestClient(app).get("/page?name=plain")
    app = PassThrough(PassThrough(app))
    carried = TestClient(app).get("/page?name=plain")
    assert carried.text == plain.text
    assert carried.template.name == plain.template.name
    assert {k: v for k, v in carried.context.items() if k != "request"} == {
        k: v for k, v in plain.context.items() if k != "request"
    }


OFFERS = {
    "template": ["http.response.template"],
    "debug": ["http.response.debug"],
    "both": ["http.response.template", "http.response.debug"],
    "nothing": [],
    "something else": ["http.response.push"],
}


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("offered", list(OFFERS))
def test_which_message_is_sent(patched, app, offered, layers):
    for _ in range(layers):
        app = PassThrough(app)
    scope = http_scope(path="/page", raw_path=b"/page", extensions={name: {} for name in OFFERS[offered]})
    messages, error = serve(app, scope)
    assert error is None
    early = types_of(messages)[: types_of(messages).index("http.response.start")]
    if offered in ("template", "both"):
        assert early == ["http.response.template"]
        assert messages[0]["template"].name == "page.html"
        assert messages[0]["context"]["name"] == "World"
    elif offered == "debug":
        assert early == ["http.response.debug"]
        assert sorted(messages[0]) == ["info", "type"]
        assert sorted(messages[0]["info"]) == ["context", "template"]
        assert messages[0]["info"]["template"].name == "page.html"
        assert messages[0]["info"]["context"]["name"] == "World"
    else:
        assert early == []


@pytest.mark.parametrize("extensions", [{}, {"extensions": {}}, {"extensions": {"http.response.push": {}}}])
def test_where_nothing_is_offered_all_is_as_unpatched(app, extensions):
    app = PassThrough(app)
    scope = dict(http_scope(path="/page", raw_path=b"/page"), **extensions)
    unpatched = peer.unpatched(lambda: serve(app, dict(scope)))
    with starlette_backport.applied():
        assert serve(app, dict(scope)) == unpatched
    assert unpatched[1] is None


def test_a_template_response_without_a_request_in_its_context(patched, render):
    if NUMBERS < (0, 10, 4):
        with pytest.raises(ValueError, match="request"):
            render("page.html", {"name": "World"})
        return
    from starlette.templating import _TemplateResponse

    class Template:
        name = "bare"

        def render(self, context):
            return "text"

    async def program(scope, receive, send):
        response = _TemplateResponse(Template(), {})
        await (response(receive, send) if ASGI2 else response(scope, receive, send))

    messages, error = serve(PassThrough(raw(program)), http_scope(extensions={"http.response.debug": {}}))
    assert error is None
    assert types_of(messages)[0] == "http.response.start"


def test_a_template_response_hands_on_what_it_is_called_with(patched, render, monkeypatch):
    """The release's own response does not look at the scope, but somebody's mixin may."""
    got = []

    async def call(self, *args):
        got.append(args)

    monkeypatch.setattr(Response, "__call__", call)
    channels = ("receive", "send") if ASGI2 else ("scope", "receive", "send")
    run(render("page.html", {"request": {}, "name": "World"})(*channels))
    assert got == [channels]
