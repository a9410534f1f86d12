"""The three places beside ``BaseHTTPMiddleware`` that have to do with early messages.

* A template response sends ``http.response.template`` where the scope's extensions offer it. Since 0.24.0
  (pull request #1991) the message is ``http.response.debug``: here it is sent where only that is offered.
* The test client offers and reads the old message. Here it offers and reads both, so that responses
  written for 0.24 show up as ``response.template`` and ``response.context``, too.
* The gzip middleware drops whatever is neither start nor body, on every release to this day. Here it
  passes on what it does not compress.

The functions without a docstring give their bodies to the release's functions; `_code` says what the
strings in angle brackets are.
"""

import typing

from . import _in_flight
from ._code import release_of
from ._messages import BODY, NO_TYPE, START, Message, Spare, kind

DEBUG = "http.response.debug"
TEMPLATE = "http.response.template"

earlier = _in_flight.earlier


def debug_message(response: typing.Any) -> typing.Optional[Message]:
    """Return the message that template `response` has to send of its own, if any."""
    extensions = response.context.get("request", {}).get("extensions", {})
    if DEBUG not in extensions or TEMPLATE in extensions or (earlier and earlier.enclose_this()):
        return None
    return {"type": DEBUG, "info": {"template": response.template, "context": response.context}}


class TemplateResponse:
    # The release's function has a free variable, as it says ``super()``: its new code must have one, too.

    async def __call__(self: typing.Any, scope: typing.Any, receive: typing.Any, send: typing.Any) -> None:
        _ = super
        release: typing.Any = "<release>"
        debug_message: typing.Any = "<debug_message>"
        message = debug_message(self)
        if message is not None:
            await send(message)
        await release(self, scope, receive, send)


class TemplateResponseASGI2:
    async def __call__(self: typing.Any, receive: typing.Any, send: typing.Any) -> None:
        _ = super
        release: typing.Any = "<release>"
        debug_message: typing.Any = "<debug_message>"
        message = debug_message(self)
        if message is not None:
            await send(message)
        await release(self, receive, send)


class ClientStandIn:
    """The test client's transport as the release's code sees it: itself, but for its `app`."""

    def __init__(self, transport: typing.Any) -> None:
        self.transport = transport

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self.transport, name)

    def app(self, scope: typing.Any, *channels: typing.Any) -> typing.Any:
        scope["extensions"].setdefault(DEBUG, {})
        application = self.transport.app
        if channels:
            receive, send = channels
            return application(scope, receive, reading_debug(send))
        instance = application(scope)  # ASGI 2
        return lambda receive, send: instance(receive, reading_debug(send))


def client_stand_in(transport: typing.Any, request: typing.Any) -> typing.Any:
    """Return what stands in for `transport`: nothing for a websocket, whose session keeps the `app`."""
    return transport if str(request.url).startswith("ws") else ClientStandIn(transport)


def reading_debug(send: typing.Any) -> typing.Any:
    """Return a `send` for the test client that understands debug messages."""

    def send_template(message: typing.Any) -> typing.Any:
        if kind(message) == DEBUG:
            info = message.get("info")
            if isinstance(info, typing.Mapping) and "template" in info:
                message = {"type": TEMPLATE, "template": info["template"], "context": info.get("context")}
        return send(message)

    return send_template


def client_send(self: typing.Any, request: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    stand_in: typing.Any = "<client_stand_in>"
    return release(stand_in(self, request), request, *args, **kwargs)


def client_handle_request(self: typing.Any, request: typing.Any) -> typing.Any:
    release: typing.Any = "<release>"
    stand_in: typing.Any = "<client_stand_in>"
    return release(stand_in(self, request), request)


class OtherMessages:
    """What goes by a gzip responder: what that neither keeps nor compresses. Its `send` is that of the responder."""

    __slots__ = ("server", "start_sent", "start_taken", "waiting")

    def __init__(self, server: typing.Any) -> None:
        self.server = server
        self.start_taken = False
        self.start_sent = False

    # Not a coroutine function: the chunks of a body cost no frame of their own.
    def send(self, message: typing.Any) -> typing.Any:
        return self.server(message) if self.start_sent else self.send_start(message)

    async def send_start(self, message: typing.Any) -> None:
        await self.server(message)
        if kind(message) == START:
            self.start_taken = self.start_sent = True
            waiting: typing.List[Message] = getattr(self, "waiting", [])
            while waiting:
                await self.server(waiting.pop(0))

    async def pass_on(self, message: Message) -> None:
        if self.start_taken:
            # A `BaseHTTPMiddleware` around this one cannot carry it, and without us never had to.
            message = Spare(message)
            if not self.start_sent:
                # The responder keeps the start until the body shows whether to compress it.
                if not hasattr(self, "waiting"):
                    self.waiting: typing.List[Message] = []
                self.waiting.append(message)
                return
        await self.server(message)


class GZipStandIn:
    """A gzip responder as its own ``__call__`` sees it: with a `send_with_gzip` that drops nothing."""

    __slots__ = ("forward", "in_charge", "others", "responder", "send")

    def __init__(self, responder: typing.Any, others: OtherMessages) -> None:
        self.responder = responder
        self.others = others
        # To the stand-in the release's code only gives it.
        responder.send = others.send
        # One for all of a request, as on the release. So all its messages are passed on or none, whatever is applied
        # or reverted meanwhile.
        own = responder.send_with_gzip
        release = release_of(own)
        # A subclass's own stays in charge, and so does a wrapper; for these `gzip_send` passes on what they do not.
        self.in_charge = release is None
        if self.in_charge:
            responder._starlette_backport_others = others
        self.forward = release or own

    def app(self, scope: typing.Any, receive: typing.Any, send: typing.Any) -> typing.Any:
        return self.responder.app(scope, receive, send)

    def inner(self, receive: typing.Any, send: typing.Any) -> typing.Any:  # ASGI 2
        return self.responder.inner(receive, send)

    # Not a coroutine function either.
    def send_with_gzip(self, message: typing.Any) -> typing.Any:
        type_ = kind(message)
        if type_ == BODY:
            return self.forward(message)
        if type_ == START:
            self.others.start_taken = True
        if type_ == START or type_ is NO_TYPE or self.in_charge:
            return self.forward(message)
        return self.others.pass_on(message)


def others_of(responder: typing.Any, message: typing.Any) -> typing.Optional[OtherMessages]:
    """Return what passes on `message`, if it is one that `responder` would drop."""
    if kind(message) in (START, BODY, NO_TYPE):
        return None
    return getattr(responder, "_starlette_backport_others", None)


async def gzip_send(self: typing.Any, message: typing.Any) -> None:
    release: typing.Any = "<release>"
    others_of: typing.Any = "<others_of>"
    others = others_of(self, message)
    if others is None:
        await release(self, message)
    else:
        await others.pass_on(message)


async def gzip_call(self: typing.Any, scope: typing.Any, receive: typing.Any, send: typing.Any) -> None:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    others: typing.Any = "<OtherMessages>"
    stand_in: typing.Any = "<GZipStandIn>"
    if earlier and earlier.enclose_this():
        await shipped(self, scope, receive, send)
    else:
        await release(stand_in(self, others(send)), scope, receive, None)


async def gzip_call_asgi2(self: typing.Any, receive: typing.Any, send: typing.Any) -> None:
    release: typing.Any = "<release>"
    shipped: typing.Any = "<shipped>"
    earlier: typing.Any = "<earlier>"
    others: typing.Any = "<OtherMessages>"
    stand_in: typing.Any = "<GZipStandIn>"
    if earlier and earlier.enclose_this():
        await shipped(self, receive, send)
    else:
        await release(stand_in(self, others(send)), receive, None)
