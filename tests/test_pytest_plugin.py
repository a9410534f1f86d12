"""The plugin for pytest, in processes of its own."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from support import AFFECTED, FORK, NUMBERS, RELEASE, python

import starlette_backport

CAN_BE_PATCHED = AFFECTED and not FORK
HAS_FIX = FORK or NUMBERS >= (0, 24, 0)

where_it_applies = pytest.mark.skipif(not CAN_BE_PATCHED, reason="there is nothing to apply here")
where_it_does_not = pytest.mark.skipif(CAN_BE_PATCHED, reason="needs a Starlette that does not need the backport")
pytestmark = pytest.mark.three_releases

CARRIES = """
from support import BODY, PUSH, START, PassThrough, exchange, sending, serve

app = PassThrough(sending(PUSH, START, BODY))

def carries():
    _, error = serve(app)
    return error is None
"""

# A conftest file that needs the backport as it is imported, a fixture of each scope, and what runs async tests.
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

# Most of these tests come in pairs: one that is unpatched, and one after it that is not.
MARKED = """
import unittest
import pytest
import starlette_backport
from carrying import app, carries, exchange

unpatched = pytest.mark.starlette_unpatched

@unpatched
def test_fixtures(of_function, of_class, of_module, of_session):
    assert (of_session, of_module, of_class, of_function, carries()) == (True, True, True, False, False)

def test_fixtures_after(of_function, of_class, of_module, of_session):
    assert (of_session, of_module, of_class, of_function, carries()) == (True, True, True, True, True)

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

# Another plugin, one that pytest asks before those named earlier.
EARLY = """
import carrying

def pytest_load_initial_conftests():
    assert carrying.carries()
"""

MARKED_MODULE = """
import carrying
import pytest

pytestmark = pytest.mark.starlette_unpatched

def test_module():
    assert not carrying.carries()
"""


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


class Project:
    def __init__(self, path):
        self.path = path
        self.write(**{"carrying.py": CARRIES})

    def write(self, **files):
        for name, content in files.items():
            (self.path / name).write_text(content)

    def python(self, *arguments):
        path = [os.path.dirname(os.path.abspath(__file__)), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        process = subprocess.run(
            [sys.executable, "-u", *arguments],
            cwd=str(self.path),
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(path), PYTEST_ADDOPTS=""),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=120,
        )
        return process.returncode, process.stdout


QUICK = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]


@where_it_applies
def test_the_run_is_patched_but_for_marked_tests(project):
    ini = "[pytest]\naddopts = -p starlette_backport.pytest_plugin -p early --strict-markers\n"
    project.write(**{"conftest.py": CONFTEST, "early.py": EARLY, "pytest.ini": ini})
    project.write(**{"test_a_module.py": MARKED_MODULE, "test_marked.py": MARKED, "test_z_module.py": MARKED_MODULE})
    status, output = project.python("-m", "pytest", *QUICK)
    assert status == 0, output
    assert output.count("starlette-backport: Starlette %s patched\n" % RELEASE) == 1
    assert " 19 passed" in output


# Several runs of pytest, one after the other, in a process that has not imported anything.
RUNS = """
import os
import sys
import pytest
import starlette

RELEASE = starlette.__version__

def run(name, *arguments, plugin=True):
    print("\\n=== " + name)
    plugins = ["-p", "starlette_backport.pytest_plugin"] if plugin else []
    print("\\n--- %d" % pytest.main([*plugins, *sys.argv[1:], *arguments]))
    backport = sys.modules.get("starlette_backport")
    starlette.__version__ = RELEASE  # One run fakes it.
    print("not imported" if backport is None else backport.status().state)

"""


def outcomes(project, program):
    """Return for each run by name its exit status, the state that it leaves, and what it has said."""
    status, output = project.python("-c", RUNS + program, *QUICK)
    assert status == 0, output
    parts = re.findall(r"(?ms)^=== (.*?)$(.*?)^--- (\d+)\n([a-z ]+)$", output)
    return {name: (int(code), state, text) for name, text, code, state in parts}


PATCHED = "from carrying import carries\ndef test_patched(): assert carries()\n"

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

# Somebody else has applied it before the run.
OUTLIVING = """
import sys
from carrying import carries

def test_patched():
    sys.applied.__exit__(None, None, None)
    assert carries()
"""

# The last three are folders: each has a test that passes, and a conftest file.
FILES = {
    "plain.py": "def test_plain(): pass\n",
    "patched.py": PATCHED,
    "wrong.py": WRONG,
    "broken.py": "import carrying\nassert carrying.carries()\n1 / 0\n",
    "failing.py": "def test_fails(): assert False\n",
    "outliving.py": OUTLIVING,
    "interrupted.py": "import pytest\n@pytest.mark.starlette_unpatched\ndef test_it(): raise KeyboardInterrupt\n",
    "unknown_marker.py": "import pytest\n@pytest.mark.starlette_patched\ndef test_it(): pass\n",
    "broken_conftest": "import carrying\nassert carrying.carries()\n1 / 0\n",
    "applying": "import starlette_backport\nstarlette_backport.apply()\n",
    "asking": "pytest_plugins = ['starlette_backport.pytest_plugin']\n",
}

ENDS = """
run("not asked for", "--trace-config", "plain.py", plugin=False)
run("passes", "patched.py")
run("goes wrong", "wrong.py", "patched.py")
run("only collects", "--collect-only", "patched.py")
run("does not collect", "broken.py", "patched.py")
run("has a broken conftest", "broken_conftest")
run("stops", "-x", "failing.py", "patched.py")
run("is interrupted", "interrupted.py", "patched.py")
run("has a wrong option", "--no-such-option", "patched.py")
run("shows markers", "--markers")
run("has an unknown marker", "--strict-markers", "unknown_marker.py")
run("is without warnings", "-p", "no:warnings", "patched.py")
run("is asked for by a conftest", "asking", plugin=False)

starlette.__version__ = "no release"
run("knows no release", "patched.py")

os.environ["STARLETTE_BACKPORT_DISABLE"] = "1"
run("is disabled", "wrong.py")
del os.environ["STARLETTE_BACKPORT_DISABLE"]

import starlette_backport
sys.applied = starlette_backport.applied()
sys.applied.__enter__()
run("outlives another one", "outliving.py")

run("has a conftest that applies", "applying")
run("comes when it is applied", "patched.py")
"""


@where_it_applies
def test_however_it_ends(project):
    for name, content in FILES.items():
        if not name.endswith(".py"):
            (project.path / name).mkdir()
            project.write(**{"%s/test_%s.py" % (name, name): PATCHED})
            name += "/conftest.py"
        project.write(**{name: content})
    runs = outcomes(project, ENDS)

    said = {name: text for name, (_, _, text) in runs.items()}
    patched = "starlette-backport: Starlette %s patched\n" % RELEASE
    disabled = "Starlette %s not patched, disabled (STARLETTE_BACKPORT_DISABLE is set)\n" % RELEASE
    assert "starlette_backport" not in said["not asked for"]
    assert "1 failed, 2 passed, 1 skipped, 2 error" in said["goes wrong"]
    assert "test_patched" in said["only collects"]
    assert "@pytest.mark.starlette_unpatched: run the test on Starlette as released" in said["shows markers"]
    assert "starlette_patched" in said["has an unknown marker"]
    assert "1 failed, 1 passed, 1 skipped, 2 error" in said["is disabled"]
    assert "starlette-backport: " + disabled in said["is disabled"]
    assert (
        said["knows no release"]
        .strip()
        .startswith("ERROR: starlette.__version__ is 'no release', which is no release.")
    )
    assert "Traceback" not in said["knows no release"]
    assert {name for name, text in said.items() if text.count(patched) == 1} == set(said) - {
        "not asked for",
        "has a broken conftest",
        "has a wrong option",
        "shows markers",
        "knows no release",
        "is disabled",
    }

    # With this nothing is left behind but what the user has applied.
    assert {name: (code, state) for name, (code, state, _) in runs.items()} == {
        "not asked for": (0, "not imported"),
        "passes": (0, "not applied"),
        "goes wrong": (1, "not applied"),
        "only collects": (0, "not applied"),
        "does not collect": (2, "not applied"),
        "has a broken conftest": (4, "not applied"),
        "stops": (1, "not applied"),
        "is interrupted": (2, "not applied"),
        "has a wrong option": (4, "not applied"),
        "shows markers": (0, "not applied"),
        "has an unknown marker": (2, "not applied"),
        "is without warnings": (0, "not applied"),
        "is asked for by a conftest": (0, "not applied"),
        "knows no release": (4, "not applied"),
        "is disabled": (1, "disabled"),
        "outlives another one": (0, "not applied"),
        "has a conftest that applies": (0, "applied"),
        "comes when it is applied": (0, "applied"),
    }


NOT_NEEDED = """
import pytest
import starlette_backport

def test_apply():
    assert starlette_backport.apply().state == "not needed"

@pytest.mark.starlette_unpatched
def test_marker():
    pass

def test_fixture(starlette_unpatched):
    pass
"""

# As xdist does where it hands the tests out.
DISTRIBUTING = """
def pytest_collection():
    return True

def pytest_runtestloop():
    return True
"""

RUNS_WHERE_NOT_NEEDED = """
import starlette_backport

run("warns", "-rs", "not_needed.py")
starlette_backport._backport._warned.clear()
run("fails", "-W", "error::starlette_backport.BackportNotNeededWarning", "not_needed.py")
starlette_backport._backport._warned.clear()
run("warns where tests are handed out", "-p", "distributing", "not_needed.py")
"""


@where_it_does_not
def test_where_it_is_not_needed(project):
    project.write(**{"distributing.py": DISTRIBUTING, "not_needed.py": NOT_NEEDED})
    runs = outcomes(project, RUNS_WHERE_NOT_NEEDED)
    assert {name: found[:2] for name, found in runs.items()} == {
        "warns": (0, "not needed"),
        "fails": (4 if HAS_FIX else 0, "not needed"),
        "warns where tests are handed out": (5, "not needed"),
    }
    warns, fails, handed_out = (text for _, _, text in runs.values())
    status = starlette_backport.status()
    says = "does not need it, remove it" if HAS_FIX else "not patched, not needed"
    assert "starlette-backport: Starlette %s %s (%s)\n" % (RELEASE, says, status.reason) in warns
    for text in warns, handed_out:
        assert text.count("BackportNotNeededWarning: Starlette %s does not need" % RELEASE) == HAS_FIX
        assert ("warnings summary" in text) >= HAS_FIX
    assert ("1 passed, 2 skipped" if FORK else "3 passed") in warns
    assert ("this Starlette is a patched build, which cannot be unpatched" in warns) == FORK
    if HAS_FIX:
        assert "ERROR: Starlette %s does not need starlette-backport (%s)" % (RELEASE, status.reason) in fails
        assert "Traceback" not in fails


HEADERS = [
    ("applied", "until later", "patched"),
    ("disabled", "it is set", "not patched, disabled (it is set)"),
    ("not applied", "call it", "not patched, not applied (call it)"),
    ("not needed", "it sends none", "not patched, not needed (it sends none)"),
    ("not needed", "it has the fix", "does not need it, remove it (it has the fix)"),
]


def test_header():
    """All of them, on any release. In a process of its own, as an imported module is an attribute of the package."""
    program = """
from starlette_backport import Status, pytest_plugin
for state, reason, _ in %r:
    pytest_plugin.status = lambda: Status("1.2.3", False, state, (), reason)
    print(pytest_plugin.pytest_report_header())
"""
    expected = ["starlette-backport: Starlette 1.2.3 " + says for _, _, says in HEADERS]
    assert python(program % HEADERS).stdout.splitlines() == expected


def test_no_other_module_of_the_package_imports_it_or_pytest():
    package = pathlib.Path(starlette_backport.__file__).parent
    importing = [
        path.name for path in package.glob("*.py") if re.search(r"(?m)^ *(import|from) .*pytest", path.read_text())
    ]
    assert importing == ["pytest_plugin.py"]
