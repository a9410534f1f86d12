"""Reaching modules that are imported later.

A finder at the head of ``sys.meta_path`` lets the other finders do the work, and adds one step after
the module has run. It stays as long as the backport is applied, so that a module that is reloaded, or thrown
out of ``sys.modules`` and imported again, is reached as well.
"""

import importlib
import sys
import threading
import typing


def wait_for_import(name: str) -> None:
    """Return once no other thread is in the midst of importing module `name`; does not import it."""
    # What an import statement does for a module that another thread is importing, there on all versions.
    importlib._bootstrap._lock_unlock_module(name)  # type: ignore[attr-defined]


def find_spec(finders: "typing.Iterable[typing.Any]", name: str, *where: typing.Any) -> typing.Any:
    """Return what the first of `finders` to know module `name` says of it, or None."""
    for finder in finders:
        if hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, *where)
            if spec is not None:
                return spec
    return None


class Finder:
    """Calls `callback` with each of the modules called `names` right after it has been executed."""

    def __init__(self, names: "typing.Iterable[str]", callback: "typing.Callable[[typing.Any], None]") -> None:
        self.names = frozenset(names)
        self.callback = callback
        # The modules whose import has come by here.
        self.seen: typing.Set[str] = set()
        self._asking = threading.local()

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        # A new list: another thread may be going through the old one, and would skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: typing.Any = None, target: typing.Any = None) -> typing.Any:
        # Another finder of this kind may ask this one in turn.
        if name not in self.names or getattr(self._asking, "name", None) == name:
            return None
        self.seen.add(name)
        self._asking.name = name
        try:
            spec = find_spec([finder for finder in sys.meta_path if finder is not self], name, path, target)
        finally:
            del self._asking.name
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.callback)
        return spec


class _Loader:
    """A module's own loader with one more step; the module is left with its own loader."""

    def __init__(self, loader: typing.Any, callback: typing.Any) -> None:
        self._loader = loader
        self._callback = callback

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._loader, name)

    def create_module(self, spec: typing.Any) -> typing.Any:
        create_module = getattr(self._loader, "create_module", None)
        return create_module(spec) if create_module is not None else None

    def exec_module(self, module: typing.Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        if hasattr(self._loader, "exec_module"):
            self._loader.exec_module(module)
        else:  # A zip file, up to Python 3.9.
            exec(self._loader.get_code(module.__name__), module.__dict__)
        self._callback(module)
