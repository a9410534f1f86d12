"""The package itself, and what it does with a Starlette that is not affected."""

import ast
import functools
import modulefinder
import pathlib
import pickle
import re

import pytest
from support import AFFECTED, NUMBERS, check_not_needed, only_if, python

import starlette_backport
from starlette_backport import _early_messages, _releases

PACKAGE = pathlib.Path(starlette_backport.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))
CORE = [
    PACKAGE / (name + ".py")
    for name in re.findall("``(_[a-z_]+)``", starlette_backport.__doc__)
]
CORE.append(PACKAGE / "__init__.py")

modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
core = pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)


def test_public_names():
    assert sorted(starlette_backport.__all__) == [
        "BackportError",
        "BackportNotNeededWarning",
        "StarletteNotFoundError",
        "Status",
        "UnexpectedCodeError",
        "UnexpectedMessageError",
        "UnknownReleaseError",
        "applied",
        "apply",
        "revert",
        "status",
    ]
    names = starlette_backport.__all__
    assert {n for n in vars(starlette_backport) if n[0] != "_"} <= set(names)
    modules = {getattr(starlette_backport, name).__module__ for name in names}
    assert modules == {"starlette_backport"}
    assert re.match(r"\d+\.\d+\.\d+", starlette_backport.__version__)


def test_errors_are_of_one_family():
    names = [
        "StarletteNotFoundError",
        "UnexpectedCodeError",
        "UnexpectedMessageError",
        "UnknownReleaseError",
    ]
    for name in names:
        error = getattr(starlette_backport, name)
        assert issubclass(error, starlette_backport.BackportError)
    assert issubclass(starlette_backport.UnexpectedMessageError, AssertionError)
    # Python hides a DeprecationWarning by default.
    warning = starlette_backport.BackportNotNeededWarning
    assert not issubclass(warning, DeprecationWarning)


def test_it_has_types():
    assert (PACKAGE / "py.typed").exists()
    for name in ("apply", "revert", "status"):
        assert "return" in getattr(starlette_backport, name).__annotations__


def test_a_status_is_immutable_and_can_be_sent_to_another_process():
    status = starlette_backport.status()
    assert pickle.loads(pickle.dumps(status)) == status
    with pytest.raises(AttributeError):
        status.state = "applied"


@only_if(not AFFECTED)
def test_a_release_that_does_not_need_it_is_left_as_it_is():
    if NUMBERS < (0, 9, 9):
        check_not_needed("it sends no template messages yet", has_fix=False)
    else:
        check_not_needed("it has the fix")


def test_tools_that_freeze_applications_find_all_modules(tmp_path):
    """PyInstaller and the library's modulefinder look for import statements."""
    script = tmp_path / "script.py"
    script.write_text("import starlette_backport.__main__")
    finder = modulefinder.ModuleFinder(
        path=[str(PACKAGE.parent)], excludes=["starlette", "pytest"]
    )
    finder.run_script(str(script))
    names = {path.stem for path in MODULES} - {"__init__", "pytest_plugin"}
    assert {"starlette_backport." + name for name in names} <= set(finder.modules)
    imported = {"starlette.middleware.base", "starlette.templating"}
    assert imported <= set(finder.badmodules)


def test_a_callable_object_need_not_have_names():
    """Such as a mock that stands in the place of a `send`."""
    _early_messages.copy_names(functools.partial(print), lambda: None)


# The rules of the house.


def test_the_core_is_what_import_and_apply_run():
    program = """
import sys, warnings
warnings.simplefilter("ignore")
import starlette_backport
starlette_backport.apply()
print(*sorted(n for n in sys.modules if n.split(".")[0] == "starlette_backport"))
"""
    names = sorted("starlette_backport." + path.stem for path in CORE)
    names = [name.replace(".__init__", "") for name in names]
    assert python(program).stdout.split() == names


def statements_of(tree):
    """Return the statements in `tree`, without imports and docstrings."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and not isinstance(node, (ast.Import, ast.ImportFrom))
        and not (isinstance(node, ast.Expr) and is_text(node.value))
    ]


def is_text(node):
    # `ast.Str` up to Python 3.7
    return isinstance(getattr(node, "value", getattr(node, "s", None)), str)


def test_the_core_has_at_most_450_statements():
    trees = [ast.parse(path.read_text()) for path in CORE]
    assert sum(len(statements_of(tree)) for tree in trees) <= 450


def test_the_core_says_any_fewer_than_15_times():
    texts = [path.read_text() for path in CORE]
    assert sum(len(re.findall(r"\bAny\b", text)) for text in texts) < 15


FORBIDDEN = [
    "_getframe",
    "getrefcount",
    "gc.",
    "co_consts",
    "co_code",
    "exec(",
    "meta_path",
    "_getters",
    "_wakeup_next",
    "gzip",
]


@core
def test_the_core_uses_plain_means(path):
    text = path.read_text()
    assert [word for word in FORBIDDEN if word in text] == []


@core
def test_the_core_imports_no_private_names_of_other_libraries(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module)
            if not getattr(node, "level", 0):
                assert not [
                    part
                    for name in names
                    for part in name.split(".")
                    if part.startswith("_")
                ]


@modules
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@modules
def test_release_numbers_of_starlette_are_in_one_module(path):
    found = re.findall(
        r"""["'](0\.[0-9]+\.[0-9]+[a-z0-9]*)["']|(\(0, (?:9|[12][0-9]), [0-9]+\))""",
        path.read_text(),
    )
    assert path.name == "_releases.py" or set(found) <= {
        (starlette_backport.__version__, "")
    }


# The table of releases.


def test_a_release_is_told_by_its_first_three_numbers():
    for release in "0.12", "0.12.0", "0.12.0+local.1", "0.12.0b1":
        assert _releases.parse(release) == (0, 12, 0)
    assert (
        _releases.parse("0.9.9")
        < _releases.parse("0.9.10")
        < _releases.parse("0.10.0")
        < _releases.parse("1.0")
    )
    for release in None, "", "main", 14:
        with pytest.raises(starlette_backport.UnknownReleaseError):
            _releases.parse(release)


EDGES = ["0.9.9", "0.10.3", "0.10.4", "0.11.4", "0.12.0", "0.14.2", "0.15.0", "0.23.1"]


@pytest.mark.parametrize("release", EDGES)
def test_each_affected_release_has_two_functions_and_their_files(release):
    replacements = _releases.replacements_for(_releases.parse(release))
    assert len(replacements) == 2
    for replacement in replacements:
        sha256 = _releases.shipped_sha256(replacement.module, release)
        assert re.match("[0-9a-f]{64}$", sha256)


def test_the_table_has_no_gap_and_no_double():
    hashes = [sha256 for rows in _releases.SHA256.values() for sha256 in rows.values()]
    assert len(set(hashes)) == len(hashes)
    numbers = {each.since for each in _releases.REPLACEMENTS}
    numbers |= {each.until for each in _releases.REPLACEMENTS}
    assert (min(numbers), max(numbers)) == (_releases.AFFECTED, _releases.FIXED)
