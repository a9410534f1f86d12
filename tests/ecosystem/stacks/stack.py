"""What the tests of stacks share: an application, its client, and what they expect.

It imports Starlette within functions only: a test says when.
"""

import pytest
import release


def build(render=release.render, outer=True):
    """Return a FastAPI application with a page, a text and an error.

    `render` makes the page. Around all of it is a middleware, unless `outer` is false.
    """
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

    if outer:
        add_outer(app)
    return app


def add_outer(app, header="x-outer", finish=lambda response: response):
    """Add a ``BaseHTTPMiddleware`` around all that `app` has.

    It adds a header to the response, and returns what `finish` makes of that.
    """

    @app.middleware("http")
    async def outer(request, call_next):
        response = await call_next(request)
        response.headers[header] = "seen"
        return finish(response)


def client(app, **kwargs):
    from starlette.testclient import TestClient

    return TestClient(app, **kwargs)


def check_page(response, name="World", outer="seen", template=True):
    """Check a response that was rendered for `name`.

    `outer` is the header of the middleware around it. With `template` the test client
    got the template and the context; else it got none.
    """
    assert response.status_code == 200
    assert response.text == "<h1>Hello, %s!</h1>" % name
    assert response.headers.get("x-outer") == outer
    if template:
        assert response.template.name == "page.html"
        assert response.context["name"] == name
    else:
        assert getattr(response, "template", None) is None


def check_rest(client, outer="seen"):
    """Check what works on every release: the text and the error of `build`."""
    response = client.get("/plain")
    assert response.text == "plain"
    assert response.headers.get("x-outer") == outer
    with pytest.raises(RuntimeError, match=r"^error$"):
        client.get("/error")
