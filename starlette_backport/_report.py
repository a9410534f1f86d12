"""What the command line tells: facts of the environment and of an application, and of the reproduction."""

import importlib
import json
import os
import platform
import re
import subprocess
import sys
import typing

from . import _releases, _stack
from ._backport import applied, status
from ._early_messages import BackportError

# Exit statuses; `_cli` says what they mean.
FINE, NOT_APPLIED, USAGE, CANNOT_APPLY, NOT_NEEDED = 0, 1, 2, 3, 4

Facts = typing.Dict[str, typing.Any]


class UsageError(Exception):
    """What was expected, what was found, what to do next."""


def tell_status(name: typing.Optional[str]) -> typing.Tuple[Facts, int]:
    """Return what `status` prints, and its exit status. Raises UsageError or BackportError."""
    app = _load(name) if name is not None else None
    found = status()
    starlette: typing.Any = importlib.import_module("starlette")
    facts: Facts = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "starlette": found.starlette,
        "location": ", ".join(starlette.__path__),
        "test_client": _test_client(found.starlette),
        "affected": found.affected,
        "state": found.state,
        "reason": found.reason,
        "has_fix": found.has_fix,
        "problem": _problem() if found.state == "not applied" else None,
        "functions": [{"name": name, "wrapped_by": _stack.wrappers(name)} for name in found.functions],
        "notes": list(found.notes),
    }
    if name is not None:
        facts["application"] = name
        facts["layers"] = [dict(layer._asdict()) for layer in _stack.layers(app, found)]
    if facts["problem"] is not None:
        return facts, CANNOT_APPLY
    if not found.affected:
        return facts, NOT_NEEDED if found.has_fix else FINE
    return facts, FINE if found.state == "applied" else NOT_APPLIED


def _problem() -> typing.Optional[str]:
    """Return why the backport cannot be applied, if so."""
    try:
        with applied():
            return None
    except BackportError as exc:
        return str(exc)


def _test_client(release: str) -> Facts:
    """Return the package that the release's test client is made of, and which version of it there is."""
    package = "httpx" if _releases.parse(release) >= _releases.HTTPX else "requests"
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:
            continue
        for entry in entries:
            match = re.match(re.escape(package) + r"-([^-]+)(-py.*)?\.(dist|egg)-info$", entry)
            if match:
                return {"package": package, "version": match.group(1)}
    return {"package": package, "version": None}


def _load(name: str) -> typing.Any:
    """Return the application called `name`, as servers do. Raises UsageError."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise UsageError("expected an application such as package.module:app, found %r" % name)
    sys.path.insert(0, os.getcwd())
    try:
        found: typing.Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        raise UsageError(
            "expected to import %s, but that raised %s: %s. Run this where the application is started from."
            % (module_name, type(exc).__name__, exc)
        ) from exc
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise UsageError(
                "expected an application %s in %s, found none%s" % (path, module_name, _applications(found))
            )
        found = getattr(found, attribute)
    return found


def _applications(namespace: typing.Any) -> str:
    """Return what to say about the applications in `namespace`."""
    names = [n for n, v in vars(namespace).items() if hasattr(v, "add_middleware") and not isinstance(v, type)]
    return "; there are: %s" % ", ".join(sorted(names)) if names else ""


def verify() -> typing.Tuple[Facts, int]:
    """Return what `verify` prints, and its exit status. Raises UsageError or BackportError."""
    facts: Facts = {"starlette": status().starlette, "without": _reproduce(False), "with": _reproduce(True)}
    return facts, FINE if facts["with"]["works"] else NOT_APPLIED


def _reproduce(backport: bool) -> Facts:
    """Return what comes of the reproduction in a process of its own, which finds modules where this one does."""
    code = "import sys; sys.path[:] = %r; from starlette_backport._reproduction import main; main(%r)"
    optimized = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    environment = {name: value for name, value in os.environ.items() if name != "STARLETTE_BACKPORT_DISABLE"}
    process = subprocess.Popen(
        [sys.executable, *optimized, "-c", code % (sys.path, backport)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    output, errors = process.communicate()
    if process.returncode:
        raise UsageError("expected the reproduction to come to an end, but it ended with:\n%s" % errors.strip())
    facts: Facts = json.loads(output.splitlines()[-1])
    if "missing" in facts:
        raise UsageError(
            "the reproduction needs %s here, which is not installed. Install it in this environment and run this "
            "again: %s -m pip install '%s'" % (facts["missing"], sys.executable, facts["missing"])
        )
    return facts
