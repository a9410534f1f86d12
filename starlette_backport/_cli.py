"""The command line: ``python -m starlette_backport``, or ``starlette-backport``.

It needs nothing but the standard library.
"""

import argparse
import contextlib
import importlib
import os
import sys
import traceback
import warnings
from typing import Optional, Sequence, Tuple

from . import __version__, _environment, _reproduction
from ._api import applied, status
from ._early_messages import BackportError
from ._inspection import Status, inspect_starlette

PASSES, FAILS, CANNOT_TELL, CANNOT_APPLY, NOT_NEEDED = range(5)

STATUS_HELP = """\
Tell what is installed, and what the backport changes or would change.

With --check, the exit status is:
  0  apply() works here. With MODULE: importing MODULE has applied the backport.
     Or: Starlette does not need it yet.
  1  Importing MODULE has not applied it. Or: STARLETTE_BACKPORT_DISABLE is set.
  2  Starlette or MODULE cannot be imported, or the command line is wrong.
  3  The backport cannot be applied.
  4  The backport is no longer needed: remove it.
Without --check, it is 0 or 2.
"""

VERIFY_HELP = """\
Reproduce the bug without the backport, and then with it.

The exit status is:
  0  It fails without the backport, and works with it.
  1  It fails with the backport.
  2  It cannot run here.
  4  It works without the backport: remove that.
"""
NAME_A_MODULE = "name the module that calls apply(), such as conftest.py"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command, and return its exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        # Warnings are those of other packages. As errors they would be in the way.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if arguments.command == "verify":
                return verify()
            return tell_status(arguments.module, arguments.check)
    except (BackportError, ImportError, _reproduction.CannotRun) as exc:
        sys.stderr.write("starlette-backport: %s\n" % exc)
        return CANNOT_TELL


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="starlette-backport",
        description="Templates behind BaseHTTPMiddleware on Starlette 0.9.9 to 0.23.1.",
    )
    parser.add_argument(
        "--version", action="version", version="%(prog)s " + __version__
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    commands.required = True
    status_parser = commands.add_parser(
        "status",
        help="tell what is installed, and what the backport changes or would change",
        description=STATUS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status_parser.add_argument(
        "module",
        nargs="?",
        metavar="MODULE",
        help="import this first: the name of a module, or the path of its file",
    )
    status_parser.add_argument(
        "--check",
        action="store_true",
        help="only tell in one line whether all is well, and set the exit status",
    )
    commands.add_parser(
        "verify",
        help="reproduce the bug without the backport, and then with it",
        description=VERIFY_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def tell_status(module: Optional[str], only_check: bool) -> int:
    if module is not None:
        import_first(module)
    inspection = inspect_starlette()
    exit_status, backport = verdict(inspection.status, module)
    if only_check:
        outcome = "passes" if exit_status == PASSES else "fails"
        why = backport.splitlines()[0]
        release = inspection.status.starlette
        write("%s: Starlette %s: backport %s" % (outcome, release, why))
        return exit_status
    for title, fact in _environment.facts(inspection, backport):
        write("%-11s %s" % (title, fact.replace("\n", "\n" + " " * 12)))
    return PASSES


def import_first(module: str) -> None:
    """Import a module by its name, or by the path of its file."""
    sys.path.insert(0, os.getcwd())
    file = os.path.abspath(module) if module.endswith(".py") else None
    name = module if file is None else importable_name(file)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            imported = importlib.import_module(name)
        if file is not None and not os.path.samefile(imported.__file__ or "", file):
            raise ImportError("%s is %s" % (name, imported.__file__))
    except BaseException as exc:
        # `sys.exit()` and `pytest.skip()` raise others than Exception.
        last_line = traceback.format_exception_only(type(exc), exc)[-1].strip()
        raise ImportError("%s cannot be imported: %s" % (module, last_line)) from exc


def importable_name(file: str) -> str:
    """Return the name that pytest imports a file by, and let Python find it."""
    folder, name = os.path.split(file[: -len(".py")])
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = "%s.%s" % (package, name)
    sys.path.insert(0, folder)
    return name


def verdict(found: Status, module: Optional[str]) -> Tuple[int, str]:
    """Return the exit status for ``--check``, and why: its first line says enough."""
    if found.has_fix:
        return NOT_NEEDED, (
            "no longer needed (%s): remove starlette-backport" % found.reason
        )
    if not found.affected:
        return PASSES, "not needed (%s)" % found.reason
    if found.state == "disabled":
        return FAILS, "disabled (%s)" % found.reason
    if found.state == "applied":
        return PASSES, "applied (%s)" % found.reason
    try:
        with applied():
            pass
    except BackportError as exc:
        # This has changed nothing. But something may have been changed before.
        reason = str(exc).replace(" Nothing was changed.", "")
        return CANNOT_APPLY, "cannot be applied: " + reason
    if module is None:
        return PASSES, "can be applied. To check that it is, " + NAME_A_MODULE
    return FAILS, (
        "not applied by importing %s. To check it, %s, or none with the pytest plugin"
        % (module, NAME_A_MODULE)
    )


def verify() -> int:
    found = status()
    if not found.affected and not found.has_fix:
        raise _reproduction.CannotRun(
            "Starlette %s is not affected: %s." % (found.starlette, found.reason)
        )
    without = _reproduction.run(with_backport=False)
    write("without the backport: " + without["says"])
    patched = _reproduction.run(with_backport=True)
    write("with the backport:    " + patched["says"])
    if without["works"]:
        write("It works without the backport: remove starlette-backport.")
        return NOT_NEEDED
    return PASSES if patched["works"] else FAILS


def write(text: str) -> None:
    """Print `text`. What the terminal cannot show is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
