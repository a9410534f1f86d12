"""Test clients other than Starlette's: who offers the template extension is affected, and who does not is not."""

import asyncio

import stack


def test_starlette_testclient(order):
    """It is a copy of the test client that Starlette had, with a name of its own, and offers what that one did."""
    from starlette_testclient import TestClient

    app = stack.add_outer(stack.build())
    client = TestClient(app)
    quiet = TestClient(app, raise_server_exceptions=False)

    def page():
        response = client.get("/page")
        stack.check_page(response)
        assert response.headers["x-outer"] == "seen"

    def rest():
        response = client.get("/plain")
        assert (response.text, response.headers["x-outer"]) == ("plain", "seen")
        assert quiet.get("/error").status_code == 500

    order.check(page, rest)


def check_unaffected(order, get):
    """Check a client that offers no extension: `get` gives status, text and one header of a response."""

    def same():
        assert get("/page") == (200, "<h1>Hello, World!</h1>", "seen")
        assert get("/plain") == (200, "plain", "seen")
        assert str(stack.failure(get, "/error")) == "error"

    order.check(same, same, page_without=same)


def test_async_asgi_testclient(order):
    from async_asgi_testclient import TestClient

    app = stack.add_outer(stack.build())

    async def get(path):
        async with TestClient(app) as client:
            response = await client.get(path)
            return response.status_code, response.text, response.headers["x-outer"]

    check_unaffected(order, lambda path: asyncio.run(get(path)))


def test_httpx(order):
    import httpx

    app = stack.add_outer(stack.build())

    async def get(path):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            response = await client.get(path)
            return response.status_code, response.text, response.headers["x-outer"]

    check_unaffected(order, lambda path: asyncio.run(get(path)))
