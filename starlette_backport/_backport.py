"""``apply()``, ``revert()``, ``applied()`` and ``status()``: all or nothing, one at a time.

There are two locks. `_lock` lets one of these calls in at a time. `apply()` waits with it for imports that
are under way in other threads, so what runs at the end of an import must do without: it takes `_change`,
which is only held for as long as functions are changed.
"""

import contextlib
import logging
import os
import threading
import types
import typing
import warnings

from . import _installed, _releases, _shipped
from ._code import Transplant, texts
from ._errors import BackportNotNeededWarning
from ._importing import Finder, wait_for_import

DISABLE = "STARLETTE_BACKPORT_DISABLE"

logger = logging.getLogger("starlette_backport")

_lock = threading.RLock()
_change = threading.Lock()


class _State:
    """What is applied in this process."""

    def __init__(self) -> None:
        # There is one while the backport is applied. Guarded by `_change`, and so are the transplants.
        self.finder: typing.Optional[Finder] = None
        self.transplants: typing.Dict[types.FunctionType, Transplant] = {}
        # Who wants it applied: `apply()`, and so many `applied()` at the moment.
        self.wanted = False
        self.contexts = 0
        self.warned = False


_state = _State()


class Status(typing.NamedTuple):
    """What `status()` found out."""

    #: The Starlette release, as ``starlette.__version__`` gives it.
    starlette: str
    #: Whether a template response behind ``BaseHTTPMiddleware`` fails on it as it is installed.
    affected: bool
    #: ``"applied"``, ``"not applied"``, ``"not needed"`` or ``"disabled"``.
    state: str
    #: The functions that are changed, or would be: dotted names, none where nothing needs to be done.
    functions: typing.Tuple[str, ...]
    #: Why, in a few words.
    reason: str

    def __str__(self) -> str:
        lines = ["Starlette {}: backport {} ({})".format(self.starlette, self.state, self.reason)]
        return "\n  ".join(lines + list(self.functions))


def apply() -> Status:
    """Make this process's Starlette carry template and other early messages through ``call_next``.

    It may be called any number of times, from any thread, before or after Starlette, the test client or the
    application are imported or built. What is not imported yet is reached when it is. Nothing else is
    imported. Where the release is not affected, or where the environment variable
    ``STARLETTE_BACKPORT_DISABLE`` is set to anything but ``0``, ``false``, ``no`` or ``off``, nothing is
    changed; a Starlette that has the fix already gets a `BackportNotNeededWarning`, once.

    Returns what `status()` returns. Raises `StarletteNotFoundError`, `UnknownReleaseError`, or
    `UnexpectedCodeError` for code that is not what the release shipped; then nothing is changed.

    The behaviour is that of Starlette 0.24.0 (pull request #1991), for any message and for several.
    """
    return _apply(wanted=True)


def revert() -> None:
    """Put back what `apply()` found: code, modules and import system. Does nothing if nothing is applied.

    Wrappers that others have put around the changed functions since stay. A request under way is finished
    as it was begun.
    """
    with _lock:
        _state.wanted = False
        with _change:
            _undo()


@contextlib.contextmanager
def applied() -> typing.Iterator[Status]:
    """Apply for the time of a ``with`` block, for a fixture or one test; gives what `apply()` returns.

    What was applied before stays applied after. Raises what `apply()` raises.
    """
    result = _apply(wanted=False)
    try:
        yield result
    finally:
        with _lock:
            _state.contexts -= 1
            if not _state.contexts and not _state.wanted:
                with _change:
                    _undo()


def status() -> Status:
    """Return the release found, whether it is affected, and what is or would be changed. Changes nothing.

    Raises `StarletteNotFoundError` or `UnknownReleaseError`.
    """
    with _lock:
        release = _installed.release()
        names = tuple(target.name for target in _releases.targets(release))
        if _state.finder is not None:
            return Status(release, True, "applied", names, "until you are on %s" % _releases.FIXED)
        if _has_fix(release):
            return Status(release, False, "not needed", (), "it has the fix")
        if not names:
            return Status(release, False, "not needed", (), "it sends no template messages yet")
        if _disabled():
            return Status(release, True, "disabled", names, "%s is set" % DISABLE)
        return Status(release, True, "not applied", names, "call starlette_backport.apply()")


def _has_fix(release: str) -> bool:
    if _releases.is_fixed(release):
        return True
    base = _installed.module_code(_releases.BASE)
    return base is not None and _releases.FIX_MARK in texts(base)


def _disabled() -> bool:
    return os.environ.get(DISABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def _apply(wanted: bool) -> Status:
    with _lock:
        found = status()
        if found.state == "not applied":
            _do(found.starlette)
            found = status()
        elif found.state == "disabled":
            logger.warning("Nothing is changed: %s is set. %s", DISABLE, found)
        elif found.state == "not needed" and not _state.warned and _has_fix(found.starlette):
            _state.warned = True
            warnings.warn(
                "Starlette %s has the fix that starlette-backport brings: remove the package "
                "and the call of starlette_backport.apply()." % found.starlette,
                BackportNotNeededWarning,
                stacklevel=3,
            )
        if wanted:
            _state.wanted = found.state == "applied"
        else:
            _state.contexts += 1
        return found


def _do(release: str) -> None:
    targets = _releases.targets(release)
    # First the finder, then those imports that have passed by it: no module gets through unseen.
    finder = Finder((target.module for target in targets), _imported)
    with _change:
        _state.finder = finder
        finder.install()
    for target in targets:
        wait_for_import(target.module)
    with _change, _all_or_nothing():
        transplants: typing.List[Transplant] = []
        for target in targets:
            module = _installed.loaded(target.module)
            if module is None:
                _shipped.check_unloaded(target, release)
            else:
                transplants += _prepared(target, module, release)
        _transplant(transplants)


def _imported(module: types.ModuleType) -> None:
    """Change what `module`, which has been imported just now, holds."""
    with _change:
        if _state.finder is not None:
            release = _installed.release()
            with _all_or_nothing():
                for target in _releases.targets(release):
                    if target.module == module.__name__:
                        _transplant(_prepared(target, module, release))


def _prepared(target: _releases.Target, module: types.ModuleType, release: str) -> typing.List[Transplant]:
    found = [f for f in _shipped.functions(target, module, release) if f not in _state.transplants]
    for function in found:
        _shipped.check(target, function.__code__, release)
    return [Transplant(function, target.donor) for function in found]


def _transplant(transplants: typing.Iterable[Transplant]) -> None:
    for transplant in transplants:
        _state.transplants[transplant.function] = transplant
        transplant.do()


def _undo() -> None:
    if _state.finder is not None:
        _state.finder.remove()
        _state.finder = None
    while _state.transplants:
        _, transplant = _state.transplants.popitem()
        transplant.undo()


@contextlib.contextmanager
def _all_or_nothing() -> typing.Iterator[None]:
    try:
        yield
    except BaseException:
        _undo()
        raise
