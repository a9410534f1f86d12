"""An application's middleware, layer by layer, and what becomes of early messages in each."""

import contextlib
import importlib
import inspect
import os
import sys
import traceback
import types
import typing

from ._early_messages import dotted_name
from ._inspection import Status
from ._releases import BASE

# Middleware of others that drops messages which are neither start nor body, and when.
DROPS = {
    "brotli_asgi.BrotliMiddleware": "drops early messages where the client accepts br, as many test clients do"
}


class UsageError(Exception):
    """What was found, and what to do."""


class Layer(typing.NamedTuple):
    """One layer, from the outside in."""

    #: Its class or, for a function used as middleware, that function: a dotted name.
    name: str
    #: The path that it is mounted at, empty for the application itself.
    mounted: str
    #: ``"patched"``, ``"will be patched"``, ``"plain ASGI"`` and so on.
    state: str
    #: Whether it keeps messages back that are sent before the start of a response.
    keeps_messages: bool = False


def load(name: str, factory: bool = False) -> typing.Any:
    """Return the application called `name`, as servers do. Raises UsageError.

    What it prints goes to standard error.
    """
    module_name, _, path = name.partition(":")
    if not (module_name and path):
        raise UsageError("%r is no application. Name one as package.module:app." % name)
    sys.path.insert(0, os.getcwd())
    with contextlib.redirect_stdout(sys.stderr):
        app: typing.Any = _run(importlib.import_module, module_name)
        for attribute in path.split("."):
            if not hasattr(app, attribute):
                names = [
                    n
                    for n, value in vars(app).items()
                    if hasattr(value, "add_middleware") and n[0] != "_"
                ]
                found = (
                    "There are: %s." % ", ".join(sorted(names))
                    if names
                    else "Check the name."
                )
                raise UsageError(
                    "There is no %s in %s. %s" % (path, module_name, found)
                )
            app = getattr(app, attribute)
        if factory:
            app = _run(app)
    _check(app, name + "()" * factory)
    return app


def _run(function: typing.Any, *arguments: str) -> typing.Any:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as exc:
        text = "%s: %s" % (type(exc).__name__, exc)
        if (
            isinstance(exc, ImportError)
            and arguments
            and exc.name == arguments[0].split(".")[0]
        ):
            raise UsageError(
                "%s. Run this in the folder that the application is started from."
                % text
            ) from exc
        last = traceback.extract_tb(exc.__traceback__)[-1]
        place = "%s, line %s, in %s" % (last.filename, last.lineno, last.name)
        raise UsageError(
            "The application cannot be loaded.\n%s\n%s: %s" % (text, place, last.line)
        ) from exc


def _check(app: typing.Any, name: str) -> None:
    kind = dotted_name(type(app))
    if not callable(app) or "mock" in type(app).__module__.split("."):
        raise UsageError(
            "%s is no ASGI application, but an object of %s." % (name, kind)
        )
    if isinstance(app, type) and hasattr(app, "add_middleware"):
        raise UsageError("%s is a class. Name an application made of it." % name)
    takes = [count for count in (0, 1, 3) if _takes(app, count)]
    if (
        0 in takes
        and isinstance(app, types.FunctionType)
        and not inspect.iscoroutinefunction(app)
    ):
        raise UsageError(
            "%s is a function without arguments. If it returns the application, use --factory."
            % name
        )
    if not takes or takes == [0]:
        raise UsageError(
            "%s is no ASGI application: it does not take scope, receive and send."
            % name
        )


def _takes(app: typing.Any, count: int) -> bool:
    try:
        inspect.signature(app).bind(*range(count))
        return True
    except TypeError:
        return False
    except ValueError:  # It has no signature that could be told.
        return count == 3


def layers(app: typing.Any, found: Status, mounted: str = "") -> typing.Iterator[Layer]:
    """Yield the layers of `app`, then those of the applications mounted in it. `found` is what `status()` found."""
    seen: typing.List[typing.Any] = []
    while not any(app is one for one in seen):
        seen.append(app)
        yield _layer(app, found, mounted)
        inner = _inner(app)
        # A method, where routers have middleware: the part of the router behind that.
        if inner is None or isinstance(inner, types.MethodType):
            routes = getattr(getattr(inner, "__self__", app), "routes", ())
            for route in routes if isinstance(routes, (list, tuple)) else ():
                if type(route).__name__ == "Mount":
                    yield from layers(route.app, found, mounted + route.path)
            return
        app = inner


def _inner(app: typing.Any) -> typing.Any:
    """Return what `app` hands requests on to: for an application of Starlette's, its middleware."""
    for name in ("error_middleware", "middleware_stack"):
        if getattr(app, name, None) is not None:
            return getattr(app, name)
    build = getattr(app, "build_middleware_stack", None)
    return build() if build is not None else getattr(app, "app", None)


def _layer(app: typing.Any, found: Status, mounted: str) -> Layer:
    cls: typing.Any = type(app)
    name = dotted_name(app if isinstance(app, types.FunctionType) else cls)
    patched = "patched" if found.state == "applied" else "will be patched"
    if _is(app, BASE, "BaseHTTPMiddleware"):
        if cls.__qualname__ == "BaseHTTPMiddleware":
            name = dotted_name(app.dispatch_func)
        overridden = [
            function.rsplit(".", 1)[1]
            for function in found.functions
            if function.startswith(BASE)
        ]
        for function in overridden:
            if not _reaches(cls, function):
                return Layer(
                    name,
                    mounted,
                    "not patched: overrides %s without calling super()" % function,
                    True,
                )
        return Layer(
            name, mounted, patched if found.affected else "carries early messages"
        )
    if _is(app, "starlette.middleware.gzip", "GZipMiddleware"):
        return Layer(
            name, mounted, "drops early messages, as on all releases of Starlette", True
        )
    for parent in map(dotted_name, cls.__mro__):
        if parent in DROPS:
            return Layer(name, mounted, DROPS[parent], True)
    return Layer(name, mounted, "plain ASGI")


def _reaches(cls: typing.Any, name: str) -> bool:
    """Return whether function `name` of `cls` is, wraps or calls that of ``BaseHTTPMiddleware``."""
    definer = next(parent for parent in cls.__mro__ if name in vars(parent))
    function = vars(definer)[name]
    if (
        definer.__qualname__ == "BaseHTTPMiddleware"
        or _origin(function) != definer.__module__
    ):
        return True
    code = getattr(function, "__code__", None)
    return code is None or bool({"super", "BaseHTTPMiddleware"} & set(code.co_names))


def wrappers(name: str) -> typing.List[str]:
    """Return who has wrapped the function of Starlette called `name`, from the outside in, as far as it can be told."""
    module, class_name, function_name = name.rsplit(".", 2)
    function = vars(getattr(sys.modules[module], class_name)).get(function_name)
    found = []
    while function is not None and _origin(function) != module:
        found.append(
            "%s (%s)"
            % (
                _origin(function),
                getattr(function, "__name__", type(function).__name__),
            )
        )
        function = getattr(function, "__wrapped__", None)
    return found


def _origin(function: typing.Any) -> str:
    """Return the module that `function` is from, whatever it says of itself: `functools.wraps` copies names."""
    if isinstance(function, types.FunctionType):
        return str(function.__globals__.get("__name__"))
    return type(function).__module__


def _is(app: typing.Any, module: str, name: str) -> bool:
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(app, cls)
