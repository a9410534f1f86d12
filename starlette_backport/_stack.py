"""An application's middleware, layer by layer: what becomes of early messages in each.

Nothing is called, so this is what the classes tell. Plain ASGI middleware hands messages on unless its ``send``
knows only two types of them; of those we know some.
"""

import sys
import types
import typing

from . import _releases
from ._backport import IS_PATCHED, Status

CARRIES = "carries"
FIXED = "fixed by apply()"
IN_CHARGE = "in charge itself"
DROPS = "drops"

# Middleware whose `send` forgets whatever is neither start nor body, and why that may not show.
_DROPPING = {
    "brotli_asgi.BrotliMiddleware": "where the client accepts br: then the test client sees no template",
}


class Layer(typing.NamedTuple):
    """One layer, from the outside in."""

    #: Its class, a dotted name.
    name: str
    #: The path that it is mounted at, empty for the application itself.
    mounted: str
    #: ``"carries"``, ``"fixed by apply()"``, ``"in charge itself"`` or ``"drops"``.
    early_messages: str
    #: Why, and what that leads to.
    why: str


def layers(app: typing.Any, found: Status, mounted: str = "") -> typing.Iterator[Layer]:
    """Yield the layers of ASGI application `app`, and then those of the applications mounted in it.

    `found` is what `status()` found.
    """
    seen: typing.List[typing.Any] = []
    while not any(app is one for one in seen):
        seen.append(app)
        yield Layer(_name(type(app)), mounted, *_about(app, found))
        inner = _inner(app)
        # A method, where there are routers with middleware: the part of the router behind that.
        if inner is None or isinstance(inner, types.MethodType):
            routes = getattr(getattr(inner, "__self__", app), "routes", ())
            for route in routes if isinstance(routes, (list, tuple)) else ():
                if type(route).__name__ == "Mount":
                    yield from layers(route.app, found, mounted + route.path)
            return
        app = inner


def _inner(app: typing.Any) -> typing.Any:
    """Return what ASGI application `app` hands requests on to: for one of Starlette's, its middleware."""
    for name in ("error_middleware", "middleware_stack"):
        if getattr(app, name, None) is not None:
            return getattr(app, name)
    build = getattr(app, "build_middleware_stack", None)
    return build() if build is not None else getattr(app, "app", None)


def _about(layer: typing.Any, found: Status) -> typing.Tuple[str, str]:
    if _is(layer, _releases.BASE, "BaseHTTPMiddleware"):
        return _about_base(type(layer), found)
    if _is(layer, "starlette.middleware.gzip", "GZipMiddleware"):
        if found.affected:
            return FIXED, "without that it drops them"
        if found.reason == IS_PATCHED:
            return CARRIES, "as this build is patched"
        return DROPS, "as gzip does on all releases: the test client sees no template"
    for parent in type(layer).__mro__:
        if _name(parent) in _DROPPING:
            return DROPS, _DROPPING[_name(parent)]
    return CARRIES, "not a BaseHTTPMiddleware"


def _about_base(cls: typing.Any, found: Status) -> typing.Tuple[str, str]:
    fixed = FIXED if found.affected else CARRIES
    for function_name in found.functions:
        *module, base, name = function_name.split(".")
        if ".".join(module) != _releases.BASE:
            continue
        definer = next(parent for parent in cls.__mro__ if name in vars(parent))
        function = vars(definer)[name]
        if definer.__name__ == base or origin(function) != definer.__module__:
            break  # The release's own, or somebody's wrapper.
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType) and {"super", base} & set(code.co_names):
            return fixed, "overrides %s, and calls that of BaseHTTPMiddleware" % name
        return IN_CHARGE, "overrides %s: nothing is changed for it" % name
    return fixed, "a BaseHTTPMiddleware"


def wrappers(name: str) -> typing.List[str]:
    """Return who has wrapped the function called `name`, from the outside in, as far as that can be told."""
    module, class_name, function_name = name.rsplit(".", 2)
    function = vars(getattr(sys.modules[module], class_name)).get(function_name)
    found = []
    while function is not None and origin(function) != module:
        found.append("%s (%s)" % (origin(function), getattr(function, "__name__", type(function).__name__)))
        function = getattr(function, "__wrapped__", None)
    return found


def origin(function: typing.Any) -> str:
    """Return the module that `function` is from, whatever it says of itself: `functools.wraps` copies names."""
    if isinstance(function, types.FunctionType):
        return str(function.__globals__.get("__name__"))
    return type(function).__module__


def _is(layer: typing.Any, module: str, name: str) -> bool:
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(layer, cls)


def _name(cls: typing.Any) -> str:
    return "%s.%s" % (cls.__module__, cls.__qualname__)
