"""What ``status`` tells about an environment: facts, read off at this moment."""

import contextlib
import importlib
import inspect
import platform
import re
import sys
from typing import Any, Iterator, List, Tuple, Type

from ._code_swap import find_behind
from ._early_messages import dotted_name
from ._inspection import Inspection, Target, description_of
from ._releases import BASE, FIXED, parse

HOW_TO_LEAVE = "docs/leaving.md of starlette-backport says how to leave this release"

BUG = "a template behind a BaseHTTPMiddleware fails under the test client"

# A requirement on Starlette that names versions or an address.
BOUND = re.compile(r"starlette\s*(\[.*?\])?\s*[(<>=!~@]", re.IGNORECASE)

# The functions of a middleware that decide what becomes of early messages. Each release
# has some of them.
DECIDING = ("__call__", "asgi", "call_next")


def facts(inspection: Inspection, backport: str) -> Iterator[Tuple[str, str]]:
    """Yield titles and facts. `backport` is what there is to say about that."""
    import starlette

    found = inspection.status
    yield "Python", "%s, %s" % (platform.python_version(), sys.executable)
    yield "Starlette", "%s, %s" % (found.starlette, ", ".join(starlette.__path__))
    if parse(found.starlette) < FIXED:
        for holder in holders():
            yield "Held by", holder
        yield "", HOW_TO_LEAVE
    if found.affected:
        yield "Affected", "yes: as released, " + BUG
    else:
        yield "Affected", "no: " + found.reason
    yield "Backport", backport
    for target in inspection.targets:
        yield "Function", "%s: %s" % (target.name, state_of(target))
    for note in found.notes:
        yield "Note", note
    if found.affected:
        for own in own_functions():
            yield "Middleware", own


def holders() -> List[str]:
    """Return which packages require which versions of Starlette, in their own words."""
    metadata = metadata_module()
    if metadata is None:
        return ["unknown: this Python has no importlib.metadata"]
    found = []
    for distribution in metadata.distributions():
        # The metadata of some are missing or wrong.
        with contextlib.suppress(Exception):
            for requirement in distribution.requires or ():
                if BOUND.match(requirement):
                    holder = (distribution.metadata["Name"], distribution.version)
                    text = "%s %s requires " % holder
                    found.append(text + requirement + comment_on(requirement))
    return sorted(found) or ["no package that is installed"]


def metadata_module() -> Any:
    for name in ("importlib.metadata", "importlib_metadata"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def comment_on(requirement: str) -> str:
    """Return whether it allows the release with the fix, where that can be told."""
    fixed = "%d.%d.%d" % FIXED
    with contextlib.suppress(ImportError, ValueError):
        from packaging.requirements import Requirement

        parsed = Requirement(requirement)
        if parsed.url is None:
            allowed = parsed.specifier.contains(fixed)
            return " (%s %s)" % ("allows" if allowed else "does not allow", fixed)
    return ""


def state_of(target: Target) -> str:
    """Return what has become of one function."""
    if target.function is None:
        return "replaced by %s, which hides it" % description_of(target.found)
    state = "not changed" if target.swap is None else "changed"
    if target.found is not target.function:
        state += ", wrapped by " + description_of(target.found)
    return state


def own_functions() -> Iterator[str]:
    """Yield which of the middleware classes that exist have functions of their own."""
    base = sys.modules[BASE].BaseHTTPMiddleware
    if not isinstance(base, type):
        # Another tool has put an object in its place.
        return
    for cls in dict.fromkeys(subclasses_of(base)):
        for name in DECIDING:
            if has_own(cls, name, base):
                yield (
                    "%s has a %s of its own, which decides what becomes of early "
                    "messages" % (dotted_name(cls), name)
                )


def subclasses_of(cls: Type[object]) -> Iterator[Type[object]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses_of(subclass)


def has_own(cls: type, name: str, base: type) -> bool:
    """Whether `cls` replaces the function `name` of `base`, if that has one."""
    function = inspect.getattr_static(cls, name, None)
    if function is vars(base).get(name) or name not in vars(base):
        return False
    # Tools such as sentry-sdk put wrappers of the function of `base` into `cls`.
    return (
        find_behind(function, sys.modules[BASE], "BaseHTTPMiddleware." + name) is None
    )
