"""What others may put around, or in place of, what a request goes through on its way: none of it is bypassed."""

import asyncio
import functools
import types

import pytest
import support
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from support import BODY, PUSH, QUEUE, START, PassThrough, body, http_scope, raw, sending, serve, types_of

pytestmark = support.needs_unpatched
GZIP_SCOPE = http_scope(headers=[(b"accept-encoding", b"gzip")])


class Proxy:
    """A wrapper as wrapt makes them: what it does not have itself, it has from what it wraps."""

    def __init__(self, wrapped, seen):
        self.wrapped, self.seen = wrapped, seen

    def __get__(self, instance, owner):
        return Proxy(self.wrapped.__get__(instance, owner), self.seen)

    def __call__(self, message):
        self.seen.append(message["type"])
        return self.wrapped(message)

    def __getattr__(self, name):
        return getattr(self.wrapped, name)


def test_a_transparent_wrapper_of_what_gzip_sends_with(monkeypatch, either):
    seen = []
    monkeypatch.setattr(GZipResponder, "send_with_gzip", Proxy(vars(GZipResponder)["send_with_gzip"], seen))
    messages, error = serve(GZipMiddleware(sending(START, BODY)), GZIP_SCOPE)
    assert error is None
    assert types_of(messages) == seen == ["http.response.start", "http.response.body"]


seen_by_code = []


def test_what_gzip_sends_with_changed_in_place_after_apply(patched):
    function = vars(GZipResponder)["send_with_gzip"]
    before = function.__code__
    copy = types.FunctionType(before, function.__globals__, function.__name__, None, function.__closure__)

    async def traced(self, message):
        log, copy = "<log>", "<copy>"
        log.append(message["type"])
        await copy(self, message)

    from starlette_backport._code import _with_consts

    objects = {"<log>": seen_by_code, "<copy>": copy, ("<log>", "<copy>"): (seen_by_code, copy)}
    consts = [objects.get(const, const) for const in traced.__code__.co_consts]
    function.__code__ = _with_consts(traced.__code__, tuple(consts))
    try:
        del seen_by_code[:]
        messages, error = serve(GZipMiddleware(sending(START, BODY)), GZIP_SCOPE)
    finally:
        function.__code__ = before
    assert error is None
    assert types_of(messages) == seen_by_code


@pytest.mark.skipif(not QUEUE, reason="these releases have no queue")
def test_a_queue_that_has_got_a_limit_since(monkeypatch, either):
    """Somebody's flow control, as 0.13.7 tried: it must not matter that a request came before it."""
    assert serve(PassThrough(sending(START, BODY)))[1] is None
    monkeypatch.setattr(asyncio, "Queue", functools.partial(asyncio.Queue, maxsize=1))
    sent, at_response = [], []

    async def program(scope, receive, send):
        for message in [START, *[body(b"x", True)] * 20, BODY]:
            await send(dict(message))
            sent.append(message)

    @support.middleware
    async def looking(self, request, call_next):
        response = await call_next(request)
        await asyncio.sleep(0.01)
        at_response.append(len(sent))
        return response

    assert serve(looking(raw(program)))[1] is None
    assert at_response[0] <= 2


@pytest.mark.skipif(not QUEUE, reason="these releases have no queue")
def test_a_wrapper_of_what_queues_put_with(monkeypatch, either):
    put = asyncio.Queue.put
    seen = []

    async def traced(self, item):
        seen.append(item)
        await put(self, item)

    monkeypatch.setattr(asyncio.Queue, "put", traced)
    assert serve(PassThrough(sending(START, BODY)))[1] is None
    assert types_of(filter(None, seen)) == ["http.response.start", "http.response.body"]


def test_somebody_else_looks_at_the_headers_of_a_start(monkeypatch, patched):
    """What carries the messages to `call_next` may be somebody's own, too."""
    if QUEUE:

        class Queue(asyncio.Queue):
            async def put(self, item):
                seen.append(item and item.get("type") == START["type"] and item["headers"])
                await super().put(item)

        monkeypatch.setattr(asyncio, "Queue", Queue)
    else:
        streams = pytest.importorskip("anyio.streams.memory")
        send_nowait = streams.MemoryObjectSendStream.send_nowait

        def traced(self, item):
            seen.append(item["type"] == START["type"] and item["headers"])
            return send_nowait(self, item)

        monkeypatch.setattr(streams.MemoryObjectSendStream, "send_nowait", traced)
    seen = []
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert error is None
    assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]


def test_a_start_that_is_a_list_of_pairs(patched):
    """It is no message on the release, and that early ones came before it makes none of it."""

    async def program(scope, receive, send):
        for message in PUSH, list(support.start().items()), BODY:
            await send(message)

    messages, error = serve(PassThrough(raw(program)))
    assert isinstance(support.leaf(error, TypeError), TypeError)
    assert messages == []
