"""What tests share: facts of the release, raw ASGI applications, and a server."""

import asyncio
import functools
import importlib
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import types
import warnings
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
# Hands messages over through a queue; from 0.15.0 on through a memory stream.
QUEUE = NUMBERS < (0, 15, 0)

# The function that takes the application's messages.
CARRIER = "call_next" if QUEUE else "__call__"

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"body", "more_body": False}
PUSH = {"type": "http.response.push", "path": "/style.css", "headers": []}
DEBUG = {"type": "http.response.debug", "info": {"template": "debug", "context": {}}}
UNKNOWN = {"type": "x.unknown"}

# The last release of each form: for what takes long and hardly depends on the release.
LAST_OF_FORM = ("0.11.4", "0.14.2", "0.23.1")

TESTS = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(TESTS)


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
        # The client stays until it has got its response.
        await asyncio.Event().wait()

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
    except BaseException as exc:
        # anyio 3 has groups of exceptions that are not an Exception.
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
    "__name__",
    "__qualname__",
    "__dict__",
]


def parts_of(function):
    """Return copies of all that can be changed in a function, its code first."""
    values = [getattr(function, name) for name in PARTS]
    return [dict(v) if isinstance(v, dict) else v for v in values]


def copy_of(function):
    """Return another function that does the same."""
    arguments = (function.__name__, function.__defaults__, function.__closure__)
    copy = types.FunctionType(function.__code__, function.__globals__, *arguments)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def naming(function):
    """Wrap as most tools do."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def second_copy():
    """Return another copy of the package, imported anew."""
    with mock.patch.dict(sys.modules):
        for name in [
            name for name in sys.modules if name.split(".")[0] == "starlette_backport"
        ]:
            del sys.modules[name]
        return importlib.import_module("starlette_backport")


def check_not_needed(reason, has_fix=True):
    """Check that nothing is changed. If it has the fix, the first call is to warn."""
    version = starlette.__version__
    # Up to 0.9.8 there are no template responses.
    classes = filter(None, [BaseHTTPMiddleware, TemplateResponse])
    members = [member for cls in classes for member in vars(cls).values()]
    functions = [member for member in members if hasattr(member, "__code__")]
    before = [parts_of(function) for function in functions]
    for first in "apply", "applied":
        # The copy that the tests import may have warned before.
        package = second_copy()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for call in (first, "apply", "applied"):
                if call == "apply":
                    status = package.apply()
                else:
                    with package.applied() as status:
                        pass
        package.revert()
        assert status == package.status()
        assert status == (version, False, "not needed", reason, (), ())
        assert status.has_fix is has_fix
        categories = [warning.category for warning in caught]
        assert categories == [package.BackportNotNeededWarning] * has_fix
        for warning in caught:
            assert warning.filename == __file__
            assert version in str(warning.message)
            assert "Remove the package" in str(warning.message)
    assert [parts_of(function) for function in functions] == before
    assert starlette.__version__ == version


def snippet(page, language, text):
    """Return the one snippet of `page` in `language` that contains `text`."""
    content = pathlib.Path(REPOSITORY, page).read_text("utf-8")
    blocks = re.findall(r"(?ms)^ *```%s\n(.*?)^ *```$" % language, content)
    (code,) = [block for block in blocks if text in block]
    return textwrap.dedent(code)


def run_process(*command, cwd=TESTS, **variables):
    """Run a command in the folder `cwd`; return the process, with what it printed."""
    return subprocess.run(
        command,
        cwd=str(cwd),
        env=dict(os.environ, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )


def python(code, *flags, path=()):
    """Run `code` in a Python process of its own, and check that it succeeds.

    There it can import this module, and finds the package that is installed, not that
    of the checkout.
    """
    paths = [*map(str, path), os.environ.get("PYTHONPATH", "")]
    paths = os.pathsep.join(filter(None, paths))
    process = run_process(sys.executable, *flags, "-c", code, PYTHONPATH=paths)
    assert process.returncode == 0, process
    return process
