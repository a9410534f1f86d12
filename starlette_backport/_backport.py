"""``apply()``, ``revert()``, ``applied()`` and ``status()``."""

import collections
import contextlib
import os
import typing

from . import _process, _releases
from ._code import texts
from ._installed import Installed

DISABLE = "STARLETTE_BACKPORT_DISABLE"

HAS_FIX = "it has the fix"
IS_PATCHED = "it is a patched build, with the diffs of starlette-backport"

_warned: "typing.Set[str]" = set()


if typing.TYPE_CHECKING:

    class _Fields(typing.NamedTuple):
        starlette: str
        affected: bool
        state: str
        functions: typing.Tuple[str, ...]
        reason: str
else:
    # The same, made in half the time.
    _Fields = collections.namedtuple("_Fields", ["starlette", "affected", "state", "functions", "reason"])


class Status(_Fields):
    """What `status()` found out.

    ``starlette``: the release, as ``starlette.__version__`` gives it.
    ``affected``: whether a template response behind ``BaseHTTPMiddleware`` fails on it as it is installed.
    ``state``: ``"applied"``, ``"not applied"``, ``"not needed"`` or ``"disabled"``.
    ``functions``: those that are changed, or would be: dotted names, none where nothing needs to be done.
    ``reason``: why, in a few words.
    """

    __slots__ = ()

    @property
    def has_fix(self) -> bool:
        """Whether it carries template messages by itself, so that the backport can be removed."""
        return self.reason in (HAS_FIX, IS_PATCHED)

    def __str__(self) -> str:
        lines = ["Starlette {}: backport {} ({})".format(self.starlette, self.state, self.reason)]
        return "\n  ".join(lines + list(self.functions))


def apply() -> Status:
    """Make this process's Starlette carry template and other early messages through ``call_next``.

    It may be called any number of times, from any thread, before or after Starlette, the test client or the
    application are imported or built. What is not imported yet is reached when it is. Nothing else is
    imported. A request in flight ends as it was begun. Where the release is not affected, or where the
    environment variable ``STARLETTE_BACKPORT_DISABLE`` is set to anything but ``0``, ``false``, ``no`` or
    ``off``, nothing is changed; a Starlette that has the fix already gets a `BackportNotNeededWarning`, once.

    Returns what `status()` returns. Raises `StarletteNotFoundError`, `UnknownReleaseError`, or
    `UnexpectedCodeError` for code that is not what the release shipped; then nothing is changed.

    The behaviour is that of Starlette 0.24.0 (pull request #1991), for any message and for several.
    """
    return _acquire(apply, stacklevel=3)


def revert() -> None:
    """Put back what `apply()` found: code, modules and import system. Does nothing if nothing is applied.

    Wrappers that others have put around the changed functions since stay. A call of ``call_next`` that is
    under way is finished as it was begun; what a request has not reached yet is the release's own again.
    """
    _process.undo()


@contextlib.contextmanager
def applied() -> "typing.Iterator[Status]":
    """Apply for the time of a ``with`` block, for a fixture or one test; gives what `apply()` returns.

    What was applied before stays applied after. Raises what `apply()` raises.
    """
    holder = object()
    result = _acquire(holder, stacklevel=4)
    try:
        yield result
    finally:
        _process.let_go(holder)


def status() -> Status:
    """Return the release found, whether it is affected, and what is or would be changed. Changes nothing.

    Raises `StarletteNotFoundError` or `UnknownReleaseError`.
    """
    return _found(Installed())


def _found(installed: Installed) -> Status:
    release = installed.release
    names = tuple(target.name for target in installed.targets)
    with _process.lock:
        if _process.is_applied():
            return _is_applied(installed)
        has_fix = _has_fix(installed)
        if has_fix:
            return Status(release, False, "not needed", (), has_fix)
        if not names:
            return Status(release, False, "not needed", (), "it sends no template messages yet")
        if _disabled():
            return Status(release, True, "disabled", names, "%s is set" % DISABLE)
        return Status(release, True, "not applied", names, "call starlette_backport.apply()")


def _is_applied(installed: Installed) -> Status:
    names = tuple(target.name for target in installed.targets)
    return Status(installed.release, True, "applied", names, "until you are on %s" % _releases.FIXED)


def _has_fix(installed: Installed) -> "typing.Optional[str]":
    """Return by what the Starlette that is there has the fix, if it has."""
    if _releases.is_fixed(installed.release):
        return HAS_FIX
    digest = installed.digest(installed.loader(_releases.BASE))
    if any(digest in target.files for target in installed.targets if target.module == _releases.BASE):
        return None  # As shipped.
    base = installed.code(_releases.BASE)
    if base is None:  # As in a frozen application.
        return IS_PATCHED if installed.exists(_releases.PATCH_MODULE) else None
    if _releases.PATCH_MODULE in base.co_names:
        return IS_PATCHED
    return HAS_FIX if _releases.FIX_MARK in texts(base) else None


def _disabled() -> bool:
    return os.environ.get(DISABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def _acquire(holder: typing.Any, stacklevel: int) -> Status:
    """Apply on behalf of `holder`, if there is anything to apply."""
    _process.hold(holder)
    try:
        installed = Installed()
        found = _found(installed)
        if found.state == "not applied":
            _process.do(installed, holder)
            return _is_applied(installed)
    except BaseException:
        _process.let_go(holder)
        raise
    if found.state != "applied":
        _process.let_go(holder)
    if found.state == "disabled":
        import logging

        logging.getLogger("starlette_backport").warning("Nothing is changed: %s is set. %s", DISABLE, found)
    elif found.has_fix and not _warned:
        import warnings

        from ._errors import BackportNotNeededWarning

        _warned.add(found.starlette)
        warnings.warn(
            "Starlette %s does not need starlette-backport (%s): remove the package "
            "and the call of starlette_backport.apply()." % (found.starlette, found.reason),
            BackportNotNeededWarning,
            stacklevel=stacklevel,
        )
    return found
