"""What tests share: facts of the release, raw ASGI applications, and a server."""

import asyncio
import importlib
import os
import re
import subprocess
import sys
import types
from unittest import mock

import starlette
import starlette.middleware.base
import starlette.responses
from starlette.middleware.base import BaseHTTPMiddleware

import starlette_backport

try:
    from starlette.templating import _TemplateResponse as TemplateResponse
except ImportError:
    # Before 0.10.4; and up to 0.9.8, which is not affected, there is none.
    TemplateResponse = getattr(starlette.responses, "TemplateResponse", None)

RELEASE = starlette.__version__
NUMBERS = tuple(int(number) for number in re.findall(r"\d+", RELEASE)[:3])

AFFECTED = (0, 9, 9) <= NUMBERS < (0, 24, 0)

# Whether this is a build with the diffs in patches/: then there is nothing to apply.
FORK = hasattr(starlette.middleware.base, "_early_messages")
UnexpectedMessageError = (
    starlette.middleware.base._early_messages if FORK else starlette_backport
).UnexpectedMessageError
ASGI2 = NUMBERS < (0, 12, 0)
QUEUE = NUMBERS < (
    0,
    15,
    0,
)  # Hands messages over through a queue; from 0.15.0 on through a memory stream.
# Responses send themselves by a method of this name, and not in `__call__`.
HAS_STREAM_RESPONSE = hasattr(starlette.responses.StreamingResponse, "stream_response")

# The function that takes the application's messages.
CARRIER = "call_next" if QUEUE else "__call__"

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"body", "more_body": False}
PUSH = {"type": "http.response.push", "path": "/style.css", "headers": []}
DEBUG = {"type": "http.response.debug", "info": {"template": "debug", "context": {}}}
UNKNOWN = {"type": "x.unknown"}

# The last release of each form: for what takes long and hardly depends on the release.
LAST_OF_FORM = ("0.11.4", "0.14.2", "0.23.1")

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def only_if(condition):
    """Leave a test out where it has nothing to say. This is the outermost decorator."""
    return lambda test: test if condition else None


# A patched build cannot be compared with itself as it was.
needs_unpatched = only_if(not FORK)


def start(**kwargs):
    return dict(START, headers=[], **kwargs)


def body(content=b"body", more_body=False):
    return {"type": "http.response.body", "body": content, "more_body": more_body}


def raw(program):
    """Return ``async def program(scope, receive, send)`` in this release's ASGI."""
    if ASGI2:
        return lambda scope: lambda receive, send: program(scope, receive, send)
    return program


def sending(*messages):
    """Return an application that sends copies of `messages`, or raises them."""

    async def program(scope, receive, send):
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            message = dict(message)
            if "headers" in message:
                message["headers"] = list(message["headers"])
            await send(message)

    return raw(program)


def middleware(dispatch):
    """Return a middleware class with this ``dispatch(self, request, call_next)``."""
    return type("Middleware", (BaseHTTPMiddleware,), {"dispatch": dispatch})


@middleware
async def PassThrough(self, request, call_next):
    return await call_next(request)


def http_scope(**kwargs):
    """Return a scope that offers an extension; it has no key for `extensions=None`."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "extensions": {"x.test": {}},
    }
    scope.update(kwargs)
    if scope["extensions"] is None:
        del scope["extensions"]
    return scope


def run(coroutine, timeout=20):
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(asyncio.wait_for(coroutine, timeout))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def call(app, scope, receive, send):
    """Call `app` by this release's protocol."""
    if ASGI2:
        await app(scope)(receive, send)
    else:
        await app(scope, receive, send)


async def exchange(app, scope=None, received=None):
    """Return what a server gets from `app` for one request, and the error or None."""
    received = [] if received is None else received
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if requests:
            return requests.pop()
        await asyncio.Event().wait()  # The client stays until it has got its response.

    async def send(message):
        received.append(dict(message))

    return received, await failure(
        call(app, http_scope() if scope is None else scope, receive, send)
    )


async def failure(coroutine):
    """Return what `coroutine` raises, or None."""
    try:
        await coroutine
    except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        raise
    except (
        BaseException
    ) as exc:  # anyio 3 has groups of exceptions that are not an Exception.
        return exc
    return None


def serve(app, scope=None, received=None):
    """`exchange`, from outside of a running loop."""
    return run(exchange(app, scope, received))


def types_of(messages):
    return [message["type"] for message in messages]


def content_of(messages):
    return b"".join(message.get("body", b"") for message in messages)


def leaves(error):
    """Return the exceptions in `error`, which anyio may have put into groups."""
    inner = getattr(error, "exceptions", None)
    return [leaf for one in inner for leaf in leaves(one)] if inner else [error]


def leaf(error, kind):
    """Return the one exception of class `kind` in `error`, whatever else is in it."""
    (found,) = [one for one in leaves(error) if isinstance(one, kind)]
    return found


PARTS = [
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "__closure__",
    "__globals__",
    "__name__",
    "__qualname__",
    "__dict__",
]


def parts_of(function):
    """Return copies of all that can be changed in a function."""
    values = [getattr(function, name) for name in PARTS]
    return [dict(v) if isinstance(v, dict) else v for v in values]


def copy_of(function):
    """Return another function that does the same."""
    arguments = (function.__name__, function.__defaults__, function.__closure__)
    copy = types.FunctionType(function.__code__, function.__globals__, *arguments)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def second_copy():
    """Return another copy of the package, imported anew."""
    with mock.patch.dict(sys.modules):
        for name in [
            name for name in sys.modules if name.split(".")[0] == "starlette_backport"
        ]:
            del sys.modules[name]
        return importlib.import_module("starlette_backport")


def python(code, *flags, path=(), env=None, check=True):
    """Run `code` in a Python process of its own."""
    environment = dict(os.environ, **(env or {}))
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(p) for p in path] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
        )
    process = subprocess.run(
        [sys.executable, *flags, "-c", code],
        # Python looks for modules there first. So it finds `support`, and the package
        # that is installed, not that of the checkout.
        cwd=os.path.dirname(os.path.abspath(__file__)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    if check and process.returncode:
        raise AssertionError(
            "exit status %d\n%s\n%s"
            % (process.returncode, process.stdout, process.stderr)
        )
    return process
