"""The command line, on whatever Starlette is there."""

import functools
import inspect
import json
import re
import sys

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from support import AFFECTED, CARRIER, FORK, NUMBERS, RELEASE, PassThrough, python

import starlette_backport
from starlette_backport import _cli, _report, _stack

CHANGES = AFFECTED and not FORK  # Whether there is anything to apply here.
HAS_FIX = FORK or NUMBERS >= (0, 24, 0)

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


def test_status(cli):
    status, output, errors = cli("status")
    assert not errors
    lines = dict(line.split(None, 1) for line in output.splitlines() if not line.startswith((" ", "Test", "Would")))
    assert lines["Python"] == "%d.%d.%d, %s" % (*sys.version_info[:3], sys.executable)
    assert lines["Starlette"].startswith(RELEASE + ", ")
    if CHANGES:
        assert status == 1
        assert lines["Affected"].startswith("yes: ")
        assert lines["Backport"] == "not applied: call starlette_backport.apply()"
        found = re.findall(r"^(?:Would change)? +(starlette\..*)$", output, re.M)
        assert found == list(starlette_backport.status().functions)
    else:
        assert status == (4 if HAS_FIX else 0)
        assert lines["Affected"] == "no: " + starlette_backport.status().reason
        assert lines["Backport"] == "not needed" + ": remove starlette-backport" * HAS_FIX


def test_the_test_client(cli):
    """What is installed is found without being imported."""
    client = json.loads(cli("status", "--json")[1])["test_client"]
    assert client["package"] == ("httpx" if NUMBERS >= (0, 21, 0) else "requests")
    assert client["version"] == __import__(client["package"]).__version__


def test_a_test_client_that_is_missing(cli, monkeypatch, tmp_path):
    assert _report.tell_status(None)[0]["test_client"]["version"]
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    assert _report._test_client(RELEASE)["version"] is None


def test_status_as_json(cli):
    status, output, _ = cli("status", "--json")
    facts = json.loads(output)
    found = starlette_backport.status()
    assert facts["starlette"] == found.starlette
    assert facts["affected"] is found.affected
    assert facts["state"] == found.state
    assert facts["problem"] is None
    assert facts["functions"] == [{"name": name, "wrapped_by": []} for name in found.functions]
    assert "layers" not in facts
    assert status == (1 if CHANGES else 4 if HAS_FIX else 0)


@needs_changes
def test_an_application_that_applies(cli, module):
    name = module("import starlette_backport\nstarlette_backport.apply()\nasync def app(*args): pass\n")
    status, output, _ = cli("status", name + ":app")
    assert status == 0
    assert "Backport      applied: until you are on 0.24.0\n" in output
    assert "\nChanged       starlette.middleware.base.BaseHTTPMiddleware.%s\n" % CARRIER in output


@needs_changes
def test_disabled(cli, monkeypatch):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
    status, output, _ = cli("status")
    assert status == 1
    assert "disabled: STARLETTE_BACKPORT_DISABLE is set" in output


@needs_changes
def test_it_tells_who_has_wrapped_what(cli, monkeypatch, module):
    """By the module that the wrapper is from, whatever names it has copied."""
    name = module(
        """
import functools
from starlette.middleware.base import BaseHTTPMiddleware

shipped = BaseHTTPMiddleware.{0}

@functools.wraps(shipped)
def tracing(*args, **kwargs):
    return shipped(*args, **kwargs)

BaseHTTPMiddleware.{0} = tracing

async def app(*args): pass
""".format(CARRIER)
    )
    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, vars(BaseHTTPMiddleware)[CARRIER])  # To be put back.
    status, output, _ = cli("status", name + ":app")
    assert status == 1
    assert "BaseHTTPMiddleware.{0}\n                wrapped by {1} ({0})\n".format(CARRIER, name) in output


@needs_changes
def test_what_cannot_be_applied(cli, monkeypatch):
    monkeypatch.setattr(GZipMiddleware, "__call__", None)
    from starlette.middleware import gzip

    code = gzip.GZipResponder.__call__.__code__
    try:
        gzip.GZipResponder.__call__.__code__ = PassThrough.dispatch.__code__
        status, output, _ = cli("status")
    finally:
        gzip.GZipResponder.__call__.__code__ = code
    assert status == 3
    assert "\nBackport      cannot be applied: Expected starlette.middleware.gzip.GZipResponder.__call__ as " in output


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


def traced(cls):
    """Return a subclass whose function somebody else has wrapped, as instrumentation does."""
    namespace = {"__name__": "tracer"}
    exec("def wrap(inner):\n    return lambda *args, **kwargs: inner(*args, **kwargs)", namespace)
    inner = getattr(cls, CARRIER)
    return type("Traced", (cls,), {CARRIER: functools.wraps(inner)(namespace["wrap"](inner))})


def test_the_layers_of_an_application():
    inner = Starlette()
    inner.add_middleware(PassThrough)
    app = Starlette()
    app.mount("/mounted", inner)
    for layer in (Overriding, Calling, traced(PassThrough), GZipMiddleware, BrotliMiddleware, Plain, PassThrough):
        app.add_middleware(layer)
    found = list(_stack.layers(Plain(app), starlette_backport.status()))
    names = [(layer.mounted, layer.name.split(".")[-1]) for layer in found]
    own = ["Middleware", "Plain", "BrotliMiddleware", "GZipMiddleware", "Traced", "Calling", "Overriding"]
    assert [name for mounted, name in names if not mounted] == (
        ["Plain", "Starlette", "ServerErrorMiddleware", *own, "ExceptionMiddleware", *inside(app)]
    )
    assert [name for mounted, name in names if mounted == "/mounted"] == (
        ["Starlette", "ServerErrorMiddleware", "Middleware", "ExceptionMiddleware", *inside(inner)]
    )
    about = {name: layer for (mounted, name), layer in zip(names, found) if not mounted}
    for name in ("Plain", "Starlette", "ServerErrorMiddleware", "Router"):
        assert about[name][2:] == ("carries", "not a BaseHTTPMiddleware")
    assert about["BrotliMiddleware"].early_messages == "drops"
    gzip, unpatched, calling, overriding = [
        about[name][2:] for name in ("GZipMiddleware", "Middleware", "Calling", "Overriding")
    ]
    assert about["Traced"][2:] == unpatched
    fixed = "fixed by apply()" if CHANGES else "carries"
    assert unpatched == (fixed, "a BaseHTTPMiddleware")
    assert gzip[0] == (fixed if CHANGES or FORK else "drops")
    if CHANGES or FORK:
        assert calling == (fixed, "overrides %s, and calls that of BaseHTTPMiddleware" % CARRIER)
        assert overriding == ("in charge itself", "overrides %s: nothing is changed for it" % CARRIER)
    else:
        assert calling == overriding == unpatched


def inside(app):
    """Return the names of the innermost layers, which some releases have more of."""
    layer, names = app.router, []
    while layer is not None and not inspect.ismethod(layer):
        names.append(type(layer).__name__)
        layer = getattr(layer, "app", None)
    return names


def test_the_layers_are_printed(cli, module):
    name = module(
        "from starlette.applications import Starlette\nfrom support import PassThrough\n"
        "class site: app = Starlette()\nsite.app.add_middleware(PassThrough)\n"
    )
    output = cli("status", name + ":site.app")[1]
    _, layers = output.split("\n%s:site.app, from the outside in:\n" % name)
    assert re.search(r"^  starlette\.applications\.Starlette +carries \(not a BaseHTTPMiddleware\)$", layers, re.M)
    assert re.search(r"^  support\.Middleware +(fixed by apply\(\)|carries) \(a BaseHTTPMiddleware\)$", layers, re.M)
    facts = json.loads(cli("status", "--json", name + ":site.app")[1])
    assert facts["application"] == name + ":site.app"
    assert [layer["name"] for layer in facts["layers"]] == [line.split()[0] for line in layers.splitlines()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("app", "expected an application such as package.module:app, found 'app'"),
        (":app", "found ':app'"),
        ("support:", "found 'support:'"),
        ("no_such_module:app", "that raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("support:nothing", "expected an application nothing in support, found none"),
        ("support:python.nothing", "expected an application python.nothing in support, found none"),
    ],
)
def test_an_application_that_is_not_there(cli, name, message):
    status, output, errors = cli("status", name)
    assert (status, output) == (2, "")
    assert errors.startswith("starlette-backport: expected ")
    assert message in errors
    assert errors.count("\n") == 1


def test_an_application_of_another_name(cli, module):
    name = module("from starlette.applications import Starlette\nsite = Starlette()\n")
    assert cli("status", name + ":app")[2].endswith("found none; there are: site\n")


@pytest.mark.parametrize("statement", ["raise ValueError('broken')", "import sys; sys.exit('broken')"])
def test_an_application_that_cannot_be_imported(cli, module, statement):
    status, _, errors = cli("status", module(statement) + ":app")
    assert status == 2
    assert re.search(r"but that raised (ValueError|SystemExit): broken. Run this where", errors)


def test_verify(cli):
    status, output, errors = cli("verify")
    if NUMBERS < (0, 9, 9):
        assert status == 1
        return
    assert (status, errors) == (0, "")
    without, patched = output.splitlines()
    works = "works: status 200, response.template.name == 'index.html'"
    assert patched == "with the backport:    " + works
    if CHANGES:
        error = r"AssertionError in starlette/middleware/base.py, line \d+, in call_next: assert message\["
        assert re.match("without the backport: fails: " + error, without)
    else:
        assert without == "without the backport: " + works


@needs_changes
def test_verify_as_json_and_optimized():
    process = python("import sys; from starlette_backport._cli import main; main(['verify', '--json'])", "-O")
    facts = json.loads(process.stdout)
    assert facts["starlette"] == RELEASE
    assert (facts["without"]["works"], facts["without"]["error"], facts["without"]["message"]) == (
        (False, "KeyError", "'status'")
    )
    assert facts["with"] == {"works": True, "status": 200, "template": "index.html"}


@pytest.mark.parametrize("package", ["jinja2", "httpx" if NUMBERS >= (0, 21, 0) else "requests"])
def test_verify_names_what_is_missing(cli, monkeypatch, tmp_path, package):
    (tmp_path / (package + ".py")).write_text("raise ModuleNotFoundError('none', name=%r)" % package)
    monkeypatch.syspath_prepend(str(tmp_path))
    status, output, errors = cli("verify")
    assert (status, output) == (2, "")
    assert "the reproduction needs %s here, which is not installed." % package in errors
    assert errors.endswith("%s -m pip install '%s'\n" % (sys.executable, package))


def test_verify_names_what_is_too_new(cli, monkeypatch, tmp_path):
    (tmp_path / "jinja2.py").write_text("raise AttributeError('module has no attribute contextfunction')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cli("verify")[2].endswith("-m pip install 'jinja2<3.1'\n")


@needs_changes
def test_verify_says_what_stays_broken(cli, tmp_path, monkeypatch):
    """Such as code that is not what the release shipped."""
    from test_refusal import CHANGES as changes
    from test_refusal import copy_starlette, edit

    copy_starlette(tmp_path)
    edit(tmp_path, *changes["a comment"])
    monkeypatch.syspath_prepend(str(tmp_path))
    status, output, _ = cli("verify")
    assert status == 1
    assert output.splitlines()[1].startswith("with the backport:    fails: UnexpectedCodeError: Expected starlette.")


def test_verify_when_the_other_process_fails(cli, monkeypatch):
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    status, _, errors = cli("verify")
    assert status == 2
    assert "expected the reproduction to come to an end, but it ended with:" in errors
    assert "No module named" in errors


def test_colours(cli, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = cli("status")[1]
    assert "\033[33mnot " in painted
    monkeypatch.setenv("NO_COLOR", "1")
    plain = cli("status")[1]
    assert plain == re.sub("\033\\[\\d+m", "", painted) != painted
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert cli("status")[1] == plain


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["verify", "app:app"], ["status", "--yaml"]])
def test_wrong_usage(cli, arguments):
    status, output, errors = cli(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: starlette-backport")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_help_tells_the_exit_statuses(cli, command):
    status, output, _ = cli(command, "--help")
    assert status == 0
    assert re.search(r"^Exit status:\n  0  fine: ", output, re.M)


def test_the_version(cli):
    assert cli("--version")[:2] == (0, "starlette-backport %s\n" % starlette_backport.__version__)


def test_as_a_module():
    code = "import runpy, sys\nsys.argv[1:] = ['--version']\nrunpy.run_module(%r, run_name='__main__')"
    assert python(code % "starlette_backport").stdout == "starlette-backport %s\n" % starlette_backport.__version__


def test_it_costs_nothing_when_it_is_not_used():
    code = """
import sys, starlette_backport
print([name for name in sys.modules if name.startswith("starlette_backport.") and name.endswith(("_cli", "_report"))])
"""
    assert python(code).stdout == "[]\n"
