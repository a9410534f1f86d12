"""What the stacks have in common. It imports Starlette within functions only: a test says when."""

import os

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def render(request, name="World", **kwargs):
    """Return the template response of this release for templates/page.html."""
    from starlette.templating import Jinja2Templates

    context = {"request": request, "name": name}
    return Jinja2Templates(directory=TEMPLATES).TemplateResponse("page.html", context, **kwargs)


def plain(*args, **kwargs):
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(*args, **kwargs)


def build(render=render):
    """Return a FastAPI application, by whatever ``fastapi.FastAPI`` is now: a page by `render`, a text, an error."""
    import fastapi
    from starlette.requests import Request

    app = fastapi.FastAPI()

    @app.get("/page")
    async def page_endpoint(request: Request):
        return render(request)

    @app.get("/plain")
    async def plain_endpoint():
        return plain("plain")

    @app.get("/error")
    async def error_endpoint():
        raise RuntimeError("error")

    return app


def add_outer(app):
    """Add a ``BaseHTTPMiddleware`` around all that `app` has, and return `app`."""

    @app.middleware("http")
    async def outer(request, call_next):
        response = await call_next(request)
        response.headers["x-outer"] = "seen"
        return response

    return app


def client(app, **kwargs):
    from starlette.testclient import TestClient

    return TestClient(app, **kwargs)


def check_page(response, name="World"):
    """Check a response of `render` with all that the test client makes of it."""
    assert response.status_code == 200
    assert response.text == "<h1>Hello, %s!</h1>" % name
    assert response.template.name == "page.html"
    assert response.context["name"] == name


def failure(function, *args):
    """Return what `function` raises: on some releases a group of exceptions that is no Exception."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("expected an exception, found none")


def leaves(error):
    """Return the exceptions in `error`, which may be a group."""
    inner = getattr(error, "exceptions", None)
    return [leaf for one in inner for leaf in leaves(one)] if inner else [error]
