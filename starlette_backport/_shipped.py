"""The functions that a release shipped: found in the process or on disk, and recognised."""

import gc
import types
import typing

from . import _installed
from ._code import fingerprint, nested
from ._errors import UnexpectedCodeError
from ._releases import Target


def functions(target: Target, module: types.ModuleType, release: str) -> typing.List[types.FunctionType]:
    """Return the release's own function, also from behind whatever has been put in its place.

    More than one, where the module has been loaded more than once. Raises UnexpectedCodeError.
    """

    def is_own(candidate: typing.Any) -> bool:
        return (
            isinstance(candidate, types.FunctionType)
            and candidate.__globals__ is vars(module)
            and candidate.__qualname__ == target.qualname
        )

    class_name, name = target.qualname.split(".")
    in_place = vars(vars(module).get(class_name, object)).get(name)
    if is_own(in_place):
        return [in_place]
    # Somebody's wrapper. How it holds the function is up to it, but it does: ask the garbage collector.
    found = [held for held in gc.get_referrers(vars(module)) if is_own(held)]
    if not found:
        raise _unexpected(target, release, "no such function, but %r" % (in_place,))
    return found


def check_unloaded(target: Target, release: str) -> None:
    """Check what importing the module would bring, as far as that can be told. Raises UnexpectedCodeError."""
    code = _installed.module_code(target.module)
    if code is None:
        return
    for name in target.qualname.split("."):
        inner = nested(code, name)
        if inner is None:
            raise _unexpected(target, release, "no %s in %s" % (name, code.co_filename))
        code = inner
    check(target, code, release)


def check(target: Target, code: types.CodeType, release: str) -> None:
    """Raise UnexpectedCodeError where `code` is not what `release` shipped."""
    found = fingerprint(code)
    if found != target.expected_fingerprint:
        place = "%s, line %d" % (code.co_filename, code.co_firstlineno)
        raise _unexpected(target, release, "other code (fingerprint %s) in %s" % (found, place))


def _unexpected(target: Target, release: str, found: str) -> UnexpectedCodeError:
    return UnexpectedCodeError(
        "Expected {name} as Starlette {release} shipped it (fingerprint {expected}), but found {found}. "
        "Nothing is changed. If another tool replaces it, call starlette_backport.apply() before that tool; "
        "if this Starlette was modified, reinstall the release "
        "(pip install --force-reinstall starlette=={release}), or, if it was modified to carry template "
        "messages, remove starlette-backport.".format(
            name=target.name, release=release, expected=target.expected_fingerprint, found=found
        )
    )
