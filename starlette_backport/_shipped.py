"""The functions that a release shipped: found in the process or on disk, and recognised."""

import types
import typing

from ._code import fingerprint, nested, source_fingerprint
from ._installed import Installed
from ._releases import Target


def functions(target: Target, module: types.ModuleType, installed: Installed) -> "typing.List[types.FunctionType]":
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
        import gc

        # Somebody's wrapper. How it holds the function is up to it, but it does: ask the garbage collector.
        found = [held for held in gc.get_referrers(vars(module)) if is_own(held)]
    if not found:
        raise unexpected(target, installed, "no such function, but %r" % (in_place(target, module),))
    return found


def in_place(target: Target, module: types.ModuleType) -> typing.Any:
    """Return what stands where the release has the function: that one, somebody's wrapper, or None."""
    class_name, name = target.qualname.split(".")
    return vars(vars(module).get(class_name, object)).get(name)


def check_unloaded(target: Target, installed: Installed) -> None:
    """Check what importing the module would bring, if that can be told. Raises UnexpectedCodeError."""
    loader = installed.loader(target.module)
    if installed.digest(loader) in target.files:
        return  # Should its byte code be of another source, then the import is the place of the error.
    code = installed.code(target.module)
    if code is None:
        return
    for name in target.qualname.split("."):
        inner = nested(code, name)
        if inner is None:
            raise unexpected(target, installed, "no %s in %s" % (name, code.co_filename))
        code = inner
    check(target, code, installed, loader)


def check(target: Target, code: types.CodeType, installed: Installed, loader: typing.Any) -> None:
    """Raise UnexpectedCodeError where `code`, or its source if there is any, is not as shipped."""
    kind, found = "code", fingerprint(code)
    if found == target.fingerprint:
        if installed.digest(loader) in target.files:
            return
        source = _source(target, loader)
        if source is None:
            return
        kind, found = "source", source_fingerprint(code, source)
        if found == target.source:
            return
    where = "%s, line %d" % (code.co_filename, code.co_firstlineno)
    raise unexpected(target, installed, "another one (%s %s) in %s" % (kind, found, where))


def _source(target: Target, loader: typing.Any) -> "typing.Optional[bytes]":
    try:
        path = loader.get_filename(target.module)
        data: typing.Optional[bytes] = loader.get_data(path) if path.endswith(".py") else None
        return data
    except (AttributeError, ImportError, OSError):
        return None


def unexpected(target: Target, installed: Installed, found: str) -> Exception:
    from ._errors import UnexpectedCodeError

    return UnexpectedCodeError(
        "Expected {name} as Starlette {release} shipped it (code {code}, source {source}), "
        "but found {found}. Nothing is changed. If another tool replaces it, call "
        "starlette_backport.apply() before that tool; if this Starlette was modified, reinstall the release "
        "(pip install --force-reinstall starlette=={release}), or, if it was modified to carry template "
        "messages, remove starlette-backport.".format(
            name=target.name, release=installed.release, code=target.fingerprint, source=target.source, found=found
        )
    )
