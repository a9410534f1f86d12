"""What the stacks have in common. It imports Starlette within functions only: a test says when."""

import os

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def render(request, name="World", **kwargs):
    """Return the template response of this release for templates/page.html."""
    from starlette.templating import Jinja2Templates

    context = {"request": request, "name": name}
    return Jinja2Templates(directory=TEMPLATES).TemplateResponse("page.html", context, **kwargs)


def build(render=render, outer=True):
    """Return a FastAPI application: a page by `render`, a text and an error, by default behind a middleware."""
    import fastapi
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

    app = fastapi.FastAPI()

    @app.get("/page")
    async def page_endpoint(request: Request):
        return render(request)

    @app.get("/plain")
    async def plain_endpoint():
        return PlainTextResponse("plain")

    @app.get("/error")
    async def error_endpoint():
        raise RuntimeError("error")

    return add_outer(app) if outer else app


def add_outer(app, header="x-outer"):
    """Add a ``BaseHTTPMiddleware`` around all that `app` has, and return `app`."""

    @app.middleware("http")
    async def outer(request, call_next):
        response = await call_next(request)
        response.headers[header] = "seen"
        return response

    return app


def client(app, **kwargs):
    from starlette.testclient import TestClient

    return TestClient(app, **kwargs)


def checks(client):
    """Return two functions that check the page, and the rest, of what `build` makes."""

    def page():
        check_page(client.get("/page"), outer="seen")

    def rest():
        response = client.get("/plain")
        assert (response.text, response.headers["x-outer"]) == ("plain", "seen")
        assert str(failure(client.get, "/error")) == "error"

    return page, rest


def check_page(response, name="World", outer=None, template=True):
    """Check a response of `render`, with or without what the test client makes of the template's message."""
    assert response.status_code == 200
    assert response.text == "<h1>Hello, %s!</h1>" % name
    assert outer in (None, response.headers.get("x-outer"))
    if template:
        assert (response.template.name, response.context["name"]) == ("page.html", name)
    else:
        assert getattr(response, "template", None) is None


def failure(function, *args):
    """Return what `function` raises: on some releases a group of exceptions that is no Exception."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("expected an exception, found none")
