"""Which Starlette is there, and what its modules are loaded from, without importing any of it."""

import importlib.machinery
import os
import sys
import types
import typing
import zlib

from ._importing import find_spec
from ._releases import targets

PACKAGE = "starlette"


class Installed:
    """The Starlette that is there, as found at one moment: nothing is looked up or read twice."""

    def __init__(self) -> None:
        """Raises StarletteNotFoundError or UnknownReleaseError."""
        namespace, self.roots = _package()
        # ``starlette.__version__``; where that is not even a text, this raises.
        self.release: typing.Any = namespace.get("__version__")
        self.targets = targets(self.release)
        self._loaders: typing.Dict[str, typing.Any] = {}
        self._digests: typing.Dict[str, str] = {}

    def exists(self, name: str) -> bool:
        """Return whether module `name`, of this package, is there to be imported, from wherever modules come."""
        return loaded(name) is not None or find_spec(sys.meta_path, name, self.roots) is not None

    def loader(self, name: str) -> typing.Any:
        """Return what would load module `name`, None if that cannot be told."""
        if name not in self._loaders:
            *parents, _ = name.split(".")[1:]
            folders = [os.path.join(root, *parents) for root in self.roots]
            spec = importlib.machinery.PathFinder.find_spec(name, folders)
            self._loaders[name] = spec.loader if spec is not None else None
        return self._loaders[name]

    def code(self, name: str) -> "typing.Optional[types.CodeType]":
        """Return the code that importing module `name` would run, None if that cannot be told."""
        get_code = getattr(self.loader(name), "get_code", None)
        return get_code(name) if get_code is not None else None

    def digest(self, loader: typing.Any) -> str:
        """Return eight hex digits, the CRC-32, for the whole source file that `loader` loads a module from.

        Empty where there is none, and for loaders of other kinds: who knows what those make of it.
        """
        if type(loader) is not importlib.machinery.SourceFileLoader:
            return ""
        path = loader.path
        if path not in self._digests:
            try:
                self._digests[path] = "%08x" % zlib.crc32(loader.get_data(path))
            except OSError:
                self._digests[path] = ""
        return self._digests[path]


def _package() -> "typing.Tuple[typing.Dict[str, typing.Any], typing.List[str]]":
    """Return what the package itself says, and where its modules are; none of it gets imported."""
    package = loaded(PACKAGE)
    if package is not None and not is_being_imported(package):
        return vars(package), list(getattr(package, "__path__", ()))
    spec = find_spec(sys.meta_path, PACKAGE, None)
    if spec is None:
        from ._errors import StarletteNotFoundError

        raise StarletteNotFoundError(
            "Expected Starlette to be installed in this environment ({}), but found none. "
            "Install the release that your project pins, for instance "
            "'pip install starlette==0.14.2'.".format(sys.prefix)
        )
    namespace: typing.Dict[str, typing.Any] = {"__name__": PACKAGE}
    get_code = getattr(spec.loader, "get_code", None)
    if get_code is not None:
        exec(get_code(PACKAGE), namespace)
    return namespace, list(spec.submodule_search_locations or ())


def loaded(name: str) -> "typing.Optional[types.ModuleType]":
    """Return module `name` where it has been imported, or is being imported."""
    module = sys.modules.get(name)
    # Tests put other things there.
    return module if isinstance(module, types.ModuleType) else None


def is_being_imported(module: types.ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))
