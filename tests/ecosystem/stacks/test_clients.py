"""Test clients other than Starlette's: who offers the template extension is affected, and who does not is not."""

import asyncio

import stack


def test_starlette_testclient(order):
    """It is a copy of the test client that Starlette had, with a name of its own, and offers what that one did."""
    from starlette_testclient import TestClient

    order.check(*stack.checks(TestClient(stack.build())))


def check_unaffected(order, open_client):
    """Check clients made by `open_client`, which offer no extension."""

    async def get(path):
        async with open_client() as client:
            response = await client.get(path)
            return response.text, response.headers["x-outer"]

    def same():
        assert asyncio.run(get("/page")) == ("<h1>Hello, World!</h1>", "seen")
        assert asyncio.run(get("/plain")) == ("plain", "seen")
        assert str(stack.failure(asyncio.run, get("/error"))) == "error"

    order.check(same, page_without=same)


def test_async_asgi_testclient(order):
    from async_asgi_testclient import TestClient

    app = stack.build()
    check_unaffected(order, lambda: TestClient(app))


def test_httpx(order):
    import httpx

    transport = httpx.ASGITransport(app=stack.build())
    check_unaffected(order, lambda: httpx.AsyncClient(transport=transport, base_url="http://testserver"))
