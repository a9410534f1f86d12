"""``BaseHTTPMiddleware``: hold early messages back from ``call_next``, and let its response carry them.

In each affected release one function takes the messages of the application, and it uses nothing of the
middleware but two attributes:

* ``call_next`` uses ``self.app`` (up to 0.14.2; ASGI 2 up to 0.11.4),
* ``__call__`` uses ``self.app`` and ``self.dispatch_func`` (from 0.15.0 on, where ``call_next`` is a
  closure within).

So the release's own code runs with a stand-in for ``self``, whose ``app`` is the real one with another
``send``. Whoever else looks, ``dispatch`` first of all, sees the middleware itself.

The functions at the end give their bodies to the release's functions; `_code` says what the strings in
angle brackets are.
"""

import functools
import typing

from . import _in_flight
from ._messages import BODY, KEPT, START, Hold, kind
from ._responses import carry

if typing.TYPE_CHECKING:
    Send = typing.Callable[[typing.Any], typing.Any]
else:
    Send = typing.Any

earlier = _in_flight.earlier

_HINTS = {
    START: "Send the start of the response before its body.",
    BODY: "After the start only the body can pass: send extension messages before it, "
    "or write this middleware as plain ASGI.",
}


def _unexpected(middleware: typing.Any, received: typing.Any, expected: str) -> Exception:
    from ._errors import UnexpectedMessageError

    name = repr(received) if isinstance(received, str) else "a type of " + type(received).__name__
    return UnexpectedMessageError(
        "{} got {} from the application behind it, but expected {!r}. {}".format(
            type(middleware).__qualname__, name, expected, _HINTS[expected]
        )
    )


def holding(middleware: typing.Any, send: Send) -> Send:
    """Return a `send` for the application behind `middleware` that holds early messages back."""
    hold = Hold(functools.partial(_unexpected, middleware))

    async def send_or_hold(message: typing.Any) -> None:
        # At this point and no earlier: the application may never await what `send` gave it.
        started = hold.started
        passed = hold.take(message)
        if passed is KEPT:
            return
        try:
            await send(passed)
        except BaseException:
            if hold.started and not started:
                hold.undelivered(passed)
            raise

    # Not a coroutine function: the chunks of a body cost no frame of their own.
    def send_body(message: typing.Any) -> typing.Any:
        if hold.started and kind(message) == BODY:
            return send(message)
        return send_or_hold(message)

    return send_body


class StandIn:
    """The middleware as the release's code sees it, ASGI 3."""

    __slots__ = ("middleware",)

    def __init__(self, middleware: typing.Any) -> None:
        self.middleware = middleware

    def app(self, scope: typing.Any, receive: typing.Any, send: Send) -> typing.Any:
        return self.middleware.app(scope, receive, holding(self.middleware, send))

    def dispatch_func(self, request: typing.Any, call_next: typing.Any) -> typing.Any:
        async def carrying(request: typing.Any) -> typing.Any:
            return carry(await call_next(request))

        return self.middleware.dispatch_func(request, carrying)


class StandInASGI2(StandIn):
    """The same for ASGI 2, where an application is called with its scope first."""

    __slots__ = ()

    def app(self, scope: typing.Any) -> typing.Any:  # type: ignore[override]
        instance = self.middleware.app(scope)
        return lambda receive, send: instance(receive, holding(self.middleware, send))


async def call_next(self: typing.Any, request: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    stand_in: typing.Any = "<StandIn>"
    carry: typing.Any = "<carry>"
    if earlier and earlier.enclose_this():
        return await shipped(self, request)
    return carry(await release(stand_in(self), request))


async def call_next_asgi2(self: typing.Any, request: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    stand_in: typing.Any = "<StandInASGI2>"
    carry: typing.Any = "<carry>"
    if earlier and earlier.enclose_this():
        return await shipped(self, request)
    return carry(await release(stand_in(self), request))


async def call(self: typing.Any, scope: typing.Any, receive: typing.Any, send: typing.Any) -> None:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    stand_in: typing.Any = "<StandIn>"
    if earlier and earlier.enclose_this():
        await shipped(self, scope, receive, send)
    else:
        await release(stand_in(self) if scope["type"] == "http" else self, scope, receive, send)
