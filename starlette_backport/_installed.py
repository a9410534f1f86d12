"""Which Starlette is there, and what its modules hold, without importing any of it."""

import importlib.machinery
import importlib.util
import os
import sys
import types
import typing

from ._errors import StarletteNotFoundError

PACKAGE = "starlette"


def _package() -> types.ModuleType:
    """Return the package, imported already or made for this look only; submodules are not touched."""
    package = sys.modules.get(PACKAGE)
    if package is None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.loader is None:
            raise StarletteNotFoundError(
                "Expected Starlette to be installed in this environment ({}), but found none. "
                "Install the release that your project pins, for instance "
                "'pip install starlette==0.14.2'.".format(sys.prefix)
            )
        package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return package


def release() -> typing.Any:
    """Return ``starlette.__version__``. Raises StarletteNotFoundError."""
    return getattr(_package(), "__version__", None)


def loaded(name: str) -> typing.Optional[types.ModuleType]:
    """Return module `name` where it has been imported, not where it is just being imported."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if getattr(spec, "_initializing", False) else module


def module_code(name: str) -> typing.Optional[types.CodeType]:
    """Return the code that importing module `name` would run, or None if that cannot be told."""
    *parents, _ = name.split(".")[1:]
    path = [os.path.join(root, *parents) for root in getattr(_package(), "__path__", ())]
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    get_code = getattr(spec and spec.loader, "get_code", None)
    return get_code(name) if get_code is not None else None
