"""Point 3 of the contract: where nothing is sent early, patched and unpatched are the same."""

import asyncio
import inspect

import peer
import pytest
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    ASGI2,
    BODY,
    CARRIER,
    NUMBERS,
    PUSH,
    QUEUE,
    START,
    PassThrough,
    body,
    call,
    failure,
    http_scope,
    leaves,
    middleware,
    raw,
    run,
    sending,
    serve,
    start,
)

import starlette_backport


def both(make, scope=None):
    """Serve what `make` makes, unpatched and patched; return the two outcomes in a form to compare."""

    def outcome():
        messages, error = serve(make(), scope)
        return messages, [(type(leaf), str(leaf)) for leaf in leaves(error)] if error is not None else None

    unpatched = peer.unpatched(outcome)
    with starlette_backport.applied():
        return unpatched, outcome()


@pytest.mark.parametrize(
    "messages",
    [
        [START, BODY],
        [START, body(b"a", True), body(b"", True), body(b"b", True), body(b"")],
        [START, body(b"a"), body(b"after the end")],
        [START],
        [START, body(b"a", True)],
        [START, {"type": "http.response.body"}],
        [{"type": "http.response.start", "headers": []}, BODY],
        [{"type": "http.response.start", "status": 200}, BODY],
        [START, {"body": b"no type"}],
        [{}],
        [],
        [ValueError("first")],
        [START, ValueError("second")],
        [START, body(b"a", True), ValueError("third")],
        [START, BODY, ValueError("last")],
    ],
    ids=lambda messages: (
        "+".join(m.get("type", "none").split(".")[-1] if isinstance(m, dict) else "error" for m in messages)
        or "nothing"
    ),
)
@pytest.mark.parametrize("layers", [1, 2])
def test_messages_and_errors(messages, layers):
    if (0, 15, 0) <= NUMBERS < (0, 17, 0) and any(isinstance(m, Exception) for m in messages[:-1] or messages):
        pytest.skip("0.15.0 and 0.16.0 let an application's error race with its messages, patched or not")

    def make():
        app = sending(*messages)
        for _ in range(layers):
            app = PassThrough(app)
        return app

    unpatched, patched = both(make)
    assert patched == unpatched


@pytest.mark.parametrize("kind", ["before", "after", "instead"])
def test_errors_of_the_middleware(kind):
    @middleware
    async def failing(self, request, call_next):
        if kind == "before":
            raise ValueError(kind)
        await call_next(request)
        if kind == "after":
            raise ValueError(kind)
        return None

    unpatched, patched = both(lambda: failing(sending(START, BODY)))
    assert patched == unpatched
    assert patched[1] is not None


def test_a_start_that_was_cancelled_is_none():
    async def program(scope, receive, send):
        try:
            await asyncio.wait_for(send(start()), 0)
        except asyncio.TimeoutError:
            await send(dict(start(), status=504))
            await send(body())

    unpatched, patched = both(lambda: PassThrough(raw(program)))
    assert patched == unpatched


@pytest.mark.skipif(QUEUE, reason="these releases do not use anyio")
def test_a_start_that_was_cancelled_on_its_way_is_none():
    import anyio

    not_cancelled = []

    async def program(scope, receive, send):
        await send({"type": "x.early"})
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            not_cancelled.append(await send(start()))
        await send(dict(start(), status=504))
        await send(body())

    with starlette_backport.applied():
        messages, error = serve(PassThrough(raw(program)))
    assert error is None
    assert not_cancelled == []
    assert messages[0] == {"type": "x.early"}
    assert messages[1]["status"] == 504


@pytest.mark.skipif(QUEUE, reason="these releases do not use anyio")
def test_another_start_that_was_cancelled_does_not_undo_the_first():
    import anyio

    async def program(scope, receive, send):
        await send(start())
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            await send(start())
        await send({"type": "x.late"})
        await send(body())

    unpatched, patched = both(lambda: PassThrough(raw(program)))
    assert patched[0] == unpatched[0]
    for _, errors in (unpatched, patched):
        assert any(issubclass(kind, AssertionError) for kind, _ in errors)


def test_a_message_that_is_none():
    async def program(scope, receive, send):
        await send(None)

    unpatched, patched = both(lambda: PassThrough(raw(program)))
    assert patched == unpatched


def test_what_gzip_dropped_after_the_start_is_still_no_error():
    """It reaches the server now, but not where the release's `call_next` could not carry it."""
    trailers = {"type": "http.response.trailers", "headers": []}
    scope = http_scope(headers=[(b"accept-encoding", b"gzip")])
    for messages in ([START, BODY, trailers], [START, trailers, BODY]):
        unpatched, patched = both(lambda m=messages: PassThrough(GZipMiddleware(sending(*m))), scope)
        assert patched == unpatched
        assert patched[1] is None


def test_a_gzip_responder_with_a_call_of_its_own_stays_in_charge():
    """It drops what gzip dropped before, at least without an error."""

    class Responder(GZipResponder):
        if ASGI2:

            async def __call__(self, receive, send):
                self.send = send
                await self.inner(receive, self.send_with_gzip)
        else:

            async def __call__(self, scope, receive, send):
                self.send = send
                await self.app(scope, receive, self.send_with_gzip)

    def make():
        app = sending(PUSH, START, PUSH, BODY)
        return (lambda scope: Responder(app, scope, 500)) if ASGI2 else Responder(app, 500)

    unpatched, patched = both(make)
    assert patched == unpatched
    assert patched[1] is None


def test_a_middleware_of_its_own_response():
    @middleware
    async def own(self, request, call_next):
        return PlainTextResponse("own")

    unpatched, patched = both(lambda: PassThrough(own(sending())))
    assert patched == unpatched


def test_what_call_next_returns(patched):
    seen = []

    @middleware
    async def looking(self, request, call_next):
        response = await call_next(request)
        seen.append(response)
        response.headers["x-new"] = "1"
        response.status_code = 201
        return response

    for early in ([], [{"type": "x.early"}]):
        messages, _ = serve(looking(sending(*early, START, BODY)))
        assert messages[-3]["status"] == 201
        assert messages[-3]["headers"] == [(b"x-new", b"1")]
    assert type(seen[0]) is StreamingResponse
    for response in seen:
        assert isinstance(response, StreamingResponse)
        assert type(response).__name__ == "StreamingResponse"
        assert inspect.isasyncgen(response.body_iterator)
        assert type(response.raw_headers) is list


def test_streaming_is_not_delayed(either):
    """Each chunk arrives before the application goes on to the next one that waits for it."""
    order = []

    async def program(scope, receive, send):
        await send(start())
        for number in range(3):
            order.append("send %d" % number)
            await send(body(b"%d" % number, True))
            await asyncio.sleep(0.01)
        await send(body(b""))

    async def stream():
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            if message.get("body"):
                order.append("got %s" % message["body"].decode("ascii"))

        await call(PassThrough(raw(program)), http_scope(), receive, send)

    run(stream())
    assert order == ["send 0", "got 0", "send 1", "got 1", "send 2", "got 2"]


def test_background_tasks():
    """They run, or on some releases are cancelled with the request, as unpatched."""
    ran = []

    async def task():
        ran.append("begun")
        await asyncio.sleep(0.01)
        ran.append("done")

    async def program(scope, receive, send):
        response = PlainTextResponse("text", background=BackgroundTask(task))
        if ASGI2:
            await response(receive, send)
        else:
            await response(scope, receive, send)
        ran.append("end of request")

    def outcome():
        ran.clear()
        return serve(PassThrough(raw(program))), list(ran)

    unpatched = peer.unpatched(outcome)
    with starlette_backport.applied():
        assert outcome() == unpatched
    assert ran or (0, 20, 1) <= NUMBERS < (0, 21, 0)  # These cancel them before they begin.


async def leave_early():
    """Serve a stream to a client that leaves; return what it got, and what became of the application."""
    events = []
    got = []
    gone = asyncio.Event()

    async def program(scope, receive, send):
        try:
            await send(start())
            for _ in range(10):
                await send(body(b"x", True))
                await asyncio.sleep(0.003)
            await send(body(b""))
            events.append("sent all")
        except BaseException as exc:
            events.append(type(exc).__name__)
            raise

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        got.append(message["type"])
        if len(got) == 3:
            gone.set()

    error = await failure(call(PassThrough(raw(program)), http_scope(), receive, send))
    events.extend(type(one).__name__ for one in leaves(error))
    await asyncio.sleep(0.1)
    return got[:3], list(events)


def test_a_client_that_leaves():
    """However the release deals with it, and only from 0.13.3 on it does, patched it does the same."""
    unpatched = peer.unpatched(lambda: run(leave_early()))
    with starlette_backport.applied():
        assert run(leave_early()) == unpatched


@pytest.mark.parametrize("type_", ["websocket", "lifespan"])
def test_other_scopes_pass_untouched(patched, type_):
    seen = []

    async def program(scope, receive, send):
        seen.append((scope, receive, send))

    scope = {"type": type_}

    async def receive():
        raise NotImplementedError

    async def send(message):
        raise NotImplementedError

    run(call(PassThrough(raw(program)), scope, receive, send))
    ((seen_scope, seen_receive, seen_send),) = seen
    assert seen_scope is scope
    assert (seen_receive, seen_send) == (receive, send)


def test_the_middleware_is_itself(patched):
    """Point 8: nobody sees a stand-in."""
    seen = []

    class Looking(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            seen.append((self, self.app, sorted(vars(self))))
            return await call_next(request)

    app = sending({"type": "x.early"}, START, BODY)
    outer = Looking(app)
    attributes = sorted(vars(outer))
    serve(outer)
    assert seen == [(outer, app, attributes)]
    assert outer.app is app
    assert sorted(vars(outer)) == attributes


def test_a_dispatch_function(patched):
    async def dispatch(request, call_next):
        response = await call_next(request=request)
        response.headers["x-dispatch"] = "1"
        return response

    messages, error = serve(BaseHTTPMiddleware(sending({"type": "x.early"}, START, BODY), dispatch=dispatch))
    assert error is None
    assert messages[0] == {"type": "x.early"}
    assert messages[1]["headers"] == [(b"x-dispatch", b"1")]


def test_a_subclass_stays_in_charge(patched):
    calls = []
    app = sending({"type": "x.early"}, START, BODY)

    class Own(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

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

        if QUEUE:

            async def call_next(self, request):
                calls.append("call_next")
                return await super().call_next(request)

    messages, error = serve(Own(app))
    assert error is None
    assert messages[0] == {"type": "x.early"}
    assert calls == ["__call__"] + ["asgi"] * ASGI2 + ["call_next"] * QUEUE


def test_a_subclass_that_does_not_call_super_is_left_alone(patched):
    class Own(BaseHTTPMiddleware):
        if ASGI2:

            def __call__(self, scope):
                return self.app(scope)

        else:

            async def __call__(self, scope, receive, send):
                await self.app(scope, receive, send)

    messages, _ = serve(Own(sending({"type": "x.early"}, START, BODY), dispatch=lambda: None))
    assert messages == [{"type": "x.early"}, START, BODY]


def test_the_patched_function_looks_the_same(patched):
    function = vars(BaseHTTPMiddleware)[CARRIER]
    expected = ["self", "request"] if QUEUE else ["self", "scope", "receive", "send"]
    assert list(inspect.signature(function).parameters) == expected
    # Servers tell ASGI 2 from ASGI 3 by that.
    assert asyncio.iscoroutinefunction(function)
    assert function.__qualname__ == "BaseHTTPMiddleware." + CARRIER
    assert function.__module__ == "starlette.middleware.base"
