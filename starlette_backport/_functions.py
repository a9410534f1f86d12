"""Functions of Starlette that are changed in place, and put back.

The function object stays the same, so the change reaches everyone who already holds it, such as instrumentation that
captured ``cls.__call__``. It gets other code, and a `Change` as the default of a parameter of that code. Whether it is
changed is read off the function itself, so another copy of this package in the process sees it, and can undo it. A call
that is under way goes on with the code that it began with. The code, at the end, uses nothing but its arguments.
"""

import contextlib
import inspect
import types
from typing import Any, List, Optional, Set, Tuple


class Change:
    """How `function` is changed, on behalf of `holders`, to run the code of `body`."""

    def __init__(self, function: types.FunctionType, body: types.FunctionType, early_messages: Any) -> None:
        self.function, self.code, self.early_messages = function, body.__code__, early_messages
        self.holders: Set[Any] = set()
        # Another function that does what `function` does now.
        arguments = (function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        self.release: Any = types.FunctionType(function.__code__, *arguments)
        self.release.__qualname__, self.release.__kwdefaults__ = function.__qualname__, function.__kwdefaults__

    def do(self) -> None:
        # In this order: other threads may be calling the function, whose own code ignores the new default.
        vars(self.function)["__signature__"] = inspect.signature(self.function)
        self.function.__kwdefaults__ = dict(self.function.__kwdefaults__ or {}, starlette_backport=self)
        self.function.__code__ = self.code

    def undo(self) -> None:
        if self.function.__code__ is self.code:  # Code that another tool has put there since is left alone.
            self.function.__code__ = self.release.__code__
            self.function.__kwdefaults__ = self.release.__kwdefaults__
            vars(self.function).pop("__signature__", None)


def change_of(function: Optional[types.FunctionType]) -> Optional[Change]:
    """Return how `function` is changed at this moment, None where it is not."""
    return ((function and function.__kwdefaults__) or {}).get("starlette_backport")


def find(module: types.ModuleType, name: str) -> Tuple[Any, Optional[types.FunctionType]]:
    """Return what stands in `module` as ``Class.function``, and the function of that name that `module` defined.

    They differ where another tool put a wrapper there. ``__wrapped__``, or the variables that it closes over, lead to
    the function, which is None where the wrapper hides it.
    """
    class_name, function_name = name.split(".")
    in_place = getattr(vars(module).get(class_name), "__dict__", {}).get(function_name)
    candidates: List[Any] = [in_place]
    seen: Set[int] = set()
    for candidate in candidates:  # The list grows meanwhile.
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if isinstance(candidate, types.FunctionType):
            if candidate.__globals__ is vars(module) and candidate.__qualname__ == name:
                return in_place, candidate
            for cell in candidate.__closure__ or ():
                with contextlib.suppress(ValueError):  # A variable without a value.
                    candidates.append(cell.cell_contents)
        candidates.append(getattr(candidate, "__wrapped__", None))
    return in_place, None


async def call_next(self: Any, request: Any, *, starlette_backport: Any) -> Any:
    # Up to Starlette 0.12.0 a request has no attribute for its scope, but is that mapping itself.
    if not getattr(request, "scope", request).get("extensions"):
        return await starlette_backport.release(self, request)
    stand_in = starlette_backport.early_messages.StandIn(self)
    return stand_in.hand_over(await starlette_backport.release(stand_in, request))


async def call_middleware(self: Any, scope: Any, receive: Any, send: Any, *, starlette_backport: Any) -> None:
    if scope.get("extensions") and scope["type"] == "http":
        self = starlette_backport.early_messages.StandIn(self)
    await starlette_backport.release(self, scope, receive, send)


def make_gzip_responder(self: Any, app: Any, scope: Any, minimum_size: Any, *, starlette_backport: Any) -> None:
    starlette_backport.release(self, app, scope, minimum_size)
    if scope.get("extensions"):
        self.__class__ = starlette_backport.early_messages.passing_class(self.__class__)


# The middleware makes a responder for each request, so it may have a class of its own.
async def call_gzip_responder(self: Any, scope: Any, receive: Any, send: Any, *, starlette_backport: Any) -> None:
    if scope.get("extensions"):
        self.__class__ = starlette_backport.early_messages.passing_class(self.__class__)
    await starlette_backport.release(self, scope, receive, send)


class WithSuper:
    # The release's function uses ``super()``, which makes it a closure. So its new code has to be that of a closure.
    async def call_template_response(  # type: ignore[return]
        self: Any, *args: Any, starlette_backport: Any, **kwargs: Any
    ) -> None:
        _ = __class__  # type: ignore[name-defined]
        message = starlette_backport.early_messages.debug_message(self)
        if message is not None:
            await (kwargs["send"] if "send" in kwargs else args[-1])(message)
        await starlette_backport.release(self, *args, **kwargs)
