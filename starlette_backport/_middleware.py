"""``BaseHTTPMiddleware``: hold early messages back from ``call_next``, and let its response carry them.

In each affected release one function takes the messages of the application, and it uses nothing of the
middleware but two attributes:

* ``call_next`` uses ``self.app`` (up to 0.14.2; ASGI 2 up to 0.11.4),
* ``__call__`` uses ``self.app`` and ``self.dispatch_func`` (from 0.15.0 on, where ``call_next`` is a
  closure within).

So the release's own code runs with a stand-in for ``self``, whose ``app`` is the real one with another
``send``. Whoever else looks, ``dispatch`` first of all, sees the middleware itself.

This is the code that each request passes, so it is short of all that can be done without: up to 0.14.2 a call of
``call_next`` is one object, stand-in and `send` in one; from 0.15.0 on there is one object for each call of the
application, and one for each call of the middleware. ``scripts/bench`` measures it.

The functions at the end give their bodies to the release's functions; `_code` says what the strings in
angle brackets are.
"""

import sys
import typing
from types import MethodType

from . import _in_flight
from ._messages import BODY, KEPT, START, Hold, kind
from ._responses import HandedOver

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


class Call(Hold):
    """One call of the application behind `middleware`, which gets the `send` of this in place of `forward`."""

    __slots__ = ("forward", "middleware")

    early_start = HandedOver

    # Not by way of `Hold`'s, here and below: for most requests, what is done here is all that the backport costs.
    def __init__(self, middleware: typing.Any, forward: Send) -> None:
        self.passes = START
        self.middleware = middleware
        self.forward = forward

    def unexpected(self, received: typing.Any, expected: str) -> Exception:
        from ._errors import UnexpectedMessageError

        name = repr(received) if isinstance(received, str) else "a type of " + type(received).__name__
        return UnexpectedMessageError(
            "{} got {} from the application behind it, but expected {!r}. {}".format(
                type(self.middleware).__qualname__, name, expected, _HINTS[expected]
            )
        )

    # Not a coroutine function: the chunks of a body cost no frame of their own.
    def send(self, message: typing.Any) -> typing.Any:
        if self.passes is BODY and kind(message) == BODY:
            return self.forward(message)
        return self.send_or_hold(message)

    async def send_or_hold(self, message: typing.Any) -> None:
        # At this point and no earlier: the application may never await what `send` gave it.
        started = self.passes is BODY
        passed = self.take(message)
        if passed is KEPT:
            return
        try:
            await self.forward(passed)
        except BaseException:
            if not started:
                self.undelivered(passed)
            raise


# The class of asyncio's queues and its ``put``, once there has been one: nothing is imported for it.
_asyncio_queue: typing.Any = None
_asyncio_put: typing.Any = None


class QueueCall(Call):
    """One call of the application by a ``call_next`` with a queue, and the middleware as that sees it, ASGI 3."""

    __slots__ = ("queue",)

    def __init__(self, middleware: typing.Any) -> None:
        self.passes = START
        self.middleware = middleware

    def app(self, scope: typing.Any, receive: typing.Any, send: typing.Any) -> typing.Any:
        if type(send) is MethodType and send.__func__ is _asyncio_put:
            queue: typing.Any = send.__self__
            self.queue = queue
            if type(queue) is _asyncio_queue and not queue._maxsize:
                return self.middleware.app(scope, receive, self.put)
        return self.middleware.app(scope, receive, self.sending(send))

    def sending(self, send: typing.Any) -> Send:
        """Return what the application gets in place of `send`, if that is not known to be what `put` is made for."""
        if _asyncio_put is None and _is_asyncio_put(send):
            self.queue = send.__self__
            return self.put
        # With a limit (0.13.7), or somebody's own, or wrapped: only its ``put`` knows what that takes.
        self.forward = send
        return self.send

    # In place of ``asyncio.Queue.put``, and cheaper by what that does for queues with a limit or a `join`: there,
    # each chunk of a body costs less than before, and that pays for most of the rest.
    async def put(self, message: typing.Any) -> None:
        try:
            passes = message["type"] == self.passes
        except Exception:
            passes = False
        if passes:
            self.passes = BODY
        else:
            message = self.take(message)
            if message is KEPT:
                return
        queue = self.queue
        queue._queue.append(message)
        if queue._getters:
            queue._wakeup_next(queue._getters)


class QueueCallASGI2(QueueCall):
    """The same for ASGI 2, where an application is called with its scope first."""

    __slots__ = ("instance",)

    def app(self, scope: typing.Any) -> typing.Any:  # type: ignore[override]
        self.instance = self.middleware.app(scope)
        return self.enter

    def enter(self, receive: typing.Any, send: typing.Any) -> typing.Any:
        instance = self.instance
        del self.instance  # It may keep its `send`: nothing is to refer to itself.
        if type(send) is MethodType and send.__func__ is _asyncio_put:
            queue: typing.Any = send.__self__
            self.queue = queue
            if type(queue) is _asyncio_queue and not queue._maxsize:
                return instance(receive, self.put)
        return instance(receive, self.sending(send))


def _is_asyncio_put(send: typing.Any) -> bool:
    """Return whether `send` is the ``put`` of a queue of asyncio, as Python has it, and without a limit."""
    global _asyncio_queue, _asyncio_put
    if type(send) is not MethodType:
        return False
    put: typing.Any = send.__func__
    queue: typing.Any = send.__self__
    class_ = type(queue)
    module = sys.modules.get("asyncio.queues")
    if (class_.__module__, class_.__qualname__) != ("asyncio.queues", "Queue") or vars(class_).get("put") is not put:
        return False
    if getattr(put, "__globals__", None) is not getattr(module, "__dict__", None) or queue.maxsize:
        return False
    _asyncio_queue, _asyncio_put = class_, put
    return True


class StandIn:
    """The middleware as a ``__call__`` sees it, whose ``call_next`` may be called several times at once."""

    __slots__ = ("middleware",)

    def __init__(self, middleware: typing.Any) -> None:
        self.middleware = middleware

    def app(self, scope: typing.Any, receive: typing.Any, send: Send) -> typing.Any:
        return self.middleware.app(scope, receive, Call(self.middleware, send).send)

    def dispatch_func(self, request: typing.Any, call_next: typing.Any) -> typing.Any:
        return self.middleware.dispatch_func(request, call_next)


async def call_next(self: typing.Any, request: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    one_call: typing.Any = "<QueueCall>"
    if earlier and earlier.enclose_this():
        return await shipped(self, request)
    return await release(one_call(self), request)


async def call_next_asgi2(self: typing.Any, request: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    one_call: typing.Any = "<QueueCallASGI2>"
    if earlier and earlier.enclose_this():
        return await shipped(self, request)
    return await release(one_call(self), request)


async def call(self: typing.Any, scope: typing.Any, receive: typing.Any, send: typing.Any) -> None:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    stand_in: typing.Any = "<StandIn>"
    if earlier and earlier.enclose_this():
        await shipped(self, scope, receive, send)
    else:
        await release(stand_in(self) if scope["type"] == "http" else self, scope, receive, send)
