"""Many requests at once, with clients that are slow, leave or are cancelled.

Each request has a number, and all that is sent for it shows this number. `Watchdog`
fails the test when nothing moves any more.
"""

import asyncio
import concurrent.futures
import gc
import itertools
import os
import random
import sys
import time
import weakref
import zlib

import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    PassThrough,
    TemplateResponse,
    call,
    content_of,
    failure,
    http_scope,
    leaves,
    middleware,
    raw,
    run_process,
)
from watchdog import Watchdog, tasks

KINDS = ["template", "plain", "stream", "early", "early stream", "error", "late error"]
CLIENTS = ["fast", "slow", "leaving", "cancelled"]
TREATMENTS = ["as it is", "read", "replaced"]
COMBINATIONS = list(itertools.product(KINDS, CLIENTS, TREATMENTS))
AT_ONCE = 500
OFFERS = {"http.response.template": {}, "http.response.push": {}}

alive = weakref.WeakSet()


class Mark:
    """The number of a request, in a message. `alive` has those that still exist."""

    def __init__(self, number):
        self.number = number
        alive.add(self)

    def render(self, context):  # It is the template as well.
        return content(self.number)


def content(number):
    return b"%d;" % number * 200


async def chunks(number):
    whole = content(number)
    for begin in range(0, len(whole), 100):
        yield whole[begin : begin + 100]
        await asyncio.sleep(0)


def accepts_gzip(number):
    """Whether the client does. Then the middleware drops early messages."""
    return number // len(COMBINATIONS) % 2 == 1


def number_of(request):
    return int(request["path"].split("/")[-1])


def application():
    """Return an application for all `KINDS`, behind middleware for all `TREATMENTS`."""
    app = Starlette()

    async def template(request):
        mark = Mark(number_of(request))
        return TemplateResponse(mark, {"request": request, "mark": mark})

    async def plain(request):
        return PlainTextResponse(content(number_of(request)))

    async def stream(request):
        return StreamingResponse(chunks(number_of(request)))

    async def early(scope, receive, send):
        number = number_of(scope)
        kind = dict(scope["headers"])[b"x-kind"]
        if scope["extensions"]:
            await send(
                {
                    "type": "http.response.push",
                    "path": "/style.css",
                    "headers": [],
                    "mark": Mark(number),
                }
            )
            for _ in range(number % 4):
                await asyncio.sleep(0)
            await send({"type": "x.early", "mark": Mark(number)})
        if kind == b"error":
            raise ValueError(number)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for chunk in chunks(number):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if kind == b"late error":
                raise ValueError(number)
            if kind == b"early":
                await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    for endpoint in (template, plain, stream):
        app.add_route("/%s/{number}" % endpoint.__name__, endpoint)
    app.mount("/early", raw(early))

    @middleware
    async def treating(self, request, call_next):
        response = await call_next(request)
        if request.headers["x-treatment"] == "replaced":
            return PlainTextResponse(b"replaced " + content(number_of(request)))
        if request.headers["x-treatment"] == "read":
            read = [b"read "] + [chunk async for chunk in response.body_iterator]

            async def again():
                for chunk in read:
                    yield chunk

            response.body_iterator = again()
        return response

    @middleware
    async def numbering(self, request, call_next):
        response = await call_next(request)
        response.headers["x-number"] = str(number_of(request))
        return response

    for layer in (PassThrough, treating, GZipMiddleware, numbering):
        app.add_middleware(layer)
    return app


async def request(app, number, offers, step):
    """Make one request, and check what the client gets."""
    kind, client, treatment = COMBINATIONS[number % len(COMBINATIONS)]
    chance = random.Random(number)  # The same in each run.
    encoding = "gzip" if accepts_gzip(number) else "identity"
    headers = {"x-kind": kind, "x-treatment": treatment, "accept-encoding": encoding}
    leaves_after, cancelled_after = chance.randrange(2, 7), chance.randrange(1, 60)
    path = "/%s/%d" % (
        kind if kind in ("template", "plain", "stream") else "early",
        number,
    )
    scope = http_scope(
        path=path,
        raw_path=path.encode("ascii"),
        headers=[
            (name.encode("ascii"), value.encode("ascii"))
            for name, value in headers.items()
        ],
        extensions=offers,
    )
    requested = [{"type": "http.request", "body": b"", "more_body": False}]
    messages = []
    gone = asyncio.Event()

    async def receive():
        if requested:
            return requested.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        step()
        if gone.is_set():
            return
        for _ in range(3 if client == "slow" else 0):
            await asyncio.sleep(0)
        messages.append(message)
        if client == "leaving" and len(messages) == leaves_after:
            gone.set()

    task = asyncio.ensure_future(failure(call(app, scope, receive, send)))
    if client == "cancelled":
        for _ in range(cancelled_after):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    gone.set()
    step()
    error = None if task.cancelled() else task.result()
    try:
        check(number, messages, error, offers)
    except Exception as exc:
        raise AssertionError(
            "request %d, %s, %r, %r"
            % (number, (kind, client, treatment), messages, error)
        ) from exc


def check(number, messages, error, offers):
    """Check what the client got: its own, only its own, and all of it if it stayed."""
    kind, client, treatment = COMBINATIONS[number % len(COMBINATIONS)]
    fails = kind in ("error", "late error")
    stays = client in ("fast", "slow")
    for one in leaves(error) if error else ():
        if fails and type(one) is ValueError:
            assert one.args == (number,)
        else:  # From a memory stream of the release, when the client does not stay.
            assert type(one).__name__ in ("BrokenResourceError", "CancelledError")
            assert not stays
    types = {"template": ["http.response.template"], "plain": [], "stream": []}.get(
        kind, ["http.response.push", "x.early"]
    )
    if not offers or treatment == "replaced" or accepts_gzip(number):
        types = []
    expected = [(type_, number) for type_ in types]
    early = list(
        itertools.takewhile(
            lambda message: message["type"] != "http.response.start", messages
        )
    )
    got = [(m["type"], m.get("context", m)["mark"].number) for m in early]
    if len(messages) == len(early):
        assert got == expected[: len(got)]
        assert not stays
        return
    head, *rest = messages[len(early) :]
    assert {message["type"] for message in rest} <= {"http.response.body"}
    response_headers = dict(head["headers"])
    data = content_of(rest)
    if response_headers.get(b"content-encoding") == b"gzip":
        data = zlib.decompressobj(31).decompress(data)
    if head["status"] == 500:
        # Starlette answers errors, and up to Python 3.7 a cancellation is one.
        assert fails or client == "cancelled"
        assert got == []
        assert b"Internal Server Error".startswith(data)
        return
    assert got == expected
    assert response_headers[b"x-number"] == b"%d" % number
    whole = {"as it is": b"", "read": b"read ", "replaced": b"replaced "}[
        treatment
    ] + content(number)
    assert whole.startswith(data)
    if stays and not fails:
        assert data == whole
        assert not rest[-1].get("more_body", False)


async def waves(number, offers, watchdog):
    """Make `number` requests, and wait until nothing of them runs or is kept."""
    app = application()
    before = tasks(watchdog.loop)
    for begin in range(0, number, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, number))
        ends = [request(app, n, offers, watchdog.step) for n in numbers]
        ends = await asyncio.gather(
            *ends, return_exceptions=True
        )  # So that all have ended when one fails.
        for error in filter(None, ends):
            raise error
        running = before
        while gc.collect() or running:
            for _ in range(3):
                await asyncio.sleep(
                    0
                )  # Generators that were given up begin to be closed.
            running = tasks(watchdog.loop) - before
            if running:
                await asyncio.wait(running)
        assert not alive, "messages are kept longer than their response"


@pytest.fixture
def terminal(capfd):
    """Return a file that pytest does not capture, for what the process says last."""
    with capfd.disabled():
        file = os.fdopen(os.dup(2), "w")
    with file:
        yield file


def test_requests_at_once(either, terminal, pytestconfig, monkeypatch):
    """Unpatched, where nothing is offered, the same checks hold for the release."""
    thorough = pytestconfig.getoption("--hypothesis-profile", None) == "thorough"
    watchdog = Watchdog(30, terminal)
    # Nobody retrieves the errors of a response that is not read, unpatched as well.
    watchdog.loop.set_exception_handler(lambda loop, context: None)
    # Gzip never closes a response that breaks off, and newer Pythons complain.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None, raising=False)
    alive.clear()
    number = 10000 if thorough else 500
    watchdog.run(waves(number, OFFERS if either == "patched" else {}, watchdog))


BLOCKED = """
import re, sys, time
from support import *
from watchdog import Watchdog

async def blocks_its_task():
    await asyncio.Event().wait()

async def blocks_the_loop():
    time.sleep(60)

async def blocks_the_interpreter():
    re.match("(a*)*b", "a" * 50)

async def program(scope, receive, send):
    await {}()

Watchdog(0.5, sys.stderr).run(exchange(PassThrough(PassThrough(raw(program)))))
"""


def test_the_watchdog_tells_what_is_blocked():
    """Within seconds, and by name, also where nothing else can run any more."""
    names = ["blocks_its_task", "blocks_the_loop", "blocks_the_interpreter"]
    begin = time.time()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        programs = [BLOCKED.format(name) for name in names]
        command = (sys.executable, "-c")
        processes = list(pool.map(lambda each: run_process(*command, each), programs))
    assert time.time() - begin < 30
    for name, process in zip(names, processes):
        assert process.returncode == 1
        assert "in " + name in process.stderr
    assert "Nothing has moved for 0.5 seconds" in processes[0].stderr
