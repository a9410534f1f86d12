"""The contract as a model: what a server should receive.

A `Case` is one request: what the application does, the layers around it, and the
client. Everything that takes part has two sides. One is what the release that is
installed is to do. The other one is the model, which says what should come of it:
functions of messages, without a loop. `Case.serve` asks the release, `Case.expected`
asks the model, and `check` compares what they say.

Each call of an application has a number, its tag, and all that it sends shows this tag.
So no message gets from one call into another unnoticed.
"""

import asyncio
import copy
import functools
import importlib
import itertools
import re
import typing
import zlib
from unittest import mock

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from support import (
    AFFECTED,
    ASGI2,
    CARRIER,
    NUMBERS,
    QUEUE,
    TemplateResponse,
    call,
    content_of,
    failure,
    http_scope,
    leaves,
    raw,
)

START, BODY = "http.response.start", "http.response.body"
TEMPLATE, DEBUG = "http.response.template", "http.response.debug"
PUSH = "http.response.push"

# What releases do differently, where the contract lets them:
# Each body message must have a "body".
NEEDS_BODY = NUMBERS < (0, 13, 5)
# Empty chunks are not sent on.
SKIPS_EMPTY = NUMBERS >= (0, 20, 1)
# Nothing is read after the end of the body.
STOPS_AT_THE_END = (0, 20, 1) <= NUMBERS < (0, 23, 1)
# Errors after the start get lost.
LOSES_ERRORS = (0, 17, 0) <= NUMBERS < (0, 19, 0)
# An error may overtake the messages sent before it.
RACES = (0, 15, 0) <= NUMBERS < (0, 17, 0)
# An application whose response was dropped may still be listened to.
HEEDS_DROPPED = not QUEUE
# It is told that the client has gone, always at the same moment.
TELLS_DROPPED = NUMBERS >= (0, 21, 0)


class Changed(typing.NamedTuple):
    """A function that `apply()` changes."""

    module: str
    class_name: str
    name: str

    def owner(self):
        """Return its class, from the module that is imported at this moment."""
        return getattr(importlib.import_module(self.module), self.class_name)


MIDDLEWARE = Changed("starlette.middleware.base", "BaseHTTPMiddleware", CARRIER)
TEMPLATE_RESPONSE = Changed(
    TemplateResponse.__module__, TemplateResponse.__name__, "__call__"
)


# What the model says.


class Raised(Exception):
    """An error of this name is raised."""


class Unclear(Exception):
    """The contract leaves this to the release."""


class Races(Unclear):
    """The release itself does now this and now that."""


class Trace(typing.NamedTuple):
    """What an application sends, and the name of the error that it ends with."""

    messages: typing.List[dict]
    error: typing.Optional[str] = None


class Response(typing.NamedTuple):
    """What a response sends, and the name of the error that it ends with."""

    early: typing.List[dict]
    status: int
    headers: typing.List[tuple]
    chunks: typing.Sequence[bytes] = ()
    last: bytes = b""
    error: typing.Optional[str] = None

    def trace(self):
        start = {"type": START, "status": self.status, "headers": self.headers}
        messages = [*self.early, start]
        for chunk in self.chunks:
            messages.append({"type": BODY, "body": chunk, "more_body": True})
        if self.error is None:
            messages.append({"type": BODY, "body": self.last, "more_body": False})
        return Trace(messages, self.error)


def call_next(trace, carries, name):
    """Return the response of ``call_next`` for an application that sends `trace`.

    `carries` says whether the middleware carries messages, `name` what errors call it.
    """
    messages, error = trace
    if RACES and error is not None:
        raise Races("an error may overtake messages")
    early = list(itertools.takewhile(is_early, messages))
    if early and not carries:
        raise Raised("AssertionError")
    if len(early) == len(messages):
        raise Raised(error or "RuntimeError")
    start, *body = messages[len(early) :]
    if start.get("type") == BODY:
        raise Raised(unexpected(BODY, START, carries, name))
    if not is_complete(start):
        raise Raised("KeyError")
    chunks, error = stream(body, error, carries, name)
    return Response(early, start["status"], start["headers"], chunks, error=error)


def is_early(message):
    return message.get("type", START) not in (START, BODY)


def is_response(messages):
    """Whether there is one start, if any, and nothing after the end of the body."""
    starts, body = messages[:1], messages[1:]
    return (
        all(is_complete(message) for message in starts)
        and all(message.get("type") == BODY and "body" in message for message in body)
        and all(message.get("more_body") for message in body[:-1])
    )


def is_chunk(message):
    return message["type"] == BODY and message["more_body"]


def is_complete(start):
    return {"type", "status", "headers"} <= set(start)


def stream(messages, error, carries, name):
    """Return the chunks of a body, and the name of the error that it ends with."""
    chunks = []
    for number, message in enumerate(messages):
        if "type" not in message:
            return chunks, "KeyError"
        if message["type"] != BODY:
            return chunks, unexpected(message["type"], BODY, carries, name)
        if NEEDS_BODY and "body" not in message:
            return chunks, "KeyError"
        chunk = message.get("body", b"")
        if chunk or not SKIPS_EMPTY:
            chunks.append(chunk)
        is_last = not message.get("more_body", False)
        if is_last and STOPS_AT_THE_END and (messages[number + 1 :] or error):
            raise Unclear("what the application does after the end of its body")
    if LOSES_ERRORS:
        error = None
    return chunks, error


def unexpected(received, expected, carries, name):
    """Return the error for a message that cannot be carried, as `names_of` shows it."""
    # 0.24.0 does not say more, either.
    if not carries or not AFFECTED:
        return "AssertionError"
    shown = received if isinstance(received, str) else type(received)
    return "Expected %r, but received %r. %s" % (expected, shown, name)


# Layers around an application.


class Layer:
    """A layer around an application.

    For the release, ``wrap(app, name)`` returns `app` behind it. In the model,
    ``trace(inner, carries, name)`` returns what one call of it sends: ``inner()``
    returns the trace of one call of what is behind it, and ``carries()`` says whether a
    call of the changed function that begins now carries messages.
    """

    #: Whether it gets a response that it does not send.
    drops_a_response = False

    def __repr__(self):
        arguments = ", ".join(repr(value) for value in vars(self).values())
        return "%s(%s)" % (type(self).__name__, arguments)


class PlainASGI(Layer):
    """Sends a copy of each message on."""

    def wrap(self, app, name):
        async def copying(scope, receive, send):
            async def send_copy(message):
                await send(dict(message))

            await call(app, scope, receive, send_copy)

        return raw(copying)

    def trace(self, inner, carries, name):
        return inner()


class Gzip(Layer):
    """Drops all but starts and bodies, with the backport as without it."""

    def __init__(self, minimum_size):
        self.minimum_size = minimum_size

    def wrap(self, app, name):
        return GZipMiddleware(app, self.minimum_size)

    def trace(self, inner, carries, name):
        """Return the trace as if nothing was compressed; `check` knows about that."""
        messages, error = inner()
        kept = [each for each in messages if each.get("type", BODY) in (START, BODY)]
        if not is_response(kept):
            raise Unclear("what gzip makes of messages that no server would take")
        if len(kept) == 1:
            # It waits for the body with the start.
            kept = []
        return Trace(kept, error)


class Middleware(Layer):
    """A ``BaseHTTPMiddleware``, which returns the response as it is.

    Other kinds do something else in `dispatch`, or treat the response in `treat`. In
    the model, `expected_dispatch` and `expected` say what should come of that.
    """

    #: Whether it is made with ``dispatch=``, and is no subclass.
    is_function = False

    async def dispatch(self, request, call_next):
        return await self.treat(await call_next(request))

    def expected_dispatch(self, call_next):
        return self.expected(call_next())

    async def treat(self, response):
        return response

    def expected(self, response):
        return response

    def wrap(self, app, name):
        base = MIDDLEWARE.owner()

        async def dispatch(request, call_next):
            hooks = request["hooks"]
            if not QUEUE:
                hooks.begins(name, base)
            await hooks.gate()

            async def call_next_and_stop(request):
                if QUEUE:
                    hooks.begins(name, base)
                response = await call_next(request=request)
                await hooks.gate()
                return response

            return await self.dispatch(request, call_next_and_stop)

        if self.is_function:
            dispatch.__qualname__ = name
            return base(app, dispatch=dispatch)
        return type(name, (base,), {"dispatch": staticmethod(dispatch)})(app)

    def trace(self, inner, carries, name):
        is_heeded = self.drops_a_response and HEEDS_DROPPED
        # From 0.15.0 on it is not `call_next` that begins, but `__call__`.
        began_carrying = not QUEUE and carries()

        def call_next_once():
            is_carrying = carries() if QUEUE else began_carrying
            behind = inner()
            response = call_next(behind, is_carrying, name)
            if is_heeded and (behind.error or response.error or LOSES_ERRORS):
                raise Races("an error behind a response that is dropped")
            return response

        try:
            return self.expected_dispatch(call_next_once).trace()
        except Raised as exc:
            return Trace([], str(exc))


class AddsAHeader(Middleware):
    is_function = True

    async def treat(self, response):
        response.headers["x-added"] = "1"
        return response

    def expected(self, response):
        others = [header for header in response.headers if header[0] != b"x-added"]
        return response._replace(headers=[*others, (b"x-added", b"1")])


class ReplacesRawHeaders(Middleware):
    async def treat(self, response):
        response.raw_headers = self.replaced(response.raw_headers)
        return response

    def expected(self, response):
        return response._replace(headers=self.replaced(response.headers))

    def replaced(self, headers):
        # These say whose body it is, and how to read it.
        kept = [each for each in headers if each[0] in (b"x-tag", b"content-encoding")]
        return [*kept, (b"x-replaced", b"1")]


class ReadsTheBody(Middleware):
    is_function = True

    async def treat(self, response):
        content = b"".join([chunk async for chunk in response.body_iterator])

        async def once():
            yield content

        response.body_iterator = once()
        return response

    def expected(self, response):
        if response.error is not None:
            raise Raised(response.error)
        return response._replace(chunks=[b"".join(response.chunks)])


class CopiesTheResponse(Middleware):
    async def treat(self, response):
        return copy.copy(response)


class WrapsTheResponse(Middleware):
    """Returns another ASGI application, which calls the response by names."""

    async def treat(self, response):
        names = ("receive", "send") if ASGI2 else ("scope", "receive", "send")

        async def wrapper(*channels):
            await response(**dict(zip(names, channels)))

        return wrapper


class StreamsTheResponse(Middleware):
    """Returns another ASGI application, which does not call the response."""

    async def treat(self, response):
        async def wrapper(*channels):
            await response.stream_response(channels[-1])

        return wrapper


class SendsTheResponseTwice(Middleware):
    async def treat(self, response):
        async def wrapper(*channels):
            await response(*channels)
            await response(*channels)

        return wrapper

    def trace(self, inner, carries, name):
        messages, error = super().trace(inner, carries, name)
        if error is None:
            # The second time, there are no chunks left.
            messages += [each for each in messages if not is_chunk(each)]
        return Trace(messages, error)


class MakesANewResponse(Middleware):
    async def treat(self, response):
        new = type(response)(response.body_iterator, response.status_code)
        new.raw_headers = response.raw_headers
        return new

    def expected(self, response):
        return response._replace(early=[])


class ChangesTheClass(MakesANewResponse):
    async def treat(self, response):
        response.__class__ = StreamingResponse
        return response


class Refused(Exception):
    """Raised by a middleware."""


class RaisesAfter(Middleware):
    drops_a_response = True

    async def treat(self, response):
        raise Refused

    def expected(self, response):
        raise Raised("Refused")


def own_response():
    return PlainTextResponse("own", status_code=203)


OWN_RESPONSE = Response(
    early=[],
    status=203,
    headers=[
        (b"content-length", b"3"),
        (b"content-type", b"text/plain; charset=utf-8"),
    ],
    last=b"own",
)


class AnswersItself(Middleware):
    async def dispatch(self, request, call_next):
        return own_response()

    def expected_dispatch(self, call_next):
        return OWN_RESPONSE


class AnswersForErrors(Middleware):
    async def dispatch(self, request, call_next):
        try:
            return await call_next(request)
        except Exception:
            return own_response()

    def expected_dispatch(self, call_next):
        try:
            return call_next()
        except Raised:
            return OWN_RESPONSE


class ReplacesTheResponse(Middleware):
    drops_a_response = True

    async def treat(self, response):
        return own_response()

    def expected(self, response):
        return OWN_RESPONSE


class CallsTwice(Middleware):
    is_function = True
    drops_a_response = True

    def __init__(self, returned):
        self.returned = returned

    async def dispatch(self, request, call_next):
        responses = [await call_next(request), await call_next(request)]
        return responses[self.returned]

    def expected_dispatch(self, call_next):
        responses = [call_next(), call_next()]
        return responses[self.returned]


class CallsTwiceAtOnce(CallsTwice):
    is_function = False

    async def dispatch(self, request, call_next):
        both = request["hooks"].backend.both
        responses = await both(lambda: call_next(request))
        return responses[self.returned]


# Applications. What they do, one step after the other: they send a message or a
# template, or do one of these.
YIELDS, RECEIVES, FAILS = "yields", "receives", "fails"


class Failed(Exception):
    """Raised by an application."""


class TemplateStep(typing.NamedTuple):
    """Send a template response of this content; it is the template as well."""

    content: str

    def render(self, context):
        return self.content

    async def send(self, response_class, tag, scope, receive, send):
        scope["hooks"].begins("template", response_class)
        response = response_class(self, {"request": Request(scope), "tag": tag})
        response.raw_headers.append((b"x-tag", b"%d" % tag))
        if ASGI2:
            await response(receive, send)
        else:
            await response(scope, receive, send)

    def trace(self, tag, extensions, is_changed):
        if extensions is None:
            # The release looks into it.
            return Trace([], "TypeError")
        info = {"template": self, "context": {"request": mock.ANY, "tag": tag}}
        early = []
        if TEMPLATE in extensions:
            early = [dict(info, type=TEMPLATE)]
        elif DEBUG in extensions and is_changed:
            early = [{"type": DEBUG, "info": info}]
        content = self.content.encode("utf-8")
        headers = [
            (b"content-length", b"%d" % len(content)),
            (b"content-type", b"text/html; charset=utf-8"),
            (b"x-tag", b"%d" % tag),
        ]
        return Response(early, 200, headers, last=content).trace()


def tagged(message, tag):
    """Return a copy of `message` that shows the tag of the call that sent it."""
    message = dict(message)
    if message.get("type") == START:
        if "headers" in message:
            message["headers"] = [*message["headers"], (b"x-tag", b"%d" % tag)]
    elif message.get("type") == BODY:
        if message.get("body"):
            message["body"] = b"%d:" % tag + message["body"]
    elif message.get("info"):
        message["info"] = with_tag(message["info"], tag)
    else:
        message = with_tag(message, tag)
    return message


def with_tag(info, tag):
    return dict(info, context=dict(info.get("context", {}), tag=tag))


def tags_of(messages):
    """Return the tags that `messages` show, but for bodies that are compressed."""
    tags = []
    if not shows_gzip(messages):
        tags += [int(tag) for tag in re.findall(rb"(\d+):", content_of(messages))]
    for message in messages:
        headers = message.get("headers", ())
        tags += [int(value) for name, value in headers if name == b"x-tag"]
        holder = message.get("info") or message
        if "context" in holder:
            tags.append(holder["context"]["tag"])
    return tags


# Requests.


class Client(typing.NamedTuple):
    """A client and its server."""

    #: What the scope says about extensions.
    scope: dict
    #: How many turns of the loop each message takes it.
    ticks: int = 0
    #: After how many messages it leaves, if at all.
    leaves_after: typing.Optional[int] = None


class Outcome(typing.NamedTuple):
    """What the server received, the errors that came out, and the log of `Hooks`."""

    messages: typing.List[dict]
    errors: typing.List[str]
    log: typing.List[tuple]


class Case(typing.NamedTuple):
    """One request: steps of the application, layers from the inside out, a client."""

    steps: list
    layers: typing.List[Layer]
    client: Client

    def app(self):
        """Return the application for the release that is installed."""
        template_response = TEMPLATE_RESPONSE.owner()

        async def program(scope, receive, send):
            hooks = scope["hooks"]
            tag = next(hooks.tags)
            for number, step in enumerate(self.steps):
                await hooks.gate()
                if isinstance(step, dict):
                    message = tagged(step, tag)
                    await send(message)
                    if is_early(message):
                        message["status"] = "The application uses it once more."
                elif isinstance(step, TemplateStep):
                    await step.send(template_response, tag, scope, receive, send)
                elif step == FAILS:
                    raise Failed
                elif step == YIELDS:
                    await hooks.backend.sleep(0)
                elif tag == hooks.first_tag:
                    # Only the first call: there is one request to receive.
                    assert (await receive())["body"] == b"content"
                hooks.log.append((tag, number))

        app = raw(program)
        for position, layer in enumerate(self.layers):
            app = layer.wrap(app, "Layer%d" % position)
        return app

    def expected(self, tag, begins_changed=lambda name: True):
        """Return the trace that the server should see.

        `begins_changed` says whether the function of the layer of this name, or of the
        template response, was changed when it began. It is called once for each call of
        that function.
        """
        extensions = self.client.scope.get("extensions", {})

        def application():
            messages = []
            for step in self.steps:
                if isinstance(step, dict):
                    messages.append(tagged(step, tag))
                elif isinstance(step, TemplateStep):
                    is_changed = begins_changed("template")
                    trace = step.trace(tag, extensions, is_changed)
                    messages += trace.messages
                    if trace.error is not None:
                        return Trace(messages, trace.error)
                elif step == FAILS:
                    return Trace(messages, "Failed")
            return Trace(messages)

        def carries(name):
            return begins_changed(name) and bool(extensions)

        trace = application
        for position, layer in enumerate(self.layers):
            name = "Layer%d" % position
            layer_carries = functools.partial(carries, name)
            trace = functools.partial(layer.trace, trace, layer_carries, name)
        return trace()

    def races(self):
        """Return whether the release itself does now this and now that."""
        try:
            trace = self.expected(0)
        except Unclear as exc:
            return isinstance(exc, Races)
        if HEEDS_DROPPED and any(layer.drops_a_response for layer in self.layers):
            # The application may be told that nobody reads on.
            return not TELLS_DROPPED or trace.error is not None
        # The stream may be closed while the application still sends.
        return RACES and trace.error is not None

    def serve(self, backend):
        """Serve it on the release that is installed; return what came of it."""
        return backend.run(lambda: self.ask(self.app(), Hooks(backend)))

    async def ask(self, app, hooks):
        """Make the request to `app`; return what came of it."""
        messages = hooks.received
        left = hooks.backend.Event()
        requests = [{"type": "http.request", "body": b"content", "more_body": False}]
        if self.client.leaves_after == 0:
            left.set()

        async def receive():
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            await hooks.gate()
            messages.append(dict(message))
            hooks.log.append(("server", message.get("type")))
            for _ in range(self.client.ticks):
                await hooks.backend.sleep(0)
            if len(messages) == self.client.leaves_after:
                left.set()

        scope = http_scope(
            headers=[(b"accept-encoding", b"gzip")], hooks=hooks, extensions=None
        )
        scope.update(self.client.scope)
        error = await failure(call(app, scope, receive, send))
        return Outcome(messages, names_of(error), list(hooks.log))


def names_of(error):
    """Return the names of the errors in `error`, with what our own error says."""
    if error is None:
        return []
    names = set()
    for leaf in leaves(error):
        name = type(leaf).__name__
        if name == "UnexpectedMessageError" and isinstance(leaf, AssertionError):
            what_happened, middleware, _ = str(leaf).split("\n")
            name = "%s %s" % (what_happened, middleware.rstrip(".").split(".")[-1])
        names.add(name)
    return sorted(names)


def check(case, outcome, first_tag=0, begins_changed=lambda name: True):
    """Compare `outcome` with what is expected.

    Raises Unclear where the contract says no more than that all is of one call of the
    application.
    """
    received = outcome.messages
    tag = check_own(received, first_tag)
    messages, error = case.expected(tag, begins_changed)
    errors = [] if error is None else [error]
    if not TELLS_DROPPED and "BrokenResourceError" in outcome.errors:
        raise Races("an application still sent when the response had ended")
    assert outcome.errors == errors
    is_zipped = shows_gzip(received)
    assert comparable(received, is_zipped) == comparable(messages, is_zipped)
    if is_zipped:
        content = zlib.decompressobj(wbits=31).decompress(content_of(received))
        assert content_of(messages).startswith(content)


def check_own(received, first_tag):
    """Check that all is of one call of the application; return the tag of that call."""
    tags = tags_of(received) or [first_tag]
    assert len(set(tags)) == 1
    assert 0 <= tags[0] - first_tag < 1000
    return tags[0]


def shows_gzip(messages):
    zipped_header = (b"content-encoding", b"gzip")
    return any(zipped_header in message.get("headers", ()) for message in messages)


UP_TO_GZIP = (b"content-encoding", b"content-length", b"vary")


def comparable(messages, is_zipped):
    """Return `messages` in one form, without what is up to gzip."""
    found = []
    for message in messages:
        message = dict(message)
        if message.get("type") == START:
            headers = message.get("headers", ())
            kept = [header for header in headers if header[0] not in UP_TO_GZIP]
            message["headers"] = sorted(kept)
        if message.get("type") == BODY:
            message.setdefault("body", b"")
            message.setdefault("more_body", False)
            if is_zipped:
                message["body"] = "zipped"
            if is_zipped and message["more_body"]:
                continue
        found.append(message)
    return found


# How a request is run to its end.


class Hooks:
    """What a request does on its way besides what its case says."""

    def __init__(self, backend, first_tag=0):
        self.backend = backend
        self.first_tag = first_tag
        self.tags = itertools.count(first_tag)
        #: What the server received.
        self.received = []
        #: What the application and the server did, in this order.
        self.log = []

    async def gate(self):
        """Stop, if it is to stop."""

    def begins(self, name, owner):
        """Take note that a function of `owner`, which may be changed, begins."""


class Asyncio:
    Event = asyncio.Event
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    async def both(function):
        tasks = [asyncio.ensure_future(function()) for _ in range(2)]
        await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    @staticmethod
    def run(function):
        loop = new_loop()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(asyncio.wait_for(function(), 20))
        finally:
            asyncio.set_event_loop(None)
            close(loop)


def new_loop():
    loop = asyncio.new_event_loop()
    # What it would complain about is left over by the release: tasks of responses that
    # were dropped.
    loop.set_exception_handler(lambda loop, context: None)
    return loop


def close(loop):
    # Up to Python 3.6 there is no `asyncio.all_tasks`.
    all_tasks = getattr(asyncio, "all_tasks", None) or asyncio.Task.all_tasks
    rest = all_tasks(loop)
    while rest:
        for task in rest:
            task.cancel()
        # On 0.13.7 a task may go on to wait, and has to be cancelled once more.
        _, rest = loop.run_until_complete(asyncio.wait(rest, timeout=0.01))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


try:
    import trio
except ImportError:
    trio = None
else:
    # It shuffles what it runs next: let it at least do so in the same way each time.
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True


class Trio:
    Event = getattr(trio, "Event", None)
    sleep = staticmethod(getattr(trio, "sleep", None))

    @staticmethod
    async def both(function):
        # In any order, trio would say. At once they run with asyncio.
        return [await function(), await function()]

    @staticmethod
    def run(function):
        async def limited():
            with trio.fail_after(20):
                return await function()

        trio._core._run._r.seed(0)
        return trio.run(limited)
