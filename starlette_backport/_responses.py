"""The response that ``call_next`` returned, once it carries what the application sent before its start."""

import functools
import sys
import typing

from ._messages import START, EarlyStart, Message, kind
from ._releases import BASE


class HandedOver(EarlyStart):
    """A start that hands the messages before it over to its response, when ``call_next`` gives that its headers.

    This is the last thing that ``call_next`` does with the start, on every affected release. So nothing has to be
    done with responses that none came before, and however many are under way, each gets its own.
    """

    def __getitem__(self, key: str) -> typing.Any:
        value = super().__getitem__(key)
        frame = sys._getframe(1)
        # Others may look at it on its way.
        if key == "headers" and (frame.f_globals.get("__name__"), frame.f_code.co_name) == (BASE, "call_next"):
            carry(frame.f_locals["response"], self.held)
        return value


def carry(response: typing.Any, held: typing.List[Message]) -> None:
    """Make `response` send the messages in `held` right before its start."""
    response.__class__ = carrying_class(type(response))  # type: ignore[arg-type]
    response._starlette_backport_held = held


@functools.lru_cache(maxsize=None)
def carrying_class(response_class: typing.Any) -> typing.Any:
    """Return the subclass of the release's `response_class` that sends what it holds before its start.

    A class, as ``await response(...)`` looks no further; and no wrapper, as that would not be the object
    whose ``body_iterator`` and headers the middleware may change. Starlette 0.24.0 has a subclass here too.
    """

    async def call(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        # ``send`` comes last, in ASGI 2 and in ASGI 3; somebody's wrapper may want it where it was.
        send = kwargs["send"] if "send" in kwargs else args[-1]
        held: typing.List[Message] = self._starlette_backport_held

        async def send_held_first(message: typing.Any) -> None:
            if kind(message) == START:
                while held:
                    await send(held.pop(0))
            await send(message)

        if "send" in kwargs:
            kwargs["send"] = send_held_first
        else:
            args = (*args[:-1], send_held_first)
        await response_class.__call__(self, *args, **kwargs)

    namespace = {
        "__call__": call,
        "__module__": response_class.__module__,
        "__qualname__": response_class.__qualname__,
        # For those that middleware makes of this class itself.
        "_starlette_backport_held": (),
    }
    return type(response_class.__name__, (response_class,), namespace)
