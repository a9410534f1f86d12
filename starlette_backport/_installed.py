"""Which Starlette is there, and what its modules hold, without importing any of it."""

import importlib.machinery
import os
import sys
import types
import typing

from ._errors import StarletteNotFoundError
from ._importing import find_spec

PACKAGE = "starlette"


def _package() -> typing.Tuple[typing.Mapping[str, typing.Any], typing.Sequence[str]]:
    """Return what the package itself says, and where its modules are; none of it gets imported."""
    package = loaded(PACKAGE)
    if package is not None and not is_being_imported(package):
        return vars(package), list(getattr(package, "__path__", ()))
    spec = find_spec(sys.meta_path, PACKAGE, None)
    if spec is None:
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


def release() -> typing.Any:
    """Return ``starlette.__version__``. Raises StarletteNotFoundError."""
    namespace, _ = _package()
    return namespace.get("__version__")


def location() -> str:
    """Return the folder that Starlette is in."""
    _, roots = _package()
    return ", ".join(roots)


def loaded(name: str) -> typing.Optional[types.ModuleType]:
    """Return module `name` where it has been imported, or is being imported."""
    module = sys.modules.get(name)
    # Tests put other things there.
    return module if isinstance(module, types.ModuleType) else None


def exists(name: str) -> bool:
    """Return whether module `name`, of this package, is there to be imported, from wherever modules come."""
    _, roots = _package()
    return loaded(name) is not None or find_spec(sys.meta_path, name, roots) is not None


def is_being_imported(module: types.ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def module_code(name: str) -> typing.Tuple[typing.Optional[types.CodeType], typing.Any]:
    """Return the code that importing module `name` would run, None if that cannot be told, and its loader."""
    *parents, _ = name.split(".")[1:]
    _, roots = _package()
    spec = importlib.machinery.PathFinder.find_spec(name, [os.path.join(root, *parents) for root in roots])
    loader = spec.loader if spec is not None else None
    get_code = getattr(loader, "get_code", None)
    return (get_code(name) if get_code is not None else None), loader
