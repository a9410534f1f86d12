"""Many requests at once: with templates, streams, errors, slow clients and ones that leave or are cancelled.

Each request has a number, and all that is sent for it says so: nobody gets anything of anyone else. And nothing can
hang silently: see `Watchdog`.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import gc
import gzip
import io
import itertools
import os
import random
import statistics
import sys
import time
import tracemalloc
import types
import warnings
import weakref
import zlib

import pytest
from guard import Watchdog, tasks
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    BODY,
    LAST_OF_FORM,
    NUMBERS,
    QUEUE,
    RELEASE,
    START,
    PassThrough,
    TemplateResponse,
    body,
    call,
    content_of,
    failure,
    http_scope,
    leaves,
    middleware,
    python,
    raw,
    start,
    types_of,
)

jinja2 = pytest.importorskip("jinja2", reason="templates need jinja2")

VARIABLE = "STARLETTE_BACKPORT_STRESS"
AT_ONCE = 500

KINDS = ["template", "plain", "stream", "early", "early stream", "error", "late error"]
CLIENTS = ["fast", "slow", "leaving", "cancelled"]
TREATMENTS = ["as it is", "read", "replaced"]
if (0, 15, 0) <= NUMBERS < (0, 17, 0):
    # They let an application's error race with its messages, and come out in groups.
    KINDS = KINDS[:-2]
if NUMBERS == (0, 13, 7):
    # An application whose response nobody reads waits for ever: its queue takes one message.
    CLIENTS, TREATMENTS = CLIENTS[:2], TREATMENTS[:2]

COMBINATIONS = list(itertools.product(KINDS, CLIENTS, TREATMENTS))

# Each kind's messages before the start.
EARLY = {"template": ["http.response.template"], "plain": [], "stream": []}
OFFERS = ["http.response.template", "http.response.push"]


def how_many(value):
    """Return how many requests to make; by default one of each combination, as it is for every run."""
    if value is None:
        return len(COMBINATIONS)
    if not value.isdigit() or not int(value):
        raise ValueError("%s is how many requests to make, a positive number, and not %r" % (VARIABLE, value))
    return int(value)


alive = weakref.WeakSet()


class Mark:
    """The number of a request, in a message: one that can be seen to die."""

    def __init__(self, number):
        self.number = number
        alive.add(self)

    def __str__(self):
        return str(self.number)


CHUNKS = 8
TEMPLATE = jinja2.Template("{{ (mark|string + ';') * 200 }}")


def content(number):
    return b"%d;" % number * 200


async def chunks(number):
    for _ in range(CHUNKS):
        yield content(number)[: len(content(number)) // CHUNKS]
        await asyncio.sleep(0)


def number_of(request):
    return int(request["path"].split("/")[-1])


def application():
    """Return an application that answers in all of `KINDS`, behind middleware that does any of `TREATMENTS`."""
    app = Starlette()

    async def template(request):
        return TemplateResponse(TEMPLATE, {"request": request, "mark": Mark(number_of(request))})

    async def plain(request):
        return PlainTextResponse(content(number_of(request)))

    async def stream(request):
        return StreamingResponse(chunks(number_of(request)))

    async def early(scope, receive, send):
        number = number_of(scope)
        kind = dict(scope["headers"])[b"x-kind"]
        if scope["extensions"]:
            await send({"type": "http.response.push", "path": "/style.css", "headers": [], "mark": Mark(number)})
            for _ in range(number % 4):
                await asyncio.sleep(0)
            await send({"type": "x.early", "mark": Mark(number)})
        if kind == b"error":
            raise ValueError(number)
        await send(start())
        if kind == b"early":
            await send(body(content(number)))
            return
        async for chunk in chunks(number):
            await send(body(chunk, True))
            if kind == b"late error":
                raise ValueError(number)
        await send(body(b""))

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
    encoding = chance.choice(["gzip", "identity"])
    leaves_after = chance.randrange(2, 7)
    cancelled_after = chance.randrange(1, 60)
    headers = {"x-kind": kind, "x-treatment": treatment, "accept-encoding": encoding}
    path = "/%s/%d" % (kind if kind in EARLY else "early", number)
    scope = http_scope(
        path=path,
        raw_path=path.encode("ascii"),
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()],
        extensions={name: {} for name in offers},
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
        if client == "slow":
            for _ in range(3):
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
        raise AssertionError("request %d, %s, %r, %r" % (number, (kind, client, treatment), messages, error)) from exc


def check(number, messages, error, offers):
    """Check what the client got: its own, only its own, and all of it if it stayed."""
    kind, client, treatment = COMBINATIONS[number % len(COMBINATIONS)]
    fails = kind in ("error", "late error")
    stays = client in ("fast", "slow")
    for one in leaves(error):
        if fails and type(one) is ValueError:
            assert one.args == (number,)
        elif one is not None:
            # From a release's memory stream and tasks, when the client does not stay.
            assert type(one).__name__ in ("BrokenResourceError", "CancelledError")
            assert not QUEUE
            assert not stays
    early = list(itertools.takewhile(lambda message: message["type"] != START["type"], messages))
    got = [(m["type"], m["context"]["mark"].number if "context" in m else m["mark"].number) for m in early]
    expected = [(type_, number) for type_ in EARLY.get(kind, ["http.response.push", "x.early"])]
    if not offers or treatment == "replaced":
        expected = []
    if len(messages) == len(early):
        assert got == expected[: len(got)]
        assert not stays
        return
    head, *rest = messages[len(early) :]
    assert set(types_of(rest)) <= {BODY["type"]}
    response_headers = dict(head["headers"])
    data = content_of(rest)
    if response_headers.get(b"content-encoding") == b"gzip":
        data = zlib.decompressobj(31).decompress(data)
    if head["status"] == 500:
        # Starlette answers errors, and up to Python 3.7 a cancellation is one, or some memory stream's for it.
        assert fails or client == "cancelled"
        assert got == []
        assert b"Internal Server Error".startswith(data)
        return
    assert got == expected
    assert response_headers[b"x-number"] == b"%d" % number
    whole = {"as it is": b"", "read": b"read ", "replaced": b"replaced "}[treatment] + content(number)
    if stays and not fails:
        assert data == whole
        assert not rest[-1].get("more_body", False)
    assert whole.startswith(data)


async def waves(number, offers, watchdog, after_wave):
    """Make `number` requests, many at once, and wait until nothing of them runs."""
    app = application()
    before = tasks(watchdog.loop)
    at_once = min(AT_ONCE, (number + 1) // 2)
    for begin in range(0, number, at_once):
        numbers = range(begin, min(begin + at_once, number))
        ends = [request(app, n, offers, watchdog.step) for n in numbers]
        ends = await asyncio.gather(*ends, return_exceptions=True)  # So that all have ended when one fails.
        running = before
        while gc.collect() or running:
            for _ in range(3):
                await asyncio.sleep(0)  # Generators that were left alone begin to be closed.
            running = tasks(watchdog.loop) - before
            if running:
                await asyncio.wait(running)
        for error in filter(None, ends):
            raise error
        after_wave(numbers[-1] + 1)


@contextlib.contextmanager
def noise(loop, monkeypatch):
    """Gather what goes wrong where nobody sees it: tasks and coroutines that are lost, errors that are ignored."""
    found = []

    def in_loop(loop, context):
        error = context.get("exception")
        if QUEUE and type(error) is ValueError and context["message"] == "Task exception was never retrieved":
            _, client, treatment = COMBINATIONS[error.args[0] % len(COMBINATIONS)]
            if client in ("leaving", "cancelled") or treatment == "replaced":
                return  # An application's error, when nobody reads its response any more: so it is unpatched.
        task = context.get("task") or context.get("future")
        found.append("%s: %r, %r" % (context["message"], getattr(task, "_coro", None), error))

    def unraisable(args):
        # Starlette's gzip never closes a response that breaks off, which Python 3.12 and later complain about.
        if not isinstance(args.object, (gzip.GzipFile, io.BufferedWriter)):
            found.append("ignored in %r: %r" % (args.object, args.exc_value))

    loop.set_exception_handler(in_loop)
    monkeypatch.setattr(sys, "unraisablehook", unraisable, raising=False)
    gc.collect()  # What tests before this one left is not ours.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for category in (RuntimeWarning, ResourceWarning):
            warnings.simplefilter("always", category)
        yield found
        gc.collect()
    found.extend("%s: %s" % (one.category.__name__, one.message) for one in caught)


def living():
    """Return how many objects and functions of the package there are, by name."""
    found = collections.Counter()
    for one in gc.get_objects():
        of = one if isinstance(one, types.FunctionType) else type(one)
        if str(of.__module__).startswith("starlette_backport") or hasattr(of, "_starlette_backport_held"):
            found[of.__qualname__] += 1
    return found


@pytest.fixture
def terminal(capfd):
    """Where to write what must be seen even if the process dies in the midst: not what pytest keeps."""
    with capfd.disabled():
        file = os.fdopen(os.dup(2), "w")
    with file:
        yield file


def test_requests_at_once(either, terminal, monkeypatch, record_property):
    """Unpatched, where no early messages are sent, the same checks show what each release does anyway."""
    thorough = os.environ.get(VARIABLE) if either == "patched" else None
    number = how_many(thorough)
    done, memory, objects = [], [], []
    alive.clear()

    def after_wave(requests):
        done.append(requests)
        memory.append(tracemalloc.get_traced_memory()[0])
        objects[1:] = [living()]
        assert not alive, "messages have outlived their response"
        alive.clear()  # A set that was full once keeps its room.

    watchdog = Watchdog(30, terminal)
    if thorough:
        tracemalloc.start()
    begin = time.time()
    try:
        with noise(watchdog.loop, monkeypatch) as found:
            watchdog.run(waves(number, OFFERS if either == "patched" else [], watchdog, after_wave))
        seconds = time.time() - begin
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == []
    assert objects[-1] == objects[0]
    if thorough:
        # A leak grows with each wave; the sets of tasks, here and there, need a bigger table once.
        growth = statistics.median(later - earlier for earlier, later in zip(memory, memory[1:] or memory))
        figures = "%d requests in %.1f s, at most %.1f MB for %d at once, and then %.1f bytes more for each" % (
            *(number, seconds, peak / 1e6, done[0], growth / done[0]),
        )
        record_property("stress", figures)
        print("\nStarlette %s: %s" % (RELEASE, figures), file=terminal)
        # Any object takes more than that for each request; usual are less than 10 bytes.
        assert len(done) < 4 or growth < 40 * done[0]


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "1.5"])
def test_how_many_must_be_a_number(value):
    with pytest.raises(ValueError, match="STARLETTE_BACKPORT_STRESS is .* not " + repr(value)):
        how_many(value)


BLOCKED = """
import re, sys, time
from guard import Watchdog
from support import *

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


@pytest.mark.skipif(RELEASE not in LAST_OF_FORM, reason="the watchdog is tried on the last release of each form")
def test_what_is_blocked_is_told():
    """Within seconds, and by name: not only for what waits, but also where nothing else can run any more."""
    names = ["blocks_its_task", "blocks_the_loop", "blocks_the_interpreter"]
    begin = time.time()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        processes = list(pool.map(lambda name: python(BLOCKED.format(name), check=False), names))
    assert time.time() - begin < 30
    for name, process in zip(names, processes):
        assert process.returncode == 1
        assert "in " + name in process.stderr
    assert "Nothing has moved for 0.5 seconds" in processes[0].stderr
