"""Point 6 of the contract: what cannot be carried is an error that says so, raised where it was."""

import traceback

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from support import (
    BODY,
    DEBUG,
    FORK,
    NUMBERS,
    PUSH,
    QUEUE,
    START,
    UNKNOWN,
    PassThrough,
    UnexpectedMessageError,
    body,
    leaf,
    leaves,
    middleware,
    needs_unpatched,
    python,
    raw,
    sending,
    serve,
    start,
    types_of,
)

import starlette_backport


class AuditMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


CANNOT_BE_CARRIED = pytest.mark.parametrize(
    ("messages", "received", "expected"),
    [
        ([BODY], "http.response.body", "http.response.start"),
        ([PUSH, BODY, START], "http.response.body", "http.response.start"),
        ([START, START, BODY], "http.response.start", "http.response.body"),
        ([PUSH, START, START], "http.response.start", "http.response.body"),
        ([START, body(b"", True), PUSH, BODY], "http.response.push", "http.response.body"),
        ([START, DEBUG, BODY], "http.response.debug", "http.response.body"),
        ([START, UNKNOWN, BODY], "x.unknown", "http.response.body"),
        ([START, {"type": 5}, BODY], "a type of int", "http.response.body"),
    ],
    ids=lambda value: "+".join(str(m["type"]).split(".")[-1] for m in value) if type(value) is list else "",
)


def raising_place(error):
    frames = [(f.filename.replace("\\", "/"), f.name) for f in traceback.extract_tb(error.__traceback__)]
    return [name for filename, name in frames if filename.endswith("starlette/middleware/base.py")][-1]


@CANNOT_BE_CARRIED
def test_the_error_names_the_types_and_the_middleware(patched, messages, received, expected):
    _, error = serve(AuditMiddleware(sending(*messages)))
    error = leaf(error, AssertionError)
    assert type(error) is UnexpectedMessageError
    assert isinstance(error, AssertionError)
    text = str(error)
    assert text.startswith("AuditMiddleware got ")
    assert received in text.split("expected")[0]
    assert repr(expected) in text.split("expected")[1]
    assert text.endswith("before its body." if "start" in expected else "or write this middleware as plain ASGI.")


@needs_unpatched
@CANNOT_BE_CARRIED
def test_it_is_raised_where_the_release_raised(messages, received, expected):
    if messages[0] is PUSH:
        messages = messages[1:]  # Unpatched, the early message would be the error.
    if not __debug__:
        pytest.skip("under -O the unpatched release has no assert to compare with")
    sent, error = serve(PassThrough(sending(*messages)))
    with starlette_backport.applied():
        patched_sent, patched_error = serve(PassThrough(sending(*messages)))
    assert [isinstance(one, AssertionError) or type(one) for one in leaves(patched_error)] == [
        isinstance(one, AssertionError) or type(one) for one in leaves(error)
    ]
    error, patched_error = leaf(error, AssertionError), leaf(patched_error, AssertionError)
    assert type(error) is AssertionError
    assert not str(error)
    assert raising_place(patched_error) == raising_place(error)
    assert patched_sent == sent


def test_middleware_that_catches_the_assertion_error_still_does(patched):
    from starlette.responses import PlainTextResponse

    @middleware
    async def catching(self, request, call_next):
        try:
            return await call_next(request)
        except AssertionError:
            return PlainTextResponse("caught", status_code=502)

    messages, error = serve(catching(sending(BODY)))
    assert error is None
    assert messages[0]["status"] == 502


def test_no_content_is_printed(patched):
    secret = "hunter2"
    for messages in (
        [dict(BODY, context=secret)],
        [{"type": "http.response.template", "template": secret, "context": {"password": secret}}, BODY],
        [START, {"type": "http.response.template", "template": secret, "context": {"password": secret}}],
    ):
        _, error = serve(PassThrough(sending(*messages)))
        (error,) = leaves(error)
        assert type(error) is UnexpectedMessageError
        shown = "".join(traceback.format_exception(type(error), error, error.__traceback__)) + repr(error)
        assert secret not in shown


@pytest.mark.parametrize("early", [[], [PUSH], [PUSH, DEBUG]], ids=len)
def test_an_application_that_sends_no_response(patched, early):
    messages, error = serve(PassThrough(PassThrough(sending(*early))))
    (error,) = leaves(error)
    assert type(error) is RuntimeError
    assert str(error) == "No response returned."
    assert messages == []


@pytest.mark.skipif(
    (0, 15, 0) <= NUMBERS < (0, 17, 0),
    reason="0.15.0 and 0.16.0 replace or group an application's error, patched or not: see test_same.py",
)
def test_an_error_after_an_early_message_comes_out_as_it_is(patched):
    class CustomError(Exception):
        pass

    messages, error = serve(PassThrough(PassThrough(sending(PUSH, CustomError("of the application")))))
    (error,) = leaves(error)
    assert type(error) is CustomError
    assert messages == []


def test_an_error_after_the_start_comes_after_what_was_sent(patched):
    messages, _ = serve(PassThrough(sending(PUSH, START, body(b"a", True), ValueError("in the body"))))
    assert types_of(messages)[:3] == ["http.response.push", "http.response.start", "http.response.body"]


@pytest.mark.skipif(QUEUE, reason="these releases do not use anyio")
def test_a_body_after_a_start_that_was_cancelled(patched):
    import anyio

    async def program(scope, receive, send):
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            await send(start())
        await send(BODY)

    _, error = serve(AuditMiddleware(raw(program)))
    assert "AuditMiddleware got 'http.response.body'" in str(leaf(error, UnexpectedMessageError))


OPTIMIZED = """
import sys
import starlette_backport
from support import *

assert_is_gone = True
assert not assert_is_gone
starlette_backport.apply()
for messages in ([BODY], [START, START], [START, PUSH, BODY]):
    _, error = serve(PassThrough(sending(*messages)))
    (error,) = leaves(error)
    print(type(error).__name__, isinstance(error, AssertionError))
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(types_of(messages)[:2], error)
# Without a type, the first message is the start and the others are the body: as on the release.
for messages in ([{"status": 200, "headers": []}, {"body": b"x"}], [PUSH, {"status": 200, "headers": []}, BODY]):
    messages, error = serve(PassThrough(sending(*messages)))
    print(types_of(messages), content_of(messages), error)
starlette_backport.revert()
print(starlette_backport.status().state)
"""


def test_all_the_same_under_python_O():
    lines = python(OPTIMIZED, "-O").stdout.splitlines()
    assert lines[:3] == ["UnexpectedMessageError True"] * 3
    state = "not needed" if FORK else "not applied"
    push, start, body = ("'http.response.%s'" % name for name in ("push", "start", "body"))
    assert lines[3:] == [
        "[%s, %s] None" % (push, start),
        "[%s, %s, %s] b'x' None" % (start, body, body),
        "[%s, %s, %s, %s] b'body' None" % (push, start, body, body),
        state,
    ]
