"""What is as in the unpatched release, in the same process (points 1, 4 and 8)."""

import asyncio
import gzip
import importlib
import inspect
import marshal
import os
import pickle
import sys
import traceback
import types

import pytest
from model import LOSES_ERRORS, RACES
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    ASGI2,
    BODY,
    FORK,
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
    needs_unpatched,
    only_if,
    raw,
    run,
    sending,
    serve,
    start,
)

import starlette_backport

# GZip never closes a response that breaks off, which newer Pythons complain about.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

PACKAGE = os.path.dirname(starlette_backport.__file__)
SCOPES = {
    "no extensions": http_scope(extensions=None),
    "empty extensions": http_scope(extensions={}),
    "something offered": http_scope(),
}
SOMETHING = SCOPES["something offered"]
NOTHING = SCOPES["no extensions"]

scopes = pytest.mark.parametrize("scope", list(SCOPES.values()), ids=list(SCOPES))
nothing_offered = pytest.mark.parametrize(
    "scope", list(SCOPES.values())[:2], ids=list(SCOPES)[:2]
)


def check_unchanged(outcome):
    """Check that `outcome()` is the same unpatched and patched; return it."""
    unpatched = outcome()
    with starlette_backport.applied():
        assert outcome() == unpatched
    return unpatched


def served(app, scope):
    messages, error = serve(app, dict(scope))
    return messages, [
        (type(leaf), str(leaf)) for leaf in leaves(error)
    ] if error else None


def ids(messages):
    names = [
        m.get("type", "none").split(".")[-1] if isinstance(m, dict) else "error"
        for m in messages
    ]
    return "+".join(names) or "nothing"


ANY_OFFER = [
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
]
ERRORS = [
    [ValueError("first")],
    [START, ValueError("second")],
    [START, body(b"a", True), ValueError("third")],
    [START, BODY, ValueError("last")],
]
MESSAGES = ANY_OFFER if RACES else ANY_OFFER + ERRORS


@needs_unpatched
@scopes
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("messages", MESSAGES, ids=ids)
def test_messages_and_errors(messages, layers, scope):
    app = sending(*messages)
    for _ in range(layers):
        app = PassThrough(app)
    check_unchanged(lambda: served(app, scope))


@needs_unpatched
@nothing_offered
@pytest.mark.parametrize(
    "messages",
    [[PUSH, START, BODY], [BODY], [START, START], [START, PUSH, BODY]],
    ids=ids,
)
def test_where_nothing_is_offered_the_release_fails_as_ever(messages, scope):
    _, errors = check_unchanged(lambda: served(PassThrough(sending(*messages)), scope))
    assert errors == [(AssertionError, "")]


@needs_unpatched
@scopes
@pytest.mark.parametrize(
    "thing",
    [None, 5, "text", list(START.items())],
    ids=["None", "number", "text", "pairs"],
)
def test_what_is_no_message(thing, scope):
    async def program(scope, receive, send):
        await send(thing)

    check_unchanged(lambda: served(PassThrough(raw(program)), scope))


async def raises_before(request, call_next):
    raise ZeroDivisionError("before")


async def raises_after(request, call_next):
    await call_next(request)
    raise ZeroDivisionError("after")


async def returns_none(request, call_next):
    await call_next(request)


async def returns_its_own(request, call_next):
    await call_next(request)
    return PlainTextResponse("own")


async def catches(request, call_next):
    try:
        return await call_next(request)
    except AssertionError:
        return PlainTextResponse("caught")


@needs_unpatched
@scopes
@pytest.mark.parametrize("messages", [[START, BODY], [{"body": "no type"}]], ids=ids)
@pytest.mark.parametrize(
    "dispatch", [raises_before, raises_after, returns_none, returns_its_own, catches]
)
def test_a_middleware_that_goes_its_own_way(dispatch, messages, scope):
    app = BaseHTTPMiddleware(sending(*messages), dispatch=dispatch)
    check_unchanged(lambda: served(PassThrough(app), scope))


@needs_unpatched
@scopes
@pytest.mark.parametrize("place", ["alone", "inside"])
@pytest.mark.parametrize(
    "messages",
    [[START, BODY], [START, PUSH, BODY, PUSH], [START, body(b"x" * 600, True), BODY]],
)
def test_gzip_compresses_and_drops_what_comes_after_the_start(
    monkeypatch, messages, place, scope
):
    # It writes the time into what it sends.
    monkeypatch.setattr(gzip, "time", types.SimpleNamespace(time=lambda: 0))
    app = GZipMiddleware(sending(*messages))
    app = PassThrough(app) if place == "inside" else app
    _, error = check_unchanged(
        lambda: served(app, dict(scope, headers=[(b"accept-encoding", b"gzip")]))
    )
    assert error is None


@scopes
def test_streaming_is_not_delayed(either, scope):
    """The client gets each chunk before the application goes on."""
    order = []

    async def program(scope, receive, send):
        await send(start())
        for number in range(3):
            order.append("send %d" % number)
            await send(body(b"%d" % number, True))
            await asyncio.sleep(0.01)
        await send(body(b""))

    class Received(list):
        def append(self, message):
            if message.get("body"):
                order.append("got %s" % message["body"].decode("ascii"))

    serve(PassThrough(raw(program)), scope, Received())
    assert order == ["send 0", "got 0", "send 1", "got 1", "send 2", "got 2"]


@needs_unpatched
@scopes
def test_background_tasks(scope):
    """On some releases they are cancelled with the request."""

    def outcome():
        ran = []

        async def task():
            ran.append("begun")
            await asyncio.sleep(0.01)
            ran.append("done")

        async def program(*args):
            response = PlainTextResponse("text", background=BackgroundTask(task))
            await response(*args[ASGI2:])
            ran.append("end of request")

        return served(PassThrough(raw(program)), scope), ran

    check_unchanged(outcome)


@needs_unpatched
@scopes
def test_a_client_that_leaves(scope):
    async def leave():
        events, got, gone, ended = [], [], asyncio.Event(), asyncio.Event()

        async def program(scope, receive, send):
            try:
                await send(start())
                for _ in range(4):
                    await send(body(b"x", True))
                    # Long enough for the rest to happen, on a loaded machine, too.
                    await asyncio.sleep(0.05)
                await send(body(b""))
                events.append("sent all")
            except BaseException as exc:
                events.append(type(exc).__name__)
                raise
            finally:
                ended.set()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            got.append(message["type"])
            if len(got) == 3:
                gone.set()

        error = await failure(
            call(PassThrough(raw(program)), dict(scope), receive, send)
        )
        # 0.13.7 never ends it.
        await asyncio.wait([asyncio.ensure_future(ended.wait())], timeout=0.5)
        return got[:3], list(events), [type(one) for one in leaves(error)]

    check_unchanged(lambda: run(leave()))


@pytest.mark.parametrize("type_", ["websocket", "lifespan"])
def test_other_scopes_reach_the_application_as_they_are(patched, type_):
    seen = []

    async def program(*args):
        seen.extend(args)

    async def receive():
        raise NotImplementedError

    async def send(message):
        raise NotImplementedError

    args = ({"type": type_, "extensions": {"x.test": {}}}, receive, send)
    run(call(PassThrough(raw(program)), *args))
    assert [one is other for one, other in zip(seen, args)] == [True] * 3


def test_what_call_next_returns(patched):
    seen = []

    @middleware
    async def looking(self, request, call_next):
        response = await call_next(request)
        seen.append(response)
        response.headers["x-new"] = "1"
        response.status_code = 201
        return response

    for early in ([], [PUSH]):
        messages, _ = serve(looking(sending(*early, START, BODY)))
        assert messages[len(early)] == {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"x-new", b"1")],
        }
    assert type(seen[0]) is StreamingResponse
    for response in seen:
        assert isinstance(response, StreamingResponse)
        assert repr(type(response)) == repr(StreamingResponse)
        assert inspect.isasyncgen(response.body_iterator)
        assert type(response.raw_headers) is list


def test_no_trace_on_the_middleware(patched):
    seen = []

    class Looking(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            seen.append((self, self.app, sorted(vars(self))))
            return await call_next(request)

    app = sending(PUSH, START, BODY)
    outer = Looking(app)
    attributes = sorted(vars(outer))
    assert serve(outer)[1] is None
    assert seen == [(outer, app, attributes)]
    assert (outer.app, sorted(vars(outer))) == (app, attributes)


def description(function):
    """Return what tools may look at in a `send` or a `call_next`."""
    return [
        function.__module__,
        function.__name__,
        function.__qualname__,
        function.__doc__,
        str(inspect.signature(function)),
        asyncio.iscoroutinefunction(function),
    ]


def send_of(scope, layer):
    """Return the `send` that an application gets behind `layer`."""
    seen = []

    async def program(scope, receive, send):
        seen.append(send)
        await send(start())
        await send(dict(BODY))

    serve(layer(raw(program)), dict(scope, headers=[(b"accept-encoding", b"gzip")]))
    return seen[0]


layers = pytest.mark.parametrize("layer", [PassThrough, GZipMiddleware])


@needs_unpatched
@nothing_offered
@layers
def test_where_nothing_is_offered_the_application_gets_the_send_of_the_release(
    layer, scope
):
    def looks():
        send = send_of(scope, layer)
        code = getattr(send, "__func__", send).__code__
        return type(send), code, description(send)

    check_unchanged(looks)


@needs_unpatched
@layers
def test_where_something_is_offered_the_send_looks_the_same_to_tools(layer):
    """sentry-sdk names spans by it. Others ask whether it is a coroutine function."""
    looks = check_unchanged(lambda: description(send_of(SOMETHING, layer)))
    assert looks[-1] is True


@needs_unpatched
@scopes
def test_the_call_next_that_dispatch_gets_looks_the_same_to_tools(scope):
    def looks():
        seen = []

        @middleware
        async def looking(self, request, call_next):
            seen.append(description(call_next))
            return await call_next(request)

        serve(looking(sending(START, BODY)), dict(scope))
        return seen[0]

    assert check_unchanged(looks)[-1] is True


@needs_unpatched
def test_the_send_of_a_response_with_early_messages_looks_the_same_to_tools(
    monkeypatch,
):
    call_response = StreamingResponse.__call__
    seen = []

    async def traced(self, *channels):
        seen.append(
            (channels[-1].__qualname__, asyncio.iscoroutinefunction(channels[-1]))
        )
        await call_response(self, *channels)

    monkeypatch.setattr(StreamingResponse, "__call__", traced)
    serve(PassThrough(sending(START, BODY)))
    with starlette_backport.applied():
        serve(PassThrough(sending(PUSH, START, BODY)))
    assert seen[0] == seen[1]


def calls_of_ours(app, scope):
    """Return the package's functions that run for a request, one for each call."""
    frames = {}  # A coroutine that goes on has the frame that it began with.

    def note(frame, event, arg):
        if event == "call":
            frames[id(frame)] = frame

    serve(app, dict(scope))
    profiler = sys.getprofile()
    sys.setprofile(note)
    try:
        _, error = serve(app, dict(scope))
    finally:
        sys.setprofile(profiler)
    assert error is None
    codes = [frame.f_code for frame in frames.values()]
    return [
        code.co_name for code in codes if os.path.dirname(code.co_filename) == PACKAGE
    ]


@needs_unpatched
@nothing_offered
def test_where_nothing_is_offered_each_middleware_adds_one_call(patched, scope):
    app = sending(START, *[body(b"x" * 600, True)] * 50, BODY)
    scope = dict(scope, headers=[(b"accept-encoding", b"gzip")])
    assert len(calls_of_ours(PassThrough(PassThrough(PassThrough(app))), scope)) == 3
    assert len(calls_of_ours(PassThrough(GZipMiddleware(app)), scope)) == 1


def frames_of(app, scope):
    """Return the frames of a request's error: ours, others, `self` in the release's."""
    _, error = serve(app, dict(scope))
    frames = [frame for frame, _ in traceback.walk_tb(leaves(error)[0].__traceback__)]
    ours = [
        frame
        for frame in frames
        if os.path.dirname(frame.f_code.co_filename) == PACKAGE
    ]
    others = [(f.f_code.co_filename, f.f_code.co_name) for f in frames if f not in ours]
    base = importlib.import_module("starlette.middleware.base").__file__
    selves = [
        f.f_locals["self"]
        for f in frames
        if f.f_code.co_filename == base and "self" in f.f_locals
    ]
    return len(ours), others, selves


@only_if(not RACES and not FORK)
@scopes
@pytest.mark.parametrize("place", ["application", "middleware"])
def test_a_traceback_has_at_most_a_frame_more_for_each_middleware(place, scope):
    async def program(scope, receive, send):
        if place == "application":
            raise ZeroDivisionError
        await send(start())
        await send(BODY)

    @middleware
    async def failing(self, request, call_next):
        await call_next(request)
        raise ZeroDivisionError

    app = failing(raw(program))
    outer = PassThrough(app)
    _, others, selves = frames_of(outer, scope)
    assert set(selves) == {outer, app}
    with starlette_backport.applied():
        ours, patched_others, patched_selves = frames_of(outer, scope)
    assert patched_others == others
    if scope is not SOMETHING:
        assert patched_selves == selves
        assert ours <= 2
    else:
        # On the releases with anyio, `call_next` has a frame of its own there.
        assert ours <= (2 if QUEUE else 4)


@only_if(not RACES and not LOSES_ERRORS and not FORK)
def test_a_traceback_from_the_body_of_a_response_with_messages_has_a_frame_more():
    def app(*early):
        error = ZeroDivisionError("in the body")
        return PassThrough(sending(*early, START, body(b"a", True), error))

    _, others, _ = frames_of(app(), SOMETHING)
    with starlette_backport.applied():
        plain, _, _ = frames_of(app(), SOMETHING)
        ours, patched_others, _ = frames_of(app(PUSH), SOMETHING)
    assert patched_others == others
    assert ours == plain + 1


def functions_changed():
    found = []
    for name in starlette_backport.status().functions:
        module, cls, function = name.rsplit(".", 2)
        found.append(vars(getattr(importlib.import_module(module), cls))[function])
    return found


@needs_unpatched
def test_changed_functions_look_the_same_to_tools():
    """Servers tell ASGI 2 from ASGI 3 by them, and frameworks read their signatures."""
    names = [
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__defaults__",
        "__annotations__",
    ]

    def looks(function):
        about = [getattr(function, name) for name in names]
        return [
            *about,
            inspect.signature(function),
            asyncio.iscoroutinefunction(function),
        ]

    before = [looks(function) for function in functions_changed()]
    assert len(before) == 2
    with starlette_backport.applied():
        assert [looks(function) for function in functions_changed()] == before
        assert pickle.loads(pickle.dumps(functions_changed())) == functions_changed()


@needs_unpatched
def test_debuggers_and_profilers_can_keep_the_code_of_changed_functions(patched):
    """They put code objects into sets and dictionaries, and write them to files."""
    for function in functions_changed():
        code = function.__code__
        assert {code: 1}[code] == 1
        assert marshal.loads(marshal.dumps(code)) == code
        assert code != "something else"
