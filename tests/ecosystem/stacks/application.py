"""The application that test_tools.py looks at with tools: a page, a text and an error behind three middlewares."""

import asyncio
import inspect
import typing

import stack
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

OFFER = {"http.response.template": {}}


class Inner(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: typing.Callable) -> Response:
        response = await call_next(request)
        response.headers["x-inner"] = "seen"
        return response


class Outer(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: typing.Callable) -> Response:
        return await call_next(request)


app = Starlette()
app.add_middleware(GZipMiddleware)
app.add_middleware(Inner)
app.add_middleware(Outer)


@app.route("/page")
async def page(request: Request) -> Response:
    return stack.render(request)


@app.route("/plain")
async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


@app.route("/error")
async def error(request: Request) -> Response:
    raise RuntimeError("error")


async def request(path, extensions=None, encoding="identity"):
    """Make a request with a scope that offers `extensions`. Return type, status and body of the messages sent."""
    headers = [(b"host", b"server"), (b"accept-encoding", encoding.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", "headers": headers}
    scope["extensions"] = extensions or {}
    sent, received = [], []

    async def receive():
        if received:
            await asyncio.Event().wait()  # The client stays until it has the response.
        received.append({"type": "http.request", "body": b"", "more_body": False})
        return received[0]

    async def send(message):
        sent.append([message["type"], message.get("status"), message.get("body", b"").decode()])

    if "receive" in inspect.signature(app.__call__).parameters:
        await app(scope, receive, send)
    else:  # ASGI 2
        await app(scope)(receive, send)
    return sent


def ask(*args):
    """Return what came of a request: the messages, or the error."""
    try:
        return asyncio.run(request(*args))
    except (AssertionError, RuntimeError, TypeError) as exc:
        return repr(exc)
