"""``apply()``, ``revert()``, ``applied()`` and ``status()``.

A change of a function has holders: ``"apply()"`` for all calls of `apply()` together,
and the context manager of each block of `applied()`. When the last holder leaves, the
function gets its own code back. `revert()` gives it back regardless of holders.
"""

import contextlib
import functools
import inspect
import logging
import sys
import threading
import warnings
import weakref
from typing import Callable, Iterator, Set, TypeVar

from . import _early_messages, _releases
from ._code_swap import CodeSwap, current_or_new_swap, current_swap
from ._early_messages import dotted_name
from ._errors import NOT_NEEDED, BackportNotNeededWarning
from ._inspection import (
    DISABLE,
    Inspection,
    Status,
    Target,
    inspect_starlette,
    verified_function,
)

Result = TypeVar("Result")

_lock = threading.RLock()
_has_warned = False
# The swaps that this copy of the package has used. If a module of Starlette has been
# imported anew, its old functions can be found only here. The references are weak:
# while a swap is in force, the defaults of its function refer to it.
_swaps: "weakref.WeakSet[CodeSwap]" = weakref.WeakSet()


def apply() -> Status:
    """Make this process's Starlette carry template messages through ``call_next``.

    Starlette then does what 0.24.0 does (pull request #1991). Where the scope offers an
    extension, it does so for any message that an application sends before
    ``http.response.start``. Call it as often as you like, from any thread, before or
    after applications are built.

    Returns what `status()` returns. Changes nothing where the release is not affected,
    or where the environment variable ``STARLETTE_BACKPORT_DISABLE`` is set. Warns once,
    with `BackportNotNeededWarning`, where Starlette has the fix.

    Raises what `status()` raises, and `UnexpectedCodeError` for code that is not what
    the release shipped. After an error, everything is as it was before.
    """
    return _apply(holder="apply()", stacklevel=3)


def revert() -> None:
    """Give all changed functions their own code back, whoever has changed them.

    Wrappers that other tools put around them stay. A function stays changed while code
    of another tool covers ours: `status()` names it, and it has to be reverted again
    after that tool has let go.
    """
    with _lock:
        for swap in known_swaps():
            swap.restore_code()


class applied:
    """Apply for the time of a ``with`` block, and give what `apply()` returns.

    Such blocks may nest and overlap. As a decorator, it makes each call of a function
    such a block.
    """

    def __enter__(self) -> Status:
        return _apply(holder=self, stacklevel=3)

    def __exit__(self, *exc_info: object) -> None:
        with _lock:
            for swap in known_swaps():
                swap.remove_holder(self)

    def __call__(self, function: Callable[..., Result]) -> Callable[..., Result]:
        # A call of one of these does not run its body. The block would be over by then.
        if (
            inspect.isclass(function)
            or inspect.iscoroutinefunction(function)
            or inspect.isgeneratorfunction(function)
            or inspect.isasyncgenfunction(function)
        ):
            raise TypeError(
                "starlette_backport.applied() decorates functions that run when they "
                "are called. %s is not one: use it in a with block, or in a fixture."
                % dotted_name(function)
            )

        @functools.wraps(function)
        def in_block(*args: object, **kwargs: object) -> Result:
            with applied():
                return function(*args, **kwargs)

        return in_block


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Revert for the time of a ``with`` block. The pytest plugin uses it.

    Afterwards, functions are changed again for each holder that has not left meanwhile.
    """
    with _lock:
        swaps = [s for s in known_swaps() if current_swap(s.function) is s]
        revert()
    try:
        yield
    finally:
        with _lock:
            for swap in swaps:
                now = current_or_new_swap(swap.function, swap.code, swap.early_messages)
                _swaps.add(now)
                for holder in list(swap.holders):
                    now.add_holder(holder)


def status() -> Status:
    """Return what is changed at this moment, or would be changed by `apply()`.

    Imports the modules that `apply()` changes, and changes nothing. Raises
    `StarletteNotFoundError`, `UnknownReleaseError`, and what the import of
    ``starlette.middleware.base`` raises.
    """
    with _lock:
        return inspect_starlette().status


def known_swaps() -> Set[CodeSwap]:
    """Return all swaps that may be in force, whichever copy of the package made them.

    These are those that this copy has used, and those of the functions that are found
    in Starlette's modules now.
    """
    targets = [
        Target(replacement)
        for replacement in _releases.REPLACEMENTS
        if sys.modules.get(replacement.module) is not None
    ]
    current = {target.swap for target in targets if target.swap is not None}
    return current.union(_swaps)


def _apply(holder: object, stacklevel: int) -> Status:
    """Apply on behalf of `holder`, if there is anything to apply."""
    with _lock:
        inspection = inspect_starlette()
        result = inspection.status
        if result.state in ("applied", "not applied"):
            _change_all(inspection, holder)
            return inspect_starlette().status
    if result.state == "disabled":
        logging.getLogger("starlette_backport").warning(
            "Nothing is changed: %s is set. %s", DISABLE, result
        )
    elif result.has_fix:
        _warn_once(result, stacklevel + 1)
    return result


def _change_all(inspection: Inspection, holder: object) -> None:
    """Change all functions on behalf of `holder`, or none."""
    swaps = []
    for target in inspection.targets:
        function = verified_function(target, inspection.status.starlette)
        swaps.append(
            current_or_new_swap(function, target.replacement.code, _early_messages)
        )
    with contextlib.ExitStack() as on_failure:
        for swap in swaps:
            _swaps.add(swap)
            if holder not in swap.holders:
                on_failure.callback(swap.remove_holder, holder)
                swap.add_holder(holder)
        on_failure.pop_all()


def _warn_once(found: Status, stacklevel: int) -> None:
    global _has_warned
    if not _has_warned:
        _has_warned = True
        warnings.warn(
            NOT_NEEDED.format(status=found, what="the call of apply()"),
            BackportNotNeededWarning,
            stacklevel=stacklevel,
        )
