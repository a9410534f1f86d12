"""The functions that a release shipped: found in the process or on disk, and recognised."""

import gc
import types
import typing

from . import _installed
from ._code import fingerprint, nested, source_fingerprint
from ._errors import UnexpectedCodeError
from ._releases import Target


def functions(target: Target, module: types.ModuleType, release: str) -> typing.List[types.FunctionType]:
    """Return the release's own function in `module`, also from behind whatever stands in its place.

    More than one, where that cannot be told from those of an earlier load of the module. Raises
    UnexpectedCodeError where there is none; whether it is as shipped is for `check` to say.
    """

    def is_own(candidate: typing.Any) -> bool:
        return (
            isinstance(candidate, types.FunctionType)
            and candidate.__globals__ is vars(module)
            and candidate.__qualname__ == target.qualname
        )

    found = [in_place(target, module)]
    if not is_own(found[0]):
        # Somebody's wrapper. How it holds the function is up to it, but it does: ask the garbage collector.
        found = [held for held in gc.get_referrers(vars(module)) if is_own(held)]
    if not found:
        raise unexpected(target, release, "no such function, but %r" % (in_place(target, module),))
    return found


def in_place(target: Target, module: types.ModuleType) -> typing.Any:
    """Return what stands where the release has the function: that one, somebody's wrapper, or None."""
    class_name, name = target.qualname.split(".")
    return vars(vars(module).get(class_name, object)).get(name)


def check_unloaded(target: Target, release: str) -> None:
    """Check what importing the module would bring, if that can be told. Raises UnexpectedCodeError."""
    code, loader = _installed.module_code(target.module)
    if code is None:
        return
    for name in target.qualname.split("."):
        inner = nested(code, name)
        if inner is None:
            raise unexpected(target, release, "no %s in %s" % (name, code.co_filename))
        code = inner
    check(target, code, release, loader)


def check(target: Target, code: types.CodeType, release: str, loader: typing.Any) -> None:
    """Raise UnexpectedCodeError where `code`, or its source if there is any, is not as shipped."""
    source = _source(target, loader)
    if fingerprint(code) != target.fingerprint:
        found = "code %s" % fingerprint(code)
    elif source is not None and source_fingerprint(code, source) != target.source:
        found = "source %s" % source_fingerprint(code, source)
    else:
        return
    raise unexpected(
        target, release, "another one (%s) in %s, line %d" % (found, code.co_filename, code.co_firstlineno)
    )


def _source(target: Target, loader: typing.Any) -> typing.Optional[bytes]:
    try:
        path = loader.get_filename(target.module)
        data: typing.Optional[bytes] = loader.get_data(path) if path.endswith(".py") else None
        return data
    except (AttributeError, ImportError, OSError):
        return None


def unexpected(target: Target, release: str, found: str) -> UnexpectedCodeError:
    return UnexpectedCodeError(
        "Expected {name} as Starlette {release} shipped it (code {code}, source {source}), "
        "but found {found}. Nothing is changed. If another tool replaces it, call "
        "starlette_backport.apply() before that tool; if this Starlette was modified, reinstall the release "
        "(pip install --force-reinstall starlette=={release}), or, if it was modified to carry template "
        "messages, remove starlette-backport.".format(
            name=target.name, release=release, code=target.fingerprint, source=target.source, found=found
        )
    )
