"""Carry messages that come before ``http.response.start`` through a middleware.

``BaseHTTPMiddleware`` in the affected releases of Starlette asserts that the first
message of an application is the start of its response. Here, messages before the start
are called *early messages*. Template responses send one, for the test client.

Applications send such messages only where the scope offers an extension. There, the
module `_replacements` makes a `MiddlewareStandIn`, and runs the release's own code with
it in place of the middleware. Then early messages travel like this:

1. The application gets a ``send`` that buffers the early messages, and passes the start
   and the body on. So the release's code gets the start first.
2. If there are early messages, `MarkedHeaders` replace the headers of the start, and
   hold the messages. The release's code stores this same object in the response that
   it makes: ``response.raw_headers = message["headers"]``. So the response that the
   early messages belong to can be recognised.
3. When ``call_next`` returns that response, `attach_early_messages` restores the
   original headers. It also changes the class of the response to a subclass that sends
   the early messages before the start, as the response of Starlette 0.24.0 does (pull
   request #1991).

If the response is never sent, the early messages are dropped with it.

``patches/`` adds a copy of this module to Starlette.
"""

import copy
from typing import Any, Awaitable, Callable, List, MutableMapping, Sequence

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

START = "http.response.start"
BODY = "http.response.body"


class BackportError(Exception):
    """Base of all errors of starlette-backport."""


class UnexpectedMessageError(BackportError, AssertionError):
    """A ``BaseHTTPMiddleware`` cannot carry a message of its application.

    Where the scope offers an extension, it is raised in place of the bare
    ``AssertionError`` of the affected releases, and under ``python -O`` as well.
    ``call_next`` also raises it where early messages would be lost, because other code
    has copied the headers of the start, or has replaced the class of the response. It
    shows the types of messages, but not their content, which may be secret.
    """


class MiddlewareStandIn:
    """Takes the place of a middleware as ``self`` of the release's code.

    Up to Starlette 0.14.2, that is the code of ``call_next``, which uses ``self.app``.
    From 0.15.0 on, it is that of ``__call__``, which uses ``self.dispatch_func`` as
    well. The two methods here are not ``async``: they return the coroutine of the
    middleware's own, and so add no frame to tracebacks.
    """

    def __init__(self, middleware: Any) -> None:
        self.middleware = middleware
        #: The number of starts without early messages whose responses ``call_next`` has
        #: not returned yet. If it is 0, a response without `MarkedHeaders` is one that
        #: has lost them.
        self.plain_starts = 0
        #: The mixin for responses that have no method `stream_response`.
        self.fallback_mixin: type = EarlyInCall

    def app(self, scope: Scope, *channels: Callable[..., Awaitable[Any]]) -> object:
        if channels:
            receive, send = channels
            return self.middleware.app(scope, receive, self.buffering_send(send))
        # ASGI 2, up to Starlette 0.11.4
        self.fallback_mixin = EarlyInAsgiTwoCall
        instance = self.middleware.app(scope)
        return lambda receive, send: instance(receive, self.buffering_send(send))

    def dispatch_func(
        self, request: object, call_next: Callable[[object], Awaitable[object]]
    ) -> object:
        async def carrying_call_next(request: object) -> object:
            response = await call_next(request)
            self.attach_early_messages(response)
            return response

        copy_names(call_next, carrying_call_next)
        return self.middleware.dispatch_func(request, carrying_call_next)

    def buffering_send(self, send: Send) -> Send:
        """Return a `send` that buffers early messages, and passes everything else on.

        In place of a message that cannot be carried, it passes on a `RaisingMessage`.
        So the error is raised where the release has always raised it.
        """
        early_messages: List[Message] = []
        has_started = False

        async def send_or_buffer(message: Message) -> None:
            nonlocal has_started
            try:
                message_type = message["type"]
            except Exception:
                # This is no message. Let the release's code raise its own error.
                await send(message)
                return
            if has_started:
                if message_type != BODY:
                    message = self.unexpected_message(message_type, expected=BODY)
                await send(message)
            elif message_type == START:
                await self.send_start(message, early_messages, send)
                # This is set only after that: where a timeout of the application has
                # cancelled the start, another start may follow.
                has_started = True
            elif message_type == BODY:
                await send(self.unexpected_message(message_type, expected=START))
            else:
                # Applications may reuse one dictionary for all their messages.
                early_messages.append(copy.copy(message))

        copy_names(send, send_or_buffer)
        return send_or_buffer

    async def send_start(
        self, message: Message, early_messages: Sequence[Message], send: Send
    ) -> None:
        # Without headers, the release's code fails by itself.
        if early_messages and "headers" in message:
            headers = MarkedHeaders(message["headers"], early_messages)
            await send(dict(message, headers=headers))
            return
        # This is counted before it is sent, because ``call_next`` may return the
        # response while `send` still waits.
        self.plain_starts += 1
        try:
            await send(message)
        except BaseException:
            self.plain_starts = max(0, self.plain_starts - 1)
            raise

    def attach_early_messages(self, response: Any) -> None:
        """Make `response`, which ``call_next`` has returned, send its early messages.

        Raises UnexpectedMessageError if they are lost, or cannot be sent.
        """
        headers = response.raw_headers
        if isinstance(headers, MarkedHeaders):
            response.raw_headers = headers.original
            cls = type(response)
            try:
                # To set ``response.__call__`` would have no effect, because Python
                # looks that up in the class.
                response.__class__ = early_sending_class(cls, self.fallback_mixin)
                response.early_messages = headers.early_messages
            except Exception as exc:
                raise self.make_error(
                    "A response of class %s cannot send the messages before its start."
                    % dotted_name(cls),
                    advice="Undo what replaces the StreamingResponse of Starlette.",
                ) from exc
        elif self.plain_starts > 0:
            self.plain_starts -= 1
        else:
            raise self.make_error(
                "The messages before the start are lost, because other code has copied "
                "the headers of the start.",
                advice="Remove what wraps asyncio.Queue, the memory streams of anyio, "
                "or StreamingResponse.",
            )

    def unexpected_message(self, received: object, expected: str) -> Message:
        """Return what to pass on in place of a message that cannot be carried."""
        shown = received if isinstance(received, str) else type(received)
        error = self.make_error(
            "Expected %r, but received %r." % (expected, shown),
            advice="Send extension messages first, then the start, then the body; "
            "or write this as plain ASGI middleware.",
        )
        return RaisingMessage(explanation=str(error))

    def make_error(self, what_happened: str, advice: str) -> UnexpectedMessageError:
        name = dotted_name(type(self.middleware))
        if name == "starlette.middleware.base.BaseHTTPMiddleware":
            name = dotted_name(self.middleware.dispatch_func)
        return UnexpectedMessageError(
            "%s\nSent by the application behind %s.\n%s" % (what_happened, name, advice)
        )


class MarkedHeaders(list):  # type: ignore[type-arg]
    """Takes the place of the headers of a start, and holds the early messages."""

    def __init__(self, original: object, early_messages: Sequence[Message]) -> None:
        # Only lists are copied, because an iterator can be read only once.
        super().__init__(original if isinstance(original, list) else [])
        self.original = original
        self.early_messages = tuple(early_messages)


class RaisingMessage(dict):  # type: ignore[type-arg]
    """A message that raises `UnexpectedMessageError` when the release's code reads it.

    It contains the explanation, and no error: the traceback of an error that was raised
    refers to this message, so that would be a cycle. It is not empty, because anyio
    takes a false message for none.
    """

    def __getitem__(self, key: str, default: object = None) -> object:
        raise UnexpectedMessageError(super().__getitem__("explanation"))

    # Under ``python -O``, some releases read nothing but ``message.get("body")``.
    get = __getitem__


class EarlySendingMixin:
    """Base of the mixins that make a response send early messages before its start.

    The response does so each time that it is sent, as it does on Starlette 0.24.0.
    """

    # The default is for instances that a middleware makes by ``type(response)(...)``.
    early_messages: Sequence[Message] = ()

    async def send_early_messages(self, send: Send) -> None:
        for message in self.early_messages:
            await send(message)


# From Starlette 0.13.3 on
class EarlyInStreamResponse(EarlySendingMixin):
    async def stream_response(self, send: Send) -> None:
        await self.send_early_messages(send)
        await super().stream_response(send)  # type: ignore[misc]


# From 0.12.0 to 0.13.2, where responses have no `stream_response`
class EarlyInCall(EarlySendingMixin):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.send_early_messages(send)
        await super().__call__(scope, receive, send)  # type: ignore[misc]


# Up to 0.11.4, in ASGI 2
class EarlyInAsgiTwoCall(EarlySendingMixin):
    async def __call__(self, receive: Receive, send: Send) -> None:
        await self.send_early_messages(send)
        await super().__call__(receive, send)  # type: ignore[misc]


def early_sending_class(cls: type, mixin: type) -> type:
    """Return a subclass of the response class `cls` that sends early messages first.

    It has the name of `cls`. If there is one already, it is used again. `mixin` is for
    classes that have no method `stream_response`.
    """
    # Python's own list of subclasses does not keep them alive, as a cache would.
    subclasses: List[type] = cls.__subclasses__()
    for subclass in subclasses:
        if issubclass(subclass, EarlySendingMixin):
            return subclass
    if hasattr(cls, "stream_response"):
        mixin = EarlyInStreamResponse
    namespace = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return type(cls.__name__, (mixin, cls), namespace)


def copy_names(original: Any, function: Any) -> None:
    """Make tools show `function` by the names and the signature of `original`.

    `functools.wraps` would do, but it takes five times as long, for each request.
    """
    # `inspect.signature` follows this attribute.
    function.__wrapped__ = original
    try:
        function.__module__ = original.__module__
        function.__name__ = original.__name__
        function.__qualname__ = original.__qualname__
        function.__doc__ = original.__doc__
    except AttributeError:
        # A callable object need not have names.
        pass


async def send_debug_message(response: Any, send: Send) -> None:
    """Send the debug message of a template response, as Starlette 0.24.0 does.

    The affected releases send nothing but the template message themselves. Where that
    is offered, a debug message would repeat its content.
    """
    offered = response.context.get("request", {}).get("extensions") or {}
    if "http.response.debug" in offered and "http.response.template" not in offered:
        await send(
            {
                "type": "http.response.debug",
                "info": {"template": response.template, "context": response.context},
            }
        )


def dotted_name(thing: object) -> str:
    """Return module and name of `thing`, or of its class where it has no name."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return "%s.%s" % (named.__module__, named.__qualname__)
