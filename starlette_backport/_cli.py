"""The command line: ``python -m starlette_backport``, or ``starlette-backport``. It needs the standard library only."""

import argparse
import json
import os
import sys
import typing

from . import _application, _environment, _reproduction
from ._api import status
from ._early_messages import BackportError

Facts = typing.Dict[str, typing.Any]

FINE, NOT_APPLIED, USAGE, CANNOT_APPLY, NOT_NEEDED = range(5)

STATUS_EPILOG = """\
Without --check the exit status is 0, or 2 where there is nothing to tell. With --check:
  0  fine. Without an application: apply() works here, or is not needed yet. With one: it has called apply().
  1  the application has not called apply(), or one of its layers keeps early messages back
  2  wrong usage, no Starlette, or the application cannot be loaded
  3  the backport cannot be applied
  4  no longer needed: remove starlette-backport
"""

VERIFY_EPILOG = """\
Exit status:
  0  it fails without the backport, and works with it
  1  it fails with the backport, too
  2  it could not run: something is missing
  4  it works without the backport: remove starlette-backport
"""


def _parser() -> argparse.ArgumentParser:
    def add(name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--json", action="store_true", help="Print JSON on standard output."
        )
        return command

    from . import __version__

    parser = argparse.ArgumentParser(
        prog="starlette-backport",
        description="Template responses behind BaseHTTPMiddleware on Starlette 0.9.9 to 0.23.1.",
    )
    parser.add_argument(
        "--version", action="version", version="%(prog)s " + __version__
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    tell = add(
        "status",
        "Tell whether this environment is affected, and what is or would be changed.",
        STATUS_EPILOG,
    )
    tell.add_argument(
        "app",
        nargs="?",
        metavar="MODULE:APP",
        help="Tell about the middleware of this application, too.",
    )
    tell.add_argument(
        "--factory",
        action="store_true",
        help="Call MODULE:APP, which returns the application.",
    )
    tell.add_argument(
        "--check", action="store_true", help="Set the exit status, for CI."
    )
    add(
        "verify",
        "Run the minimal reproduction without the backport, and then with it.",
        VERIFY_EPILOG,
    )
    return parser


def main(argv: typing.Optional[typing.Sequence[str]] = None) -> int:
    """Run the command line; return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        told, code, lines = (
            _verify() if arguments.command == "verify" else _status(arguments)
        )
    except (_application.UsageError, BackportError) as exc:
        if arguments.json:
            sys.stdout.write(json.dumps({"error": str(exc)}) + "\n")
        else:
            sys.stderr.write("starlette-backport: %s\n" % exc)
        return USAGE
    sys.stdout.write(
        json.dumps(told, indent=2) + "\n" if arguments.json else "\n".join(lines) + "\n"
    )
    return code


def _status(arguments: typing.Any) -> typing.Tuple[Facts, int, typing.List[str]]:
    app = _application.load(arguments.app, arguments.factory) if arguments.app else None
    told, found = _environment.facts()
    if arguments.app:
        told["application"] = arguments.app
        told["layers"] = [
            dict(layer._asdict()) for layer in _application.layers(app, found)
        ]
    wrong = [
        layer["name"] for layer in told.get("layers", ()) if layer["keeps_messages"]
    ]
    if found.state == "disabled" or (arguments.app and found.state == "not applied"):
        wrong.append("not applied")
    if found.has_fix:
        code = NOT_NEEDED
    elif told["problem"]:
        code = CANNOT_APPLY
    else:
        code = NOT_APPLIED if found.affected and wrong else FINE
    told["check"] = code
    return told, code if arguments.check else FINE, list(_status_lines(told))


def _status_lines(told: Facts) -> typing.Iterator[str]:
    def row(title: str, text: str, colour: str = "") -> str:
        return "%-13s %s" % (title, _paint(text, colour))

    client = told["test_client"]
    yield row("Python", "%s, %s" % (told["python"], told["executable"]))
    yield row("Starlette", "%s, %s" % (told["starlette"], told["location"]))
    yield row(
        "Test client",
        "%s %s" % (client["package"], client["version"] or "is not installed"),
    )
    for holder in told["held_by"]:
        text = "%s %s requires %s" % (
            holder["name"],
            holder["version"],
            holder["requires"],
        )
        yield row(
            "Held by",
            text
            + "; %s is the first that allows 0.24"
            % holder["freed_by"]
            * bool(holder["freed_by"]),
        )
    if told["affected"]:
        yield row(
            "Affected",
            "yes: a template response behind a BaseHTTPMiddleware fails under the test client",
        )
    else:
        yield row("Affected", "no: " + told["reason"])
    if told["problem"]:
        yield row(
            "Backport",
            "cannot be applied: " + told["problem"].replace("\n", "\n" + " " * 14),
            "red",
        )
    elif told["has_fix"]:
        yield row("Backport", "no longer needed: remove starlette-backport", "yellow")
    else:
        reason = ": " + told["reason"] if told["affected"] else ""
        yield row(
            "Backport",
            told["state"] + reason,
            "green" if told["state"] == "applied" else "yellow",
        )
    title = (
        "Changed"
        if told["state"] == "applied"
        else "Functions"
        if told["problem"]
        else "Would change"
    )
    for function in told["functions"]:
        yield row(title, function["name"])
        title = ""
        for wrapper in function["wrapped_by"]:
            yield row("", "  wrapped by " + wrapper)
    for note in told["notes"]:
        yield row("Note", note, "yellow")
    if "layers" in told:
        yield "\n%s, from the outside in:" % told["application"]
        names = [
            " ".join(filter(None, (layer["mounted"], layer["name"])))
            for layer in told["layers"]
        ]
        for name, layer in zip(names, told["layers"]):
            colour = (
                "yellow"
                if layer["keeps_messages"]
                else "green"
                if layer["state"] == "patched"
                else ""
            )
            yield "  %-*s  %s" % (
                max(map(len, names)),
                name,
                _paint(layer["state"], colour),
            )


def _verify() -> typing.Tuple[Facts, int, typing.List[str]]:
    found = status()
    if not (found.affected or found.has_fix):
        raise _application.UsageError(
            "Starlette %s is not affected: %s." % (found.starlette, found.reason)
        )
    told = _reproduction.verify(found.starlette)
    lines = [
        "%-21s %s" % (which + " the backport:", _result(told[which]))
        for which in ("without", "with")
    ]
    code = FINE if told["with"]["works"] else NOT_APPLIED
    if found.has_fix and told["without"]["works"]:
        code = NOT_NEEDED
        lines.append(
            "Starlette %s does not need it (%s): remove starlette-backport."
            % (found.starlette, found.reason)
        )
    return told, code, lines


def _result(result: Facts) -> str:
    if result["works"]:
        return (
            _paint("works", "green")
            + ": status %(status)s, response.template.name == %(template)r" % result
        )
    text = (
        "%(error)s: %(message)s" % result if result["message"] else str(result["error"])
    )
    if result.get("where"):
        text += " in %(where)s: %(line)s" % result
    return _paint("fails", "red") + ": " + text


def _paint(text: str, colour: str) -> str:
    """Return `text` in colour, on a terminal that has some, unless NO_COLOR asks for none."""
    if (
        not colour
        or not sys.stdout.isatty()
        or os.environ.get("NO_COLOR")
        or os.environ.get("TERM") == "dumb"
    ):
        return text
    return "\033[%dm%s\033[0m" % ({"red": 31, "green": 32, "yellow": 33}[colour], text)
