"""The command line, in a process of its own, on whatever Starlette is there."""

import os
import re
import sys
from typing import NamedTuple

import pytest
from support import (
    AFFECTED,
    ASGI2,
    CARRIER,
    FORK,
    NUMBERS,
    RELEASE,
    TemplateResponse,
    run_process,
)

import starlette_backport
from starlette_backport import _cli, _environment, _reproduction

APPLIES = AFFECTED and not FORK
if AFFECTED:
    TEMPLATE_CLASS = (TemplateResponse.__module__, TemplateResponse.__name__)
    TEMPLATE_FUNCTION = "%s.%s.__call__" % TEMPLATE_CLASS
else:
    TEMPLATE_FUNCTION = ""
CLIENT = "httpx" if NUMBERS >= (0, 21, 0) else "requests"
OLD_CLIENT = "httpx<0.28" if NUMBERS >= (0, 21, 0) else "requests"


class Result(NamedTuple):
    exit_status: int
    output: str
    errors: str

    def facts(self, title):
        return re.findall("(?m)^%s +(.*)$" % title, self.output)


MODULE = ["-m", "starlette_backport"]
STATUS_AND_CHECK = """
import sys
from starlette_backport._cli import main
main(["status", "module"])
sys.exit(main(["status", "--check", "module"]))
"""


@pytest.fixture
def cli(tmp_path):
    """Run the command line in a folder that has these files."""

    def run(*arguments, files=(), command=MODULE, **variables):
        for name, content in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        command = [sys.executable, *command, *arguments]
        process = run_process(*command, cwd=tmp_path, **variables)
        return Result(process.returncode, process.stdout, process.stderr)

    return run


# What modules do to Starlette, and what is said after they are imported.

# This is README's set-up.
APPLY = "import starlette_backport\nstarlette_backport.apply()\n"
IMPORT = "from starlette.middleware.base import BaseHTTPMiddleware\n"
REPLACE = IMPORT + "BaseHTTPMiddleware.%s = object()\n" % CARRIER
TRY_TO_APPLY = """
try:
    import starlette_backport
    starlette_backport.apply()
except starlette_backport.UnexpectedCodeError:
    pass
"""
WRAP = """
import functools
from starlette.middleware.base import BaseHTTPMiddleware

def wrap(function):
    @functools.wraps(function)
    def tracing(*args):
        return function(*args)
    return tracing

BaseHTTPMiddleware.{0} = wrap(BaseHTTPMiddleware.{0})
""".format(CARRIER)
# As tracers do that put code of their own over the code of a function.
COVER = (
    """
async def cover(*args, starlette_backport):
    pass

BaseHTTPMiddleware.%s.__code__ = cover.__code__
"""
    % CARRIER
)
DISABLE = "import os\nos.environ['STARLETTE_BACKPORT_DISABLE'] = '1'\n"
VERSION = "import starlette\nstarlette.__version__ = '%s'\n"
MISSING = "raise ModuleNotFoundError(name='%s')\n"
NONE = "import sys\nsys.modules['%s'] = None\n"
PATCHED_BUILD = (
    "import starlette.middleware.base as base\nbase._early_messages = base\n"
)

CARRYING = "starlette.middleware.base.BaseHTTPMiddleware." + CARRIER
NAME_IT = "name the module that calls apply(), such as conftest.py"
WORKS = "works: status 200, response.template.name == 'index.html'\n"
FAILS = (
    r"without the backport: fails: AssertionError in starlette/middleware/base.py, "
    r"line \d+, in call_next: assert .*\n"
)

APPLIED = "applied (until you are on 0.24.0)"
REPLACED = "replaced by an object of class builtins.object"
REFUSED = "cannot be applied: %s was %s, which hides it." % (CARRYING, REPLACED)
NOT_APPLIED = "not applied by importing module. To check it, " + NAME_IT
NOT_NEEDED = "no longer needed (%s): remove starlette-backport"


# Each with the exit status of --check, what is said about the backport, the states of
# both functions, and notes.
STATES = [
    pytest.param(
        "",
        1,
        NOT_APPLIED + ", or none with the pytest plugin",
        ["not changed", "not changed"],
        [],
        id="not applied",
    ),
    pytest.param(APPLY, 0, APPLIED, ["changed", "changed"], [], id="applied"),
    pytest.param(
        WRAP + APPLY,
        0,
        APPLIED,
        ["changed, wrapped by function tracing", "changed"],
        [],
        id="wrapped",
    ),
    pytest.param(
        IMPORT + APPLY + COVER,
        0,
        APPLIED,
        ["changed", "changed"],
        ["covered by code of another tool: " + CARRYING],
        id="covered",
    ),
    pytest.param(
        REPLACE + TRY_TO_APPLY,
        3,
        REFUSED,
        [REPLACED + ", which hides it", "not changed"],
        [],
        id="refused",
    ),
    pytest.param(
        APPLY + REPLACE,
        3,
        REFUSED,
        [REPLACED + ", which hides it", "changed"],
        ["changed, unlike the others: " + TEMPLATE_FUNCTION],
        id="applied, then replaced",
    ),
    pytest.param(
        DISABLE + APPLY,
        1,
        "disabled (STARLETTE_BACKPORT_DISABLE is set)",
        ["not changed", "not changed"],
        [],
        id="disabled",
    ),
    pytest.param(
        PATCHED_BUILD,
        4,
        NOT_NEEDED % "it is a patched build, with the diffs of starlette-backport",
        [],
        [],
        id="patched build",
    ),
    pytest.param(
        VERSION % "0.24.0", 4, NOT_NEEDED % "it has the fix", [], [], id="fixed"
    ),
    pytest.param(
        VERSION % "0.9.8",
        0,
        "not needed (it sends no template messages yet)",
        [],
        [],
        id="unaffected",
    ),
]

# `Own` and those made of it decide themselves. `Plain` has a function that this release
# does not ask. `Traced` has a wrapper of Starlette's, as sentry-sdk puts it there.
MIDDLEWARE = (
    WRAP
    + """
class Plain(BaseHTTPMiddleware):
    {1} = len

class Own(BaseHTTPMiddleware):
    def {0}(self, *args):
        return super().{0}(*args)

class Inheriting(Own):
    pass

class Mixed(Own, Plain):
    pass

class Traced(BaseHTTPMiddleware):
    pass

Traced.{0} = wrap(Traced.{0})
""".format(CARRIER, "unknown" if ASGI2 else "asgi")
)

WARNING_JINJA2 = """
import sys
import warnings

warnings.warn("Another package does not like this.")
folder = sys.path.pop(0)
del sys.modules["jinja2"]
import jinja2
sys.path.insert(0, folder)
"""

# A package of tests, which imports its own modules and those beside it.
PACKAGE = {
    "application.py": "",
    "tests/__init__.py": "import application\n",
    "tests/helper.py": APPLY,
    "tests/conftest.py": "from . import helper\nimport tests.helper\n",
}


class TestWhereItApplies:
    __test__ = APPLIES

    def test_status_and_check_without_a_module(self, cli):
        result = cli("status")
        assert (result.exit_status, result.errors) == (0, "")
        python = "%d.%d.%d, %s" % (*sys.version_info[:3], sys.executable)
        assert result.facts("Python") == [python]
        assert result.facts("Starlette")[0].startswith(RELEASE + ", ")
        assert "docs/leaving.md of starlette-backport" in result.output
        names = starlette_backport.status().functions
        assert result.facts("Function") == [name + ": not changed" for name in names]
        assert result.facts("Note") == result.facts("Middleware") == []
        says = "can be applied. To check that it is, " + NAME_IT
        assert result.facts("Backport") == [says]
        line = "passes: Starlette %s: backport %s\n" % (RELEASE, says)
        assert cli("status", "--check") == (0, line, "")

    @pytest.mark.parametrize(
        ("module", "exit_status", "backport", "functions", "notes"), STATES
    )
    def test_the_lines_agree_and_check_says_why_in_one(
        self, cli, module, exit_status, backport, functions, notes
    ):
        result = cli(files={"module.py": module}, command=["-c", STATUS_AND_CHECK])
        (affected,) = result.facts("Affected")
        assert affected.startswith("yes: as released, " if functions else "no: it ")
        assert result.facts("Backport") == [backport]
        found = [re.sub(r" \(.*", "", text) for text in result.facts("Function")]
        expected = zip(starlette_backport.status().functions, functions)
        assert found == ["%s: %s" % pair for pair in expected]
        assert result.facts("Note") == notes
        assert "Nothing was changed" not in result.output

        (check,) = result.facts("fails:" if exit_status else "passes:")
        assert re.match(r"Starlette [0-9.]+: backport ", check)
        assert check.endswith(": backport " + backport)
        assert result.exit_status == exit_status

    @pytest.mark.parametrize(
        "then", ["", APPLY, REPLACE], ids=["-", "apply", "replace"]
    )
    def test_middleware_with_functions_of_its_own_is_named(self, cli, then):
        result = cli("status", "module", files={"module.py": MIDDLEWARE + then})
        text = (
            "module.%s has a %s of its own, which decides what becomes of early "
            "messages"
        )
        own = [text % (name, CARRIER) for name in ("Inheriting", "Mixed", "Own")]
        assert sorted(result.facts("Middleware")) == own

    @pytest.mark.parametrize(
        ("module", "files"),
        [
            ("conftest.py", {"conftest.py": APPLY}),
            ("package.module", {"package/module.py": APPLY}),
            (
                "folder/conftest.py",
                {"folder/conftest.py": "import a", "folder/a.py": APPLY},
            ),
            ("tests/conftest.py", PACKAGE),
            ("tests/__init__.py", {"tests/__init__.py": APPLY}),
            ("a.py", {"a.py": APPLY + "import os\nos.chdir('/')\n"}),
            ("a", {"a.py": APPLY + "import warnings\nwarnings.warn('old')\n"}),
        ],
        ids=["conftest", "name", "path", "package", "init", "leaves", "warns"],
    )
    def test_modules_by_name_and_by_path(self, cli, module, files):
        arguments = ["status", "--check", module]
        result = cli(*arguments, files=files, PYTHONWARNINGS="error")
        assert result.exit_status == 0

    @pytest.mark.parametrize(
        ("module", "error"),
        [
            (VERSION % "main", "starlette.__version__ is 'main', which is no release."),
            (NONE % "starlette", ".\nThis environment is " + sys.prefix),
            (NONE % "starlette.middleware.base", "import of starlette.middleware.base"),
            ("1 +", "module.py cannot be imported: SyntaxError: invalid syntax\n"),
            ("raise ValueError('a\\nb')", "cannot be imported: ValueError: a\nb\n"),
            ("import sys\nsys.exit('a')", "cannot be imported: SystemExit: a\n"),
            ("import a", "ModuleNotFoundError: No module named 'a'\n"),
            (
                "import pytest\npytest.importorskip('a')",
                "Skipped: could not import 'a'",
            ),
            (
                REPLACE + APPLY,
                "cannot be imported: starlette_backport.UnexpectedCodeError",
            ),
        ],
        ids=[
            "no release",
            "no Starlette",
            "no middleware",
            "wrong syntax",
            "an error",
            "an exit",
            "a missing module",
            "a skip",
            "a refusal",
        ],
    )
    def test_where_nothing_can_be_told(self, cli, module, error):
        """What the module prints is no output."""
        files = {"module.py": "print('printed')\n" + module}
        exit_status, output, errors = cli("status", "--check", "module.py", files=files)
        assert (exit_status, output) == (2, "")
        assert "starlette-backport: " in errors
        assert error in errors

    def test_another_file_of_the_same_name(self, cli):
        files = {"folder/json.py": APPLY}
        exit_status, output, errors = cli("status", "folder/json.py", files=files)
        assert (exit_status, output) == (2, "")
        assert "folder/json.py cannot be imported: ImportError: json is " in errors

    def test_verify(self, cli):
        """Neither the switch nor warnings that are errors get in its way."""
        files = {"jinja2.py": WARNING_JINJA2}
        variables = {"STARLETTE_BACKPORT_DISABLE": "1", "PYTHONWARNINGS": "error"}
        exit_status, output, errors = cli("verify", files=files, **variables)
        assert (exit_status, errors) == (0, "")
        assert re.match(FAILS + "with the backport:    " + WORKS, output)

    def test_verify_optimized(self, cli):
        exit_status, output, _ = cli("verify", command=["-O", *MODULE])
        assert "without the backport: fails: KeyError: 'status' in starlette/" in output
        assert exit_status == 0

    def test_verify_where_the_backport_is_refused(self, cli, tmp_path):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        files = {"sitecustomize.py": REPLACE}
        exit_status, output, _ = cli("verify", files=files, PYTHONPATH=path)
        error = "fails: starlette_backport.UnexpectedCodeError: " + CARRYING
        assert "\nwith the backport:    " + error in output
        assert exit_status == 1

    @pytest.mark.parametrize(
        ("package", "source", "error"),
        [
            ("jinja2", MISSING % "jinja2", "-m pip install 'jinja2<3.1'"),
            (CLIENT, MISSING % CLIENT, "-m pip install '%s'" % OLD_CLIENT),
            (CLIENT, "import sys\nsys.exit('x')", "The reproduction stopped.\nx"),
        ],
        ids=["without jinja2", "without client", "stops"],
    )
    def test_verify_where_it_cannot_run(self, cli, package, source, error):
        """It names a release that is old enough."""
        exit_status, output, errors = cli("verify", files={package + ".py": source})
        assert (exit_status, output) == (2, "")
        assert errors.endswith(error + "\n")

    def test_what_cannot_be_encoded_is_escaped(self, cli):
        source = "class Pr\xe9cis(BaseHTTPMiddleware):\n    %s = len\n" % CARRIER
        files = {"module.py": IMPORT + source}
        result = cli("status", "module", files=files, PYTHONIOENCODING="ascii:strict")
        assert result.facts("Middleware")[0].startswith("module.Pr\\xe9cis has a ")


class TestWhereItIsNotNeeded:
    __test__ = not APPLIES

    def test_check_and_verify(self, cli):
        found = starlette_backport.status()
        check = cli("status", "--check")
        assert check.output.startswith(
            "%s: Starlette " % ("fails" if found.has_fix else "passes")
        )
        assert "needed (%s)" % found.reason in check.output
        verify = cli("verify")
        if found.has_fix:
            works = "without the backport: %swith the backport:    %s" % (WORKS, WORKS)
            remove = "It works without the backport: remove starlette-backport.\n"
            assert verify == (4, works + remove, "")
            assert check.exit_status == 4
        else:
            error = "Starlette %s is not affected: %s.\n" % (RELEASE, found.reason)
            assert verify == (2, "", "starlette-backport: " + error)
            assert check.exit_status == 0


class Group(Exception):
    def __init__(self, *exceptions):
        super().__init__("unhandled errors in a TaskGroup")
        self.exceptions = exceptions


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Group(Group(AssertionError())), "fails: AssertionError in "),
        (
            Group(AssertionError(), ValueError()),
            "fails: test_cli.Group: unhandled errors",
        ),
        (AttributeError("has no attribute 'start_blocking_portal'"), "anyio"),
        (TypeError("got an unexpected keyword argument 'app'"), "httpx"),
    ],
)
def test_errors_of_the_reproduction(error, result):
    """A group of one exception, as anyio 4 raises it, counts as that exception."""
    inner = error
    while isinstance(inner, Group):
        inner = inner.exceptions[0]
    for raised in inner, error:
        with pytest.raises(type(raised)):
            raise raised
    found = _reproduction.result_of_error(error)
    assert found.get("says", found.get("missing")).startswith(result)


# Who holds Starlette where it is


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package that has this requirement, and tell what holds Starlette."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken-1.dist-info").mkdir()

    def install(requirement):
        folder = tmp_path / "holder-1.2.dist-info"
        folder.mkdir()
        text = "Metadata-Version: 2.1\nName: holder\nVersion: 1.2\nRequires-Dist: %s\n"
        (folder / "METADATA").write_text(text % requirement)
        if _environment.metadata_module() is None:
            pytest.skip("needs importlib.metadata, or the package importlib_metadata")
        return [text for text in _environment.holders() if text.startswith("holder ")]

    return install


@pytest.mark.parametrize(
    ("requirement", "comment"),
    [
        ("starlette==0.14.2", " (does not allow 0.24.0)"),
        ("starlette (<=0.23.1,>=0.13)", " (does not allow 0.24.0)"),
        ("Starlette[full] ~=0.14 ; extra == 'all'", " (allows 0.24.0)"),
        ("starlette>=0.14", " (allows 0.24.0)"),
        ("starlette @ https://example.org/starlette.zip", ""),
        ("starlette (==0.14.2", ""),
    ],
)
def test_requirements_are_shown_as_they_are(
    installed, monkeypatch, requirement, comment
):
    shown = "holder 1.2 requires " + requirement
    assert installed(requirement) == [shown + comment]
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert [text for text in _environment.holders() if "holder" in text] == [shown]


@pytest.mark.parametrize(
    "requirement", ["starlette", "starlette-context<1", "a; b=='starlette'"]
)
def test_what_holds_nothing(installed, requirement):
    assert installed(requirement) == []
    assert _environment.holders() == ["no package that is installed"]


def test_without_importlib_metadata(monkeypatch):
    for name in "importlib.metadata", "importlib_metadata":
        monkeypatch.setitem(sys.modules, name, None)
    assert _environment.holders() == ["unknown: this Python has no importlib.metadata"]


# The command line itself


def test_there_are_no_colours(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert _cli.main(["status"]) == 0
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "verify"])
def test_help_tells_the_exit_statuses(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        _cli.main([command, "--help"])
    statuses = re.findall(r"(?m)^  (\d)  \w", capsys.readouterr().out)
    assert statuses == list("01234" if command == "status" else "0124")


@pytest.mark.parametrize(
    "arguments", [[], ["other"], ["verify", "module"], ["status", "-x"]]
)
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        _cli.main(arguments)
    assert capsys.readouterr().err.startswith("usage: starlette-backport")


def test_the_version(cli):
    version = "starlette-backport %s\n" % starlette_backport.__version__
    assert cli("--version") == (0, version, "")
