"""Test clients other than Starlette's.

Who offers the template extension is affected, and who does not is not.
"""

import asyncio

import pytest
import stack


def test_starlette_testclient(phase):
    """It is a copy of Starlette's test client, and offers what that offered."""
    from starlette_testclient import TestClient

    client = phase.client(stack.build(), TestClient)
    phase.check(client)


def test_async_asgi_testclient(phase):
    from async_asgi_testclient import TestClient

    app = stack.build()
    check_unaffected(phase, lambda: TestClient(app))


def test_httpx(phase):
    """With an application of ASGI 2 it needs asgiref, which leaves ASGI 3 alone."""
    import httpx
    from asgiref.compatibility import guarantee_single_callable

    transport = httpx.ASGITransport(app=guarantee_single_callable(stack.build()))
    options = {"transport": transport, "base_url": "http://testserver"}
    check_unaffected(phase, lambda: httpx.AsyncClient(**options))


def check_unaffected(phase, open_client):
    """Check clients made by `open_client`, which offer no extension."""

    async def get(path):
        async with open_client() as client:
            return await client.get(path)

    asyncio.run(get("/page"))
    phase.begin()
    stack.check_page(asyncio.run(get("/page")), template=False)
    response = asyncio.run(get("/plain"))
    assert response.text == "plain"
    assert response.headers["x-outer"] == "seen"
    with pytest.raises(RuntimeError, match=r"^error$"):
        asyncio.run(get("/error"))
