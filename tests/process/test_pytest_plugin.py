"""The plugin for pytest, in processes of its own."""

import asyncio
import os
import pathlib
import re
import unittest

import pytest
from support import AFFECTED, CARRIER, FORK, RELEASE

import starlette_backport

APPLIES = AFFECTED and not FORK

ASK = "-p starlette_backport.pytest_plugin"
HEADER = "starlette-backport: Starlette %s, %s"
PATCHED = "applied (until you are on 0.24.0)"

CARRYING = """
from support import BODY, PUSH, START, PassThrough, exchange, sending, serve

app = PassThrough(sending(PUSH, START, BODY))

def carries():
    _, error = serve(app)
    return error is None
"""

# What is left of the backport when pytest has ended.
LEFT = """
import atexit
import sys

@atexit.register
def tell():
    backport = sys.modules.get("starlette_backport")
    try:
        state = "not imported" if backport is None else backport.status().state
    except backport.UnknownReleaseError:
        state = "unknown"
    print("\\nleft: " + state)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest with the plugin on these files.

    However it ends, it leaves nothing behind but what others have applied.
    """
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    monkeypatch.setenv("PYTHONPATH", tests, prepend=os.pathsep)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def call(*arguments, plugins=ASK, left="not applied", **files):
        pytester.makepyfile(carrying=CARRYING, left=LEFT, **files)
        plugins = ["-p", "left", *plugins.split()]
        result = pytester.runpytest_subprocess(*plugins, *arguments)
        assert "left: " + left in result.outlines
        return result

    return call


# A conftest file that needs the backport as it is imported, a fixture of each scope,
# and what runs async tests.
CONFTEST = """
import inspect
import carrying
import pytest
import starlette_backport
from support import run

assert carrying.carries()

def scoped(scope, **kwargs):
    @pytest.fixture(scope=scope, **kwargs)
    def fixture():
        before = carrying.carries()
        yield before
        assert carrying.carries() == before
    return fixture

of_session = scoped("session")
of_module = scoped("module", autouse=True)
of_class = scoped("class")
of_function = scoped("function")

@pytest.fixture
def applying():
    with starlette_backport.applied():
        yield

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        run(pyfuncitem.obj())
        return True
"""

# Most of these tests come in pairs: one that is unpatched, and one after it that is
# not.
MARKED = """
import unittest
import pytest
import starlette_backport
from carrying import app, carries, exchange

unpatched = pytest.mark.starlette_unpatched

@unpatched
def test_fixtures(of_function, of_class, of_module, of_session):
    broader = of_session, of_module, of_class
    assert broader == (True, True, True)
    assert (of_function, carries()) == (False, False)

def test_fixtures_after(of_function, of_class, of_module, of_session):
    assert of_session and of_module and of_class and of_function and carries()

@pytest.mark.parametrize("expected", [True, pytest.param(False, marks=unpatched), True])
def test_parameters(expected):
    assert carries() is expected

@unpatched
class TestMarked:
    def test_class(self):
        assert not carries()

class TestNotMarked:
    def test_class_after(self):
        assert carries()

    @unpatched
    def test_method(self):
        assert not carries()

    def test_method_after(self):
        assert carries()

@unpatched
class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert carries()

    def setUp(self):
        assert not carries()

    def test_case(self):
        assert not carries()

class TestCaseAfter(unittest.TestCase):
    def test_case_after(self):
        assert carries()

@unpatched
async def test_async():
    _, error = await exchange(app)
    assert error is not None

async def test_async_after():
    _, error = await exchange(app)
    assert error is None

@unpatched
def test_what_others_apply(applying):
    assert not carries()
    starlette_backport.revert()
    with starlette_backport.applied():
        assert carries()
    assert not carries()

def test_what_others_apply_after(applying):
    assert carries()

def test_fixture(starlette_unpatched, of_function):
    assert (of_function, carries()) == (False, False)

def test_fixture_after():
    assert carries()
    assert starlette_backport.status().state == "applied"
"""

MARKED_MODULE = """
import carrying
import pytest

pytestmark = pytest.mark.starlette_unpatched

def test_module():
    assert not carrying.carries()
"""

# Another plugin, one that pytest asks before those named earlier.
EARLY = """
import carrying

def pytest_load_initial_conftests():
    assert carrying.carries()
"""

PATCHED_TEST = "from carrying import carries\ndef test_it(): assert carries()\n"

# What goes wrong in unpatched tests.
WRONG = """
import pytest
from carrying import carries

pytestmark = pytest.mark.starlette_unpatched

def test_fails():
    assert carries()

def test_skips():
    pytest.skip("by itself")

@pytest.fixture
def failing():
    raise ZeroDivisionError

def test_setup_fails(failing):
    pass

@pytest.fixture
def failing_late(starlette_unpatched):
    yield
    raise ZeroDivisionError

def test_teardown_fails(failing_late):
    pass
"""

INTERRUPTED = """
import pytest

@pytest.mark.starlette_unpatched
def test_it():
    raise KeyboardInterrupt
"""
UNKNOWN_MARKER = """
import pytest

@pytest.mark.starlette_patched
def test_it():
    pass
"""
BROKEN = "import carrying\nassert carrying.carries()\n1 / 0\n"


APPLY = "import starlette_backport\nstarlette_backport.apply()\n"
ENTER = "import starlette_backport as sb\nblock = sb.applied()\nblock.__enter__()\n"
EXIT = "import early\nearly.block.__exit__(None, None, None)\n"
ASKING = "pytest_plugins = ['starlette_backport.pytest_plugin']\n"
REVERTING = """
import starlette_backport

def pytest_sessionstart():
    starlette_backport.revert()
"""
VERSION = "import starlette\nstarlette.__version__ = '%s'\n"
HIDE = (
    """
from starlette.middleware.base import BaseHTTPMiddleware

BaseHTTPMiddleware.%s = len
"""
    % CARRIER
)


class TestWhereItApplies:
    __test__ = APPLIES

    def test_the_run_is_patched_but_for_marked_tests(self, run, pytester):
        pytester.makeini("[pytest]\naddopts = %s -p early --strict-markers" % ASK)
        result = run(
            plugins="",
            conftest=CONFTEST,
            early=EARLY,
            test_a_module=MARKED_MODULE,
            test_marked=MARKED,
            test_z_module=MARKED_MODULE,
        )
        result.assert_outcomes(passed=19)
        assert result.outlines.count(HEADER % (RELEASE, PATCHED)) == 1

    @pytest.mark.parametrize(
        ("exit_status", "arguments", "files"),
        [
            (0, [], {"test_it": PATCHED_TEST}),
            (1, ["-x"], {"test_it": WRONG}),
            (2, [], {"test_it": INTERRUPTED}),
            (2, [], {"test_it": BROKEN}),
            (0, ["--collect-only"], {"test_it": PATCHED_TEST}),
            (0, ["-p", "no:warnings"], {"test_it": PATCHED_TEST}),
            (2, ["--strict-markers"], {"test_it": UNKNOWN_MARKER}),
            (4, ["--no-such-option"], {}),
            (4, [], {"conftest": BROKEN}),
        ],
        ids=[
            "passes",
            "fails",
            "is interrupted",
            "does not collect",
            "only collects",
            "shows no warnings",
            "has an unknown marker",
            "has a wrong option",
            "has a broken conftest",
        ],
    )
    def test_it_lets_go_however_pytest_ends(self, run, exit_status, arguments, files):
        assert run(*arguments, **files).ret == exit_status

    @pytest.mark.parametrize(
        ("plugins", "left", "files"),
        [
            ("", "not applied", {"conftest": ASKING}),
            (ASK, "applied", {"conftest": APPLY}),
            ("-p early " + ASK, "applied", {"early": APPLY}),
            ("-p early " + ASK, "not applied", {"early": ENTER, "conftest": EXIT}),
        ],
        ids=[
            "asked by conftest",
            "applied by conftest",
            "applied early",
            "let go early",
        ],
    )
    def test_whoever_else_applies_it(self, run, plugins, left, files):
        """What others have applied stays applied, but not what they have let go of."""
        result = run(plugins=plugins, left=left, test_it=PATCHED_TEST, **files)
        result.assert_outcomes(passed=1)

    def test_what_goes_wrong_in_marked_tests_does_not_reach_others(self, run):
        result = run(test_a=WRONG, test_b=PATCHED_TEST)
        result.assert_outcomes(passed=2, failed=1, skipped=1, errors=2)

    def test_the_marker_is_shown(self, run):
        output = run("--markers").stdout.str()
        assert (
            "@pytest.mark.starlette_unpatched: run the test on Starlette as" in output
        )

    def test_where_others_have_reverted_it(self, run):
        result = run(conftest=REVERTING)
        says = "not applied (other code has reverted it)"
        assert HEADER % (RELEASE, says) in result.outlines

    def test_where_it_is_disabled(self, run, monkeypatch):
        monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
        result = run(left="disabled", test_it=WRONG)
        result.assert_outcomes(passed=1, failed=1, skipped=1, errors=2)
        says = "disabled (STARLETTE_BACKPORT_DISABLE is set)"
        assert HEADER % (RELEASE, says) in result.outlines

    def test_without_asking_for_it(self, run):
        """To install the package is not to ask for the plugin."""
        result = run(plugins="", left="not imported", test_it="def test_it(): pass")
        result.assert_outcomes(passed=1)
        assert "starlette-backport" not in result.stdout.str()

    @pytest.mark.parametrize(
        ("fake", "left", "error"),
        [
            (VERSION % "main", "unknown", "starlette.__version__ is 'main', which is "),
            (HIDE, "not applied", "starlette.middleware.base.BaseHTTPMiddleware."),
        ],
        ids=["unknown", "hidden"],
    )
    def test_where_it_cannot_be_applied(self, run, fake, left, error):
        """The error names the option of pytest, and no call of apply()."""
        result = run(plugins="-p fake " + ASK, fake=fake, left=left)
        assert result.ret == 4
        errors = result.stderr.str()
        assert "ERROR: %s: %s" % (ASK, error) in errors
        assert "apply()" not in errors
        assert "Traceback" not in errors

    def test_applied_decorates_functions(self):
        """This is another way to run some tests only with the backport."""

        @starlette_backport.applied()
        def states(*depths):
            inner = states(*depths[1:]) if depths else []
            return [*inner, starlette_backport.status().state]

        assert states(2, 1) == ["applied"] * 3
        assert states.__name__ == "states"
        assert starlette_backport.status().state == "not applied"


def generator_function():
    yield


# Of each kind one
@pytest.mark.parametrize(
    "other", [unittest.TestCase, asyncio.sleep, generator_function]
)
def test_applied_does_not_decorate_what_runs_later(other):
    """Of a class of unittest, it would leave no tests."""
    with pytest.raises(TypeError, match=other.__name__ + " is not one: use it in a "):
        starlette_backport.applied()(other)


# Where there is nothing to apply


FIXED = (VERSION % "0.24.0", "0.24.0", "it has the fix")
UNAFFECTED = (VERSION % "0.9.8", "0.9.8", "it sends no template messages yet")
PATCHED_BUILD = (
    "import starlette.middleware.base as base\nbase._early_messages = base\n",
    RELEASE,
    "it is a patched build, with the diffs of starlette-backport",
)
# Later releases need no patched builds.
RELEASES = [FIXED, UNAFFECTED] + [PATCHED_BUILD] * AFFECTED
WARNING = (
    "Starlette %s does not need starlette-backport (%s). Remove the package and %s."
)

NOT_AND_MARKED = """
import pytest

def test_not_marked():
    pass

@pytest.mark.starlette_unpatched
def test_marker():
    pass

def test_fixture(starlette_unpatched):
    pass
"""
# As xdist does where it hands out the tests, and where it runs them.
CONTROLLER = """
def pytest_collection():
    return True

def pytest_runtestloop():
    return True
"""
WORKER = "def pytest_configure(config):\n    config.workerinput = {}\n"


@pytest.mark.parametrize(
    ("fake", "release", "reason"), RELEASES, ids=[reason for *_, reason in RELEASES]
)
def test_it_warns_where_it_can_be_removed(run, fake, release, reason):
    plugins = "-p fake " + ASK
    result = run(plugins=plugins, left="not needed", fake=fake, test_it=NOT_AND_MARKED)
    # A patched build cannot be unpatched.
    skipped = 2 if "patched build" in reason else 0
    result.assert_outcomes(passed=3 - skipped, skipped=skipped)
    assert HEADER % (release, "not needed (%s)" % reason) in result.outlines
    warning = "BackportNotNeededWarning: " + WARNING % (release, reason, ASK)
    expected = 0 if release == "0.9.8" else 1
    assert result.stdout.str().count(warning) == expected


@pytest.mark.parametrize(
    ("xdist", "expected"), [(CONTROLLER, 1), (WORKER, 0)], ids=["controller", "worker"]
)
def test_only_the_controller_of_xdist_warns(run, xdist, expected):
    fake, *_ = FIXED
    plugins = "-p fake %s -p xdist_like" % ASK
    result = run(plugins=plugins, left="not needed", fake=fake, xdist_like=xdist)
    assert result.stdout.str().count("BackportNotNeededWarning: ") == expected


def test_the_warning_as_an_error(run):
    fake, release, reason = FIXED
    option = "error::starlette_backport.BackportNotNeededWarning"
    plugins = "-p fake " + ASK
    result = run("-W", option, plugins=plugins, left="not needed", fake=fake)
    assert result.ret == 4
    assert "ERROR: " + WARNING % (release, reason, ASK) in result.errlines
    assert "Traceback" not in result.stderr.str()


def test_no_other_module_of_the_package_imports_it_or_pytest():
    package = pathlib.Path(starlette_backport.__file__).parent
    pattern = re.compile(r"(?m)^ *(import|from) .*pytest")
    importing = [
        path for path in package.glob("*.py") if pattern.search(path.read_text())
    ]
    assert [path.name for path in importing] == ["pytest_plugin.py"]
