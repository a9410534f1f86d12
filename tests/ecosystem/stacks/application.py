"""An application behind three middlewares, for servers and for tools."""

import asyncio
import collections
import functools
import os
import typing

import release
import starlette
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)

import starlette_backport

ASGI2 = starlette.__version__.startswith(("0.9.", "0.10.", "0.11."))

# What no client sees by itself, and how far a client lets a handler go. The keys are
# names that clients choose.
notes = collections.defaultdict(list)
steps = collections.Counter()


def name_of(request: Request) -> str:
    return request.query_params.get("name", "World")


async def step(name: str, number: int) -> None:
    """Wait until the client has made so many steps."""
    while steps[name] < number:
        await asyncio.sleep(0.005)


class Outer(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: typing.Callable) -> Response:
        response = await call_next(request)
        response.headers["x-outer"] = request.url.path
        return response


class Inner(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: typing.Callable) -> Response:
        path = request.url.path
        if path == "/refused":
            return PlainTextResponse("refused", status_code=403)
        response = await call_next(request)
        if path == "/replaced":
            return PlainTextResponse("another", status_code=203)
        if path == "/after":
            raise RuntimeError("after call_next")
        if path == "/upper":
            response.body_iterator = upper(response.body_iterator)
        response.headers.append("x-inner", str(response.status_code))
        return response


async def upper(chunks):
    async for chunk in chunks:
        yield chunk.upper()


app = Starlette()
app.add_middleware(GZipMiddleware)
app.add_middleware(Inner)
app.add_middleware(Outer)


@app.route("/step")
async def make_step(request: Request) -> Response:
    steps[name_of(request)] += 1
    return await state(request)


@app.route("/state")
async def state(request: Request) -> Response:
    found = {
        "patched": starlette_backport.status().state == "applied",
        "offered": sorted(request.get("extensions") or ()),
        "notes": notes[name_of(request)],
    }
    return JSONResponse(found)


@app.route("/")
async def page(request: Request) -> Response:
    return release.render(request, name_of(request))


@app.route("/echo", methods=["GET", "POST", "PUT"])
async def echo(request: Request) -> Response:
    media_type = request.headers.get("content-type")
    response = Response(await request.body(), media_type=media_type)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.route("/replaced")
@app.route("/refused")
@app.route("/after")
@app.route("/upper")
@app.route("/text")
async def text(request: Request) -> Response:
    return PlainTextResponse("text")


@app.route("/file")
async def file(request: Request) -> Response:
    return FileResponse(os.path.join(release.TEMPLATES, "page.html"))


@app.route("/error")
async def error(request: Request) -> Response:
    raise RuntimeError("before the response")


@app.route("/stream")
async def stream(request: Request) -> Response:
    """Send a chunk for each step of the client.

    Then break off, run a task in the background, or just end, as the name says.
    """
    name = name_of(request)

    async def chunks():
        for number in range(4):
            await step(name, number)
            yield "chunk {};".format(number).encode()
        if name == "broken":
            await step(name, 4)  # An error at once may get ahead of the chunk.
            raise RuntimeError("within the response")

    async def work():
        notes[name].append("begun")
        await step(name, 4)
        notes[name].append("done")

    response = StreamingResponse(chunks())
    if name == "task":
        response.background = BackgroundTask(work)
    return response


@app.route("/download")
async def download(request: Request) -> Response:
    """Take a second, if the client stays that long or nobody notices that it left."""
    noted = notes[name_of(request)]

    async def chunks():
        try:
            for _ in range(100):
                yield b"x" * 65536
                await asyncio.sleep(0.01)
        except BaseException:  # It is cancelled, or closed while its chunk is sent.
            noted.append("stopped")
            raise
        noted.append("finished")

    return StreamingResponse(chunks())


@app.websocket_route("/socket")
async def socket(websocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text() + " of text")
    await websocket.send_bytes(await websocket.receive_bytes() + b" of bytes")
    await websocket.close(code=4001)


async def pushing(scope, receive, send):
    """Send a page with the promise of a text, where the server can do that."""
    if "http.response.push" in scope.get("extensions", {}):
        await send({"type": "http.response.push", "path": "/text", "headers": []})
    headers = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"pushing"})


if ASGI2:
    app.mount("/push", lambda scope: functools.partial(pushing, scope))
else:
    app.mount("/push", pushing)
