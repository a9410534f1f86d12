"""The command line, on whatever Starlette is there."""

import functools
import json
import re
import sys

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from support import AFFECTED, CARRIER, FORK, NUMBERS, RELEASE, PassThrough, python

import starlette_backport
from starlette_backport import _application, _cli, _environment

pytestmark = pytest.mark.three_releases

CHANGES = AFFECTED and not FORK  # Whether there is anything to apply here.
HAS_FIX = FORK or NUMBERS >= (0, 24, 0)
CLIENT = "httpx" if NUMBERS >= (0, 21, 0) else "requests"

needs_changes = pytest.mark.skipif(not CHANGES, reason="needs a release to which the backport applies")


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Return what runs a command line in this process: its exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments):
        try:
            status = _cli.main(arguments)
        except SystemExit as exc:
            status = exc.code
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def module(request, tmp_path):
    """Return what writes a module of an application, with a name of its own, and returns that."""
    name = re.sub(r"\W", "_", "app_" + request.node.name)

    def write(source):
        (tmp_path / (name + ".py")).write_text(source)
        return name

    yield write
    sys.modules.pop(name, None)


def check(cli, *arguments):
    status, output, _ = cli("status", "--check", "--json", *arguments)
    facts = json.loads(output)
    assert facts["check"] == status
    return status, facts


def test_status_tells_what_there_is(cli):
    status, output, errors = cli("status")
    assert (status, errors) == (0, "")
    lines = [line.split(None, 1) for line in output.splitlines()]
    assert ["Python", "%d.%d.%d, %s" % (*sys.version_info[:3], sys.executable)] in lines
    assert any(line[0] == "Starlette" and line[1].startswith(RELEASE + ", ") for line in lines)
    if CHANGES:
        assert ["Backport", "not applied: call starlette_backport.apply()"] in lines
        found = re.findall(r"^(?:Would change)? +(starlette\..*)$", output, re.M)
        assert found == list(starlette_backport.status().functions)
    else:
        assert ["Affected", "no: " + starlette_backport.status().reason] in lines
        assert ["Backport", "no longer needed: remove starlette-backport" if HAS_FIX else "not needed"] in lines


def test_check_without_an_application_is_fine_where_apply_would_work(cli):
    """Most projects apply it in a conftest.py, which this process does not run."""
    status, facts = check(cli)
    assert status == (4 if HAS_FIX else 0)
    assert facts["state"] == ("not applied" if CHANGES else "not needed")
    assert facts["test_client"] == {"package": CLIENT, "version": __import__(CLIENT).__version__}


@needs_changes
def test_check_with_an_application(cli, module):
    source = "async def app(scope, receive, send): pass\n"
    name = module(source)
    assert check(cli, name + ":app")[0] == 1
    del sys.modules[name]
    module("import starlette_backport\nstarlette_backport.apply()\n" + source)
    status, facts = check(cli, name + ":app")
    assert (status, facts["state"]) == (0, "applied")


@needs_changes
def test_check_where_it_is_disabled(cli, monkeypatch):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
    assert check(cli)[0] == 1
    assert "disabled: STARLETTE_BACKPORT_DISABLE is set" in cli("status")[1]


@needs_changes
def test_check_where_it_cannot_be_applied(cli, monkeypatch):
    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, len)
    status, facts = check(cli)
    assert status == 3
    assert facts["problem"].startswith("starlette.middleware.base.BaseHTTPMiddleware.%s was replaced by " % CARRIER)
    assert "\nBackport      cannot be applied: starlette.middleware.base." in cli("status")[1]


@needs_changes
def test_it_tells_who_has_wrapped_what(cli, monkeypatch):
    shipped = vars(BaseHTTPMiddleware)[CARRIER]

    @functools.wraps(shipped)
    def tracing(*args, **kwargs):
        return shipped(*args, **kwargs)

    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, tracing)
    output = cli("status")[1]
    assert "BaseHTTPMiddleware.{0}\n                wrapped by {1} ({0})\n".format(CARRIER, __name__) in output


@pytest.mark.parametrize(
    ("specifier", "holds"),
    [
        *((s, True) for s in ("==0.14.2", "(==0.14.2)", "<0.24", "<=0.23.1", "~=0.14.2", "==0.14.*", ">=0.13,<0.24.0")),
        *((s, False) for s in ("", ">=0.14.2", "<1", "<=0.24.0", "~=0.24", "==0.24.0", "==0.*", "!=0.25.0", "<0.24.1")),
    ],
)
def test_what_holds_starlette_back(tmp_path, monkeypatch, specifier, holds):
    folder = tmp_path / "holder-1.2.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: Holder", "Version: 1.2"]
    lines += ["Requires-Dist: starlette %s" % specifier, "Requires-Dist: starlette (==0.1) ; extra == 'old'"]
    (folder / "METADATA").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    if not _environment._distributions():
        pytest.skip("this Python has no importlib.metadata, and the package importlib_metadata is not installed")
    found = [held for held in _environment.facts()[0]["held_by"] if held["name"] == "holder"]
    requires = "starlette" + specifier.strip("()")
    expected = {"name": "holder", "version": "1.2", "requires": requires, "freed_by": None}
    assert found == ([expected] if holds and NUMBERS < (0, 24, 0) else [])


class Overriding(PassThrough):
    if CARRIER == "call_next":

        async def call_next(self, request):
            return None
    else:

        async def __call__(self, scope, receive, send):
            pass


class Calling(PassThrough):
    if CARRIER == "call_next":

        async def call_next(self, request):
            return await super().call_next(request)
    else:

        async def __call__(self, scope, receive, send):
            await super().__call__(scope, receive, send)


class Plain:
    def __init__(self, app):
        self.app = app

    def __call__(self, *args):
        return self.app(*args)


class BrotliMiddleware(Plain):
    __module__ = "brotli_asgi"


def test_the_layers_of_an_application():
    inner = Starlette()
    inner.add_middleware(PassThrough)
    app = Starlette()
    app.mount("/mounted", inner)
    for layer in (Overriding, Calling, GZipMiddleware, BrotliMiddleware, Plain):
        app.add_middleware(layer)

    async def function(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=function)
    found = list(_application.layers(Plain(app), starlette_backport.status()))
    outside = [layer.name.split(".")[-1] for layer in found if not layer.mounted]
    assert outside[:3] == ["Plain", "Starlette", "ServerErrorMiddleware"]
    assert outside[3:9] == ["function", "Plain", "BrotliMiddleware", "GZipMiddleware", "Calling", "Overriding"]
    about = {layer.name.split(".")[-1]: layer for layer in found if not layer.mounted}
    patched = "will be patched" if CHANGES else "carries early messages"
    assert about["function"][2:] == (patched, False)
    assert about["Plain"][2:] == about["Starlette"][2:] == ("plain ASGI", False)
    assert about["BrotliMiddleware"].keeps_messages
    assert about["GZipMiddleware"][2:] == (
        (patched, False) if CHANGES or FORK else ("drops early messages, as on all releases of Starlette", True)
    )
    assert about["Calling"][2:] == (patched, False)
    if CHANGES:
        text = "not patched: overrides %s without calling super()" % CARRIER
        assert about["Overriding"][2:] == (text, True)
    mounted = [layer.name.split(".")[-1] for layer in found if layer.mounted == "/mounted"]
    assert mounted[:3] == ["Starlette", "ServerErrorMiddleware", "Middleware"]


@needs_changes
def test_a_layer_that_keeps_messages_back_fails_the_check(cli, module):
    source = "import starlette_backport\nstarlette_backport.apply()\nfrom starlette.applications import Starlette\n"
    source += "from test_cli import Overriding, Calling\nclass site: app = Starlette()\nsite.app.add_middleware(%s)\n"
    name = module(source % "Calling")
    status, output, _ = cli("status", "--check", name + ":site.app")
    assert status == 0
    assert re.search(r"\n\n%s:site.app, from the outside in:\n  starlette.*  plain ASGI\n" % name, output)
    assert re.search(r"\n  test_cli.Calling +patched\n", output)
    del sys.modules[name]
    module(source % "Overriding")
    assert check(cli, name + ":site.app")[0] == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("app = 5", "app is no ASGI application, but an object of builtins.int."),
        (
            "from unittest.mock import Mock\napp = Mock()",
            "is no ASGI application, but an object of unittest.mock.Mock.",
        ),
        ("def app(): pass", "app is a function without arguments. If it returns the application, use --factory."),
        ("from starlette.applications import Starlette as app", "app is a class. Name an application made of it."),
        ("def app(a, b): pass", "app is no ASGI application: it does not take scope, receive and send."),
        ("from starlette.applications import Starlette\nsite = Starlette()", "There is no app in "),
        ("def app(scope): pass\nraise ValueError('broken')", "ValueError: broken\n"),
        ("import sys\nsys.exit('broken')", "SystemExit: broken\n"),
        ("import no_such_module", "No module named 'no_such_module'\n"),
    ],
)
def test_what_is_no_application(cli, module, source, message):
    name = module(source)
    status, output, errors = cli("status", name + ":app")
    assert (status, output) == (2, "")
    assert errors.startswith("starlette-backport: ")
    assert message in errors
    if "\n" in message:  # The last line of its traceback says where.
        assert "%s.py, line " % name in errors
        assert "Run this in the folder" not in errors
    status, output, _ = cli("status", "--json", name + ":app")
    assert status == 2
    assert message.strip() in json.loads(output)["error"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("app", "'app' is no application. Name one as package.module:app."),
        ("no_such_module:app", "Run this in the folder that the application is started from."),
    ],
)
def test_an_application_that_is_not_named_well(cli, name, message):
    status, _, errors = cli("status", name)
    assert status == 2
    assert message in errors


def test_a_factory_and_what_it_prints(cli, module):
    name = module(
        "print('imported')\nfrom starlette.applications import Starlette\n"
        "def create_app(debug=False):\n    print('made')\n    return Starlette()\n"
    )
    status, output, errors = cli("status", "--json", "--factory", name + ":create_app")
    assert status == 0
    assert json.loads(output)["layers"][0]["name"] == "starlette.applications.Starlette"
    assert errors == "imported\nmade\n"


def test_verify(cli):
    status, output, errors = cli("verify")
    if NUMBERS < (0, 9, 9):
        assert (status, output) == (2, "")
        assert "Starlette %s is not affected: it sends no template messages yet." % RELEASE in errors
        return
    without, patched, *more = output.splitlines()
    works = "works: status 200, response.template.name == 'index.html'"
    assert patched == "with the backport:    " + works
    if CHANGES:
        error = r"AssertionError in starlette/middleware/base.py, line \d+, in call_next: assert message\["
        assert re.match("without the backport: fails: " + error, without)
        assert (status, more) == (0, [])
    else:
        assert without == "without the backport: " + works
        assert status == 4
        assert more[0].endswith("remove starlette-backport.")


@needs_changes
def test_verify_as_json_and_optimized():
    process = python("import sys; from starlette_backport._cli import main; main(['verify', '--json'])", "-O")
    facts = json.loads(process.stdout)
    assert facts["starlette"] == RELEASE
    assert (facts["without"]["works"], facts["without"]["error"], facts["without"]["message"]) == (
        (False, "KeyError", "'status'")
    )
    assert facts["with"] == {"works": True, "status": 200, "template": "index.html"}


@needs_changes
def test_verify_names_all_that_is_missing_at_once(cli, monkeypatch, tmp_path):
    """And in releases that the old Starlette takes."""
    for package in ("jinja2", CLIENT):
        source = "raise ModuleNotFoundError('none', name=%r)" % package
        (tmp_path / (package + ".py")).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    status, output, errors = cli("verify")
    assert (status, output) == (2, "")
    command = re.search(r" -m pip install 'jinja2<3.1' '(.*)'\n$", errors)
    assert command.group(1).startswith(CLIENT)


@needs_changes
def test_verify_names_what_is_too_new(cli, monkeypatch, tmp_path):
    (tmp_path / "jinja2.py").write_text("raise AttributeError('module has no attribute contextfunction')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cli("verify")[2].endswith("-m pip install 'jinja2<3.1'\n")


def test_verify_when_the_other_process_fails(cli, monkeypatch):
    if NUMBERS < (0, 9, 9):
        pytest.skip("verify does not start a process where nothing is affected")
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    status, _, errors = cli("verify")
    assert status == 2
    assert "The reproduction stopped with an error:\n" in errors


def test_colours(cli, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = cli("status")[1]
    assert "\033[33mno" in painted
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli("status")[1] == re.sub("\033\\[\\d+m", "", painted) != painted


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["verify", "app:app"], ["status", "--yaml"]])
def test_wrong_usage(cli, arguments):
    status, output, errors = cli(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: starlette-backport")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_help_tells_the_exit_statuses(cli, command):
    status, output, _ = cli(command, "--help")
    assert status == 0
    assert re.search(r"^  4  (no longer needed|it works without).*: remove starlette-backport$", output, re.M)


def test_the_version_as_a_module():
    code = "import runpy, sys\nsys.argv[1:] = ['--version']\nrunpy.run_module(%r, run_name='__main__')"
    assert python(code % "starlette_backport").stdout == "starlette-backport %s\n" % starlette_backport.__version__
