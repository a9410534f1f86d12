"""The application that the servers run: a bit of everything, behind two ``BaseHTTPMiddleware``.

It applies the backport as README says. What it is compared with is itself with the kill switch of README.
"""

import starlette_backport

starlette_backport.apply()

import asyncio  # noqa: E402
import collections  # noqa: E402
import os  # noqa: E402

import starlette  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.background import BackgroundTask  # noqa: E402
from starlette.exceptions import HTTPException  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.middleware.gzip import GZipMiddleware  # noqa: E402
from starlette.responses import (  # noqa: E402
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.templating import Jinja2Templates  # noqa: E402

PAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pages")
ASGI2 = starlette.__version__.startswith(("0.9.", "0.10.", "0.11."))

# What no client sees by itself, and how far a client lets a handler go: by the name that the client chose.
notes = collections.defaultdict(list)
steps = collections.Counter()


def name_of(request):
    return request.query_params.get("name", "")


async def step(name, number):
    """Wait until the client has made so many steps."""
    while steps[name] < number:
        await asyncio.sleep(0.005)


class Outer(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-outer"] = request.url.path
        return response


class Inner(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
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
app.add_middleware(GZipMiddleware, minimum_size=50)
app.add_middleware(Inner)
app.add_middleware(Outer)


@app.route("/patched")
async def patched(request):
    return JSONResponse(starlette_backport.status().state == "applied")


@app.route("/step")
async def make_step(request):
    steps[name_of(request)] += 1
    return PlainTextResponse("stepped")


@app.route("/notes")
async def get_notes(request):
    return JSONResponse(notes[name_of(request)])


@app.route("/")
async def page(request):
    return Jinja2Templates(PAGES).TemplateResponse("page.html", {"request": request, "name": "World"})


@app.route("/echo", methods=["GET", "POST", "PUT"])
async def echo(request):
    response = Response(await request.body(), media_type=request.headers.get("content-type"))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.route("/replaced")
@app.route("/refused")
@app.route("/after")
@app.route("/upper")
@app.route("/style.css")
async def text(request):
    return PlainTextResponse("text")


@app.route("/redirect")
async def redirect(request):
    return RedirectResponse("/", status_code=303)


@app.route("/file")
async def file(request):
    return FileResponse(os.path.join(PAGES, "page.html"))


@app.route("/forbidden")
async def forbidden(request):
    raise HTTPException(status_code=403, detail="forbidden")


@app.route("/error")
async def error(request):
    raise RuntimeError("before the response")


@app.route("/stream")
async def stream(request):
    """Send a chunk for each step of the client, and then break off, end, or end with a task in the background."""
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

    return StreamingResponse(chunks(), background=BackgroundTask(work) if name == "task" else None)


@app.route("/download")
async def download(request):
    """Take a second, if the client stays that long or nobody notices that it has left."""
    noted = notes[name_of(request)]

    async def chunks():
        try:
            for _ in range(100):
                yield b"x" * 65536
                await asyncio.sleep(0.01)
        except BaseException:  # It is cancelled, or closed if that is while its chunk is sent.
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


@app.websocket_route("/closed")
async def closed(websocket):
    await websocket.close(code=4002)


async def pushing(scope, receive, send):
    """Send a page with the promise of its style sheet, where the server can do that."""
    if "http.response.push" in scope.get("extensions", {}):
        await send({"type": "http.response.push", "path": "/style.css", "headers": []})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"pushing"})


app.mount("/push", (lambda scope: lambda *channels: pushing(scope, *channels)) if ASGI2 else pushing)
