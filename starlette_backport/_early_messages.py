"""Carry messages that an application sends before ``http.response.start`` through a Starlette middleware.

The affected releases take the first message for the start, and fail. Where a scope offers extensions, and only there:

* The release's own ``call_next`` (from Starlette 0.15.0 on ``__call__``) runs with a `StandIn` as ``self``. Its ``app``
  calls the real application with a ``send`` that buffers everything before the start.
* If there are any, the start goes on with `StartHeaders` in place of its header list: a copy with the messages, too.
  The release assigns it to ``response.raw_headers``, which tells the response that the messages belong to.
* `StandIn.hand_over` gets that response, puts the application's own header list back, and makes the response send the
  messages right before its start. Builds made with ``patches/`` contain a copy of this module.
"""

import functools
from typing import Any, Dict, List, Optional, Sequence

START, BODY = "http.response.start", "http.response.body"


class BackportError(Exception):
    """Base of all errors of starlette-backport."""


class UnexpectedMessageError(BackportError, AssertionError):
    """A ``BaseHTTPMiddleware`` cannot carry a message of its application.

    Raised where the affected releases raise a bare ``AssertionError``, under ``python -O``, too, and by ``call_next``
    where other code keeps messages from their response. It does not show content of messages, which may be secret.
    """


class StartHeaders(list):  # type: ignore[type-arg]
    """The headers of a start message on its way to ``call_next``."""

    original: Any
    messages: List[Dict[str, Any]]


class Unexpected:
    """Stands for a message that cannot be carried: the release raises `error` when it looks at the message."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, *args: Any) -> Any:
        raise self.error

    __getitem__ = get


class StandIn:
    """A ``BaseHTTPMiddleware`` as the release's code sees it: that uses ``app`` and ``dispatch_func`` alone."""

    def __init__(self, middleware: Any) -> None:
        self.middleware = middleware
        self.bare_starts = 0  # How many starts without messages before them are on their way.

    # This and `dispatch_func` return the coroutine of what they call, so that tracebacks have no frame for them.
    def app(self, scope: Any, *channels: Any) -> Any:
        if channels:
            receive, send = channels
            return self.middleware.app(scope, receive, self.buffering(send))
        instance = self.middleware.app(scope)  # ASGI 2, up to Starlette 0.11.4
        return lambda receive, send: instance(receive, self.buffering(send))

    def dispatch_func(self, request: Any, call_next: Any) -> Any:
        async def carrying_call_next(request: Any) -> Any:
            return self.hand_over(await call_next(request))

        return self.middleware.dispatch_func(request, carrying_call_next)

    def buffering(self, send: Any) -> Any:
        """Return a `send` that buffers what comes before the start, and passes everything else on to `send`."""
        buffered: List[Dict[str, Any]] = []
        started = False

        async def buffering_send(message: Any) -> Any:
            nonlocal buffered, started
            try:
                kind = message["type"]
            except Exception:
                return await send(message)  # The release raises the error that it always raised.
            if started:
                await send(message if kind == BODY else self.unexpected(kind, BODY))
            elif kind == BODY:
                await send(self.unexpected(kind, START))
            elif kind != START:
                # A copy, because the application may use its dictionary again for the next message.
                buffered.append(dict(message) if type(message) is dict else message)
            else:
                messages, buffered, started = buffered, [], True
                bare = not messages or "headers" not in message
                self.bare_starts += bare
                if not bare:
                    headers = StartHeaders(message["headers"] if isinstance(message["headers"], list) else ())
                    headers.original, headers.messages = message["headers"], messages
                    message = dict(message, headers=headers)
                try:
                    await send(message)
                except BaseException:  # A start that was cancelled is none: another one may follow.
                    buffered, started = messages, False
                    self.bare_starts -= bare
                    raise

        buffering_send.__qualname__ = getattr(send, "__qualname__", "send")  # Tools such as sentry-sdk show it.
        return buffering_send

    def hand_over(self, response: Any) -> Any:
        """Return `response`, the result of ``call_next``, with the messages sent before its start."""
        headers = response.raw_headers
        if isinstance(headers, StartHeaders):
            response.raw_headers = headers.original
            try:  # In the class, because ``await response(...)`` looks up ``__call__`` there.
                response.__class__ = carrying_class(response.__class__)
                response.early_messages = headers.messages
            except (TypeError, AttributeError) as exc:
                raise self.error("%s cannot send the messages before its start." % dotted(type(response))) from exc
        else:
            self.bare_starts -= 1
            if self.bare_starts < 0:
                raise self.error("Other code copied the headers of the start, so the messages before it are lost.")
        return response

    def unexpected(self, received: Any, expected: str) -> Unexpected:
        """Return what stands for a message of type `received` that came in place of `expected`."""
        kind = repr(received) if isinstance(received, str) else "a type of " + type(received).__name__
        return Unexpected(self.error("Expected %r, but received %s." % (expected, kind)))

    def error(self, what: str) -> UnexpectedMessageError:
        bare = type(self.middleware).__qualname__ == "BaseHTTPMiddleware"
        name = dotted(self.middleware.dispatch_func if bare else type(self.middleware))
        advice = "Send extension messages first, then the start, then the body; or write this as plain ASGI middleware."
        return UnexpectedMessageError("%s\nSent by the application behind %s.\n%s" % (what, name, advice))


def dotted(thing: Any) -> str:
    """Return module and name of `thing`, or of its class where it has no name."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return "%s.%s" % (named.__module__, named.__qualname__)


@functools.lru_cache(maxsize=None)
def carrying_class(cls: Any) -> Any:
    """Return a subclass of response class `cls` whose instances send their `early_messages`, once, before the start."""

    @functools.wraps(cls, updated=())  # It has the name of `cls`.
    class CarryingResponse(cls):  # type: ignore[misc]
        early_messages: Sequence[Dict[str, Any]] = ()  # For instances that middleware makes of this class itself.

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            send = kwargs["send"] if "send" in kwargs else args[-1]  # The last argument, in ASGI 2 and in ASGI 3.

            async def send_early_first(message: Any) -> None:
                if message["type"] == START:
                    messages, self.early_messages = self.early_messages, ()
                    for early in messages:
                        await send(early)
                await send(message)

            send_early_first.__qualname__ = getattr(send, "__qualname__", "send")
            if "send" in kwargs:
                return super().__call__(*args, **dict(kwargs, send=send_early_first))
            return super().__call__(*args[:-1], send_early_first, **kwargs)

    return CarryingResponse


@functools.lru_cache(maxsize=None)
def passing_class(cls: Any) -> Any:
    """Return a subclass of `cls`, a ``GZipResponder``, whose instances send early messages on."""
    if cls.send_with_gzip.__qualname__ != "GZipResponder.send_with_gzip":
        return cls  # A subclass with a function of its own stays in charge.

    @functools.wraps(cls, updated=())
    class PassingResponder(cls):  # type: ignore[misc]
        @functools.wraps(cls.send_with_gzip)
        async def send_with_gzip(self, message: Any) -> None:
            early = message["type"] not in (START, BODY) and not self.initial_message
            await (self.send if early else super().send_with_gzip)(message)

    return PassingResponder


def debug_message(response: Any) -> Optional[Dict[str, Any]]:
    """Return the message that template responses send since 0.24.0 (pull request #1991), where only that is offered."""
    extensions = response.context.get("request", {}).get("extensions") or {}
    if "http.response.debug" not in extensions or "http.response.template" in extensions:
        return None
    return {"type": "http.response.debug", "info": {"template": response.template, "context": response.context}}
