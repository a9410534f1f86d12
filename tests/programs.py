"""What the properties are about: an application, what it is behind, and the client; drawn by Hypothesis.

A `Case` knows both what the model makes of it and how to serve it on the release that is there.
"""

import ast
import asyncio
import functools
import importlib
import itertools
import re
import typing

import model
from hypothesis import strategies as st
from model import BODY, START
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from support import (
    ASGI2,
    NUMBERS,
    QUEUE,
    TemplateResponse,
    UnexpectedMessageError,
    call,
    failure,
    http_scope,
    leaves,
    raw,
)

FACTS = model.Facts(
    needs_body=NUMBERS < (0, 13, 5),
    skips_empty=NUMBERS >= (0, 20, 1),
    loses_errors=(0, 17, 0) <= NUMBERS < (0, 19, 0),
    races=(0, 15, 0) <= NUMBERS < (0, 17, 0),
    heeds_dropped=not QUEUE,
)

TEMPLATE = "http.response.template"
DEBUG = "http.response.debug"
PUSH = "http.response.push"


class Failed(Exception):
    """Raised by an application."""


class Refused(Exception):
    """Raised by a middleware."""


class Asyncio:
    """How programs and clients wait, and how they are run to their end."""

    Event = asyncio.Event
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    async def both(function):
        # Tasks, as up to Python 3.7 coroutines would be begun in any order.
        return await asyncio.gather(*[asyncio.ensure_future(function()) for _ in range(2)])

    @staticmethod
    def run(function, timeout=20):
        loop = new_loop()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(asyncio.wait_for(function(), timeout))
        finally:
            asyncio.set_event_loop(None)
            close(loop)


def new_loop():
    loop = asyncio.new_event_loop()
    # What is left over is of the release's making: tasks of responses that were dropped.
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
        import trio

        Event = trio.Event
        sleep = staticmethod(trio.sleep)
        missing = None
        # It shuffles what it runs next: at least let it do so in the same way each time.
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    except Exception as exc:  # The trio that these releases need is not for Python 3.11 and later.
        missing = "trio cannot be used here: %s" % (exc,)

    @classmethod
    async def both(cls, function):
        results = [None, None]

        async def one(number):
            try:
                results[number] = await function()
            except Exception as exc:  # As it is with asyncio, the other one goes on.
                results[number] = exc

        async with cls.trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            nursery.start_soon(one, 1)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    @classmethod
    def run(cls, function, timeout=20):
        async def limited():
            with cls.trio.fail_after(timeout):
                return await function()

        cls.trio._core._run._r.seed(0)
        return cls.trio.run(limited)


# What an application does, one step after the other: sends a message, or one of these.
YIELD, RECEIVE, FAIL = "yields", "receives", "fails"


class TemplateStep(typing.NamedTuple):
    """Send a template response of this content."""

    content: str

    def render(self, context):
        return self.content


Step = typing.Union[str, dict, TemplateStep]


def tagged(step: dict, run: int) -> dict:
    """Return the message of `step`, marked as one of the `run`-th call of the application."""
    message = dict(step)
    if step.get("type") == START:
        if "headers" in step:
            message["headers"] = [*step["headers"], (b"x-run", b"%d" % run)]
    elif step.get("type") != BODY:
        message["run"] = run
    elif step.get("body"):
        message["body"] = bytes([ord("a") + run]) + step["body"]
    return message


# The kinds of middleware; `model.behind` says what becomes of the response.
LAYERS = [
    "passes through",
    "adds a header",
    "replaces raw_headers",
    "reads the request",
    "reads the response",
    "replaces the response",
    "twice, the first",
    "twice, the second",
    "at once, the first",
    "at once, the second",
    "answers itself",
    "raises before",
    "raises after",
    "answers for errors",
]


async def stop(scope):
    """Stop where the application or a middleware might as well do so, if that is asked for."""
    if "gate" in scope:
        await scope["gate"]()


def make_layer(kind, app, backend):
    async def dispatch(self, request, call_next):
        await stop(request)
        if kind == "raises before":
            raise Refused("before")
        if kind == "answers itself":
            return PlainTextResponse("own", status_code=203)
        if kind == "reads the request":
            await request.body()
        if kind == "answers for errors":
            try:
                responses = [await call_next(request)]
            except Exception:
                return PlainTextResponse("own", status_code=203)
        elif kind.startswith("twice"):
            responses = [await call_next(request), await call_next(request)]
        elif kind.startswith("at once"):
            responses = await backend.both(lambda: call_next(request))
        else:
            responses = [await call_next(request)]
        await stop(request)
        response = responses[-1 if kind.endswith("second") else 0]
        if kind == "raises after":
            raise Refused("after")
        if kind == "replaces the response":
            return PlainTextResponse("own", status_code=203)
        if kind == "adds a header":
            response.headers["x-added"] = "1"
        if kind == "replaces raw_headers":
            response.raw_headers = [h for h in response.raw_headers if h[0] == b"x-run"] + [(b"x-replaced", b"1")]
        if kind == "reads the response":
            content = b"".join([chunk async for chunk in response.body_iterator])

            async def once():
                yield content

            response.body_iterator = once()
        return response

    base = importlib.import_module("starlette.middleware.base")
    return type("Layer", (base.BaseHTTPMiddleware,), {"dispatch": dispatch})(app)


class Client(typing.NamedTuple):
    """Who asks: what it offers, how many ticks each message takes it, and when it leaves, if it does."""

    extensions: typing.Optional[typing.Tuple[str, ...]]
    ticks: int = 0
    leaves_after: typing.Optional[int] = None


class Outcome(typing.NamedTuple):
    """What a server receives, and the names of the errors that come out."""

    messages: typing.List[dict]
    errors: typing.List[str]

    def plain(self) -> typing.List[dict]:
        """Return the messages of plain HTTP."""
        return [message for message in self.messages if message.get("type", BODY) in (START, BODY)]

    def timeless(self) -> "Outcome":
        """Return the same without the time of day, which gzip puts into the body."""
        for message in self.messages:
            if isinstance(message.get("body"), bytes):
                message["body"] = re.sub(rb"^(\x1f\x8b\x08\x00)....", rb"\1time", message["body"], flags=re.S)
        return self

    def as_unpatched(self) -> typing.Any:
        """Return what of it is not of the backport's making, nor of the time of day."""
        errors = [re.sub("^(AssertionError: ).+", r"\1", error, flags=re.S) for error in self.errors]
        return self.timeless().plain(), errors


class Case(typing.NamedTuple):
    """One request: the application, the layers from the inside out, where gzip is among them, the client."""

    steps: typing.List[Step]
    layers: typing.List[str]
    # Its position among the layers and the size from which on it compresses.
    gzip: typing.Optional[typing.Tuple[int, int]]
    client: Client

    def expected(self, run: int, carries: bool = True, debug: bool = True) -> model.Trace:
        """Return what the server should receive if the response is that of the `run`-th call."""
        facts = FACTS._replace(carries=carries)
        app = functools.partial(self._trace, run, debug)
        for position, layer in enumerate([*self.layers, None]):
            if self.gzip is not None and self.gzip[0] == position:
                app = model.behind_gzip(app, self.gzip[1], facts)
            if layer is not None:
                app = model.behind(layer, app, facts)
        return app()

    def _trace(self, run: int, debug: bool) -> model.Trace:
        messages: typing.List[dict] = []
        for step in self.steps:
            if step == FAIL:
                return model.Trace(messages, "Failed: application")
            if isinstance(step, dict):
                messages.append(tagged(step, run))
            elif isinstance(step, TemplateStep):
                offered = self.client.extensions or ()
                if TEMPLATE in offered:
                    messages.append({"type": TEMPLATE, "template": step, "run": run})
                elif DEBUG in offered and debug:
                    messages.append({"type": DEBUG, "template": step, "run": run})
                headers = [(b"content-length", b"%d" % len(step.content.encode("utf-8")))]
                headers += [(b"content-type", b"text/html; charset=utf-8"), (b"x-run", b"%d" % run)]
                messages.append({"type": START, "status": 200, "headers": headers})
                messages.append({"type": BODY, "body": step.content.encode("utf-8")})
        return model.Trace(messages)

    def without_early(self) -> "Case":
        """Return the same, but that the application sends nothing before the start."""
        steps = list(self.steps)
        for position, step in enumerate(self.steps):
            if isinstance(step, dict) and step.get("type", START) not in (START, BODY):
                steps[position] = None
            elif isinstance(step, (dict, TemplateStep)):
                break
        client = self.client
        if any(isinstance(step, TemplateStep) for step in steps):
            client = client._replace(extensions=None)
        return self._replace(steps=[step for step in steps if step is not None], client=client)

    def app(self, backend=Asyncio):
        """Return the application of this release."""

        async def program(scope, receive, send):
            run = next(scope["runs"])
            for step in self.steps:
                await stop(scope)
                if step == YIELD:
                    await backend.sleep(0)
                elif step == RECEIVE:
                    await receive()
                elif step == FAIL:
                    raise Failed("application")
                elif isinstance(step, TemplateStep):
                    response = TemplateResponse(step, {"request": Request(scope), "run": run})
                    response.raw_headers.append((b"x-run", b"%d" % run))
                    await (response(receive, send) if ASGI2 else response(scope, receive, send))
                else:
                    await send(tagged(step, run))

        app = raw(program)
        for position, layer in enumerate([*self.layers, None]):
            if self.gzip is not None and self.gzip[0] == position:
                # The modules are looked up, as they may have been imported again.
                gzip = importlib.import_module("starlette.middleware.gzip")
                app = gzip.GZipMiddleware(app, minimum_size=self.gzip[1])
            if layer is not None:
                app = make_layer(layer, app, backend)
        return app

    async def ask(self, app, backend=Asyncio, **scope) -> Outcome:
        messages: typing.List[dict] = []
        left = backend.Event()
        if self.client.leaves_after == 0:
            left.set()
        requests = [{"type": "http.request", "body": b"content", "more_body": False}]

        async def receive():
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            messages.append(_seen(message))
            received = len(Outcome(messages, []).plain())
            # For a client that leaves, early messages take no time: it should be gone at the same moment.
            if self.client.leaves_after is None or message.get("type") in (START, BODY):
                for _ in range(self.client.ticks):
                    await backend.sleep(0)
            if received == self.client.leaves_after:
                left.set()

        # How often the application is called for this request.
        scope = http_scope(headers=[(b"accept-encoding", b"gzip")], runs=itertools.count(), **scope)
        if self.client.extensions is not None:
            scope["extensions"] = {name: {} for name in self.client.extensions}
        error = await failure(call(app, scope, receive, send))
        return Outcome(messages, sorted({_name(leaf) for leaf in leaves(error)}) if error is not None else [])

    def serve(self, backend=Asyncio) -> Outcome:
        """Serve it on this release, and return what came of it."""
        return backend.run(lambda: self.ask(self.app(backend), backend))


def _name(error: BaseException) -> str:
    """Return what the model calls `error`."""
    text = re.match(
        r"Layer got (.*) from the application behind it, but expected '(http\.response\.\w+)'\. ", str(error), re.S
    )
    if isinstance(error, UnexpectedMessageError) and text:
        received, expected = text.groups()
        received = received if received.startswith("a type of") else ast.literal_eval(received)
        return model.unexpected(received, expected)
    return "%s: %s" % (type(error).__name__, error)


def _seen(message: dict) -> dict:
    """Return `message` as the model has it."""
    info = message.get("info", message)
    if isinstance(info.get("template"), TemplateStep):
        return {"type": message["type"], "template": info["template"], "run": info["context"]["run"]}
    return dict(message)


# Strategies.

early_messages = st.sampled_from(
    [
        {"type": PUSH, "path": "/style.css", "headers": []},
        {"type": TEMPLATE, "template": None, "context": {}},
        {"type": DEBUG, "info": {"template": None, "context": {"request": None}}},
        {"type": DEBUG},
        {"type": "x.unknown", "status": 500, "headers": [(b"x-early", b"1")], "body": b"early", "more_body": True},
        {"type": START + " "},
        {"type": "\x00\n\u6f22'"},
        {"type": ""},
        {"type": None},
        {"type": b"http.response.start"},
    ]
)
starts = st.sampled_from(
    [
        {"type": START, "status": 200, "headers": []},
        {"type": START, "status": 404, "headers": [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-b", b"3")]},
        {"type": START, "status": 200, "headers": [(b"x-added", b"0")]},
    ]
)
chunks = st.sampled_from(
    [{"type": BODY, "body": chunk, "more_body": True} for chunk in (b"chunk", b"", b"\x00", b"x" * 30)]
)
last_chunks = st.sampled_from(
    [
        {"type": BODY, "body": b"last", "more_body": False},
        {"type": BODY, "body": b"x" * 30},
        {"type": BODY, "body": b"", "more_body": False},
        {"type": BODY},
    ]
)
odd_messages = st.sampled_from(
    [
        {"type": START, "headers": []},
        {"type": START, "status": 200},
        {"type": BODY, "more_body": True},
        {"status": 200, "headers": []},
        {"body": b"no type"},
        {},
    ]
)
_valid = st.tuples(
    st.lists(early_messages, max_size=3),
    starts.map(lambda start: [start]),
    st.lists(chunks, max_size=3),
    st.lists(last_chunks, max_size=1),
)
_template = st.tuples(
    st.lists(early_messages, max_size=2),
    st.sampled_from(["page", "<h1>\u6f22</h1>", "x" * 30]).map(lambda content: [TemplateStep(content)]),
)
_anything = st.tuples(st.lists(early_messages | starts | chunks | last_chunks | odd_messages, max_size=6))
_others = st.lists(st.tuples(st.sampled_from([YIELD, YIELD, YIELD, FAIL]), st.integers(0, 9)), max_size=3)


@st.composite
def programs(draw):
    """Mostly what a server would take, with early messages; sometimes anything at all."""
    steps = [step for part in draw(st.one_of(_valid, _valid, _template, _anything)) for step in part]
    for step, position in draw(_others):
        steps.insert(position, step)
    return steps


_extensions = st.none() | st.lists(st.sampled_from([TEMPLATE, DEBUG, PUSH]), unique=True).map(tuple)
patient_clients = st.builds(Client, _extensions, st.integers(0, 3), st.none())
any_clients = patient_clients
# These begin to send and to listen for the client in any order; and 0.13.7, whose queue takes one message,
# waits for ever when the client leaves.
if not (0, 13, 3) <= NUMBERS < (0, 14, 0):
    any_clients |= st.builds(Client, _extensions, st.integers(0, 3), st.integers(0, 4))


@st.composite
def cases(draw, clients):
    steps = draw(programs())
    layers = draw(st.lists(st.sampled_from(LAYERS), max_size=4))
    gzip = draw(st.none() | st.tuples(st.integers(0, len(layers)), st.sampled_from([0, 10, 500])))
    # There is one request to read: whoever waits for another one waits until the client leaves.
    readers = [number for number, layer in enumerate(layers) if layer == "reads the request"]
    for number in readers[1:] if not any(layer.startswith(("twice", "at once")) for layer in layers) else readers:
        layers[number] = "passes through"
    repeated = any(layer.startswith(("twice", "at once")) for layer in layers)
    if not readers and not repeated and draw(st.booleans()):
        sent = [number for number, step in enumerate(steps) if isinstance(step, (dict, TemplateStep))]
        steps.insert(draw(st.integers(0, (sent or [len(steps)])[0])), RECEIVE)
    return Case(steps, layers, gzip, draw(clients))
