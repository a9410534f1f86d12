"""What a request costs, counted rather than timed: these numbers are the same on every machine."""

import asyncio
import collections
import contextlib
import gc
import inspect
import os
import sys

import pytest
import support
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import StreamingResponse
from support import ASGI2, BODY, PUSH, QUEUE, START, PassThrough, body, failure, http_scope, raw, serve

import starlette_backport
from starlette_backport._responses import carrying_class

LIMITED = support.NUMBERS == (0, 13, 7)  # Its queue has a limit, so that one puts all messages there itself.
BROKEN = LIMITED and sys.version_info >= (3, 11)
pytestmark = [support.needs_unpatched, pytest.mark.skipif(BROKEN, reason="0.13.7 fails there by itself")]

SCOPE = http_scope(headers=[(b"accept-encoding", b"gzip")])
BIG = body(b"x" * 600, True)  # Enough for gzip to compress it.

# The backport's functions that run once for a request, for its start, and for each chunk of its body. Those that are
# `async` make a coroutine. The objects are those that there are more of while the request is under way.
if QUEUE:
    ONCE = {"async call_next_asgi2": 1, "enter": 1} if ASGI2 else {"async call_next": 1}
    ONCE.update({"__init__": 1, "app": 1, **({"sending": 1, "_is_asyncio_put": 1} if LIMITED else {})})
    OBJECTS = {"coroutine": 1, "method": 1, "QueueCallASGI2" if ASGI2 else "QueueCall": 1}
else:
    ONCE = {"async call": 1, "dispatch_func": 1, "app": 1, "__init__": 2}  # A StandIn, and a Call.
    OBJECTS = {"coroutine": 1, "method": 1, "StandIn": 1, "Call": 1}
if QUEUE and not LIMITED:
    START_TAKES = CHUNK = {"async put": 1}
else:
    START_TAKES, CHUNK = {"send": 1, "async send_or_hold": 1, "take": 1, "kind": 1}, {"send": 1, "kind": 1}
GZIP_ONCE = {"async gzip_call_asgi2": 1, "inner": 1} if ASGI2 else {"async gzip_call": 1, "app": 1}
GZIP_ONCE.update({"__init__": 2, "release_of": 1})  # A GZipStandIn, and OtherMessages.
GZIP_START_TAKES = {"send_with_gzip": 1, "kind": 2, "send": 1, "async send_start": 1}
GZIP_CHUNK = {"send_with_gzip": 1, "kind": 1, "send": 1}
GZIP_OBJECTS = {"coroutine": 1, "method": 2, "GZipStandIn": 1, "OtherMessages": 1}


def fresh(*messages):
    """Return an application that sends copies: gzip writes to what it gets."""

    async def program(scope, receive, send):
        for message in messages:
            if not isinstance(message, dict):
                raise message()
            await send({key: list(value) if key == "headers" else value for key, value in message.items()})

    return raw(program)


def both(count, *args):
    """Return what `count` returns for the release as it is, and for the patched one."""
    unpatched = count(*args)
    gc.collect()  # What is left of its requests would count as under way.
    with starlette_backport.applied():
        return unpatched, count(*args)


def more(after, before):
    return {key: after[key] - before[key] for key in {*after, *before} if after[key] != before[key]}


@contextlib.contextmanager
def nothing_collected():
    gc.collect()
    gc.disable()  # It would run functions, too.
    try:
        yield
    finally:
        gc.enable()
        gc.collect()  # Here, as gzip complains of being collected.


def calls(layer, chunks):
    """Return how often which function runs for one request: the backport's, and all others."""
    app = layer(fresh(START, BIG, *[body(b"x", True)] * chunks, BODY))
    frames = {}  # A coroutine that goes on has the frame that it began with.

    def note(frame, event, arg):
        if event == "call":
            frames[id(frame)] = frame

    for _ in range(2):  # Some things are done but once, in the standard library as well.
        assert serve(app, dict(SCOPE))[1] is None
    with nothing_collected():
        profiler = sys.getprofile()
        sys.setprofile(note)
        try:
            serve(app, dict(SCOPE))
        finally:
            sys.setprofile(profiler)
    own, others = collections.Counter(), collections.Counter()
    while frames:
        code = frames.popitem()[1].f_code
        if os.path.dirname(code.co_filename) == os.path.dirname(starlette_backport.__file__):
            own["async " * bool(code.co_flags & inspect.CO_COROUTINE) + code.co_name] += 1
        else:
            others[os.path.basename(code.co_filename), code.co_name] += 1
    return own, others


@pytest.mark.parametrize(
    ("layer", "once", "start_takes", "chunk"),
    [(PassThrough, ONCE, START_TAKES, CHUNK), (GZipMiddleware, GZIP_ONCE, GZIP_START_TAKES, GZIP_CHUNK)],
    ids=["call_next", "gzip"],
)
def test_functions_and_coroutines(layer, once, start_takes, chunk):
    (then, now), (then_10, now_10) = both(calls, layer, 0), both(calls, layer, 10)
    expected = collections.Counter(once)
    for part in start_takes, chunk, chunk:
        expected.update(part)
    assert now[0] == expected
    assert more(now_10[0], now[0]) == {name: 10 * number for name, number in chunk.items()}
    # Nothing else is made to run, nor run more often.
    changes = [more(now[1], then[1]), more(now_10[1], then_10[1])]
    if "async put" not in chunk:
        assert changes == [{("queues.py", "maxsize"): 1} if LIMITED and layer is PassThrough else {}] * 2
        return
    # One coroutine takes the place of another one with functions of its own: each message is cheaper than before.
    for change, messages in zip(changes, (3, 13)):
        assert change["queues.py", "put"] == -messages
        assert max(change.values()) < 0
        assert sum(change.values()) <= -4 * messages
    assert now_10[1]["queues.py", "put"] == 1  # For the release itself, which ends the queue by that.


def objects():
    return collections.Counter(type(one) for one in gc.get_objects())


def objects_under_way(layer):
    found = []

    async def program(scope, receive, send):
        await send(support.start())
        found.append(objects())
        await send(dict(BIG))
        await send(dict(BODY))

    for _ in range(2):
        with nothing_collected():
            before = objects()
            assert serve(layer(raw(program)), dict(SCOPE))[1] is None
    return more(found[-1], before)


@pytest.mark.parametrize(("layer", "expected"), [(PassThrough, OBJECTS), (GZipMiddleware, GZIP_OBJECTS)])
def test_objects_while_a_request_is_under_way(layer, expected):
    """No closures, no partials, no lists."""
    unpatched, patched = both(lambda: collections.Counter(objects_under_way(layer)))
    change = {kind.__name__: number for kind, number in more(patched, unpatched).items() if number > 0}
    change.pop("frame", None)  # Up to Python 3.10 each coroutine has one.
    assert change == expected


async def request(app, stays):
    gone = asyncio.Event()

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if not stays and message["type"] == BODY["type"]:
            gone.set()
            await receive()

    task = asyncio.ensure_future(failure(support.call(app, dict(SCOPE), receive, send)))
    while not (gone.is_set() or task.done()):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    for _ in range(10):
        await asyncio.sleep(0)  # What it has left behind ends.


def left(layers, messages, stays):
    """Return how many of what are there for the garbage collector to find, after three requests."""
    app = fresh(*messages)
    for layer in layers:
        app = layer(app)
    support.run(request(app, stays))
    with nothing_collected():
        before = objects()
        for _ in range(3):
            support.run(request(app, stays))
        return more(objects(), before)


# What of the release's takes part in the same: that may be in a cycle, above all after an error.
PARTNERS = {"QueueCall": "Queue", "QueueCallASGI2": "Queue", "Call": "MemoryObjectSendStream", "StandIn": "Request"}
PARTNERS.update({"OtherMessages": "GZipResponder", "GZipStandIn": "GZipResponder"})
ENDS = {"plain": [START, BIG, BODY], "error": [ValueError], "late error": [START, BIG, ValueError]}
STACKS = {
    "call_next": [PassThrough],
    "gzip within": [GZipMiddleware, PassThrough],
    "gzip around": [PassThrough, GZipMiddleware],
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Of gzip, for what breaks off.
@pytest.mark.parametrize("end", [*ENDS, "cancelled"])
@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
@pytest.mark.parametrize("stack", list(STACKS))
def test_nothing_waits_for_the_garbage_collector(stack, early, end):
    """Unless the release leaves its own to it, and then no more than that."""
    messages, stays = ENDS.get(end, ENDS["plain"]), end != "cancelled"
    unpatched = {kind.__name__: number for kind, number in left(STACKS[stack], messages, stays).items()}
    with starlette_backport.applied():
        patched = left(STACKS[stack], early + messages, stays)
    for kind, number in patched.items():
        if str(kind.__module__).startswith("starlette_backport"):
            assert number <= unpatched.get(PARTNERS.get(kind.__name__), 0), kind


def seen_by_dispatch(early):
    seen = []

    @support.middleware
    async def looking(self, request, call_next):
        response = await call_next(request)
        seen.extend([type(response), type(call_next), call_next.__module__, call_next.__qualname__])
        if QUEUE:
            assert (call_next.__func__, call_next.__self__) == (BaseHTTPMiddleware.call_next, self)
        else:
            assert call_next.__code__.co_filename == sys.modules[BaseHTTPMiddleware.__module__].__file__
        return response

    assert serve(looking(fresh(*early, START, BODY)))[1] is None
    # Before it is reverted: that gives up the classes made.
    return [*seen, carrying_class.cache_info().currsize]


def test_what_a_middleware_sees_is_the_release():
    """Nothing is made for a response that nothing came before, nor for `dispatch`."""
    unpatched, patched = both(seen_by_dispatch, [])
    assert patched == unpatched
    assert (patched[0], patched[-1]) == (StreamingResponse, 0)
    with starlette_backport.applied():
        seen = seen_by_dispatch([PUSH])
        assert (seen[0], seen[-1]) == (carrying_class(StreamingResponse), 1)
