"""What is applied in this process: all or nothing, under one lock.

Nothing waits for an import while it holds the lock: the importing thread may want it at the end.
"""

import contextlib
import importlib
import itertools
import threading
import types
import typing

from . import _installed, _shipped
from ._code import Transplant, done
from ._importing import Finder, wait_for_import
from ._in_flight import earlier
from ._installed import Installed
from ._releases import Target
from ._responses import carrying_class

lock = threading.RLock()


class _State:
    """What is applied, guarded by `lock`."""

    def __init__(self) -> None:
        # There is one while the backport is applied.
        self.finder: typing.Optional[Finder] = None
        # Who wants it applied: `apply` itself, and one object for each `applied()` at the moment.
        self.holders: typing.Set[typing.Any] = set()
        # Those of them that wait for the end of a `suspended()`.
        self.waiting: typing.Set[typing.Any] = set()


_state = _State()


def is_applied() -> bool:
    return _state.finder is not None


def hold(holder: typing.Any) -> None:
    """Let what is applied, or will be, stay so until `holder` lets go of it."""
    with lock:
        _state.holders.add(holder)


def let_go(holder: typing.Any) -> None:
    with lock:
        # Within `suspended()` it is what is applied there that `holder` lets go of first.
        (_state.holders if holder in _state.holders else _state.waiting).discard(holder)
        if not _state.holders:
            _undo()


def undo() -> None:
    """Put everything back, whoever holds it."""
    with lock:
        _state.holders.clear()
        _undo()


@contextlib.contextmanager
def suspended() -> "typing.Iterator[None]":
    """Put everything back for the time of a ``with`` block, and do it again for those who still hold it then.

    What is applied or put back within the block is a matter of the block, but for what is still held at its end.
    """
    with lock:
        holders = set(_state.holders)
        _state.waiting.update(holders)
        undo()
    try:
        yield
    finally:
        with lock:
            # Without those who let go meanwhile.
            holders &= _state.waiting
            _state.waiting -= holders
            _state.holders |= holders
        if holders:
            # On its own behalf: any of those may let go at any time.
            own = object()
            try:
                do(Installed(), own)
            finally:
                let_go(own)


def do(installed: Installed, holder: typing.Any) -> None:
    """Change the functions of `installed` on behalf of `holder`. Raises UnexpectedCodeError."""
    targets = installed.targets
    # First the finder, then those imports that had passed by before: no module gets through unseen.
    finder = Finder((target.module for target in targets), _imported)
    with lock:
        finder.install()
    try:
        for target in targets:
            wait_for_import(target.module)
            if _installed.loaded(target.module) is not None:
                _donor(target)  # Now, as it is an import.
        with lock:
            # Once more, as somebody may have put everything back meanwhile.
            _state.holders.add(holder)
            if _state.finder is not None:  # Another thread was faster.
                finder.remove()
                return
            # Prepare all, then do all.
            prepared = [_prepared(target, finder, installed) for target in targets]
            _state.finder = finder
            transplants = list(itertools.chain(*prepared))
            earlier.extend(transplants)
            _transplant(transplants)
    except BaseException:
        with lock:
            if _state.finder is finder:
                _undo()
            else:
                finder.remove()
        raise


def _prepared(target: Target, finder: Finder, installed: Installed) -> "typing.List[Transplant]":
    """Return what is to be changed right now; raise UnexpectedCodeError for what is not as shipped."""
    module = _installed.loaded(target.module)
    if module is not None and _installed.is_being_imported(module):
        class_name, _ = target.qualname.split(".")
        if class_name not in vars(module) and target.module not in finder.seen:
            # By this thread, as all others have been waited for, and the finder came too late for it.
            raise _shipped.unexpected(target, installed, "that this thread is just importing it")
        if class_name not in vars(module):
            module = None
    if module is None:
        _shipped.check_unloaded(target, installed)
        return []
    return _transplants(target, module, installed)


def _imported(module: types.ModuleType) -> None:
    """Change what `module`, which has been imported just now, holds."""
    installed = Installed()
    targets = [target for target in installed.targets if target.module == module.__name__]
    for target in targets:
        _donor(target)
    with lock:
        if _state.finder is None:
            return  # Reverted, or about to be applied: then it will be seen.
        try:
            for target in targets:
                _transplant(_transplants(target, module, installed))
        except BaseException:
            _undo()
            raise


def _transplants(target: Target, module: types.ModuleType, installed: Installed) -> "typing.List[Transplant]":
    found = [f for f in _shipped.functions(target, module, installed) if f not in done]
    for function in found:
        _shipped.check(target, function.__code__, installed, module.__loader__)
    return [Transplant(function, _donor(target)) for function in found]


def _donor(target: Target) -> typing.Any:
    module, *path = target.donor.split(".")
    found: typing.Any = importlib.import_module("." + module, __package__)
    for name in path:
        found = getattr(found, name)
    return found


def _transplant(transplants: "typing.Iterable[Transplant]") -> None:
    for transplant in transplants:
        transplant.do()


def _undo() -> None:
    if _state.finder is not None:
        _state.finder.remove()
        _state.finder = None
    for transplant in list(done.values()):
        transplant.undo()
    earlier.clear()
    carrying_class.cache_clear()
