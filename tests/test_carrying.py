"""Points 1, 2 and 4 of the contract: held, replayed, never lost; each with its own response."""

import asyncio
import gc
import importlib
import weakref

import pytest
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    ASGI2,
    BODY,
    DEBUG,
    NUMBERS,
    PUSH,
    START,
    UNKNOWN,
    PassThrough,
    body,
    call,
    content_of,
    exchange,
    http_scope,
    middleware,
    raw,
    run,
    sending,
    serve,
    start,
    types_of,
)

pytestmark = pytest.mark.usefixtures("patched")


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "early",
    [[], [PUSH], [DEBUG], [UNKNOWN], [DEBUG, DEBUG], [PUSH, DEBUG, UNKNOWN, PUSH], [{"type": None}]],
    ids=lambda early: "+".join(str(message["type"]).split(".")[-1] for message in early) or "nothing",
)
def test_early_messages_come_in_order_right_before_the_start(layers, early):
    app = sending(*early, START, BODY)
    for _ in range(layers):
        app = PassThrough(app)
    messages, error = serve(app)
    assert error is None
    assert messages[: len(early)] == early
    assert types_of(messages)[len(early)] == "http.response.start"
    assert set(types_of(messages)[len(early) + 1 :]) == {"http.response.body"}
    assert content_of(messages) == b"body"


def test_nothing_is_sent_before_the_middleware_returns_the_response():
    sent_before = []

    @middleware
    async def watching(self, request, call_next):
        response = await call_next(request)
        sent_before.extend(received)
        return response

    received = []

    async def request():
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            received.append(message["type"])

        await call(watching(sending(PUSH, START, BODY)), http_scope(), receive, send)

    run(request())
    assert sent_before == []
    assert received[:2] == ["http.response.push", "http.response.start"]


def test_they_are_carried_whatever_the_scope_offers():
    for extensions in ({}, {"http.response.push": {}}, {"http.response.debug": {}}):
        messages, error = serve(PassThrough(sending(DEBUG, START, BODY)), http_scope(extensions=extensions))
        assert error is None
        assert messages[0] == DEBUG


def test_a_replaced_response_takes_them_away():
    @middleware
    async def replacing(self, request, call_next):
        await call_next(request)
        return PlainTextResponse("other")

    messages, error = serve(PassThrough(replacing(sending(PUSH, START, BODY))))
    assert error is None
    assert content_of(messages) == b"other"
    assert "http.response.push" not in types_of(messages)


def test_a_new_response_around_the_old_body_takes_them_away():
    @middleware
    async def copying(self, request, call_next):
        response = await call_next(request)
        return StreamingResponse(response.body_iterator)

    messages, error = serve(copying(sending(PUSH, START, BODY)))
    assert error is None
    assert content_of(messages) == b"body"
    assert "http.response.push" not in types_of(messages)


def test_a_new_response_of_the_same_class_takes_them_away():
    @middleware
    async def copying(self, request, call_next):
        response = await call_next(request)
        return type(response)(response.body_iterator, status_code=201)

    messages, error = serve(copying(sending(PUSH, START, BODY)))
    assert error is None
    assert messages[0] == {"type": "http.response.start", "status": 201, "headers": []}


def test_a_response_that_is_sent_twice_brings_them_once():
    @middleware
    async def twice(self, request, call_next):
        response = await call_next(request)

        class Twice(type(PlainTextResponse())):
            async def __call__(self, *args):
                *channels, send = args
                await response(*channels, send=send)
                await response(*args)

        return Twice()

    messages, _ = serve(twice(sending(PUSH, START, BODY)))
    assert types_of(messages).count("http.response.push") == 1
    assert types_of(messages)[0] == "http.response.push"


def test_replaced_raw_headers_leave_them():
    @middleware
    async def replacing(self, request, call_next):
        response = await call_next(request)
        response.raw_headers = [(b"x-new", b"1")]
        return response

    messages, _ = serve(replacing(sending(PUSH, START, BODY)))
    assert messages[0] == PUSH
    assert messages[1]["headers"] == [(b"x-new", b"1")]


def test_changed_headers_leave_them():
    @middleware
    async def changing(self, request, call_next):
        response = await call_next(request)
        response.headers["x-new"] = "1"
        del response.headers["x-old"]
        return response

    messages, _ = serve(changing(sending(PUSH, start(**{}), BODY)))
    assert messages[0] == PUSH
    assert messages[1]["headers"] == [(b"x-new", b"1")]


def test_a_rewritten_body_leaves_them():
    @middleware
    async def shouting(self, request, call_next):
        response = await call_next(request)
        inner = response.body_iterator

        async def upper():
            async for chunk in inner:
                yield chunk.upper()

        response.body_iterator = upper()
        return response

    messages, error = serve(PassThrough(shouting(sending(PUSH, START, body(b"a", True), body(b"b")))))
    assert error is None
    assert messages[0] == PUSH
    assert content_of(messages) == b"AB"


def test_a_body_that_was_read_leaves_them_with_the_response_that_is_returned():
    @middleware
    async def reading(self, request, call_next):
        response = await call_next(request)
        content = b"".join([chunk async for chunk in response.body_iterator])

        async def again():
            yield content + b"!"

        response.body_iterator = again()
        return response

    messages, error = serve(reading(sending(PUSH, DEBUG, START, BODY)))
    assert error is None
    assert messages[:2] == [PUSH, DEBUG]
    assert content_of(messages) == b"body!"


def numbered():
    """Return an application that numbers its requests, in an early message and in the body.

    All its responses have one header list, which must not be what tells them apart.
    """
    headers = []
    count = []

    async def program(scope, receive, send):
        count.append(None)
        number = len(count)
        await send({"type": "x.number", "number": number})
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(0)
        await send(body(b"%d" % number))

    return raw(program)


def check_numbered(messages, number):
    assert [message["number"] for message in messages if message["type"] == "x.number"] == [number]
    assert content_of(messages) == b"%d" % number


@pytest.mark.parametrize("chosen", [0, 1])
def test_two_calls_in_turn(chosen):
    @middleware
    async def twice(self, request, call_next):
        return [await call_next(request), await call_next(request)][chosen]

    messages, error = serve(PassThrough(twice(numbered())))
    assert error is None
    check_numbered(messages, chosen + 1)


@pytest.mark.parametrize("chosen", [0, 1])
def test_two_calls_at_once(chosen):
    @middleware
    async def at_once(self, request, call_next):
        responses = await asyncio.gather(call_next(request), call_next(request))
        return responses[chosen]

    messages, error = serve(PassThrough(at_once(numbered())))
    assert error is None
    number = int(content_of(messages))
    assert number in (1, 2)
    check_numbered(messages, number)


def test_concurrent_requests_do_not_mix():
    async def program(scope, receive, send):
        number = scope["path"]
        await send({"type": "x.number", "number": number})
        await asyncio.sleep(int(number) % 7 / 1000)
        await send(DEBUG)
        await send(start())
        await send(body(number.encode("ascii"), True))
        await asyncio.sleep(int(number) % 5 / 1000)
        await send(body(b"."))

    app = PassThrough(PassThrough(PassThrough(raw(program))))

    async def all_at_once():
        scopes = [http_scope(path=str(number)) for number in range(200)]
        return await asyncio.gather(*[exchange(app, scope) for scope in scopes])

    for number, (messages, error) in enumerate(run(all_at_once(), 60)):
        assert error is None
        assert messages[:2] == [{"type": "x.number", "number": str(number)}, DEBUG]
        assert content_of(messages) == b"%d." % number


@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
def test_the_header_list_is_the_one_of_the_application(early):
    """With early messages as without, and as on the releases: a middleware changes that very list."""
    headers = [(b"x-mine", b"1")]
    seen = []

    async def program(scope, receive, send):
        for message in [*early, {"type": "http.response.start", "status": 200, "headers": headers}, BODY]:
            await send(message)

    @middleware
    async def adding(self, request, call_next):
        response = await call_next(request)
        seen.append(response.raw_headers)
        response.headers["x-added"] = "1"
        return response

    messages, _ = serve(adding(raw(program)))
    assert seen[0] is headers
    assert messages[len(early)]["headers"] == headers == [(b"x-mine", b"1"), (b"x-added", b"1")]


@pytest.mark.parametrize("headers", [None, ((b"x-mine", b"1"),)])
def test_headers_that_are_no_list(headers):
    """It is up to the server what to make of them."""

    async def program(scope, receive, send):
        for message in PUSH, {"type": "http.response.start", "status": 200, "headers": headers}, BODY:
            await send(message)

    messages, error = serve(PassThrough(raw(program)))
    assert error is None
    assert messages[:2] == [PUSH, {"type": "http.response.start", "status": 200, "headers": headers}]


def test_a_message_that_the_application_uses_again_and_again():
    async def program(scope, receive, send):
        message = {}
        for next_one in (DEBUG, PUSH, start(), body(b"one", True), BODY):
            message.clear()
            message.update(next_one)
            await send(message)
            await asyncio.sleep(0)

    messages, error = serve(PassThrough(raw(program)))
    assert error is None
    assert messages[:2] == [DEBUG, PUSH]
    assert messages[2]["type"] == "http.response.start"


@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
def test_another_streaming_response(monkeypatch, early):
    """What the module has by that name is what `call_next` returns, with early messages and without."""
    base = importlib.import_module("starlette.middleware.base")
    made = []

    class Traced(StreamingResponse):
        pass

    def make(*args, **kwargs):
        made.append(Traced(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(base, "StreamingResponse", make)
    messages, error = serve(PassThrough(sending(*early, START, BODY)))
    assert error is None
    assert messages[: len(early)] == early
    assert isinstance(made[0], Traced)
    assert repr(type(made[0])) == repr(Traced)


def test_a_wrapper_of_the_response(monkeypatch):
    """It gets what it would get: the channels, by their positions."""
    call_response = StreamingResponse.__call__
    got = []

    async def traced(self, *args):
        got.append(len(args))
        await call_response(self, *args)

    monkeypatch.setattr(StreamingResponse, "__call__", traced)
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert error is None
    assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]
    assert got == [2 if ASGI2 else 3]


def test_a_response_that_is_called_with_names():
    @middleware
    async def naming(self, request, call_next):
        response = await call_next(request)

        async def answer(*args):
            names = ("receive", "send") if ASGI2 else ("scope", "receive", "send")
            await response(**dict(zip(names, args)))

        return answer

    messages, error = serve(naming(sending(PUSH, START, BODY)))
    assert error is None
    assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]


def test_gzip_leaves_nothing_to_the_garbage_collector():
    scope = http_scope(headers=[(b"accept-encoding", b"gzip")])
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            serve(GZipMiddleware(sending(PUSH, START, BODY)), dict(scope))
        left = [thing for thing in gc.get_objects() if isinstance(thing, GZipResponder)]
    finally:
        gc.enable()
    assert left == []


class Kept(GZipResponder):
    """Deals with one kind of messages itself, drops another one, and leaves the rest to gzip."""

    async def send_with_gzip(self, message):
        if message["type"] == "x.own":
            await self.send({"type": "x.done"})
        elif message["type"] != "x.drop":
            await super().send_with_gzip(message)


class StartsItself(GZipResponder):
    """Leaves all but the response to gzip."""

    async def send_with_gzip(self, message):
        if message["type"] in ("http.response.start", "http.response.body"):
            await self.send(message)
        else:
            await super().send_with_gzip(message)


def gzip_with(responder, app):
    return (lambda scope: responder(app, scope, 500)) if ASGI2 else responder(app, 500)


@pytest.mark.parametrize("layers", [0, 1])
def test_a_gzip_responder_that_deals_with_messages_itself(layers):
    app = gzip_with(Kept, sending({"type": "x.own"}, PUSH, {"type": "x.drop"}, START, BODY))
    for _ in range(layers):
        app = PassThrough(app)
    messages, error = serve(app)
    assert error is None
    assert types_of(messages)[:3] == ["x.done", "http.response.push", "http.response.start"]


def test_a_gzip_responder_that_starts_itself():
    app = gzip_with(StartsItself, sending(DEBUG, START, PUSH, BODY))
    messages, error = serve(app)
    assert error is None
    early, start, *others = types_of(messages)
    assert [early, start, *sorted(others)] == (
        ["http.response.debug", "http.response.start", "http.response.body", "http.response.push"]
    )
    # Around it, what comes after the start cannot be carried, and gets lost as it did.
    messages, error = serve(PassThrough(app))
    assert error is None
    assert types_of(messages)[:2] == ["http.response.debug", "http.response.start"]


def test_a_wrapper_of_what_gzip_sends_with(monkeypatch):
    send_with_gzip = GZipResponder.send_with_gzip
    seen = []

    async def traced(self, message):
        seen.append(message["type"])
        await send_with_gzip(self, message)

    monkeypatch.setattr(GZipResponder, "send_with_gzip", traced)
    scope = http_scope(headers=[(b"accept-encoding", b"gzip")])
    messages, error = serve(GZipMiddleware(sending(PUSH, START, BODY)), scope)
    assert error is None
    assert types_of(messages) == seen == ["http.response.push", "http.response.start", "http.response.body"]


@pytest.mark.skipif(NUMBERS < (0, 21, 0), reason="these releases keep all, or tell the application that nobody listens")
def test_held_messages_die_when_nobody_takes_the_start():
    """Once the start has been sent, they are no longer the application's."""

    class Content(dict):
        pass

    alive = []

    async def program(scope, receive, send):
        content = Content()
        reference = weakref.ref(content)
        await send({"type": "x.early", "content": content})
        del content
        await asyncio.sleep(0.03)
        alive.append(reference() is not None)
        await send(start())
        gc.collect()
        alive.append(reference() is not None)

    @middleware
    async def impatient(self, request, call_next):
        task = asyncio.ensure_future(call_next(request))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return PlainTextResponse("other")

    serve(impatient(raw(program)))
    assert alive == [True, False]


def test_held_messages_die_with_their_response():
    class Content(dict):
        pass

    alive = []

    async def program(scope, receive, send):
        content = Content()
        alive.append(weakref.ref(content))
        await send({"type": "x.early", "content": content})
        del content
        await send(start())
        await send(BODY)

    @middleware
    async def replacing(self, request, call_next):
        await call_next(request)
        gc.collect()
        return PlainTextResponse("other")

    async def requests(app):
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            pass

        for _ in range(5):
            await call(app, http_scope(), receive, send)

    run(requests(PassThrough(raw(program))))
    run(requests(replacing(raw(program))))
    gc.collect()
    assert [reference() for reference in alive] == [None] * 10
