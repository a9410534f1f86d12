"""``apply()``, ``revert()``, ``applied()`` and ``status()``."""

import contextlib
import hashlib
import linecache
import logging
import os
import sys
import threading
import warnings
from typing import Any, Iterator, List, NamedTuple, Tuple

from . import _early_messages, _releases
from ._errors import BackportNotNeededWarning, StarletteNotFoundError, UnexpectedCodeError
from ._functions import Change, change_of, find

DISABLE = "STARLETTE_BACKPORT_DISABLE"
HAS_FIX = "it has the fix"
IS_PATCHED = "it is a patched build, with the diffs of starlette-backport"

_lock = threading.RLock()
_warned: List[bool] = []
_made: List[Change] = []  # By this copy of the package: to find them again after a module was imported anew.


class Status(NamedTuple):
    """What `status()` found out."""

    starlette: str  #: The release, ``starlette.__version__``.
    affected: bool  #: Whether a template response behind ``BaseHTTPMiddleware`` fails on it as it is installed.
    state: str  #: ``"applied"``, ``"not applied"``, ``"not needed"`` or ``"disabled"``.
    functions: Tuple[str, ...]  #: Those that are changed, or would be.
    reason: str  #: Why, in a few words.
    notes: Tuple[str, ...] = ()  #: What could not be verified or changed, and why.

    @property
    def has_fix(self) -> bool:
        """Whether it carries template messages by itself, so that the backport can be removed."""
        return self.reason in (HAS_FIX, IS_PATCHED)

    def __str__(self) -> str:
        line = "Starlette {0.starlette}: backport {0.state} ({0.reason})".format(self)
        return "\n  ".join([line, *self.functions, *self.notes])


def apply() -> Status:
    """Make this process's Starlette carry template and other early messages through ``call_next``.

    The behaviour is that of Starlette 0.24.0 (pull request #1991), for any message. Call it as often as you like, from
    any thread, before or after applications are built. Returns what `status()` returns. Changes nothing where the
    release is not affected, or where the environment variable ``STARLETTE_BACKPORT_DISABLE`` is set. Warns once, with
    `BackportNotNeededWarning`, where it has the fix. Raises `StarletteNotFoundError`, `UnknownReleaseError`, or
    `UnexpectedCodeError` for code that is not what the release shipped, and then changes nothing.
    """
    return _apply("apply()", stacklevel=3)


def revert() -> None:
    """Give all changed functions their own code back. Wrappers that other tools put around them stay."""
    with _lock:
        for change in in_force():
            change.undo()


@contextlib.contextmanager
def applied() -> Iterator[Status]:
    """Apply for the time of a ``with`` block, which may nest and overlap with others. Gives what `apply()` returns."""
    holder = object()
    result = _apply(holder, stacklevel=4)
    try:
        yield result
    finally:
        with _lock:
            for change in in_force():
                change.holders.discard(holder)
                if not change.holders:
                    change.undo()


def status() -> Status:
    """Return what is or would be changed at this moment. Imports and raises what `apply()` does; changes nothing."""
    with _lock:
        return _look()[0]


def in_force() -> List[Change]:
    """Return the changes that are in force now, whichever copy of this package made them."""
    _made[:] = [change for change in _made if change_of(change.function) is change]
    found: List[Any] = list(_made)
    for module, name, *_ in _releases.FUNCTIONS:
        if hasattr(sys.modules.get(module), name.split(".")[0]):
            found.append(change_of(find(sys.modules[module], name)[1]))
    return [change for change in found if change]


def _look() -> Tuple[Status, List[Any]]:
    """Return the status and, for each function to change, module, name, new code, what is in its place, and itself."""
    try:
        import starlette
    except ModuleNotFoundError as exc:
        text = "%s.\nThis environment is %s.\nInstall the release of Starlette that your project pins."
        raise StarletteNotFoundError(text % (exc, sys.prefix)) from exc
    release: Any = getattr(starlette, "__version__", None)
    version = _releases.parse(release)
    found, notes = [], []  # type: List[Any], List[str]
    for module, name, code, since, until in _releases.FUNCTIONS:
        if since <= version < until and _import(module, notes):
            found.append((module, name, code, *find(sys.modules[module], name)))
            notes += [] if _source(module) else ["not verified: no source of " + module]
    affected, state, reason = True, "not applied", "call starlette_backport.apply()"
    if found and all(change_of(function) for *_, function in found):
        state, reason = "applied", "until you are on %d.%d.%d" % _releases.FIXED
    elif version >= _releases.FIXED or (found and _releases.FIX_MARK in _source(_releases.BASE)):
        affected, state, reason = False, "not needed", HAS_FIX
    elif not found:
        affected, state, reason = False, "not needed", "it sends no template messages yet"
    elif hasattr(sys.modules[_releases.BASE], _releases.PATCHED):
        affected, state, reason = False, "not needed", IS_PATCHED
    elif os.environ.get(DISABLE, "").strip().lower() not in ("", "0", "false", "no", "off"):
        state, reason = "disabled", DISABLE + " is set"
    names = ["%s.%s" % (module, name) for module, name, *_ in found]
    return Status(release, affected, state, tuple(names * affected), reason, tuple(notes * affected)), found


def _import(name: str, notes: List[str]) -> bool:
    """Import module `name`, each by a statement, because tools that freeze applications look for these."""
    import starlette.middleware.base
    import starlette.middleware.gzip

    try:
        if name == _releases.TEMPLATING:
            import starlette.templating  # noqa: F401
    except Exception as exc:  # It may need jinja2. Without that there are no template responses.
        notes.append("not changed: %s, which cannot be imported: %s" % (name, exc))
    return name in sys.modules


def _source(name: str) -> str:
    """Return the source of module `name`, with line ends normalised; empty where there is none."""
    path = getattr(sys.modules[name], "__file__", None) or ""
    linecache.checkcache(path)
    return "".join(linecache.getlines(path, vars(sys.modules[name]))) if path.endswith(".py") else ""


def _check(release: str, module: str, name: str, in_place: Any, function: Any) -> None:
    """Raise UnexpectedCodeError where the file of `module`, or `function`, is not what the release shipped."""
    source = _source(module)
    if source and hashlib.sha256(source.encode()).hexdigest() != _releases.sha256(module, release):
        text = "%s is not the file that Starlette %s shipped. Nothing was changed.\n"
        text += "Remove starlette-backport if the file carries template messages. Else reinstall the release:\n"
        text += "pip install --force-reinstall --no-deps starlette==%s"
        raise UnexpectedCodeError(text % (sys.modules[module].__file__, release, release))
    if function is None:
        text = "%s.%s was replaced by %s, which hides it. Nothing was changed.\n"
        text += "Call starlette_backport.apply() before that, or use functools.wraps there."
        raise UnexpectedCodeError(text % (module, name, _early_messages.dotted(in_place)))


def _apply(holder: Any, stacklevel: int) -> Status:
    """Apply on behalf of `holder`, if there is anything to apply."""
    with _lock:
        before, found = _look()
        if before.state in ("applied", "not applied"):
            for module, name, _, in_place, function in found:
                if not change_of(function):
                    _check(before.starlette, module, name, in_place, function)
            with contextlib.ExitStack() as undo:  # All functions or none.
                for _, _, code, _, function in found:
                    change = change_of(function) or Change(function, code, _early_messages)
                    change.holders.add(holder)  # First, so that nobody who lets go meanwhile undoes it.
                    if change_of(function) is not change:
                        _made.append(change)
                        undo.callback(change.undo)
                        change.do()
                undo.pop_all()
            return _look()[0]
    if before.state == "disabled":
        logging.getLogger("starlette_backport").warning("Nothing is changed: %s is set. %s", DISABLE, before)
    elif before.has_fix and not _warned:
        _warned.append(True)
        text = "Starlette %s does not need starlette-backport (%s). Remove the package and the call of apply()."
        warnings.warn(text % (before.starlette, before.reason), BackportNotNeededWarning, stacklevel=stacklevel)
    return before
