"""Messages before the start, where an extension is offered (points 2, 3 and 5)."""

import asyncio
import copy
import functools
import gc
import importlib
import inspect
import weakref

import pytest
from drawing import AT_ONCE, CARRYING, OTHERS
from model import LOSES_ERRORS, Asyncio, Case, Client, check
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    ASGI2,
    BODY,
    DEBUG,
    PUSH,
    QUEUE,
    START,
    PassThrough,
    UnexpectedMessageError,
    body,
    content_of,
    exchange,
    http_scope,
    leaf,
    middleware,
    raw,
    run,
    sending,
    serve,
    start,
    types_of,
)

BASE = importlib.import_module("starlette.middleware.base")

pytestmark = pytest.mark.usefixtures("patched")


def messages_of(app, scope=None):
    messages, error = serve(app, scope)
    assert error is None
    return messages


def collect():
    # PyPy collects in steps.
    for _ in range(3):
        gc.collect()


def test_nothing_is_sent_before_the_middleware_returns_the_response():
    sent_before, received = [], []

    @middleware
    async def watching(self, request, call_next):
        response = await call_next(request)
        sent_before.extend(received)
        return response

    serve(watching(sending(PUSH, START, BODY)), received=received)
    assert sent_before == []
    assert types_of(received)[:2] == ["http.response.push", "http.response.start"]


KINDS = CARRYING + OTHERS + AT_ONCE
if LOSES_ERRORS:
    # There, the model does not say what comes of a response that is dropped.
    KINDS = [kind for kind in KINDS if not kind.drops_a_response]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_middleware_of_each_kind(kind):
    case = Case(
        [PUSH, DEBUG, START, body(b"a", more_body=True), body(b"b")],
        [kind],
        Client({"extensions": {"http.response.push": {}}}),
    )
    check(case, case.serve(Asyncio))


def test_a_response_that_is_kept_for_the_next_request_brings_its_messages_again():
    kept = []

    @middleware
    async def keeping(self, request, call_next):
        if not kept:
            kept.append(await call_next(request))
        else:
            kept[0].body_iterator = again()
        return kept[0]

    async def again():
        yield b"again"

    app = keeping(sending(PUSH, START, BODY))
    for content in (b"body", b"again"):
        messages = messages_of(app)
        assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]
        assert content_of(messages) == content


def test_a_response_with_messages_looks_like_one_without():
    """`asgiref.compatibility` and servers tell ASGI 2 from ASGI 3 by this."""
    looks = []

    @middleware
    async def looking(self, request, call_next):
        response = await call_next(request)
        looks.append(
            [
                inspect.signature(response),
                inspect.iscoroutinefunction(type(response).__call__),
                hasattr(type(response), "__wrapped__"),
                type(response).__name__,
                type(response).__qualname__,
                type(response).__module__,
                type(response).__doc__,
                callable(getattr(response, "stream_response", None)),
            ]
        )
        return response

    messages_of(looking(sending(START, BODY)))
    messages_of(looking(sending(PUSH, START, BODY)))
    assert looks[0] == looks[1]
    assert looks[0][1] is True


def numbered():
    """Return an application that answers with the next of the scope's numbers.

    All of its answers share one header list.
    """
    headers = []

    async def program(scope, receive, send):
        number = next(scope["numbers"])
        await send({"type": "x.number", "number": number})
        await asyncio.sleep(0)
        await send(dict(START, headers=headers))
        await asyncio.sleep(0)
        await send(body(b"%d" % number))

    return raw(program)


def check_numbered(messages, error, among):
    assert error is None
    number = int(content_of(messages))
    assert number in among
    assert messages[0] == {"type": "x.number", "number": number}
    assert types_of(messages).count("x.number") == 1


async def one_after_the_other(call_next, request):
    return [await call_next(request), await call_next(request)]


async def at_once(call_next, request):
    return await asyncio.gather(call_next(request), call_next(request))


@pytest.mark.parametrize("calls", [one_after_the_other, at_once])
@pytest.mark.parametrize("chosen", [0, 1])
def test_two_calls_of_call_next_do_not_mix(calls, chosen):
    @middleware
    async def calling_twice(self, request, call_next):
        return (await calls(call_next, request))[chosen]

    app = PassThrough(calling_twice(numbered()))
    messages, error = serve(app, http_scope(numbers=iter([0, 1])))
    among = [0, 1] if calls is at_once else [chosen]
    check_numbered(messages, error, among)


def test_concurrent_requests_do_not_mix():
    app = PassThrough(PassThrough(PassThrough(numbered())))

    async def all_at_once():
        scopes = [http_scope(numbers=iter([number])) for number in range(100)]
        return await asyncio.gather(*[exchange(app, scope) for scope in scopes])

    for number, (messages, error) in enumerate(run(all_at_once())):
        check_numbered(messages, error, [number])


@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
def test_the_middleware_changes_the_very_header_list_that_the_application_sent(early):
    headers = [(b"x-mine", b"1")]
    seen = []

    async def program(scope, receive, send):
        for message in [*early, dict(START, headers=headers), BODY]:
            await send(message)

    @middleware
    async def adding(self, request, call_next):
        response = await call_next(request)
        seen.append(response.raw_headers)
        response.headers["x-added"] = "1"
        return response

    messages = messages_of(adding(raw(program)))
    assert seen[0] is headers
    assert headers == [(b"x-mine", b"1"), (b"x-added", b"1")]
    assert messages[len(early)]["headers"] == headers


@pytest.mark.parametrize("headers", [None, ((b"x-mine", b"1"),)])
def test_headers_that_are_no_list_reach_the_server_as_they_are(headers):
    async def program(scope, receive, send):
        for message in PUSH, dict(START, headers=headers), BODY:
            await send(message)

    messages = messages_of(PassThrough(raw(program)))
    assert messages[:2] == [PUSH, dict(START, headers=headers)]


def test_messages_are_freed_with_the_response_that_they_belong_to():
    class Content:
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
        return PlainTextResponse("other")

    for app in PassThrough(raw(program)), replacing(raw(program)):
        serve(app)
    collect()
    assert [reference() for reference in alive] == [None] * 2


# Middleware with functions of its own.


def test_functions_of_a_subclass_stay_in_charge():
    calls = []

    class Own(PassThrough):
        if ASGI2:

            def __call__(self, scope):
                calls.append("__call__")
                return super().__call__(scope)

            async def asgi(self, receive, send, scope):
                calls.append("asgi")
                await super().asgi(receive, send, scope)

        else:

            async def __call__(self, scope, receive, send):
                calls.append("__call__")
                await super().__call__(scope, receive, send)

        async def call_next(self, request):
            calls.append("call_next")
            return await super().call_next(request)

    assert messages_of(Own(sending(PUSH, START, BODY)))[0] == PUSH
    assert calls == ["__call__"] + ["asgi"] * ASGI2 + ["call_next"] * QUEUE


def test_a_subclass_that_does_not_call_super_is_left_alone():
    app = sending(PUSH, START, BODY)

    class Own(BaseHTTPMiddleware):
        def __call__(self, *args):
            return self.app(*args)

    assert messages_of(Own(app, dispatch=print)) == messages_of(app)


# Instrumentation on the way from the application to `call_next`.


def instrument(monkeypatch, change):
    """Make what hands a message to `call_next` hand over what `change` returns."""
    if QUEUE:
        cls, name = asyncio.Queue, "put"
    else:
        streams = importlib.import_module("anyio.streams.memory")
        cls, name = streams.MemoryObjectSendStream, "send"
    hand_over = getattr(cls, name)

    @functools.wraps(hand_over)
    async def traced(self, item):
        return await hand_over(self, item and change(item))

    monkeypatch.setattr(cls, name, traced)


@pytest.mark.parametrize("messages", [[START, BODY], [BODY], [START, PUSH]])
def test_all_that_is_handed_over_is_true(monkeypatch, messages):
    """Anyio takes what is false for nothing."""
    handed_over = []

    def note(message):
        handed_over.append(message)
        return message

    instrument(monkeypatch, note)
    serve(PassThrough(sending(*messages)))
    assert len(handed_over) == len(messages)


def with_copied_headers(message):
    if "headers" in message:
        return dict(message, headers=list(message["headers"]))
    return message


@pytest.mark.parametrize(
    "change", [copy.copy, copy.deepcopy, dict], ids=["copy", "deepcopy", "dict"]
)
def test_instrumentation_that_copies_messages_loses_none(monkeypatch, change):
    instrument(monkeypatch, change)
    messages = messages_of(
        PassThrough(
            PassThrough(sending(PUSH, dict(START, headers=[(b"x-mine", b"1")]), BODY))
        )
    )
    assert messages[0] == PUSH
    assert messages[1]["headers"] == [(b"x-mine", b"1")]


def test_instrumentation_that_copies_headers_is_an_error_only_where_messages_are_lost(
    monkeypatch,
):
    instrument(monkeypatch, with_copied_headers)
    assert content_of(messages_of(PassThrough(sending(START, BODY)))) == b"body"
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert messages == []
    assert "lost" in str(leaf(error, UnexpectedMessageError))


@pytest.fixture
def cancel_once():
    """Return a function that raises CancelledError for the first start."""
    cancelled = []

    def cancel_once(message):
        if message["type"] == "http.response.start" and not cancelled:
            cancelled.append(message)
            raise asyncio.CancelledError
        return message

    return cancel_once


def test_a_start_that_was_cancelled_on_its_way_is_none(monkeypatch, cancel_once):
    async def program(scope, receive, send):
        await send(PUSH)
        with pytest.raises(asyncio.CancelledError):
            await send(start())
        await send(DEBUG)
        await send(dict(start(), status=504))
        await send(body())

    instrument(monkeypatch, cancel_once)
    messages = messages_of(PassThrough(raw(program)))
    assert messages[:3] == [PUSH, DEBUG, dict(start(), status=504)]


def test_a_cancelled_start_and_copied_headers_together_lose_no_message_silently(
    monkeypatch, cancel_once
):
    async def program(scope, receive, send):
        with pytest.raises(asyncio.CancelledError):
            await send(start())
        for message in PUSH, start(), BODY:
            await send(message)

    instrument(monkeypatch, lambda message: with_copied_headers(cancel_once(message)))
    messages, error = serve(PassThrough(raw(program)))
    assert messages == []
    assert "lost" in str(leaf(error, UnexpectedMessageError))


class Slots:
    """A response whose class cannot be changed."""

    __slots__ = ("content", "raw_headers", "status_code")

    def __init__(self, content, status_code):
        self.content, self.status_code = content, status_code

    async def __call__(self, *channels):
        await channels[-1](dict(START, headers=self.raw_headers))
        async for chunk in self.content:
            await channels[-1](body(chunk, True))
        await channels[-1](body(b""))


class Unslotted(Slots):
    """A response that has no `stream_response`, and whose class can be changed."""


def test_a_response_class_that_has_no_stream_response(monkeypatch):
    monkeypatch.setattr(BASE, "StreamingResponse", Unslotted)
    messages = messages_of(PassThrough(sending(PUSH, START, BODY)))
    assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]


class CopiesHeaders(StreamingResponse):
    """A response that keeps a copy of its headers."""

    @property
    def raw_headers(self):
        return self.kept

    @raw_headers.setter
    def raw_headers(self, headers):
        self.kept = list(headers)


@pytest.mark.parametrize("cls", [Slots, CopiesHeaders])
def test_another_response_class_is_an_error_only_where_messages_would_be_lost(
    monkeypatch, cls
):
    monkeypatch.setattr(BASE, "StreamingResponse", cls)
    assert content_of(messages_of(PassThrough(sending(START, BODY)))) == b"body"
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert messages == []
    assert leaf(error, UnexpectedMessageError)


@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
def test_a_function_in_place_of_the_response_class(monkeypatch, early):
    made = []

    class Traced(StreamingResponse):
        pass

    def make(*args, **kwargs):
        made.append(Traced(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(BASE, "StreamingResponse", make)
    assert messages_of(PassThrough(sending(*early, START, BODY)))[: len(early)] == early
    assert isinstance(made[0], Traced)
    assert repr(type(made[0])) == repr(Traced)


def test_a_class_that_is_created_during_a_request_can_be_collected(monkeypatch):
    created = []

    def make(*args, **kwargs):
        cls = type("Created", (StreamingResponse,), {})
        created.append(weakref.ref(cls))
        return cls(*args, **kwargs)

    monkeypatch.setattr(BASE, "StreamingResponse", make)
    assert messages_of(PassThrough(sending(PUSH, START, BODY)))[0] == PUSH
    collect()
    assert created[0]() is None


def test_a_wrapper_of_the_response_gets_the_channels_by_position(monkeypatch):
    call_response = StreamingResponse.__call__
    got = []

    async def traced(self, *args):
        got.append(len(args))
        await call_response(self, *args)

    monkeypatch.setattr(StreamingResponse, "__call__", traced)
    messages = messages_of(PassThrough(sending(PUSH, START, BODY)))
    assert types_of(messages)[:2] == ["http.response.push", "http.response.start"]
    assert got == [2 if ASGI2 else 3]
