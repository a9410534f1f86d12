"""An application's middleware, layer by layer: what becomes of early messages in each.

Nothing is called, so this is what the classes tell. Plain ASGI middleware hands messages on unless its ``send``
knows only two types of them; of those we know some.
"""

import sys
import types
import typing

from . import _releases

# How it is with the backport applied.
CARRIES = "carries"
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
    #: ``"carries"``, ``"in charge itself"`` or ``"drops"``.
    early_messages: str
    #: Why, and what that leads to.
    why: str


def layers(app: typing.Any, release: str, mounted: str = "") -> typing.Iterator[Layer]:
    """Yield the layers of ASGI application `app`, and then those of the applications mounted in it."""
    seen: typing.List[typing.Any] = []
    while not any(app is one for one in seen):
        seen.append(app)
        yield Layer(_name(type(app)), mounted, *_about(app, release))
        inner = _inner(app)
        # A method, where there are routers with middleware: the part of the router behind that.
        if inner is None or isinstance(inner, types.MethodType):
            routes = getattr(getattr(inner, "__self__", app), "routes", ())
            for route in routes if isinstance(routes, (list, tuple)) else ():
                if type(route).__name__ == "Mount":
                    yield from layers(route.app, release, mounted + route.path)
            return
        app = inner


def _inner(app: typing.Any) -> typing.Any:
    """Return what ASGI application `app` hands requests on to: for one of Starlette's, its middleware."""
    for name in ("error_middleware", "middleware_stack"):
        if getattr(app, name, None) is not None:
            return getattr(app, name)
    build = getattr(app, "build_middleware_stack", None)
    return build() if build is not None else getattr(app, "app", None)


def _about(layer: typing.Any, release: str) -> typing.Tuple[str, str]:
    cls = type(layer)
    if _is(layer, _releases.BASE, "BaseHTTPMiddleware"):
        return _about_base(cls, release)
    if _is(layer, "starlette.middleware.gzip", "GZipMiddleware"):
        if _releases.targets(release):
            return CARRIES, "drops them unless apply() is called"
        return DROPS, "gzip forgets them, on this release as on those before it"
    for parent in cls.__mro__:
        if _name(parent) in _DROPPING:
            return DROPS, _DROPPING[_name(parent)]
    return CARRIES, "not a BaseHTTPMiddleware"


def _about_base(cls: typing.Any, release: str) -> typing.Tuple[str, str]:
    carriers = [target for target in _releases.targets(release) if target.module == _releases.BASE]
    if not carriers:
        return CARRIES, "a BaseHTTPMiddleware, of a release that is not affected"
    (carrier,) = carriers
    base, name = carrier.qualname.split(".")
    for parent in cls.__mro__:
        found = vars(parent).get(name)
        if found is None:
            continue
        if parent.__name__ == base or origin(found) != parent.__module__:
            return CARRIES, "a BaseHTTPMiddleware: fails unless apply() is called"
        code = getattr(found, "__code__", None)
        if isinstance(code, types.CodeType) and {"super", base} & set(code.co_names):
            return CARRIES, "overrides %s, and calls it on BaseHTTPMiddleware: fails unless apply() is called" % name
        break
    return IN_CHARGE, "overrides %s: apply() changes nothing for it" % name


def wrappers(function: typing.Any, module: typing.Any) -> typing.List[str]:
    """Return who has wrapped what `module` defined, from the outside in, as far as that can be told."""
    found = []
    while function is not None and origin(function) != module.__name__:
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
