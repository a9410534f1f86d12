"""The command line: ``python -m starlette_backport``, or ``starlette-backport``.

``status`` tells what there is and what is or would be changed, also for the middleware of an application;
``verify`` runs the minimal reproduction without the backport and with it. Standard library only.
"""

import argparse
import json
import os
import sys
import typing

from . import _stack
from ._early_messages import BackportError
from ._report import USAGE, Facts, UsageError, tell_status, verify

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
            applied = layer["early_messages"] == _stack.FIXED and facts["state"] == "applied"
            colour = "green" if layer["early_messages"] == _stack.CARRIES or applied else "yellow"
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
