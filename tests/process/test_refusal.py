"""What is not the release as shipped is refused, and nothing is changed (point 11)."""

import compileall
import importlib
import pathlib
import shutil
import sys
import zipfile
from unittest import mock

import pytest
import starlette
from starlette.middleware.base import BaseHTTPMiddleware
from support import (
    CARRIER,
    RELEASE,
    TemplateResponse,
    check_not_needed,
    only_if,
    python,
)

import starlette_backport

BASE = importlib.import_module("starlette.middleware.base")
MODULES = [BASE, sys.modules[TemplateResponse.__module__]]
ASSERT = b'assert message["type"] == "http.response.start"'


def code():
    return vars(BaseHTTPMiddleware)[CARRIER].__code__


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """Return what makes a module appear to come from an edited copy of its file."""

    def edit(module, change):
        path = tmp_path / pathlib.Path(module.__file__).name
        path.write_bytes(change(pathlib.Path(module.__file__).read_bytes()))
        monkeypatch.setattr(module, "__file__", str(path))
        return path

    return edit


def refusal(package=starlette_backport):
    """Return the error of `apply()`, after a check that nothing is changed."""
    before = code()
    with pytest.raises(package.UnexpectedCodeError) as info:
        package.apply()
    assert code() is before
    assert package.status().state == "not applied"
    return str(info.value)


@pytest.mark.parametrize(
    "change",
    [lambda text: text + b"# A comment.\n", lambda text: text[:-20]],
    ids=["more", "less"],
)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_an_edited_file_is_refused_and_named(edit, module, change):
    path = edit(module, change)
    found, _, what_to_do = refusal().splitlines()
    assert (
        found
        == "%s is not the file that Starlette %s shipped. Nothing was changed."
        % (path, RELEASE)
    )
    assert what_to_do == "pip install --force-reinstall --no-deps starlette==" + RELEASE


def test_line_ends_of_windows_are_accepted(edit):
    for module in MODULES:
        edit(module, lambda text: text.replace(b"\n", b"\r\n"))
    status = starlette_backport.apply()
    assert (status.state, status.notes) == ("applied", ())


def test_a_file_that_an_upgrade_replaces_later_undoes_nothing(edit):
    path = edit(MODULES[1], lambda text: text)
    starlette_backport.apply()
    path.write_bytes(path.read_bytes() + b"# Upgraded in place.\n")
    assert starlette_backport.apply().state == "applied"
    starlette_backport.revert()
    refusal()


def test_another_release_than_the_version_says_is_refused(monkeypatch):
    monkeypatch.setattr(
        starlette, "__version__", "0.10.1" if RELEASE == "0.23.1" else "0.20.0"
    )
    assert "is not the file that Starlette 0." in refusal()


def test_a_class_that_was_renamed_is_refused(monkeypatch, edit):
    edit(BASE, lambda text: text.replace(b"class Base", b"class Renamed"))
    monkeypatch.delattr(BASE, "BaseHTTPMiddleware")
    assert "base.py is not the file" in refusal()


class Impostor:
    """Takes the place of a class, a module or a function."""


PLACES = {
    "function": lambda patch, thing: patch.setattr(BaseHTTPMiddleware, CARRIER, thing),
    "class": lambda patch, thing: patch.setattr(BASE, "BaseHTTPMiddleware", thing),
    "module": lambda patch, thing: patch.setitem(sys.modules, BASE.__name__, thing),
}
THINGS = {
    "None": (lambda: None, "None"),
    "class": (lambda: Impostor, "class %s.Impostor" % __name__),
    "object": (Impostor, "an object of class %s.Impostor" % __name__),
    "mock": (mock.MagicMock, "an object of class unittest.mock.MagicMock"),
}


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("thing", list(THINGS))
def test_what_stands_in_another_place_is_named_as_what_it_is(monkeypatch, place, thing):
    if (place, thing) == ("module", "None"):
        expected = ImportError  # Python refuses to import it.
    else:
        expected = starlette_backport.UnexpectedCodeError
    make, description = THINGS[thing]
    code = vars(BaseHTTPMiddleware)[CARRIER].__code__
    with monkeypatch.context() as patch:
        PLACES[place](patch, make())
        for function in starlette_backport.apply, starlette_backport.revert:
            if function is starlette_backport.apply:
                with pytest.raises(expected) as info:
                    function()
            else:
                function()
    assert vars(BaseHTTPMiddleware)[CARRIER].__code__ is code
    if expected is not ImportError:
        assert "was replaced by %s, which hides it" % description in str(info.value)


def test_an_autospec_of_a_function_is_named_as_the_mock_that_it_is():
    with mock.patch.object(BaseHTTPMiddleware, CARRIER, autospec=True):
        assert "was replaced by an object of class unittest.mock." in refusal()


@only_if(TemplateResponse.__module__ == "starlette.templating")
def test_a_template_module_that_cannot_be_imported_is_left_out_and_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.templating", None)
    status = starlette_backport.apply()
    assert (status.state, len(status.functions)) == ("applied", 1)
    assert status.notes[0].startswith("cannot be imported: starlette.templating: ")
    assert starlette_backport.status() == status


@pytest.mark.parametrize("version", [None, "main", 14])
def test_a_version_that_is_none(monkeypatch, version):
    if version is None:
        monkeypatch.delattr(starlette, "__version__")
    else:
        monkeypatch.setattr(starlette, "__version__", version)
    for function in starlette_backport.apply, starlette_backport.status:
        with pytest.raises(starlette_backport.UnknownReleaseError) as info:
            function()
        assert "starlette.__version__ is '%s'" % version in str(info.value)
        assert "--no-deps" in str(info.value)


def test_a_version_with_a_suffix_is_accepted(monkeypatch):
    monkeypatch.setattr(starlette, "__version__", RELEASE + "+internal.1")
    assert starlette_backport.apply().state == "applied"


# Builds that have the fix.


def test_an_edited_file_that_knows_the_debug_message_has_the_fix(edit):
    edit(
        BASE,
        lambda text: text.replace(
            ASSERT, b'if message["type"] == "http.response.debug": pass'
        ),
    )
    check_not_needed("it has the fix")


def test_a_patched_build_has_the_fix(monkeypatch):
    """`test_fork` says the same of the builds themselves."""
    monkeypatch.setattr(BASE, "_early_messages", object(), raising=False)
    check_not_needed("it is a patched build, with the diffs of starlette-backport")


def test_a_later_release_has_the_fix(monkeypatch):
    monkeypatch.setattr(starlette, "__version__", "0.24.0")
    check_not_needed("it has the fix")


# Starlette in other forms.


@pytest.fixture
def copy(tmp_path):
    """Return a folder with a copy of the installed Starlette."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        str(pathlib.Path(starlette.__file__).parent),
        str(tmp_path / "starlette"),
        ignore=ignore,
    )
    return tmp_path


def zipped(folder):
    """Return a zip file with the Starlette that is in `folder`."""
    archive = folder / "starlette.zip"
    with zipfile.ZipFile(str(archive), "w") as file:
        for path in (folder / "starlette").rglob("*.py"):
            file.write(str(path), str(path.relative_to(folder)))
    return archive


APPLY = """
import starlette_backport
try:
    status = starlette_backport.apply()
except starlette_backport.UnexpectedCodeError as exc:
    print(starlette_backport.status().state, exc)
else:
    print(status.state, *status.notes, sep=", ")
    import starlette
    print(starlette.__file__)
    from support import *
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    print(error is None and messages[0] == PUSH)
"""


@pytest.mark.parametrize("form", ["folder", "zip file"])
@pytest.mark.parametrize("flags", [[], ["-O"]], ids=["python", "python -O"])
def test_an_edited_installation_is_refused(copy, flags, form):
    path = copy / "starlette" / "middleware" / "base.py"
    path.write_bytes(
        path.read_bytes().replace(b"No response returned.", b"Nothing came.")
    )
    path = zipped(copy) if form == "zip file" else copy
    output = python(APPLY, *flags, path=[path]).stdout
    assert output.startswith("not applied %s" % path)
    assert "is not the file that Starlette %s shipped" % RELEASE in output


def test_starlette_in_a_zip_file(copy):
    state, path, carries = python(APPLY, path=[zipped(copy)]).stdout.splitlines()
    assert ".zip" in path
    assert (state, carries) == ("applied", "True")


def test_starlette_without_its_source(copy):
    """Then there is the release number alone, and `notes` say so."""
    compileall.compile_dir(str(copy / "starlette"), quiet=2, legacy=True)
    for path in (copy / "starlette").rglob("*.py"):
        path.unlink()
    state, path, carries = python(APPLY, path=[copy]).stdout.splitlines()
    assert path.endswith(".pyc")
    names = [name.rsplit(".", 2)[0] for name in starlette_backport.status().functions]
    assert state == ", ".join(
        ["applied", *("not verified: no source of " + name for name in names)]
    )
    assert carries == "True"


TEST = """
import starlette_backport, starlette.testclient
from support import BODY, PUSH, START, PassThrough, sending, serve

def test_it():
    status = starlette_backport.apply()
    assert (status.state, status.notes) == ("applied", ())
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert messages[0] == PUSH
    assert type(starlette.testclient.__loader__).__name__ == "AssertionRewritingHook"
"""


@pytest.mark.parametrize("how", ["python_files", "register_assert_rewrite"])
def test_pytest_may_rewrite_the_asserts_of_starlette(tmp_path, how):
    (tmp_path / "test_it.py").write_text(TEST)
    if how == "register_assert_rewrite":
        (tmp_path / "conftest.py").write_text(
            "import pytest\npytest.register_assert_rewrite('starlette')\n"
        )
    options = ["-o", "python_files=test*.py"] if how == "python_files" else []
    program = "import sys, pytest; sys.exit(pytest.main(%r))" % [
        "-p",
        "no:cacheprovider",
        *options,
        str(tmp_path),
    ]
    assert "1 passed" in python(program, "-B").stdout


def test_no_starlette(tmp_path):
    shutil.copytree(
        str(pathlib.Path(starlette_backport.__file__).parent),
        str(tmp_path / "starlette_backport"),
    )
    program = """
import sys
sys.path = [%r] + [path for path in sys.path if "site-packages" not in path]
import starlette_backport
for function in starlette_backport.apply, starlette_backport.status:
    try:
        function()
    except starlette_backport.StarletteNotFoundError as exc:
        print(exc)
starlette_backport.revert()
"""
    lines = python(program % str(tmp_path)).stdout.splitlines()
    assert (
        lines[:3]
        == lines[3:]
        == [
            "No module named 'starlette'.",
            "This environment is %s." % sys.prefix,
            "Install the release of Starlette that your project pins.",
        ]
    )
