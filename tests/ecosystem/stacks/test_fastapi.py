"""FastAPI, which pins Starlette: pages behind ``@app.middleware("http")``."""

import release
import stack


def test_application(phase):
    """Dependencies, tasks, threads, errors and the documentation."""
    import fastapi
    import starlette
    from fastapi import BackgroundTasks, Depends, Header
    from starlette.requests import Request

    app = stack.build()
    done = []

    async def visitor(name: str = "World", x_name: str = Header(None)):
        return x_name or name

    async def session():
        try:
            yield
        finally:
            done.append("closed")

    needs_session = Depends(session)
    if fastapi.__version__ == "0.20.1":
        # It has no dependencies with yield yet.
        needs_session = Depends(lambda: done.append("closed"))

    @app.get("/visitor")
    async def visitor_endpoint(
        request: Request,
        tasks: BackgroundTasks,
        name: str = Depends(visitor),
        session: None = needs_session,
    ):
        tasks.add_task(done.append, name)
        return release.render(request, name, background=tasks)

    @app.get("/thread")
    def in_a_thread(request: Request, name: str = Depends(visitor)):
        return release.render(request, name)

    @app.get("/items/{number}")
    async def item(number: int, session: None = needs_session):
        if number == 0:
            raise fastapi.HTTPException(status_code=404, detail="no item")
        return {"number": number}

    client = phase.client(app)
    for path in "/visitor", "/thread":
        with phase.fails_unpatched():
            stack.check_page(client.get(path))
        with phase.fails_unpatched():
            stack.check_page(client.get(path, params={"name": "query"}), "query")
        with phase.fails_unpatched():
            stack.check_page(client.get(path, headers={"x-name": "header"}), "header")
    if phase.patched:
        closed = ["closed", "closed", "closed"]
        assert sorted(done) == ["World", *closed, "header", "query"]
    done.clear()
    response = client.get("/items/7")
    assert response.json() == {"number": 7}
    assert response.headers["x-outer"] == "seen"
    assert done == ["closed"]
    assert client.get("/items/0").json() == {"detail": "no item"}
    assert client.get("/items/seven").status_code == 422
    assert "/page" in client.get("/openapi.json").json()["paths"]
    assert "swagger-ui" in client.get("/docs").text
    # How an error comes out of 0.15.0 and 0.16.0 is a matter of timing.
    if starlette.__version__ not in ("0.15.0", "0.16.0"):
        phase.check(client)


def test_mounted_application(phase):
    """Both have a middleware, and messages pass through both."""
    from fastapi import FastAPI

    inner = stack.build(outer=False)
    stack.add_outer(inner, "x-inner")
    app = FastAPI()
    app.mount("/inner", inner)
    stack.add_outer(app)
    # The inner application makes a response of an error, and raises it again. Whether
    # that gets through the middleware around it is a matter of timing with anyio.
    client = stack.client(app, raise_server_exceptions=False)
    client.get("/inner/page")
    phase.begin()
    page = client.get("/inner/page")
    if phase.patched:
        stack.check_page(page)
        assert page.headers["x-inner"] == "seen"
    else:
        assert page.status_code == 500
    plain = client.get("/inner/plain")
    assert plain.text == "plain"
    assert plain.headers["x-outer"] == "seen"
    assert plain.headers["x-inner"] == "seen"
    assert client.get("/inner/nowhere").status_code == 404
    assert client.get("/inner/docs").status_code == 200
