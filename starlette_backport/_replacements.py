"""The new code for functions of Starlette.

The functions here are never called themselves. `CodeSwap` puts their code into a
function of Starlette, where it runs with the globals of Starlette's module. So this
code uses no globals but builtins. All that it needs comes with ``starlette_backport``,
which is the `CodeSwap` of that function:

* ``starlette_backport.original`` does what the function did before.
* ``starlette_backport.early_messages`` is the module `_early_messages`.

`_releases` has the table of which function gets which code, on which releases.
"""

from ._code_swap import CodeSwap
from ._early_messages import Receive, Scope, Send


class BaseHTTPMiddleware:
    # Up to Starlette 0.14.2
    async def call_next(
        self: object, request: Scope, *, starlette_backport: CodeSwap
    ) -> object:
        # A request has the attribute `scope` since 0.12.1. Before, a request is a
        # mapping with the content of the scope.
        scope: Scope = getattr(request, "scope", request)
        if not scope.get("extensions"):
            return await starlette_backport.original(self, request)
        stand_in = starlette_backport.early_messages.MiddlewareStandIn(self)
        response = await starlette_backport.original(stand_in, request)
        stand_in.attach_early_messages(response)
        return response

    # From 0.15.0 on. There, each request makes a new function `call_next`, and passes
    # it to ``self.dispatch_func``. The one of the stand-in wraps it.
    async def __call__(
        self: object,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        starlette_backport: CodeSwap,
    ) -> None:
        if scope["type"] != "http" or not scope.get("extensions"):
            await starlette_backport.original(self, scope, receive, send)
            return
        stand_in = starlette_backport.early_messages.MiddlewareStandIn(self)
        await starlette_backport.original(stand_in, scope, receive, send)


# Starlette's own functions close over ``__class__``, because they use ``super()``.
# Python accepts new code for a function only if it closes over as many variables as the
# old code. That is why these functions mention ``__class__``.
class TemplateResponse:
    # From 0.12.0 on
    async def call(
        self: object,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        starlette_backport: CodeSwap,
    ) -> None:
        _ = __class__  # type: ignore[name-defined]
        await starlette_backport.early_messages.send_debug_message(self, send)
        await starlette_backport.original(self, scope, receive, send)

    # Up to 0.11.4, in ASGI 2
    async def call_asgi2(
        self: object, receive: Receive, send: Send, *, starlette_backport: CodeSwap
    ) -> None:
        _ = __class__  # type: ignore[name-defined]
        await starlette_backport.early_messages.send_debug_message(self, send)
        await starlette_backport.original(self, receive, send)
