"""Messages that no middleware can carry (point 6)."""

import gc
import sys
import traceback

import pytest
from model import RACES
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from support import (
    BODY,
    DEBUG,
    PUSH,
    QUEUE,
    START,
    UNKNOWN,
    PassThrough,
    UnexpectedMessageError,
    body,
    exchange,
    leaf,
    leaves,
    middleware,
    needs_unpatched,
    only_if,
    python,
    run,
    sending,
    serve,
    types_of,
)

import starlette_backport

SECRET = {
    "type": "http.response.template",
    "template": "hunter2",
    "context": {"password": "hunter2"},
}

CANNOT_BE_CARRIED = pytest.mark.parametrize(
    ("messages", "received", "expected"),
    [
        ([BODY], "'http.response.body'", "'http.response.start'"),
        ([START, START, BODY], "'http.response.start'", "'http.response.body'"),
        (
            [START, body(b"", True), PUSH, BODY],
            "'http.response.push'",
            "'http.response.body'",
        ),
        ([START, DEBUG, BODY], "'http.response.debug'", "'http.response.body'"),
        ([START, UNKNOWN, BODY], "'x.unknown'", "'http.response.body'"),
        ([START, {"type": 5}, BODY], "<class 'int'>", "'http.response.body'"),
    ],
    ids=lambda value: (
        "+".join(str(m["type"]).split(".")[-1] for m in value)
        if type(value) is list
        else ""
    ),
)


class AuditMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


async def audit(request, call_next):
    return await call_next(request)


@CANNOT_BE_CARRIED
@pytest.mark.parametrize("early", [[], [PUSH]], ids=["nothing early", "early"])
@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (AuditMiddleware, "%s.AuditMiddleware" % __name__),
        (lambda app: BaseHTTPMiddleware(app, dispatch=audit), "%s.audit" % __name__),
    ],
    ids=["class", "dispatch function"],
)
def test_the_error_says_what_came_what_should_have_and_behind_which_middleware(
    patched, messages, received, expected, early, wrap, name
):
    _, error = serve(wrap(sending(*early, *messages)))
    error = leaf(error, AssertionError)
    assert type(error) is UnexpectedMessageError
    found, where, what_to_do = str(error).splitlines()
    assert found == "Expected %s, but received %s." % (expected, received)
    assert where == "Sent by the application behind %s." % name
    assert "plain ASGI middleware" in what_to_do


def test_the_error_names_the_innermost_of_several_middlewares(patched):
    _, error = serve(PassThrough(AuditMiddleware(sending(PUSH, BODY))))
    assert "behind %s.AuditMiddleware." % __name__ in str(
        leaf(error, UnexpectedMessageError)
    )


@needs_unpatched
@CANNOT_BE_CARRIED
def test_it_is_raised_where_the_release_raised(messages, received, expected):
    def place():
        sent, error = serve(PassThrough(sending(*messages)))
        frames = traceback.extract_tb(leaf(error, AssertionError).__traceback__)
        found = [
            f.name
            for f in frames
            if f.filename.replace("\\", "/").endswith("starlette/middleware/base.py")
        ]
        return sent, found[-1], len(leaves(error))

    unpatched = place()
    with starlette_backport.applied():
        assert place() == unpatched


def test_a_middleware_that_catches_the_assertion_error_still_does(patched):
    @middleware
    async def catching(self, request, call_next):
        try:
            return await call_next(request)
        except AssertionError:
            return PlainTextResponse("caught", status_code=502)

    messages, error = serve(catching(sending(BODY)))
    assert error is None
    assert messages[0]["status"] == 502


@pytest.mark.parametrize(
    "messages", [[dict(BODY, context="hunter2")], [SECRET, BODY], [START, SECRET]]
)
def test_no_content_of_a_message_is_shown(patched, messages):
    _, error = serve(PassThrough(sending(*messages)))
    (error,) = leaves(error)
    assert type(error) is UnexpectedMessageError
    assert "hunter2" not in repr(error) + "".join(
        traceback.format_exception(type(error), error, error.__traceback__)
    )


@pytest.mark.parametrize("early", [[], [PUSH], [PUSH, DEBUG]], ids=len)
def test_an_application_that_sends_no_response(patched, early):
    messages, error = serve(PassThrough(PassThrough(sending(*early))))
    (error,) = leaves(error)
    assert (type(error), str(error)) == (RuntimeError, "No response returned.")
    assert messages == []


# 0.15.0 and 0.16.0 replace or group an application's error by themselves.
@only_if(not RACES)
def test_an_error_after_an_early_message_comes_out_as_it_is(patched):
    messages, error = serve(
        PassThrough(PassThrough(sending(PUSH, ZeroDivisionError("of the application"))))
    )
    (error,) = leaves(error)
    assert (type(error), str(error)) == (ZeroDivisionError, "of the application")
    assert messages == []


def test_an_error_after_the_start_comes_after_what_was_sent(patched):
    messages, _ = serve(
        PassThrough(sending(PUSH, START, body(b"a", True), ValueError("in the body")))
    )
    assert types_of(messages)[:3] == [
        "http.response.push",
        "http.response.start",
        "http.response.body",
    ]


async def garbage(app):
    """Return how many objects a request leaves to the garbage collector."""
    await exchange(app)
    gc.collect()
    gc.disable()
    try:
        await exchange(app)
        return gc.collect()
    finally:
        gc.enable()


# From 0.15.0 on, the releases themselves leave cycles. PyPy does not count references.
@only_if(QUEUE and hasattr(sys, "getrefcount"))
def test_an_error_leaves_no_reference_cycle(either):
    assert run(garbage(PassThrough(sending(BODY)))) == 0


OPTIMIZED = """
import starlette_backport
from support import *

assert __name__ == "is gone"
starlette_backport.apply()
for messages in ([BODY], [START, START], [PUSH, START, PUSH, BODY]):
    _, error = serve(PassThrough(sending(*messages)))
    (error,) = leaves(error)
    print(type(error).__name__, isinstance(error, AssertionError))
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(types_of(messages)[:2], error)
"""


def test_all_the_same_under_python_O():
    *errors, carried = python(OPTIMIZED, "-O").stdout.splitlines()
    assert errors == ["UnexpectedMessageError True"] * 3
    assert carried == "['http.response.push', 'http.response.start'] None"
