"""Requests that Hypothesis draws, and a model of the contract that says what should come of them.

A `Case` is one request: what the application does, the layers around it, and the client. `Case.expected` says what the
server should receive; that part is pure functions on messages. `Case.serve` asks the release that is installed.
Each call of an application has a number, its tag, and all that it sends carries this tag. So mixing can be seen.
"""

import asyncio
import importlib
import itertools
import re
import typing
import zlib

from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from support import ASGI2, CARRIER, NUMBERS, QUEUE, TemplateResponse, call, failure, http_scope, leaves, raw

START, BODY = "http.response.start", "http.response.body"
TEMPLATE, DEBUG, PUSH = "http.response.template", "http.response.debug", "http.response.push"

# What releases do differently, where the contract lets them.
NEEDS_BODY = NUMBERS < (0, 13, 5)  # Each body message must have a "body".
SKIPS_EMPTY = NUMBERS >= (0, 20, 1)  # Empty chunks are not sent on.
LOSES_ERRORS = (0, 17, 0) <= NUMBERS < (0, 19, 0)  # Errors after the start get lost.
RACES = (0, 15, 0) <= NUMBERS < (0, 17, 0)  # An error may overtake the messages sent before it.
HEEDS_DROPPED = not QUEUE  # An error behind a response that is dropped may still come out.


# The model.


class Trace(typing.NamedTuple):
    """What an application sends, and the error that it ends with, as `names_of` shows it."""

    messages: typing.List[dict]
    error: typing.Optional[str] = None


class Fails(Exception):
    """``call_next`` raises the error of this name."""


class Unclear(Exception):
    """The contract leaves this to the release."""


class Races(Unclear):
    """The release itself does now this and now that."""


OWN_HEADERS = [(b"content-length", b"3"), (b"content-type", b"text/plain; charset=utf-8")]
OWN = Trace([{"type": START, "status": 203, "headers": OWN_HEADERS}, {"type": BODY, "body": b"own"}])


def unexpected(received, expected, layer, carries):
    if not carries:
        return "AssertionError"
    shown = repr(received) if isinstance(received, str) else "a type of " + type(received).__name__
    return "Expected %r, but received %s. Layer%d" % (expected, shown, layer)


def call_next(trace, layer, carries):
    """Return what the response of ``call_next`` sends, for an application that would send `trace`."""
    messages, error = trace
    if RACES and error is not None:
        raise Races("an error may overtake messages")
    early = list(itertools.takewhile(lambda message: message.get("type", START) not in (START, BODY), messages))
    if early and not carries:
        raise Fails("AssertionError")
    if len(early) == len(messages):
        raise Fails(error or "RuntimeError")
    start, *followers = messages[len(early) :]
    if start.get("type") == BODY:
        raise Fails(unexpected(BODY, START, layer, carries))
    if not {"type", "status", "headers"} <= set(start):
        raise Fails("KeyError")
    sent = []
    ended = False
    for follower in followers:
        if ended:
            raise Unclear("some releases stop listening at the end of the body")
        if "type" not in follower or (NEEDS_BODY and follower["type"] == BODY and "body" not in follower):
            error = "KeyError"
            break
        if follower["type"] != BODY:
            error = unexpected(follower["type"], BODY, layer, carries)
            break
        chunk = follower.get("body", b"")
        if chunk or not SKIPS_EMPTY:
            sent.append({"type": BODY, "body": chunk, "more_body": True})
        ended = not follower.get("more_body", False)
    else:
        if error is not None and ended:
            raise Unclear("some releases stop listening at the end of the body")
        error = None if LOSES_ERRORS else error
    end = [] if error else [{"type": BODY, "body": b"", "more_body": False}]
    start = {"type": START, "status": start["status"], "headers": start["headers"]}
    return Trace([*early, start, *sent, *end], error)


def behind_middleware(kind, layer, app, carries):
    """Return the trace of `app` behind a middleware of this kind; `make_layer` does the same for the release.

    `app()` gives the trace of one call of the application, `carries()` whether this call of the middleware carries.
    """
    if kind == "raises before":
        return Trace([], "Refused")
    if kind == "answers itself":
        return OWN
    repeats = kind.startswith(("twice", "at once"))
    if not QUEUE:  # There it is `__call__` that begins, not `call_next`.
        first = carries()
        carries = lambda: first  # noqa: E731
    try:
        traces = []
        for _ in range(1 + repeats):
            began = carries()
            traces.append(call_next(app(), layer, began))
    except Fails as exc:
        if kind.startswith("at once") and HEEDS_DROPPED:
            raise Races("errors of two calls at once") from None
        return OWN if kind == "answers for errors" else Trace([], str(exc))
    trace = traces[-1 if kind.endswith("second") else 0]
    if HEEDS_DROPPED and (repeats or kind in ("raises after", "replaces the response")):
        if any(each.error is not None for each in traces):
            raise Races("an error behind a response that is dropped")
        if len(trace.messages) > 2 and (kind == "raises after" or NUMBERS < (0, 21, 0)):
            raise Races("what the application is told when nobody reads on")
    if kind == "raises after":
        return Trace([], "Refused")
    if kind == "replaces the response":
        return OWN
    count = [message["type"] for message in trace.messages].index(START)
    early, start, body = trace.messages[:count], dict(trace.messages[count]), trace.messages[count + 1 :]
    if kind == "adds a header":
        start["headers"] = [*(h for h in start["headers"] if h[0] != b"x-added"), (b"x-added", b"1")]
    if kind == "replaces raw_headers":
        start["headers"] = replaced(start["headers"])
    if kind == "reads the response":
        if trace.error is not None:
            return Trace([], trace.error)
        joined = b"".join(message["body"] for message in body)
        body = [{"type": BODY, "body": joined, "more_body": True}, body[-1]]
    return Trace([*early, start, *body], trace.error)


def behind_gzip(minimum_size, trace, carries):
    """Return `trace` behind gzip. The chunks stay as they are: the header says that they are compressed."""
    messages, error = trace
    types = [message.get("type", BODY) for message in messages]
    count = types.index(START) if START in types else len(messages)
    followers = [message for message in messages[count + 1 :] if message.get("type", BODY) in (START, BODY)]
    more = [follower.get("more_body", False) for follower in followers]
    starts = messages[count : count + 1]
    if (
        BODY in types[:count]
        or START in types[count + 1 :]
        or False in more[:-1]
        or not all({"type", "status", "headers"} <= set(start) for start in starts)
        or not all("type" in follower for follower in followers)
    ):
        raise Unclear("what gzip makes of messages that no server would take")
    early = messages[:count] if carries else []
    if not followers:
        return Trace(early, error)  # It waits for the body with the start.
    start = dict(starts[0])
    if more[0] or len(followers[0].get("body", b"")) >= minimum_size:
        start["headers"] = [*start["headers"], (b"content-encoding", b"gzip")]
        followers = [dict(follower, body=follower.get("body", b"")) for follower in followers]
    return Trace([*early, start, *followers], error)


def replaced(headers):
    """Return other headers, with those that tell what it is that is in the body."""
    return [*(h for h in headers if h[0] in (b"x-tag", b"content-encoding")), (b"x-replaced", b"1")]


# What an application does, one step after the other: it sends a message, or does one of these.
YIELDS, RECEIVES, FAILS = "yields", "receives", "fails"


class TemplateStep(typing.NamedTuple):
    """Send a template response of this content; it is the template as well."""

    content: str

    def render(self, context):
        return self.content


def tagged(message, tag):
    """Return a copy of `message` that shows the tag of the call that sent it."""
    message = dict(message)
    if message.get("type") == START:
        if "headers" in message:
            message["headers"] = [*message["headers"], (b"x-tag", b"%d" % tag)]
    elif message.get("type") != BODY:
        message["tag"] = tag
    elif message.get("body"):
        message["body"] = b"%d:" % tag + message["body"]
    return message


def tag_of(messages, first_tag):
    """Return the tag of `messages`, `first_tag` where only the body shows one: then there is one call."""
    for message in messages:
        if "tag" in message:
            return message["tag"]
        for name, value in message.get("headers", ()) if message.get("type") == START else ():
            if name == b"x-tag":
                return int(value)
    return first_tag


# The release. Whatever a case does, it does first what these hooks say.


class Hooks:
    """What a request does on its way: stop, and tell where a function begins that `apply()` may have changed."""

    def __init__(self, first_tag=0):
        self.first_tag = first_tag
        self.tags = itertools.count(first_tag)
        self.log = []  # What the application and the server did, in this order.

    async def gate(self):
        pass

    def begins(self, position, owner):
        pass


class Asyncio:
    """How cases wait, and how they are run to their end."""

    Event = asyncio.Event
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    async def both(function):
        # Tasks, because up to Python 3.7 `gather` would begin coroutines in any order.
        return await asyncio.gather(*[asyncio.ensure_future(function()) for _ in range(2)])

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
    # What it would complain about is left over by the release: tasks of responses that were dropped.
    loop.set_exception_handler(lambda loop, context: None)
    return loop


def close(loop):
    rest = asyncio.all_tasks(loop) if hasattr(asyncio, "all_tasks") else asyncio.Task.all_tasks(loop)
    while rest:
        for task in rest:
            task.cancel()
        # On 0.13.7 a task may go on to wait, and has to be cancelled once more.
        _, rest = loop.run_until_complete(asyncio.wait(rest, timeout=0.01))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class Trio:
    """The same for trio, on the releases that are made for it."""

    try:
        if QUEUE:
            raise RuntimeError("this release is made for asyncio alone")
        if RACES:
            raise RuntimeError("a middleware of this release now and then returns no response, unpatched as well")
        import trio

        Event = trio.Event
        sleep = staticmethod(trio.sleep)
        missing = None
        # It shuffles what it runs next: at least let it do so in the same way each time.
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    except Exception as exc:  # The trio that these releases need is not for Python 3.11 and later.
        missing = "trio cannot be used here: %s" % (exc,)

    @staticmethod
    async def both(function):
        return [await function(), await function()]  # In any order, trio would say. At once they run with asyncio.

    @classmethod
    def run(cls, function):
        async def limited():
            with cls.trio.fail_after(20):
                return await function()

        cls.trio._core._run._r.seed(0)
        return cls.trio.run(limited)


class Refused(Exception):
    """Raised by a middleware."""


class Failed(Exception):
    """Raised by an application."""


# The functions that `apply()` changes on this release.
CHANGED = {
    "base": ("starlette.middleware.base", "BaseHTTPMiddleware", CARRIER),
    "gzip": ("starlette.middleware.gzip", "GZipResponder", "__init__" if ASGI2 else "__call__"),
    "template": (TemplateResponse.__module__, TemplateResponse.__name__, "__call__"),
}


def owner(kind):
    """Return the class of a function that `apply()` changes, from the module that is imported at this moment."""
    module, class_name, _ = CHANGED[kind]
    return getattr(importlib.import_module(module), class_name)


def make_layer(kind, position, app, backend):
    """Return `app` behind a layer of this kind; `Case.expected` says what becomes of its messages."""
    if kind.startswith("gzip"):
        responder = owner("gzip")
        zipping = importlib.import_module("starlette.middleware.gzip").GZipMiddleware(app, int(kind[5:]))

        async def gzip(scope, receive, send):
            scope["hooks"].begins(position, responder)
            await call(zipping, scope, receive, send)

        return raw(gzip)
    if kind == "plain ASGI":

        async def copying(scope, receive, send):
            async def send_copy(message):
                await send(dict(message))

            await call(app, scope, receive, send_copy)

        return raw(copying)

    async def dispatch(request, call_next):
        hooks = request["hooks"]
        if not QUEUE:
            hooks.begins(position, middleware)
        await hooks.gate()

        async def ask():
            if QUEUE:
                hooks.begins(position, middleware)
            return await call_next(request)

        if kind == "raises before":
            raise Refused
        if kind == "answers itself":
            return PlainTextResponse("own", status_code=203)
        try:
            if kind.startswith("twice"):
                responses = [await ask(), await ask()]
            elif kind.startswith("at once"):
                responses = await backend.both(ask)
            else:
                responses = [await ask()]
        except Exception:
            if kind == "answers for errors":
                return PlainTextResponse("own", status_code=203)
            raise
        await hooks.gate()
        response = responses[-1 if kind.endswith("second") else 0]
        if kind == "raises after":
            raise Refused
        if kind == "replaces the response":
            return PlainTextResponse("own", status_code=203)
        if kind == "adds a header":
            response.headers["x-added"] = "1"
        if kind == "replaces raw_headers":
            response.raw_headers = replaced(response.raw_headers)
        if kind == "reads the response":
            content = b"".join([chunk async for chunk in response.body_iterator])

            async def once():
                yield content

            response.body_iterator = once()
        return response

    middleware = owner("base")
    dispatch.__qualname__ = "Layer%d" % position
    if kind in FUNCTIONS:
        return middleware(app, dispatch=dispatch)

    async def method(self, request, call_next):
        return await dispatch(request, call_next)

    return type("Layer%d" % position, (middleware,), {"dispatch": method})(app)


class Client(typing.NamedTuple):
    """What it offers, how many turns of the loop each message takes it, and after which one it leaves, if at all."""

    scope: dict
    ticks: int = 0
    leaves_after: typing.Optional[int] = None


class Outcome(typing.NamedTuple):
    """What the server received, the errors that came out, and what the application and the server did in turn."""

    messages: typing.List[dict]
    errors: typing.List[str]
    log: typing.List[tuple]

    def timeless(self):
        """Return the same without the time of day, which gzip puts into the body."""
        messages = [dict(message) for message in self.messages]
        for message in messages:
            if isinstance(message.get("body"), bytes):
                message["body"] = re.sub(rb"^(\x1f\x8b\x08\x00)....", rb"\1time", message["body"], flags=re.S)
        return self._replace(messages=messages)


def names_of(error):
    """Return the names of the errors in `error`, with what an UnexpectedMessageError says."""
    found = set()
    for one in leaves(error) if error is not None else ():
        name = type(one).__name__
        if name == "UnexpectedMessageError" and isinstance(one, AssertionError):
            what, layer, _ = str(one).split("\n")
            name = "%s %s" % (what, layer.rstrip(".").split(".")[-1])
        found.add(name)
    return sorted(found)


class Case(typing.NamedTuple):
    """One request: steps of the application, layers from the inside out, and the client."""

    steps: list
    layers: typing.List[str]
    client: Client

    def expected(self, tag, begins_changed=lambda position: True):
        """Return the trace that the server should see.

        `begins_changed` tells whether the function of the layer at a position, or of the template response, was
        changed when it began; it is called once for each call of that function.
        """
        offered = self.client.scope.get("extensions")

        def carries(position):
            return begins_changed(position) and bool(offered)

        def application():
            messages = []
            for step in self.steps:
                if step == FAILS:
                    return Trace(messages, "Failed")
                if isinstance(step, dict):
                    messages.append(tagged(step, tag))
                elif isinstance(step, TemplateStep):
                    changed = begins_changed("template")
                    if self.client.scope.get("extensions", ()) is None:
                        return Trace(messages, "TypeError")  # The release cannot look into that.
                    if TEMPLATE in (offered or ()):
                        messages.append({"type": TEMPLATE, "template": step, "tag": tag})
                    elif DEBUG in (offered or ()) and changed:
                        messages.append({"type": DEBUG, "template": step, "tag": tag})
                    content = step.content.encode("utf-8")
                    headers = [(b"content-length", b"%d" % len(content)), (b"x-tag", b"%d" % tag)]
                    headers.append((b"content-type", b"text/html; charset=utf-8"))
                    messages += [{"type": START, "status": 200, "headers": headers}, {"type": BODY, "body": content}]
            return Trace(messages)

        def behind(number):
            if number == 0:
                return application()
            kind = self.layers[number - 1]
            if kind == "plain ASGI":
                return behind(number - 1)
            if kind.startswith("gzip"):
                began = carries(number - 1)
                return behind_gzip(int(kind[5:]), behind(number - 1), began)
            return behind_middleware(kind, number - 1, lambda: behind(number - 1), lambda: carries(number - 1))

        return behind(len(self.layers))

    def races(self):
        """Return whether the release itself does now this and now that."""
        try:
            self.expected(0)
        except Unclear as exc:
            return isinstance(exc, Races)
        return False

    def without_early(self):
        """Return the same, but that the application sends nothing before the start."""
        steps, started = [], False
        for step in self.steps:
            started = started or (isinstance(step, dict) and step.get("type") == START)
            if started or not isinstance(step, dict) or step.get("type", BODY) == BODY:
                steps.append(step)
        offered = self.client.scope["extensions"]
        if any(isinstance(step, TemplateStep) for step in steps):
            offered = {name: offered[name] for name in offered if name not in (TEMPLATE, DEBUG)} or {"x.unknown": {}}
        return self._replace(steps=steps, client=self.client._replace(scope={"extensions": offered}))

    def app(self, backend=Asyncio):
        """Return the application of this release."""
        template_response = owner("template")

        async def program(scope, receive, send):
            hooks = scope["hooks"]
            tag = next(hooks.tags)
            for number, step in enumerate(self.steps):
                await hooks.gate()
                if step == YIELDS:
                    await backend.sleep(0)
                elif step == RECEIVES:
                    if tag == hooks.first_tag:  # There is one request to receive.
                        assert (await receive())["body"] == b"content"
                elif step == FAILS:
                    raise Failed
                elif isinstance(step, TemplateStep):
                    response = template_response(step, {"request": Request(scope), "tag": tag})
                    response.raw_headers.append((b"x-tag", b"%d" % tag))
                    hooks.begins("template", template_response)
                    await (response(receive, send) if ASGI2 else response(scope, receive, send))
                else:
                    await send(tagged(step, tag))
                hooks.log.append((tag, number))

        app = raw(program)
        for position, kind in enumerate(self.layers):
            app = make_layer(kind, position, app, backend)
        return app

    async def ask(self, app, hooks, backend=Asyncio):
        """Make the request to `app`; return the outcome."""
        messages = []
        left = backend.Event()
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
            messages.append(seen(message))
            hooks.log.append(("server", message.get("type")))
            for _ in range(self.client.ticks):
                await backend.sleep(0)
            if len(messages) == self.client.leaves_after:
                left.set()

        scope = http_scope(headers=[(b"accept-encoding", b"gzip")], hooks=hooks)
        scope.pop("extensions", None)
        scope.update(self.client.scope)
        error = await failure(call(app, scope, receive, send))
        return Outcome(messages, names_of(error), list(hooks.log))

    def serve(self, backend=Asyncio):
        """Serve it on this release, and return what came of it."""
        return backend.run(lambda: self.ask(self.app(backend), Hooks(), backend))


def seen(message):
    """Return a copy of `message` as the model has it."""
    info = message.get("info") or message
    if isinstance(info.get("template"), TemplateStep):
        return {"type": message["type"], "template": info["template"], "tag": info["context"]["tag"]}
    return dict(message)


def check(case, outcome, first_tag=0, begins_changed=lambda position: True):
    """Compare the outcome with what is expected. Raises Unclear where the contract says no more than that all is of one
    call of the application, and that nothing but the body comes after the start.
    """
    tag = tag_of(outcome.messages, first_tag)
    assert 0 <= tag - first_tag < 1000
    types = [message.get("type") for message in outcome.messages]
    if START in types and any(kind != "plain ASGI" for kind in case.layers):
        assert set(types[types.index(START) + 1 :]) <= {BODY}
    for message in outcome.messages:
        assert message.get("tag", tag) == tag
        headers = message.get("headers", ()) if message.get("type") == START else ()
        assert all(int(value) == tag for name, value in headers if name == b"x-tag")
    messages, error = case.expected(tag, begins_changed)
    expected = [error] * (error is not None)
    if RACES and outcome.errors and outcome.errors != expected:
        raise Races("an application that still sends as its response ends may find the stream closed")
    assert outcome.errors == expected
    zipped = any((b"content-encoding", b"gzip") in message.get("headers", ()) for message in messages)
    assert simple(outcome.messages, zipped) == simple(messages, zipped)
    if zipped:
        decompressor = zlib.decompressobj(wbits=31)
        content = decompressor.decompress(content_of(outcome.messages)) + decompressor.flush()
        assert content_of(messages).startswith(content)
        assert not decompressor.eof or content == content_of(messages)


def content_of(messages):
    return b"".join(message.get("body", b"") for message in messages if message.get("type") == BODY)


def simple(messages, zipped):
    """Return `messages` in one form, without what the model does not say: compressed bodies and their length."""
    found = []
    for message in messages:
        if message.get("type") == BODY:
            message = dict({"body": b"", "more_body": False}, **message)
            if zipped:
                if message["more_body"]:
                    continue
                del message["body"]
        elif message.get("type") == START:
            headers = message.get("headers", ())
            unsaid = (b"content-length", b"vary") if zipped else ()
            message = dict(message, headers=sorted(header for header in headers if header[0] not in unsaid))
        found.append(message)
    return found


# Strategies.

CARRYING = ["passes", "adds a header", "replaces raw_headers", "reads the response", "answers for errors", "plain ASGI"]
TURNS = ["twice, the first", "twice, the second"]
AT_ONCE = ["at once, the first", "at once, the second"]
ENDING = ["replaces the response", "raises before", "raises after", "answers itself"]
GZIP = ["gzip 0", "gzip 10", "gzip 500"]
FUNCTIONS = {"adds a header", "reads the response", "twice, the second"}  # No subclasses.

# Whatever else they have, the type tells what they are.
early_messages = st.sampled_from(
    [PUSH, TEMPLATE, DEBUG, "x.unknown", START + " ", "\x00\n\u6f22'", "", None, b"http.response.start"]
).map(lambda kind: {"type": kind, "status": 500, "headers": [(b"x-early", b"1")], "body": b"early", "more_body": True})
starts = st.sampled_from([[], [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-b", b"3")], [(b"x-added", b"0")]]).map(
    lambda headers: {"type": START, "status": 201, "headers": headers}
)
chunks = st.sampled_from([b"chunk", b"", b"\x00", b"x" * 30]).map(
    lambda chunk: {"type": BODY, "body": chunk, "more_body": True}
)
last_chunks = st.sampled_from([{"body": b"last", "more_body": False}, {"body": b"x" * 30}, {}]).map(
    lambda body: dict(body, type=BODY)
)
nonsense = st.sampled_from(
    [{"type": START, "headers": []}, {"type": START, "status": 200}, {"type": BODY, "more_body": True}, {"headers": []}]
)
templates = st.sampled_from(["page", "<h1>\u6f22</h1>", "x" * 30]).map(TemplateStep)
pauses = st.lists(st.tuples(st.sampled_from([YIELDS] * 4 + [FAILS]), st.integers(0, 9)), max_size=2)

nothing = st.sampled_from([{}, {"extensions": None}, {"extensions": {}}])
something = st.sampled_from([[TEMPLATE, DEBUG], [TEMPLATE], [DEBUG], [PUSH], ["x.unknown"]]).map(
    lambda names: {"extensions": {name: {} for name in names}}
)


def clients(offers, may_leave=False):
    # On 0.13.3 to 0.13.8 it is chance whether a response sends first or listens for the client first.
    may_leave = may_leave and not (0, 13, 3) <= NUMBERS < (0, 14, 0)
    return st.builds(Client, offers, st.integers(0, 3), st.none() | st.integers(0, 5) if may_leave else st.none())


@st.composite
def steps(draw):
    """Mostly what a server would take, with early messages; sometimes anything at all."""
    kind = draw(st.sampled_from(["response"] * 3 + ["template"] * 2 + ["misplaced", "anything"]))
    if kind == "anything":
        found = draw(st.lists(early_messages | starts | chunks | last_chunks | nonsense, max_size=6))
    else:
        found = draw(st.lists(early_messages, min_size=draw(st.integers(0, 2)), max_size=3))
        if kind == "template":
            found += [draw(templates)]
        else:
            found += [draw(starts), *draw(st.lists(chunks, max_size=3))]
            if kind == "misplaced":
                found += [draw(early_messages | starts), *draw(st.lists(chunks, max_size=1))]
            else:
                found += draw(st.lists(last_chunks, max_size=1))
    for step, position in draw(pauses):
        found.insert(position, step)
    return draw(st.sampled_from([[], [RECEIVES]])) + found


@st.composite
def cases(draw, clients, kinds=tuple(CARRYING * 3 + TURNS + AT_ONCE + ENDING)):
    layers = draw(st.lists(st.sampled_from(kinds), min_size=draw(st.sampled_from([1, 1, 1, 0])), max_size=3))
    for gzip in draw(st.lists(st.sampled_from(GZIP), max_size=1)):
        layers.insert(draw(st.integers(0, len(layers))), gzip)
    return Case(draw(steps()), layers, draw(clients))
