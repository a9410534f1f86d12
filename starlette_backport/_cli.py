"""The command line: ``python -m starlette_backport``, or ``starlette-backport``.

``status`` tells what there is and what is or would be changed, also for the middleware of an application;
``verify`` runs the minimal reproduction without the backport and with it. Standard library only.
"""

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import typing

from . import _installed, _releases, _shipped, _stack
from ._backport import applied, status
from ._errors import BackportError

FINE, NOT_APPLIED, USAGE, CANNOT_APPLY, NOT_NEEDED = 0, 1, 2, 3, 4

STATUS_EPILOG = """\
Exit status:
  0  fine: applied, or this Starlette is not affected
  1  affected, and not applied (or disabled by STARLETTE_BACKPORT_DISABLE)
  2  wrong usage, no Starlette, or the application cannot be imported
  3  affected, but the backport cannot be applied
  4  no longer needed: remove starlette-backport

Without an application nothing can be applied yet, so an affected environment is 1.
"""

VERIFY_EPILOG = """\
Exit status:
  0  fine: it fails without the backport and works with it, or works without
  1  it does not work, even with the backport
  2  it could not run: something is missing
"""

Facts = typing.Dict[str, typing.Any]


class UsageError(Exception):
    """What was expected, what was found, what to do next."""


def _parser() -> argparse.ArgumentParser:
    def add(name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name, help=purpose, description=purpose, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_argument("--json", action="store_true", help="print JSON, for other programs")
        return command

    from . import __version__

    parser = argparse.ArgumentParser(
        prog="starlette-backport",
        description="Template responses behind BaseHTTPMiddleware on Starlette 0.9.9 to 0.23.1: are you affected, "
        "and does the backport help?",
    )
    parser.add_argument("--version", action="version", version="%(prog)s " + __version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    tell = add("status", "tell whether this environment is affected, and what is or would be changed", STATUS_EPILOG)
    tell.add_argument("app", nargs="?", metavar="MODULE:APP", help="tell about the middleware of this application, too")
    add("verify", "run the minimal reproduction without the backport, and then with it", VERIFY_EPILOG)
    return parser


def main(argv: typing.Optional[typing.Sequence[str]] = None) -> int:
    """Run the command line; return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "verify":
            facts, code = verify()
            lines = _verify_lines(facts)
        else:
            facts, code = tell_status(arguments.app)
            lines = _status_lines(facts)
    except (UsageError, BackportError) as exc:
        sys.stderr.write("starlette-backport: %s\n" % exc)
        return USAGE
    sys.stdout.write(json.dumps(facts, indent=2) + "\n" if arguments.json else "".join(line + "\n" for line in lines))
    return code


def tell_status(name: typing.Optional[str]) -> typing.Tuple[Facts, int]:
    """Return what `status` prints, and its exit status. Raises UsageError or BackportError."""
    app = _load(name) if name is not None else None
    found = status()
    facts: Facts = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "starlette": found.starlette,
        "location": _installed.location(),
        "test_client": _test_client(found.starlette),
        "affected": found.affected,
        "state": found.state,
        "reason": found.reason,
        "has_fix": found.has_fix,
        "problem": _problem() if found.state == "not applied" else None,
        "functions": [_function(target) for target in _releases.targets(found.starlette) if found.affected],
    }
    if name is not None:
        facts["application"] = name
        facts["layers"] = [dict(layer._asdict()) for layer in _stack.layers(app, found.starlette)]
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


def _function(target: _releases.Target) -> Facts:
    module = _installed.loaded(target.module)
    wrappers = [] if module is None else _stack.wrappers(_shipped.in_place(target, module), module)
    return {"name": target.name, "wrapped_by": wrappers}


def _test_client(release: str) -> Facts:
    """Return the package that the release's test client is made of, and which version of it there is."""
    package = _releases.client_package(release)
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


def _status_lines(facts: Facts) -> typing.List[str]:
    client = facts["test_client"]
    rows = [
        ("Python", "%s, %s" % (facts["python"], facts["executable"])),
        ("Starlette", "%s, %s" % (facts["starlette"], facts["location"])),
        ("Test client", "%s %s" % (client["package"], client["version"] or _paint("is not installed", "yellow"))),
    ]
    if facts["affected"]:
        rows.append(("Affected", "yes: a template response behind a BaseHTTPMiddleware fails under the test client"))
    else:
        rows.append(("Affected", "no: %s" % facts["reason"]))
    if facts["problem"] is not None:
        rows.append(("Backport", _paint("cannot be applied: ", "red") + facts["problem"]))
    else:
        state = facts["state"]
        if facts["affected"]:
            state += ": " + facts["reason"]
        elif facts["has_fix"]:
            state += ": remove starlette-backport"
        rows.append(("Backport", _paint(state, "green" if facts["state"] == "applied" else "yellow")))
    title = "Changed" if facts["state"] == "applied" else "Would change"
    for function in facts["functions"]:
        rows.append((title, function["name"]))
        rows.extend(("", "  wrapped by " + wrapper) for wrapper in function["wrapped_by"])
        title = ""
    lines = ["%-13s %s" % row for row in rows]
    if "layers" in facts:
        lines.append("\n%s, from the outside in:" % facts["application"])
        width = max(len(layer["mounted"] + layer["name"]) for layer in facts["layers"]) + 1
        for layer in facts["layers"]:
            name = " ".join(filter(None, (layer["mounted"], layer["name"])))
            colour = "green" if layer["early_messages"] == _stack.CARRIES else "yellow"
            lines.append("  %-*s  %s (%s)" % (width, name, _paint(layer["early_messages"], colour), layer["why"]))
    return lines


def _verify_lines(facts: Facts) -> typing.List[str]:
    return ["%-21s %s" % (which + " the backport:", _result(facts[which])) for which in ("without", "with")]


def _result(facts: Facts) -> str:
    if facts["works"]:
        return _paint("works", "green") + ": status %(status)s, response.template.name == %(template)r" % facts
    text = "%(error)s: %(message)s" % facts if facts["message"] else str(facts["error"])
    if facts.get("where"):
        text += " in %(where)s: %(line)s" % facts
    return _paint("fails", "red") + ": " + text


def _paint(text: str, colour: str) -> str:
    """Return `text` in colour, on a terminal that has some, unless NO_COLOR asks for none."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return "\033[%dm%s\033[0m" % ({"red": 31, "green": 32, "yellow": 33}[colour], text)
