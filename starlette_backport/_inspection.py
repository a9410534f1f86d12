"""Look at the Starlette that is installed, without changing it."""

import hashlib
import linecache
import os
import sys
import types
from typing import List, Mapping, NamedTuple, Optional, Tuple

from . import _releases
from ._code_swap import CodeSwap, current_swap, find_behind
from ._early_messages import dotted_name
from ._errors import (
    EDITED_FILE,
    HIDDEN_FUNCTION,
    NOT_FOUND,
    StarletteNotFoundError,
    UnexpectedCodeError,
)

DISABLE = "STARLETTE_BACKPORT_DISABLE"
HAS_FIX = "it has the fix"
IS_PATCHED = "it is a patched build, with the diffs of starlette-backport"


class Status(NamedTuple):
    """What `status()` found out."""

    #: The release, ``starlette.__version__``.
    starlette: str
    #: Whether Starlette as it is installed has the bug, with or without the backport.
    affected: bool
    #: ``"applied"``, ``"not applied"``, ``"not needed"`` or ``"disabled"``.
    state: str
    #: Why the state is what it is, or what to do about it.
    reason: str
    #: The functions that are changed, or would be changed by `apply()`.
    functions: Tuple[str, ...] = ()
    #: What could not be imported or verified, and what other tools have done.
    notes: Tuple[str, ...] = ()

    @property
    def has_fix(self) -> bool:
        """Whether Starlette has a fix by itself, so that the backport can go."""
        return self.reason in (HAS_FIX, IS_PATCHED)

    def __str__(self) -> str:
        text = "Starlette {0.starlette}: backport {0.state} ({0.reason})"
        return "\n  ".join([text.format(self), *self.functions, *self.notes])


class Target:
    """A function of Starlette that is changed, or can be, as it is at this moment."""

    def __init__(self, replacement: _releases.Replacement) -> None:
        self.replacement = replacement
        self.name = "%s.%s" % (replacement.module, replacement.name)
        #: What the name stands for: the function, or a wrapper of another tool.
        self.found = find_by_name(replacement)
        #: The function itself, or None where no wrapper leads to it.
        self.function = find_behind(
            self.found, sys.modules[replacement.module], replacement.name
        )
        #: How the function is changed now, or None if it is not.
        self.swap: Optional[CodeSwap] = None
        if self.function is not None:
            self.swap = current_swap(self.function)


class Inspection(NamedTuple):
    """The status, with the functions that it speaks of."""

    status: Status
    targets: List[Target]


def inspect_starlette() -> Inspection:
    """Import the modules of Starlette that matter, and look at their functions.

    Raises StarletteNotFoundError, UnknownReleaseError, and what the import of
    ``starlette.middleware.base`` raises.
    """
    try:
        import starlette
    except ModuleNotFoundError as exc:
        raise StarletteNotFoundError(
            NOT_FOUND.format(error=exc, prefix=sys.prefix)
        ) from exc
    release = str(getattr(starlette, "__version__", None))
    version = _releases.parse(release)
    if version < _releases.AFFECTED:
        return not_needed(release, "it sends no template messages yet")
    if version >= _releases.FIXED:
        return not_needed(release, HAS_FIX)

    targets, notes = find_targets(version)
    if all(target.swap is not None for target in targets):
        state, reason = "applied", "until you are on %d.%d.%d" % _releases.FIXED
    elif _releases.FIX_MARK in source_of(_releases.BASE):
        return not_needed(release, HAS_FIX)
    elif _releases.PATCHED in attributes_of(sys.modules[_releases.BASE]):
        return not_needed(release, IS_PATCHED)
    elif is_disabled():
        state, reason = "disabled", DISABLE + " is set"
    else:
        state, reason = "not applied", "call starlette_backport.apply()"
    status = Status(
        starlette=release,
        affected=True,
        state=state,
        reason=reason,
        functions=tuple(target.name for target in targets),
        notes=tuple(notes),
    )
    return Inspection(status, targets)


def not_needed(release: str, reason: str) -> Inspection:
    return Inspection(Status(release, False, "not needed", reason), targets=[])


def is_disabled() -> bool:
    return os.environ.get(DISABLE, "").strip().lower() not in (
        "",
        "0",
        "false",
        "no",
        "off",
    )


def find_targets(version: _releases.Version) -> Tuple[List[Target], List[str]]:
    """Return the functions to change on a release, and notes about them."""
    import starlette.middleware.base  # This also imports `starlette.responses`.

    targets = []
    notes = []
    for replacement in _releases.replacements_for(version):
        if replacement.module == _releases.TEMPLATING:
            try:
                # Not by `importlib`: tools that freeze applications, such as
                # PyInstaller, look for import statements.
                import starlette.templating  # noqa: F401
            except Exception as exc:
                # On some releases it needs jinja2, which need not be installed.
                notes.append("cannot be imported: %s: %s" % (replacement.module, exc))
                continue
        target = Target(replacement)
        targets.append(target)
        if not source_of(replacement.module):
            notes.append("not verified: no source of " + replacement.module)
        if target.swap is not None and target.swap.is_covered():
            notes.append("covered by code of another tool: " + target.name)
    changed = [target.name for target in targets if target.swap is not None]
    if changed and len(changed) < len(targets):
        notes.append("changed, unlike the others: " + ", ".join(changed))
    return targets, notes


def find_by_name(replacement: _releases.Replacement) -> object:
    """Return what ``Class.function`` in a module stands for at this moment.

    If the module has no such class, return the module. If the class has no such
    function, return the class, or what another tool has put in its place.
    """
    found: object = sys.modules[replacement.module]
    for part in replacement.name.split("."):
        if part not in attributes_of(found):
            break
        found = attributes_of(found)[part]
    return found


def attributes_of(thing: object) -> Mapping[str, object]:
    """Return the attributes that `thing` itself has, by name.

    `getattr` also finds those that a class inherits. On a mock, it finds any name.
    """
    return getattr(thing, "__dict__", {})


def source_of(module_name: str) -> str:
    """Return the source of a module, or an empty text if it has none.

    Line ends are normalised. The source may be in a zip file.
    """
    module = sys.modules[module_name]
    path = getattr(module, "__file__", None) or ""
    if not path.endswith(".py"):
        return ""
    linecache.checkcache(path)
    return "".join(linecache.getlines(path, vars(module)))


def verified_function(target: Target, release: str) -> types.FunctionType:
    """Return the function of `target`, if it is safe to change it.

    That is so if it is changed already, or if its file is the one that `release`
    shipped. If there is no source file, the release number is trusted. Raises
    UnexpectedCodeError if the file differs, or if the function is not found.
    """
    if target.function is not None and target.swap is not None:
        return target.function
    module = target.replacement.module
    source = source_of(module)
    shipped = _releases.shipped_sha256(module, release)
    if source and hashlib.sha256(source.encode()).hexdigest() != shipped:
        raise UnexpectedCodeError(
            EDITED_FILE.format(file=sys.modules[module].__file__, release=release)
        )
    if target.function is None:
        raise UnexpectedCodeError(
            HIDDEN_FUNCTION.format(name=target.name, found=description_of(target.found))
        )
    return target.function


def description_of(thing: object) -> str:
    """Return what `thing` really is.

    A wrapper may have the name of the function that it wraps. A mock may say that it is
    an instance of the class that it imitates.
    """
    if thing is None:
        return "None"
    if type(thing) is types.FunctionType:
        # `mock.create_autospec` returns a function with the mock as an attribute.
        if "mock" in vars(thing):
            return description_of(vars(thing)["mock"])
        return "function {0.co_name} ({0.co_filename}, line {0.co_firstlineno})".format(
            thing.__code__
        )
    if issubclass(type(thing), type):
        return "class " + dotted_name(thing)
    return "an object of class " + dotted_name(type(thing))
